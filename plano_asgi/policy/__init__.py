"""From scores and preferences to a decision. Pure: no clock, network or model."""

from plano_asgi.policy.deciding import Rules, Unmatched, decide, undecided
from plano_asgi.policy.formats import fit_format
from plano_asgi.policy.inline import check_inline

__all__ = ["Rules", "Unmatched", "check_inline", "decide", "fit_format", "undecided"]
