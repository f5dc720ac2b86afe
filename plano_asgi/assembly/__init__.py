"""The one place that turns settings into live objects."""

from plano_asgi.assembly.building import build_classifier, build_router, build_rules, load_router
from plano_asgi.assembly.calibrations import calibration_text
from plano_asgi.assembly.forwarding import build_forwarder

__all__ = ["build_classifier", "build_forwarder", "build_router", "build_rules", "calibration_text", "load_router"]
