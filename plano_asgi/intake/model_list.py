"""What `GET /v1/models` lists: models, aliases and routes, as OpenAI's API has them or as Anthropic's."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import orjson

from plano_asgi.conversation import ApiFormat
from plano_asgi.errors import CallError
from plano_asgi.intake.answers import Answer, error_answer, json_answer
from plano_asgi.intake.headers import Headers
from plano_asgi.preferences import RoutingPolicy
from plano_asgi.providers import ModelCatalog, is_wildcard

MODELS_PATH: Final = "/v1/models"
OWNER: Final = "plano-asgi"
_UNKNOWN_TIME: Final = "1970-01-01T00:00:00Z"  # what Anthropic's API says where a date is not known

Entry = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedModel:
    """One entry of the list.

    Attributes:
        id: What a call may name.
        kind: `model`, `alias` or `route`.
        owner: Whose it is.
        name: A name for people.
        models: Of a route, who serves it in order; of an alias, the model it stands for.
    """

    id: str
    kind: str
    owner: str
    name: str
    models: tuple[str, ...] = ()


def listed_models(catalog: ModelCatalog, policy: RoutingPolicy, *, is_told_all: bool) -> tuple[ListedModel, ...]:
    """Return what callers are told there is; only aliases, and not what they stand for, unless `is_told_all`.

    `provider/*` is not listed, since no call can name it.
    """
    return tuple(_listed(catalog, policy) if is_told_all else _aliases(catalog, are_targets_told=False))


def models_answer(listed: tuple[ListedModel, ...], wanted: str | None, headers: Headers) -> Answer:
    """Return the list, or its one entry of the id `wanted`; in Anthropic's form for who sends `anthropic-version`."""
    is_anthropic = bool(headers.get("anthropic-version"))
    api_format = ApiFormat.MESSAGES if is_anthropic else ApiFormat.CHAT_COMPLETIONS
    write = _as_anthropic if is_anthropic else _as_openai
    request_id = headers.request_id()
    if wanted is None:
        entries = [write(entry) for entry in listed]
        whole = _anthropic_page(entries) if is_anthropic else {"object": "list", "data": entries}
        return json_answer(200, orjson.dumps(whole), api_format=api_format, request_id=request_id)
    found = next((entry for entry in listed if entry.id == wanted), None)
    if found is None:
        message = "this service has no such model, alias or route; GET /v1/models lists what it has"
        error = CallError(message, status=404, code="model_not_found")
        return error_answer(error, api_format=api_format, request_id=request_id)
    return json_answer(200, orjson.dumps(write(found)), api_format=api_format, request_id=request_id)


def _listed(catalog: ModelCatalog, policy: RoutingPolicy) -> Iterator[ListedModel]:
    for provider in catalog.providers:
        if not is_wildcard(provider.model):
            owner = provider.model.partition("/")[0]
            yield ListedModel(id=provider.model, kind="model", owner=owner, name=provider.name)
    yield from _aliases(catalog, are_targets_told=True)
    for preference in policy.preferences:
        name = preference.name
        yield ListedModel(id=name, kind="route", owner=OWNER, name=name, models=preference.models)


def _aliases(catalog: ModelCatalog, *, are_targets_told: bool) -> Iterator[ListedModel]:
    for alias, model in catalog.aliases.items():
        told = (model,) if are_targets_told else ()
        yield ListedModel(id=alias, kind="alias", owner=OWNER, name=alias, models=told)


def _as_openai(entry: ListedModel) -> Entry:
    of_ours = {"kind": entry.kind, **({"models": list(entry.models)} if entry.models else {})}
    return {"id": entry.id, "object": "model", "created": 0, "owned_by": entry.owner, **of_ours}


def _as_anthropic(entry: ListedModel) -> Entry:
    of_ours = {"kind": entry.kind, **({"models": list(entry.models)} if entry.models else {})}
    return {"type": "model", "id": entry.id, "display_name": entry.name, "created_at": _UNKNOWN_TIME, **of_ours}


def _anthropic_page(entries: list[Entry]) -> Entry:
    first, last = (entries[0]["id"], entries[-1]["id"]) if entries else (None, None)
    return {"data": entries, "has_more": False, "first_id": first, "last_id": last}
