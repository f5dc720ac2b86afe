"""`plano-asgi serve`."""

import logging
import sys
from collections.abc import Callable

import structlog
import uvicorn

from plano_asgi.assembly import build_router
from plano_asgi.http.reloading import ReloadableApp
from plano_asgi.http.server import create_app
from plano_asgi.settings import Settings


def run_server(settings: Settings, load: Callable[[], Settings], *, host: str, port: int) -> None:
    """Serve until interrupted; the model is loaded before the port is open, unless `startup: background`.

    Args:
        settings: What to serve.
        load: What reads them again, when they are to be reloaded.
        host: Where to listen.
        port: Where to listen; 0 for a free one.

    Raises:
        PlanoError: The model cannot be loaded.
    """
    _configure_logging()
    router = build_router(settings)
    if settings.startup == "wait":
        router.start()
    app = ReloadableApp(create_app(settings, router), load)
    try:
        uvicorn.run(app, host=host, port=port, access_log=False, server_header=False)
    except SystemExit:  # it could not listen, and has said why
        raise SystemExit(1) from None


def _configure_logging() -> None:
    """Send our events to stderr: lines for people on a terminal, JSON elsewhere. We own this process, so we may."""
    renderer = structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
