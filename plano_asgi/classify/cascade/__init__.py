"""Two classifiers in a row: a fast one answers what it is sure of, a larger one the rest."""

from plano_asgi.classify.cascade.classifier import CascadeClassifier

__all__ = ["CascadeClassifier"]
