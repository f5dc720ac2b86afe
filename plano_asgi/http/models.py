"""`GET /v1/models` and `GET /v1/models/{id}` as an ASGI app."""

from dataclasses import dataclass
from typing import Final

from starlette.types import Receive, Scope, Send

from plano_asgi.http.endpoints import send_answer
from plano_asgi.http.paths import path_in_app
from plano_asgi.intake import Headers
from plano_asgi.intake.model_list import MODELS_PATH, ListedModel, listed_models, models_answer
from plano_asgi.settings import Settings

METHODS: Final = frozenset({"GET", "HEAD"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelsEndpoint:
    """Tells what calls may name.

    Attributes:
        listed: What there is.
    """

    listed: tuple[ListedModel, ...]

    def serves(self, scope: Scope) -> bool:
        """Return whether a request is for this list or for an entry of it."""
        if scope["method"] not in METHODS:
            return False
        path = path_in_app(scope)
        return (path == MODELS_PATH or path.startswith(f"{MODELS_PATH}/")) and is_spelt_out(scope)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request; ids may hold slashes."""
        del receive
        _, is_one, wanted = path_in_app(scope).partition(f"{MODELS_PATH}/")
        answer = models_answer(self.listed, wanted if is_one else None, Headers.from_raw(scope["headers"]))
        await send_answer(answer, send)


def is_spelt_out(scope: Scope) -> bool:
    """Return whether the path has this name as it is; behind it, in an id, SDKs write a slash as `%2F`."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    return MODELS_PATH.encode() in raw


def models_endpoint(settings: Settings) -> ModelsEndpoint | None:
    """Return what lists the models under `mode: forward`, None where the settings do not ask for it."""
    if settings.mode != "forward" or not settings.forward.list_models:
        return None
    listed = listed_models(settings.catalog, settings.policy, is_told_all=settings.response_headers)
    return ModelsEndpoint(listed=listed)
