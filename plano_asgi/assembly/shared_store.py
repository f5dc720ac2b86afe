"""Settings to the server that workers share what they know by."""

from typing import TYPE_CHECKING

from plano_asgi.errors import ConfigurationError, Fault
from plano_asgi.settings import Settings

if TYPE_CHECKING:
    from plano_asgi.stores.redis_server import RedisServer


def build_redis(settings: Settings) -> "RedisServer | None":
    """Return the Redis server that the settings name, None where they name none; nothing is connected yet.

    Raises:
        ConfigurationError: The URL is none of a Redis server.
        MissingExtraError: The extra `redis` is not installed.
    """
    if settings.redis.url is None:
        return None
    from plano_asgi.stores.redis_server import RedisServer  # noqa: PLC0415 - only where the settings ask for it

    try:
        return RedisServer(settings.redis.url, timeout_s=settings.redis.timeout_ms / 1000)
    except ValueError:
        what = "is no URL of a Redis server; write redis://host:6379/0, rediss:// or unix://"
        raise ConfigurationError([Fault(where="redis.url", what=what)]) from None
