"""How fast a model has served a call, as far as its account tells."""

from time import perf_counter

from plano_asgi.gateway.account import Account
from plano_asgi.router import ModelSpeeds


def note_speed(speeds: ModelSpeeds, account: Account) -> None:
    """Take note of how fast a complete answer was.

    Of a stream the time to its first words is known by itself; of an answer that came whole, only how long each token
    took all in all. A caller who reads slowly makes a stream slow, and not its beginning.
    """
    if account.answer is None or not account.trail:
        return
    began_s = account.trail[-1].duration_ms / 1000
    before_s = sum(attempt.duration_ms for attempt in account.trail[:-1]) / 1000
    written = account.usage.output_tokens
    served_s = perf_counter() - account.started - before_s
    if account.is_stream:
        token_s = max(0.0, served_s - began_s) / written if written else None
        speeds.note(account.answer.model, first_token_s=began_s, token_s=token_s)
    elif written:
        speeds.note(account.answer.model, first_token_s=None, token_s=began_s / written)
