"""The one place that turns settings into live objects."""

from plano_asgi.assembly.adapting import Adapted, build_adapted, ensure_ungoverned
from plano_asgi.assembly.building import (
    build_classifier,
    build_observed_router,
    build_router,
    build_rules,
    check_deciding,
    load_router,
)
from plano_asgi.assembly.calibrations import calibration_text
from plano_asgi.assembly.service import Service, build_service

__all__ = [
    "Adapted",
    "Service",
    "build_adapted",
    "build_classifier",
    "build_observed_router",
    "build_router",
    "build_rules",
    "build_service",
    "calibration_text",
    "check_deciding",
    "ensure_ungoverned",
    "load_router",
]
