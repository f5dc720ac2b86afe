"""`Plano`: the extension of a Flask app."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from flask import Flask, g, request

from plano_asgi.assembly import build_adapted
from plano_asgi.errors import ConfigurationError, Fault
from plano_asgi.router import Router
from plano_asgi.settings import Settings, load_settings
from plano_asgi_flask.commands import commands
from plano_asgi_flask.current import NAME
from plano_asgi_flask.wsgi import RoutedApp, routed_call

PREFIX: Final = "PLANO_"
CONFIG_FILE: Final = "PLANO_CONFIG_FILE"


class Plano:
    """Routes the LLM calls of Flask apps; each app has its own settings and decisions.

    `app.config["PLANO_..."]` holds settings, over the environment and `plano.yaml`. Views read the decided model in the
    body, and what was decided in `g.plano`. The model is loaded with the first call of a process.
    """

    def __init__(self, app: Flask | None = None, *, router: Router | None = None) -> None:
        """Route an app's calls, if one is given.

        Args:
            app: What is to be routed; without it, call `init_app`.
            router: A router made elsewhere, for tests.

        Raises:
            ConfigurationError: The settings cannot be used; every fault is named.
        """
        self._router = router
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Route an app's calls; its `PLANO_` settings and `MAX_CONTENT_LENGTH` are read now.

        Raises:
            ConfigurationError: The settings cannot be used, or the app has this extension already.
        """
        if NAME in app.extensions:
            raise ConfigurationError([Fault(where=NAME, what="this app has the extension already; keep one")])
        adapted = build_adapted(
            settings_of(app.config),
            asgi_app="the app, within an adapter such as a2wsgi's",
            body_bytes=app.config["MAX_CONTENT_LENGTH"],
            router=self._router,
        )
        app.extensions[NAME] = adapted
        app.before_request_funcs.setdefault(None, []).insert(0, _remember)
        app.cli.add_command(commands)
        if adapted:
            app.wsgi_app = RoutedApp(app.wsgi_app, adapted)  # type: ignore[method-assign]  # as Flask's own pages do


def settings_of(config: Mapping[str, Any]) -> Settings:
    """Return the settings of an app: `PLANO_ROUTING={"inline": "deny"}` or `PLANO_ROUTING__INLINE="deny"`.

    Raises:
        ConfigurationError: They cannot be used; every fault is named.
    """
    said: dict[str, Any] = {}
    for name in sorted(name for name in config if name.startswith(PREFIX) and name != CONFIG_FILE):
        *sections, last = name.removeprefix(PREFIX).lower().split("__")
        place = said
        for section in sections:
            within = place.get(section)
            place[section] = place = dict(within) if isinstance(within, Mapping) else {}
        place[last] = config[name]
    file = config.get(CONFIG_FILE)
    return load_settings(None if file is None else Path(file), overrides=said)


def _remember() -> None:
    """Let views read `g.plano`."""
    g.plano = routed_call(request.environ)
