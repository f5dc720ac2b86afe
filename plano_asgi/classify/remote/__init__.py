"""The remote router: any server that speaks OpenAI's Chat Completions and hosts a model such as Arch-Router."""

from plano_asgi.classify.remote.classifier import DEFAULT_MODEL, RemoteClassifier

__all__ = ["DEFAULT_MODEL", "RemoteClassifier"]
