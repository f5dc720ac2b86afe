"""The settings of the playground."""

from plano_asgi.settings.fields import Flag
from plano_asgi.settings.section import Section


class PlaygroundSettings(Section):
    """The page on which operators try conversations and routes.

    Attributes:
        enabled: Whether it is served; None: by `plano-asgi serve`, not in an app.
    """

    enabled: Flag | None = None

    def is_shown(self, *, in_host: bool) -> bool:
        """Return whether the page is served, in somebody else's app or in our own server."""
        return (not in_host) if self.enabled is None else self.enabled
