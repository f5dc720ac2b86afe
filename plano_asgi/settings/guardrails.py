"""What makes guardrails fit together: each has what its filter needs and no more, and acts where it stands."""

from collections.abc import Iterator
from importlib.metadata import entry_points
from typing import Final

from plano_asgi.settings.draft import Draft, Keys
from plano_asgi.settings.fields import LANGUAGE_CODE, LANGUAGE_FAULT

ENTRY_POINTS: Final = "plano_asgi.filters"
_OPTIONS: Final = {
    "pii": {"action", "kinds", "restore"},
    "presidio": {"action", "entities", "languages", "models", "restore", "threshold"},
    "injection": {"action", "threshold"},
    "languages": {"action", "allow", "deny", "threshold", "unsure"},
    "patterns": {"action", "deny", "allow"},
    "size": {"characters", "messages"},
}
_OF_OURS: Final = frozenset().union(*_OPTIONS.values())
_NEEDED: Final = {
    "languages": ("allow", "deny"),
    "patterns": ("deny", "allow"),
    "size": ("characters", "messages"),
}
_MASKING: Final = frozenset({"pii", "presidio"})
_OF_CALLS: Final = {
    "injection": "judges what is said to a model, not what it says; move it to calls",
    "languages": "judges what users write; move it to calls",
    "presidio": "takes too long for an answer that is waited for; move it to calls",
}
_OPTION_OF_CALLS: Final = {"patterns": "allow", "size": "messages", "pii": "restore"}


def check_guardrails(draft: Draft) -> None:
    """Record every fault and warning of guardrails and filters."""
    for keys, one in draft.mappings("filters"):
        _check_filter(draft, keys, one)
    for keys, one in _guardrails(draft):
        _check_guardrail(draft, keys, one)
    _check_routes(draft)
    if draft.at("mode") == "observe" and any(True for _ in _guardrails(draft)):
        draft.warn(("guardrails",), "mode is observe, which changes nothing; no guardrail acts")


def _chains(draft: Draft) -> Iterator[Keys]:
    yield ("guardrails",)
    routes = draft.at("guardrails", "routes")
    for name in routes if isinstance(routes, dict) else ():
        yield ("guardrails", "routes", name)


def _guardrails(draft: Draft) -> Iterator[tuple[Keys, dict[str, object]]]:
    for chain in _chains(draft):
        for side in ("calls", "answers"):
            yield from draft.mappings(*chain, side)


def _check_filter(draft: Draft, keys: Keys, one: dict[str, object]) -> None:
    kind, name = one.get("type", "http"), one.get("id")
    if name in _OPTIONS:
        draft.fault((*keys, "id"), "is the name of a filter of this package; choose another")
    earlier = [other for other, entry in draft.mappings("filters") if entry.get("id") == name and other < keys]
    if isinstance(name, str) and earlier:
        draft.fault((*keys, "id"), f"the same id as {draft.place((*earlier[0], 'id'))}; keep one")
    if kind == "http" and one.get("url") is None:
        draft.fault((*keys, "url"), "is required where type is http; add it, e.g. http://localhost:9000")
    if kind == "python":
        entry_point = one.get("entry_point") or name
        if isinstance(entry_point, str) and not entry_points(group=ENTRY_POINTS, name=entry_point):
            what = f"no installed package has an entry point of that name in the group {ENTRY_POINTS}"
            draft.fault((*keys, "entry_point" if "entry_point" in one else "id"), what)


def _check_guardrail(draft: Draft, keys: Keys, one: dict[str, object]) -> None:
    name, is_answer = one.get("filter"), keys[-2] == "answers"
    if not isinstance(name, str):
        return
    declared = {entry.get("id") for _, entry in draft.mappings("filters")}
    options = _OPTIONS.get(name, set())
    if name not in _OPTIONS and name not in declared:
        known = ", ".join((*_OPTIONS, *sorted(str(found) for found in declared)))
        draft.fault((*keys, "filter"), f"there is no such filter; known are {known}; declare others under filters")
        return
    for option in sorted((_OF_OURS - options) & one.keys()):
        draft.fault((*keys, option), f"is no setting of this filter; remove it{_hint(options)}")
    if name in _NEEDED and not any(one.get(option) for option in _NEEDED[name]):
        draft.fault((*keys, "filter"), f"needs {' or '.join(_NEEDED[name])}; without it nothing is judged")
    if one.get("action") == "mask" and name not in _MASKING:
        draft.fault((*keys, "action"), "only pii and presidio mask; use block or report")
    if name == "languages":
        _check_languages(draft, keys, one)
    if name == "presidio":
        _check_models(draft, keys, one)
    if is_answer:
        _check_of_answer(draft, keys, one, name)


def _check_languages(draft: Draft, keys: Keys, one: dict[str, object]) -> None:
    if one.get("allow") and one.get("deny"):
        draft.fault((*keys, "deny"), "what is not in allow is denied already; keep one of the two")
    for side in ("allow", "deny"):
        named = one.get(side)
        for number, code in enumerate(named if isinstance(named, list) else ()):
            if isinstance(code, str) and not LANGUAGE_CODE.fullmatch(code):
                draft.fault((*keys, side, number), LANGUAGE_FAULT)


def _check_models(draft: Draft, keys: Keys, one: dict[str, object]) -> None:
    models, languages = one.get("models"), one.get("languages") or ["en"]
    for language in models if isinstance(models, dict) else ():
        if isinstance(languages, list) and language not in languages:
            draft.fault((*keys, "models", language), "is not among languages; add it there, or remove it here")


def _hint(options: set[str]) -> str:
    return f", or use {', '.join(sorted(options))}" if options else ""


def _check_of_answer(draft: Draft, keys: Keys, one: dict[str, object], name: str) -> None:
    if draft.at("mode") != "forward":
        what = "acts on answers, which are seen in mode forward and through the outbound transport only"
        draft.warn(keys, what)
    if name in _OF_CALLS:
        draft.fault((*keys, "filter"), _OF_CALLS[name])
    if (only := _OPTION_OF_CALLS.get(name)) and one.get(only):
        draft.fault((*keys, only), "is of calls only; remove it here")
    if name not in _OPTIONS and draft.at("guardrails", "hold") != "answer":
        what = "judges answers that are all there; set guardrails.hold to answer, so that streams are held until it has"
        draft.fault((*keys, "filter"), what)


def _check_routes(draft: Draft) -> None:
    routes = draft.at("guardrails", "routes")
    if not isinstance(routes, dict):
        return
    named = {entry.get("name") for _, entry in draft.mappings("routing_preferences")}
    for keys, _ in draft.mappings("model_providers"):
        named |= {entry.get("name") for _, entry in draft.mappings(*keys, "routing_preferences")}
    for name in routes:
        if name not in named:
            what = "no configured preference has this name; only calls that bring one along would meet these guardrails"
            draft.warn(("guardrails", "routes", name), what)
