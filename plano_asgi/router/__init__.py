"""The router: one call in, one decision out."""

from plano_asgi.router.deciding import OnError
from plano_asgi.router.experimenting import Experiment
from plano_asgi.router.fitting import Fit, all_of_it
from plano_asgi.router.router import Router
from plano_asgi.router.selecting import ModelSpeeds, Selecting
from plano_asgi.router.session_store import MemorySessions, SessionStore, SharedSessions
from plano_asgi.router.sessions import Sessions

__all__ = [
    "Experiment",
    "Fit",
    "MemorySessions",
    "ModelSpeeds",
    "OnError",
    "Router",
    "Selecting",
    "SessionStore",
    "Sessions",
    "SharedSessions",
    "all_of_it",
]
