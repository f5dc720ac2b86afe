"""Settings: YAML and environment, parsed once into frozen values; all faults are reported at once.

`load_settings` is the only place of the package that reads the process's environment.
"""

from plano_asgi.settings.classifier_schema import ClassifierSettings
from plano_asgi.settings.loading import load_settings
from plano_asgi.settings.outline import known_settings, variable_name
from plano_asgi.settings.result import Settings
from plano_asgi.settings.schema import (
    AdminSettings,
    CacheSettings,
    LimitsSettings,
    PlanoSettings,
    RoutingSettings,
)
from plano_asgi.settings.starting_file import STARTING_FILE

__all__ = [
    "STARTING_FILE",
    "AdminSettings",
    "CacheSettings",
    "ClassifierSettings",
    "LimitsSettings",
    "PlanoSettings",
    "RoutingSettings",
    "Settings",
    "known_settings",
    "load_settings",
    "variable_name",
]
