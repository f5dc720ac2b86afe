"""What the current app routes by."""

from typing import Final

from flask import current_app

from plano_asgi.assembly import Adapted
from plano_asgi.errors import ConfigurationError, Fault

NAME: Final = "plano"


def current() -> Adapted | None:
    """Return what the current app routes by; None where `enabled` is false.

    Raises:
        ConfigurationError: The app has no extension of ours.
    """
    if NAME not in current_app.extensions:
        raise ConfigurationError([Fault(where=NAME, what="this app is not routed; add Plano(app)")])
    found: Adapted | None = current_app.extensions[NAME]
    return found
