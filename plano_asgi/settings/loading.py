"""The one door: file, environment and code in, frozen settings or every fault at once out."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from plano_asgi import events
from plano_asgi.errors import ConfigurationError, Fault
from plano_asgi.settings.aliases import check_aliases
from plano_asgi.settings.credentials import seal_credentials
from plano_asgi.settings.draft import Draft
from plano_asgi.settings.environment_source import CONFIG_FILE_VARIABLE, read_environment
from plano_asgi.settings.experiments import check_experiments
from plano_asgi.settings.explain import explain
from plano_asgi.settings.files import read_file
from plano_asgi.settings.forwarding import check_forwarding
from plano_asgi.settings.governance import check_governance
from plano_asgi.settings.guardrails import check_guardrails
from plano_asgi.settings.model_metrics import check_model_metrics
from plano_asgi.settings.plano_keys import adopt_plano_keys
from plano_asgi.settings.playground import check_playground
from plano_asgi.settings.providers import check_providers
from plano_asgi.settings.responses_state import check_responses_state
from plano_asgi.settings.result import Settings, settings_from
from plano_asgi.settings.schema import PlanoSettings
from plano_asgi.settings.sessions import check_sessions
from plano_asgi.settings.telemetry import check_telemetry
from plano_asgi.settings.validation import check_coherence
from plano_asgi.settings.yaml_source import read_yaml

DEFAULT_CONFIG_FILE: Final = Path("plano.yaml")


def load_settings(  # noqa: PLR0913 - each is one source, or what it is read for
    path: Path | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    default_file: Path | None = None,
    defaults: Mapping[str, object] | None = None,
    overrides: Mapping[str, object] | None = None,
    serves_rewritten: bool = False,
) -> Settings:
    """Return the settings that the file, the environment and the code describe; the later of these win.

    Args:
        path: The YAML file; where None, the one `PLANO_CONFIG_FILE` names, or `plano.yaml` if there is one.
        environ: The environment variables; the process's own where None.
        default_file: The file, where neither `path` nor `PLANO_CONFIG_FILE` names one.
        defaults: Settings from code that lie over the file and under the environment, nested as in the file.
        overrides: Settings from code that lie over the environment, too.
        serves_rewritten: Whether `mode: rewrite` serves calls as `forward` does, and is to be judged as that.

    Raises:
        ConfigurationError: Something is wrong; its `faults` list everything that is.
    """
    variables = os.environ if environ is None else environ
    draft = Draft()
    config_file, named_by = _config_file(path, variables, default_file)
    is_readable = config_file is None or _read_file(config_file, draft, named_by=named_by)
    _lay(defaults, draft)
    read_environment(variables, draft)
    _lay(overrides, draft)
    is_rewriting = draft.at("mode") in {None, "rewrite"} and draft.at("enabled") is not False
    is_served = serves_rewritten and is_rewriting
    if is_served:
        _lay({"mode": "forward"}, draft)
    written = _validated(draft, variables) if is_readable else None
    if written is None or draft.faults:
        raise ConfigurationError(sorted(dict.fromkeys(draft.faults), key=_file_first))
    if draft.warnings:
        events.get_logger().warning(events.SETTINGS_IGNORED, warnings=draft.warnings)
    settings = settings_from(written, environ=variables, warnings=tuple(draft.warnings), config_file=config_file)
    return replace(settings, mode="rewrite") if is_served else settings


def _config_file(path: Path | None, environ: Mapping[str, str], default: Path | None) -> tuple[Path | None, str]:
    """Return the file to read, or None, and the variable that names it."""
    if path is not None:
        return path, ""
    if named := environ.get(CONFIG_FILE_VARIABLE):
        return Path(named), CONFIG_FILE_VARIABLE
    if default is not None:
        return default, ""
    return (DEFAULT_CONFIG_FILE if DEFAULT_CONFIG_FILE.is_file() else None), ""


def _read_file(path: Path, draft: Draft, *, named_by: str) -> bool:
    """Fill the draft from a YAML file; return whether anything could be made of it."""
    file = read_file(path)
    if file.problem:
        origin = f"{path}:{file.line}" if file.line else named_by
        draft.faults.append(Fault(where="", what=f"{path} {file.problem}", origin=origin))
        return False
    tree = read_yaml(file.text, name=str(path))
    draft.values, draft.origins = tree.values, tree.origins
    draft.faults += tree.faults
    adopt_plano_keys(draft)
    return tree.is_readable


def _lay(settings: Mapping[str, object] | None, draft: Draft) -> None:
    """Lay settings from code over a draft."""
    for key, value in (settings or {}).items():
        draft.put((str(key),), _plain(value), origin="")


def _plain(value: object) -> object:
    """Return a value from code as the file would hold it: dicts, lists and scalars."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_plain(inner) for inner in value]
    return value


def _validated(draft: Draft, environ: Mapping[str, str]) -> PlanoSettings | None:
    """Return the validated tree, or None; whatever is wrong with it becomes a fault of the draft."""
    seal_credentials(draft, environ)
    settings = None
    try:
        settings = PlanoSettings.from_tree(draft.values)
    except ValidationError as error:
        explain(error, draft)
    check_coherence(draft)
    check_aliases(draft)
    check_providers(draft, environ)
    check_forwarding(draft, environ)
    check_governance(draft)
    check_sessions(draft)
    check_model_metrics(draft)
    check_experiments(draft)
    check_responses_state(draft)
    check_telemetry(draft)
    check_guardrails(draft)
    check_playground(draft)
    return settings


def _file_first(fault: Fault) -> tuple[bool, int, str]:
    """Return the order of a fault: those of the file by line, then variables, then code."""
    name, _, line = fault.origin.rpartition(":")
    return (False, int(line), name) if line.isdecimal() else (True, 0, "")
