"""From scores and preferences to a decision. Pure: no clock, network or model."""

from plano_asgi.policy.calibration import Calibration
from plano_asgi.policy.capabilities import Needs, needs_of
from plano_asgi.policy.deciding import Rules, Unmatched, best_route, decide, undecided
from plano_asgi.policy.formats import fit_format
from plano_asgi.policy.inline import checked_inline
from plano_asgi.policy.known_models import capabilities_of
from plano_asgi.policy.places import place_of
from plano_asgi.policy.pools import fit_capabilities, pool_of
from plano_asgi.policy.session_rules import Standing, kept, maker_of, moved, pin_of, settled, standing_of
from plano_asgi.policy.tempering import tempered
from plano_asgi.policy.turns import Turn, turn_of

__all__ = [
    "Calibration",
    "Needs",
    "Rules",
    "Standing",
    "Turn",
    "Unmatched",
    "best_route",
    "capabilities_of",
    "checked_inline",
    "decide",
    "fit_capabilities",
    "fit_format",
    "kept",
    "maker_of",
    "moved",
    "needs_of",
    "pin_of",
    "place_of",
    "pool_of",
    "settled",
    "standing_of",
    "tempered",
    "turn_of",
    "undecided",
]
