"""Settings to what calls model providers."""

from plano_asgi.assembly.signing import build_sign
from plano_asgi.net import StreamingClient
from plano_asgi.settings import Settings
from plano_asgi.upstream import BreakerRules, Breakers, Deadlines, FailoverRules, Forwarder, Keys, server_of


def build_forwarder(settings: Settings) -> Forwarder:
    """Return what serves calls under `mode: forward`; nothing is connected yet."""
    forward, failover = settings.forward, settings.failover
    servers = {server_of(provider) for provider in settings.catalog.providers}
    return Forwarder(
        {
            server: StreamingClient(
                connections=forward.max_connections, connect_s=forward.connect_s, http2=forward.http2
            )
            for server in servers
        },
        deadlines=Deadlines(
            first_byte_s=forward.first_byte_s,
            answer_s=forward.answer_s,
            stall_s=forward.stall_s,
            total_s=forward.total_s,
        ),
        rules=FailoverRules(
            attempts=failover.attempts, backoff_s=failover.backoff_s, backoff_max_s=failover.backoff_max_s
        ),
        breakers=Breakers(BreakerRules(failures=failover.breaker_failures, open_s=failover.breaker_open_s)),
        names_models=settings.response_headers,
        keys=Keys(rest_s=failover.key_rest_s),
        sign=build_sign(settings.catalog),
    )
