"""The settings of what worker processes share."""

from plano_asgi.settings.fields import Milliseconds, SecretText, Text
from plano_asgi.settings.section import Section


class RedisSettings(Section):
    """The Redis server that worker processes share what they know by; used where a setting's `store` is `redis`.

    Attributes:
        url: `redis://`, `rediss://` or `unix://`, with the password if there is one.
        prefix: What every key of ours begins with.
        timeout_ms: Milliseconds for a free connection, for a new one, and for each answer.
    """

    url: SecretText | None = None
    prefix: Text = "plano:"
    timeout_ms: Milliseconds = 250.0
