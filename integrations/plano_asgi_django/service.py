"""What the project routes by: made of its settings once in a process, whoever asks for it."""

from collections.abc import Mapping
from functools import cache
from os import PathLike
from pathlib import Path
from typing import Any, Final

from django.conf import settings as project
from django.core.signals import setting_changed
from django.dispatch import receiver

from plano_asgi.assembly import Adapted, build_adapted
from plano_asgi.errors import ConfigurationError, Fault
from plano_asgi.settings import Settings, load_settings

CONFIG_FILE: Final = "config_file"
UPLOAD_LIMIT: Final = "DATA_UPLOAD_MAX_MEMORY_SIZE"


@cache
def adapted() -> Adapted | None:
    """Return what the project routes by, with no model loaded yet; None where `enabled` is false.

    Raises:
        ConfigurationError: `PLANO`, its file or the environment cannot be used; every fault is named.
        ArtifactError: A model file is missing.
        MissingExtraError: The settings ask for an extra that is not installed.
    """
    return build_adapted(plano_settings(), asgi_app="get_asgi_application()", body_bytes=getattr(project, UPLOAD_LIMIT))


def plano_settings() -> Settings:
    """Return the settings: of `PLANO` over its `config_file`, and of the environment over both.

    Raises:
        ConfigurationError: They cannot be used; every fault is named.
    """
    given = getattr(project, "PLANO", {})
    if not isinstance(given, Mapping):
        raise ConfigurationError([Fault(where="PLANO", what="expected a dict of settings, as in plano.yaml")])
    file = given.get(CONFIG_FILE)
    if file is not None and not isinstance(file, str | PathLike):
        raise ConfigurationError([Fault(where=CONFIG_FILE, what="expected the path of a YAML file")])
    said = {key: value for key, value in given.items() if key != CONFIG_FILE}
    return load_settings(default_file=None if file is None else Path(file), defaults=said)


@receiver(setting_changed)
def forget(*, setting: str, **_: Any) -> None:  # noqa: ANN401 - whatever else a signal says
    """Make it anew when tests change what it is made of."""
    if setting not in {"PLANO", UPLOAD_LIMIT}:
        return
    if adapted.cache_info().currsize and (former := adapted()):
        former.router.close()
    adapted.cache_clear()
