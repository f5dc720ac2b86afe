"""Arch-Router on ONNX Runtime: a conversation is read in one pass, and routes are scored, not generated."""

from plano_asgi.classify.arch_router.classifier import ArchRouterClassifier, Decode, Scoring

__all__ = ["ArchRouterClassifier", "Decode", "Scoring"]
