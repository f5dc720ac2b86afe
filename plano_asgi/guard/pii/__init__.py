"""Personal data and secrets in text: found by form and check digit, masked, and put back. Pure."""

from plano_asgi.guard.pii.detection import Finding, find_personal
from plano_asgi.guard.pii.kinds import Kind, label_of
from plano_asgi.guard.pii.placeholders import Placeholders
from plano_asgi.guard.pii.restoring import TextRestorer

__all__ = ["Finding", "Kind", "Placeholders", "TextRestorer", "find_personal", "label_of"]
