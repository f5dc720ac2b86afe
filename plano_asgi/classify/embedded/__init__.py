"""The embedded router: a sentence encoder and a learned head, shipped in the wheel."""

from plano_asgi.classify.embedded.classifier import EmbeddedClassifier

__all__ = ["EmbeddedClassifier"]
