"""Environment variables, laid over a draft; every `PLANO_` variable is a known setting or a fault."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from plano_asgi.errors import Fault
from plano_asgi.settings.draft import Draft, Keys, dotted
from plano_asgi.settings.files import read_file
from plano_asgi.settings.outline import Kind, nearest_variable, outline_at
from plano_asgi.settings.schema import ENV_PREFIX
from plano_asgi.settings.yaml_source import number

CONFIG_FILE_VARIABLE: Final = f"{ENV_PREFIX}CONFIG_FILE"

_FILE_SUFFIX: Final = "_FILE"
_INDEX = re.compile(r"[0-9]{1,4}")
_FLAGS: Final = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}
_JSON: Final = {
    Kind.LIST: 'expected a JSON list, e.g. ["auto"]',
    Kind.MAP: 'expected a JSON object, e.g. {"name": "value"}',
    Kind.SECTION: 'expected a JSON object, e.g. {"name": "value"}',
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Variable:
    """One variable that names a setting.

    Attributes:
        name: The variable's name.
        keys: The setting's path.
        kind: How its text is read.
        text: Its value, or the name of the file that holds it.
        is_file: Which of both.
    """

    name: str
    keys: Keys
    kind: Kind
    text: str
    is_file: bool


def read_environment(environ: Mapping[str, str], draft: Draft) -> None:
    """Lay every `PLANO_` variable over a draft; an empty one counts as not set.

    Parents go before children and index 0 before index 1, so that the order of the environment does not matter.
    """
    variables = [found for name in sorted(environ) if (found := _variable(draft, name, environ))]
    by_keys: dict[Keys, _Variable] = {}
    for variable in sorted(variables, key=_order):
        if other := by_keys.get(variable.keys):
            _fault(draft, variable, f"{other.name} is set as well; keep one of both")
        by_keys[variable.keys] = variable
        _lay(draft, variable)


def _variable(draft: Draft, name: str, environ: Mapping[str, str]) -> _Variable | None:
    """Return what a variable names; None for one that is not ours, empty or, which is a fault, unknown."""
    if not name.startswith(ENV_PREFIX) or name == CONFIG_FILE_VARIABLE or _is_kubernetes(name, environ):
        return None
    for is_file in (False, True):
        setting = name.removesuffix(_FILE_SUFFIX) if is_file else name
        keys = _keys(setting)
        place = outline_at(keys) if keys else None
        if place and (setting != name) is is_file:
            found = _Variable(name=name, keys=keys, kind=place.kind, text=environ[name], is_file=is_file)
            return found if found.text else None
    nearest = nearest_variable(name)
    hint = f"did you mean {nearest}?" if nearest else "remove it, or see `plano-asgi init` for what there is"
    shown = dotted((name,))
    draft.faults.append(Fault(where=shown, what=f"is not a setting; {hint}", origin=shown, is_unknown=True))
    return None


def _keys(name: str) -> Keys:
    """Return the path that a variable's name spells; one that is not in capitals spells none."""
    if name != name.upper():
        return ()
    parts = name.removeprefix(ENV_PREFIX).lower().split("__")
    return tuple(int(part) if _INDEX.fullmatch(part) else part for part in parts)


def _is_kubernetes(name: str, environ: Mapping[str, str]) -> bool:
    """Return whether Kubernetes injects the variable, for a service named `plano` or `plano-something`."""
    services = [found.removesuffix("_SERVICE_HOST") for found in environ if found.endswith("_SERVICE_HOST")]
    return any(
        name == f"{service}_PORT" or name.startswith((f"{service}_SERVICE_", f"{service}_PORT_"))
        for service in ["PLANO", *services]
    )


def _order(variable: _Variable) -> list[tuple[int, str]]:
    """Return the sort key that puts parents before children and indexes in order."""
    return [(key, "") if isinstance(key, int) else (-1, key) for key in variable.keys]


def _lay(draft: Draft, variable: _Variable) -> None:
    """Lay one variable over a draft, or record why it cannot be read."""
    text = _file_text(draft, variable) if variable.is_file else variable.text
    if text is None:
        return
    if variable.kind in _JSON:
        value = _json(draft, variable, text)
        if value is None:
            return
    elif variable.kind is Kind.FLAG:
        value = _FLAGS.get(text.lower(), text)
    else:
        value = text if variable.kind is Kind.TEXT else number(text)
    draft.put(variable.keys, value, origin=variable.name)


def _file_text(draft: Draft, variable: _Variable) -> str | None:
    """Return a file's text less one newline at its end; None where it cannot be read, which is a fault."""
    file = read_file(Path(variable.text))
    if file.problem:
        _fault(draft, variable, f"the file that it names {file.problem}")
        return None
    return file.text.removesuffix("\n")


def _json(draft: Draft, variable: _Variable, text: str) -> object:
    """Return JSON of the kind that a variable takes; None where it is not, which is a fault."""
    try:
        value: object = json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, list if variable.kind is Kind.LIST else dict):
        _fault(draft, variable, _JSON[variable.kind])
        return None
    return value


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return an object's content; a key given twice is refused, since two readers could disagree about it."""
    content = dict(pairs)
    if len(content) != len(pairs):
        raise ValueError("a key is given twice")
    return content


def _fault(draft: Draft, variable: _Variable, what: str) -> None:
    """Record that a variable is wrong."""
    draft.faults.append(Fault(where=dotted(variable.keys), what=what, origin=variable.name))
