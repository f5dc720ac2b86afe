"""Making calls visible: spans, metrics and the decision log, each from the same facts of a call."""

from plano_asgi.observe.call_observer import CallObserver, ObservedCall
from plano_asgi.observe.facts import CallOutcome

__all__ = ["CallObserver", "CallOutcome", "ObservedCall"]
