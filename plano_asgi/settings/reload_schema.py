"""The settings of taking up another configuration while calls are served."""

from plano_asgi.settings.fields import Flag
from plano_asgi.settings.section import Section


class ReloadSettings(Section):
    """When `plano-asgi serve` reads its configuration again, beside SIGHUP and the admin call.

    Attributes:
        watch: Whether it does so when its file has changed.
    """

    watch: Flag = False
