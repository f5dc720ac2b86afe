"""The policy that a call brings along in its body, in either of its two forms.

```text
routing_policy:      [{model, routing_preferences: [{name, description}]}]
routing_preferences: [{name, description, models, selection_policy: {prefer}}]
```

A key that the forms do not name is an error: a request has no place for a URL, a credential or a header of ours.
"""

from collections.abc import Iterator
from typing import Final

from plano_asgi.errors import InlinePolicyError, WireFormatError
from plano_asgi.preferences import (
    MAX_DESCRIPTION_CHARS,
    MAX_ROUTES,
    RoutingPolicy,
    RoutingPreference,
    SelectionPolicy,
    description_fault,
    name_fault,
)
from plano_asgi.providers import reference_fault
from plano_asgi.wire.fields import Fields, a_string, an_array, an_object, invalid, place, required, required_string

POLICY_KEY: Final = "routing_policy"
PREFERENCES_KEY: Final = "routing_preferences"
INLINE_KEYS: Final = frozenset({POLICY_KEY, PREFERENCES_KEY})
_NAMED_KEYS: Final = frozenset(
    {
        "access_key",
        "api_key",
        "base_url",
        "default",
        "description",
        "endpoint",
        "headers",
        "http_host",
        "model",
        "models",
        "name",
        "passthrough_auth",
        "prefer",
        "provider_interface",
        PREFERENCES_KEY,
        "selection_policy",
    }
)  # what a refusal may name; any other key is a text of the caller's and is not echoed


def read_inline_policy(body: Fields) -> RoutingPolicy | None:
    """Return the call's own policy, or None where it brings none; null counts as none.

    Raises:
        InlinePolicyError: The policy is malformed; it is never ignored.
    """
    try:
        return _read(body)
    except WireFormatError as error:
        raise InlinePolicyError(error.message, code=error.code, param=error.param) from None


def _read(body: Fields) -> RoutingPolicy | None:
    given = [key for key in (POLICY_KEY, PREFERENCES_KEY) if body.get(key) is not None]
    if not given:
        return None
    if len(given) > 1:
        raise invalid(POLICY_KEY, f"send {POLICY_KEY} or {PREFERENCES_KEY}, not both")
    read = _by_model if given[0] == POLICY_KEY else _by_preference
    entries = an_array(body[given[0]], given[0])
    preferences: dict[str, RoutingPreference] = {}
    for preference, at in read(entries, given[0]):
        if preference.name in preferences:
            raise invalid(place(at, "name"), "another route has this name; names are unique")
        preferences[preference.name] = preference
        if len(preferences) > MAX_ROUTES:
            raise WireFormatError(f"{given[0]}: at most {MAX_ROUTES} routes", code="too_many_routes", param=given[0])
    return RoutingPolicy(preferences=tuple(preferences.values()))


def _by_model(entries: object, at: str) -> Iterator[tuple[RoutingPreference, str]]:
    for index, element in enumerate(an_array(entries, at)):
        entry_at = place(at, index)
        entry = _closed_object(element, entry_at, {"model", PREFERENCES_KEY})
        model = _model(required(entry, "model", entry_at), place(entry_at, "model"))
        list_at = place(entry_at, PREFERENCES_KEY)
        for number, item in enumerate(an_array(required(entry, PREFERENCES_KEY, entry_at), list_at)):
            item_at = place(list_at, number)
            yield _preference(_closed_object(item, item_at, {"name", "description"}), item_at, (model,)), item_at


def _by_preference(entries: object, at: str) -> Iterator[tuple[RoutingPreference, str]]:
    for index, element in enumerate(an_array(entries, at)):
        item_at = place(at, index)
        item = _closed_object(element, item_at, {"name", "description", "models", "selection_policy"})
        models_at = place(item_at, "models")
        models = an_array(required(item, "models", item_at), models_at)
        yield (
            _preference(item, item_at, tuple(_model(m, place(models_at, i)) for i, m in enumerate(models))),
            item_at,
        )


def _preference(item: Fields, at: str, models: tuple[str, ...]) -> RoutingPreference:
    name = required_string(item, "name", at)
    if fault := name_fault(name):
        raise invalid(place(at, "name"), fault)
    description = required_string(item, "description", at)
    if fault := description_fault(description):
        description_at = place(at, "description")
        code = "string_too_long" if len(description) > MAX_DESCRIPTION_CHARS else "invalid_value"
        raise WireFormatError(f"{description_at}: {fault}", code=code, param=description_at)
    return RoutingPreference(
        name=name, description=description, models=models, selection_policy=_selection_policy(item, at)
    )


def _selection_policy(item: Fields, at: str) -> SelectionPolicy:
    value = item.get("selection_policy")
    if value is None:
        return SelectionPolicy.NONE
    policy_at = place(at, "selection_policy")
    prefer = _closed_object(value, policy_at, {"prefer"}).get("prefer")
    if prefer is None or prefer == "":
        return SelectionPolicy.NONE
    prefer_at = place(policy_at, "prefer")
    name = a_string(prefer, prefer_at)
    try:
        return SelectionPolicy(name)
    except ValueError:
        raise invalid(prefer_at, f"expected one of {', '.join(SelectionPolicy)}") from None


def _model(value: object, at: str) -> str:
    model = a_string(value, at)
    if fault := reference_fault(model):
        raise invalid(at, fault)
    return model


def _closed_object(value: object, at: str, allowed: set[str]) -> Fields:
    fields = an_object(value, at)
    if unknown := fields.keys() - allowed:
        known = ", ".join(sorted(allowed))
        named = sorted(unknown & _NAMED_KEYS)
        unknown_at = place(at, named[0]) if named else at
        raise WireFormatError(
            f"{unknown_at}: unknown key; allowed are {known}", code="unknown_parameter", param=unknown_at
        )
    return fields
