"""From scores and preferences to a decision. Pure: no clock, network or model."""

from plano_asgi.policy.calibration import Calibration
from plano_asgi.policy.deciding import Rules, Unmatched, best_route, decide, undecided
from plano_asgi.policy.formats import fit_format
from plano_asgi.policy.inline import check_inline
from plano_asgi.policy.tempering import tempered

__all__ = [
    "Calibration",
    "Rules",
    "Unmatched",
    "best_route",
    "check_inline",
    "decide",
    "fit_format",
    "tempered",
    "undecided",
]
