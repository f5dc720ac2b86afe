"""The embedded router: a sentence encoder and a learned head, shipped in the wheel."""
