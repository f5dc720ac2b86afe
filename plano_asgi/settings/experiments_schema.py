"""The settings of experiments: shares of sessions that are decided in another way."""

from typing import Annotated, Literal

from pydantic import Field, Strict

from plano_asgi.settings.classifier_schema import ClassifierSettings
from plano_asgi.settings.fields import File, QuotaName, Share
from plano_asgi.settings.preferences_schema import TopPreference
from plano_asgi.settings.section import Section


class ExperimentSettings(Section):
    """One experiment; what it does not say is as it is elsewhere.

    Attributes:
        name: What decisions and events call it.
        share: Share in (0, 1] of the sessions.
        mode: Whether those are served by what it decides, or decided as usual and by it as well, for comparison.
        threshold: Least confidence in [0, 1].
        routing_preferences: The whole policy, in place of the configured one.
        classifier: The whole classifier, in place of the configured one.
        calibration: The file that `plano-asgi calibrate` wrote for its routes; without it, other routes have none.
    """

    name: QuotaName
    share: Annotated[float, Strict(), Field(gt=0, le=1, allow_inf_nan=False)]
    mode: Literal["serve", "shadow"] = "serve"
    threshold: Share | None = None
    routing_preferences: tuple[TopPreference, ...] = ()
    classifier: ClassifierSettings | None = None
    calibration: File | None = None
