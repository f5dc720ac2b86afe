"""`GET /v1/models` and `GET /v1/models/{id}` as an ASGI app."""

from dataclasses import dataclass
from typing import Final

from starlette.types import Receive, Scope, Send

from plano_asgi.http.endpoints import send_answer
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

    def serves(self, method: str, path: str) -> bool:
        """Return whether a request is for this list or for an entry of it; a path is the app's own part of it."""
        return method in METHODS and (path == MODELS_PATH or path.startswith(f"{MODELS_PATH}/"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request; ids may hold slashes."""
        del receive
        _, is_one, wanted = scope["path"].partition(f"{MODELS_PATH}/")
        answer = models_answer(self.listed, wanted if is_one else None, Headers.from_raw(scope["headers"]))
        await send_answer(answer, send)


def models_endpoint(settings: Settings) -> ModelsEndpoint | None:
    """Return what lists the models under `mode: forward`, None where the settings do not ask for it."""
    if settings.mode != "forward" or not settings.forward.list_models:
        return None
    listed = listed_models(settings.catalog, settings.policy, is_told_all=settings.response_headers)
    return ModelsEndpoint(listed=listed)
