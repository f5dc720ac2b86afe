"""The one place that turns settings into live objects."""

from plano_asgi.assembly.building import build_classifier, build_router, load_router

__all__ = ["build_classifier", "build_router", "load_router"]
