"""pydantic's errors as faults: plain sentences that never hold a value."""

from collections.abc import Mapping
from typing import Final

from pydantic import ValidationError

from plano_asgi.settings.draft import Draft, Keys
from plano_asgi.settings.fields import FAULT_TYPE
from plano_asgi.settings.outline import nearest_setting, outline_at
from plano_asgi.settings.plano_keys import PLANO_ONLY

UNKNOWN: Final = "extra_forbidden"  # how pydantic calls a key that no field has
_KEY_MARK = "[key]"  # how pydantic says that a mapping's key is meant, not its value


def explain(error: ValidationError, draft: Draft) -> None:
    """Record each error of a validation as a fault of the draft."""
    details = error.errors(include_url=False, include_input=False)
    found = [(tuple(key for key in detail["loc"] if key != _KEY_MARK), detail) for detail in details]
    for keys, detail in found:
        if detail["type"] == "too_short" and any(other[: len(keys)] == keys and other != keys for other, _ in found):
            continue  # the list is short only because its entries are faulty
        draft.fault(keys, _sentence(keys, detail["type"], detail.get("ctx", {})), is_unknown=detail["type"] == UNKNOWN)


def _sentence(keys: Keys, kind: str, context: Mapping[str, object]) -> str:
    """Return what is wrong and what to do about it."""
    if kind == FAULT_TYPE:
        return str(context["what"])
    if kind == UNKNOWN:
        return _unknown(keys)
    if kind == "missing":
        return "is required here; add it"
    place = outline_at(keys)
    return place.expects if place else "is not what this setting expects"


def _unknown(keys: Keys) -> str:
    """Return what to do about a key that is no setting's."""
    if len(keys) == 1 and keys[0] in PLANO_ONLY:
        return "is a key of Plano's that plano-asgi does not read; remove it"
    nearest = nearest_setting(keys)
    return f"is not a setting; did you mean {nearest}?" if nearest else "is not a setting; remove it"
