"""The embedded router: a small encoder and a comparer, trained for this job and shipped in the wheel."""

from plano_asgi.classify.embedded.classifier import EmbeddedClassifier

__all__ = ["EmbeddedClassifier"]
