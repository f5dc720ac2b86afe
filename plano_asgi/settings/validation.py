"""What makes settings fit together, beyond what makes each of them valid.

The checks read the tree as written, so that they report even where a part of it does not have the right shape.
"""

from collections.abc import Iterator
from importlib.util import find_spec

from plano_asgi.preferences import MAX_ROUTES, SelectionPolicy
from plano_asgi.settings.aliases import nearest_name, stands_for_a_model
from plano_asgi.settings.draft import Draft, Keys, dotted
from plano_asgi.settings.model_metrics import has_source

_PROVIDERS = "model_providers"
_PREFERENCES = "routing_preferences"
_REMOTE_ONLY = ("base_url", "access_key", "model")


def check_coherence(draft: Draft) -> None:
    """Record every fault and warning that concerns more than one setting."""
    providers = draft.mappings(_PROVIDERS)
    for field in ("model", "name"):
        check_unique(draft, [(*keys, field) for keys, _ in providers], f"the same {field} as")
    _check_default(draft, [keys for keys, provider in providers if provider.get("default") is True])
    preferences = [keys for keys, _ in _preferences(draft)]
    check_unique(draft, [(*keys, "name") for keys in preferences], "the same route name as")
    if len(preferences) > MAX_ROUTES:
        what = f"a policy has at most {MAX_ROUTES} routes; there are {len(preferences)}"
        draft.fault(preferences[MAX_ROUTES], what)
    check_classifier(draft, ("classifier",))
    for keys, _ in draft.mappings(_PREFERENCES):
        check_preference(draft, keys)


def check_classifier(draft: Draft, place: Keys) -> None:
    """Record every fault between the settings of the classifier at a place."""
    _check_remote(draft, place)
    _check_cascade(draft, place)


def check_preference(draft: Draft, preference: Keys) -> None:
    """Record a fault for each model that a preference cannot have, and a warning for an order that nobody can make."""
    _check_models(draft, preference)
    _check_selection(draft, preference)


def _preferences(draft: Draft) -> Iterator[tuple[Keys, dict[str, object]]]:
    """Yield every preference in the policy's order: nested ones by provider, then those of the top level."""
    for keys, _ in draft.mappings(_PROVIDERS):
        yield from draft.mappings(*keys, _PREFERENCES)
    yield from draft.mappings(_PREFERENCES)


def check_unique(draft: Draft, places: list[Keys], what: str) -> None:
    """Record a fault for each text that is written at an earlier place already."""
    first: dict[str, Keys] = {}
    for keys in places:
        text = draft.at(*keys)
        if not isinstance(text, str):
            continue
        if text in first:
            draft.fault(keys, f"{what} {draft.place(first[text])}; keep one")
        first.setdefault(text, keys)


def _check_default(draft: Draft, defaults: list[Keys]) -> None:
    """Record a fault unless there is a provider and one is the default, or none need be."""
    for keys in defaults[1:]:
        first = draft.place((*defaults[0], "default"))
        draft.fault((*keys, "default"), f"{first} is the default already; keep one")
    providers = draft.at(_PROVIDERS)
    if not providers:
        draft.fault((_PROVIDERS,), "no model provider is declared; add one, e.g. `- model: openai/gpt-4o-mini`")
        return
    is_undecided = not isinstance(providers, list) or any(
        not isinstance(provider, dict) or not _is_flag(provider.get("default")) for provider in providers
    )
    if defaults or is_undecided or draft.at("routing", "unmatched") not in {None, "default"}:
        return
    draft.fault(
        (_PROVIDERS,),
        "no provider has `default: true`; mark the one that serves calls no route matches, "
        "or set routing.unmatched to requested",
    )


def _is_flag(value: object) -> bool:
    """Return whether a value can be read as true, false or not given."""
    return value is None or isinstance(value, bool)


def _check_remote(draft: Draft, place: Keys) -> None:
    """Record a fault where a remote classifier has no URL, or another one has what only a remote one reads."""
    kind = draft.at(*place, "kind")
    given = [name for name in _REMOTE_ONLY if draft.at(*place, name) is not None]
    is_remote = kind == "remote" or (kind == "cascade" and "base_url" in given)
    if is_remote and "base_url" not in given:
        what = f"is required where {dotted(place)}.kind is remote; add it, e.g. http://localhost:8000/v1"
        draft.fault((*place, "base_url"), what)
    for name in () if is_remote else given:
        draft.fault((*place, name), f"is read only where {dotted(place)}.kind is remote; set that, or remove this")


def _check_cascade(draft: Draft, place: Keys) -> None:
    """Record a fault where it is not clear whom a cascade asks second."""
    if draft.at(*place, "kind") != "cascade":
        return
    has_folder, has_server = (draft.at(*place, name) is not None for name in ("model_path", "base_url"))
    if not has_folder and not has_server:
        what = "a cascade needs a second classifier: add classifier.model_path, the folder that plano-asgi export wrote"
        draft.fault((*place, "kind"), f"{what}, or classifier.base_url, where a server has one")
    if has_folder and has_server:
        what = "a cascade asks one classifier after the embedded one; keep this or classifier.base_url"
        draft.fault((*place, "model_path"), what)


def _check_models(draft: Draft, preference: Keys) -> None:
    """Record a fault for each model of a preference that is not declared, or is there twice."""
    models = draft.at(*preference, "models")
    places = [(*preference, "models", index) for index, _ in enumerate(models if isinstance(models, list) else [])]
    check_unique(draft, places, "the same model as")
    for keys in places:
        model = draft.at(*keys)
        if isinstance(model, str) and not stands_for_a_model(model, draft):
            nearest = nearest_name(model, draft)
            hint = f"; did you mean {nearest}?" if nearest else "; declare it there"
            draft.fault(keys, f"is not among the models of {_PROVIDERS}{hint}")


def _check_selection(draft: Draft, preference: Keys) -> None:
    """Record a warning where a preference asks for an order by what nobody will know."""
    keys = (*preference, "selection_policy", "prefer")
    preferred = draft.at(*keys)
    has_prices = draft.at("prices") or has_source(draft, "cost") or find_spec("genai_prices") is not None
    if preferred == SelectionPolicy.CHEAPEST and not has_prices:
        what = "needs prices; write them below prices, name a source of cost, or install the extra prices"
        draft.warn(keys, f"{what}: models keep their order")
    if preferred == SelectionPolicy.FASTEST and draft.at("mode") != "forward" and not has_source(draft, "latency"):
        what = "needs mode: forward, where answers are timed, or a source of latency"
        draft.warn(keys, f"{what}: elsewhere models keep their written order")
