"""What may pass: personal data, attacks and forbidden words, in calls and in answers."""

from plano_asgi.guard.chain import Chain, Guardrail
from plano_asgi.guard.guard import Guard, GuardedCall
from plano_asgi.guard.verdicts import Subject, Verdict

__all__ = ["Chain", "Guard", "GuardedCall", "Guardrail", "Subject", "Verdict"]
