"""What operators look at, as ASGI apps: metrics for Prometheus, and the decision log."""

from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from time import monotonic
from typing import Final

import anyio
import anyio.to_thread
import orjson
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import ASGIApp

from plano_asgi.assembly import Service
from plano_asgi.errors import CallError, StoreError
from plano_asgi.http.admin import OperatorEndpoint
from plano_asgi.http.playground import playground_endpoints
from plano_asgi.observe.journal import FILTERS, MOST_PAGE, DecisionJournal, Page

DECISIONS_PATH: Final = "/routing/v1/decisions"
USUAL_PAGE: Final = 50
FOLLOW_S: Final = 20.0  # a stream ends after that, so that a server can stop; readers ask again where they were
POLL_S: Final = 0.25
AGAIN_MS: Final = 250
MOST_FOLLOWERS: Final = 16


class DecisionLogView:
    """Shows the decision log: pages of it, or what comes, as server-sent events; to 16 followers at the most."""

    def __init__(self, journal: DecisionJournal) -> None:
        """Take the log."""
        self._journal = journal
        self._followers = 0

    async def __call__(self, request: Request) -> Response:
        """Return a page, or begin to follow.

        Raises:
            CallError: A parameter is unknown or wrong, or the log cannot be read.
        """
        asked = dict(request.query_params)
        is_followed = asked.pop("follow", "") in {"true", "1"}
        limit, before = _limit(asked.pop("limit", str(USUAL_PAGE))), asked.pop("before", None)
        after = asked.pop("after", None) or request.headers.get("last-event-id")
        if unknown := sorted(set(asked) - set(FILTERS)):
            message = (
                f"there is no parameter of that name here; there are limit, before, after, follow, {', '.join(FILTERS)}"
            )
            raise CallError(message, status=400, code="unknown_parameter", param=unknown[0][:64])
        if is_followed:
            return await self._followed(after, asked)
        page = await _asked(partial(self._page, limit=limit, before=before, after=after, wanted=asked))
        return Response(orjson.dumps(self._shown(page)), media_type="application/json", headers=_UNCACHED)

    def _page(self, *, limit: int, before: str | None, after: str | None, wanted: Mapping[str, str]) -> Page:
        if after is not None:
            return self._journal.newer(after, wanted=wanted)
        return self._journal.newest(limit=limit, before=before, wanted=wanted)

    def _shown(self, page: Page) -> dict[str, object]:
        store = self._journal.store
        return {
            "decisions": page.entries,
            "next": page.next,
            "store": store.kind,
            "worker": None if store.is_shared else self._journal.worker,
        }

    async def _followed(self, after: str | None, wanted: Mapping[str, str]) -> Response:
        if self._followers >= MOST_FOLLOWERS:
            raise CallError("too many follow the decision log already", status=503, code="too_many_followers")
        if after is None:
            newest = await _asked(partial(self._journal.newest, limit=1))
            after = str(newest.entries[0]["id"]) if newest.entries else "0"
        first = await _asked(partial(self._journal.newer, after, wanted=wanted))
        return StreamingResponse(self._events(first, wanted), media_type="text/event-stream", headers=_UNCACHED)

    async def _events(self, page: Page, wanted: Mapping[str, str]) -> AsyncIterator[bytes]:
        """Yield what comes for some seconds; a log that cannot be read any more ends the stream."""
        self._followers += 1
        until = monotonic() + FOLLOW_S
        try:
            yield b"retry: %d\nid: %s\n\n" % (AGAIN_MS, str(page.next).encode())
            while True:
                for entry in page.entries:
                    yield b"event: decision\nid: %s\ndata: %s\n\n" % (str(entry["id"]).encode(), orjson.dumps(entry))
                if monotonic() > until:
                    return
                await anyio.sleep(POLL_S)
                page = await _asked(partial(self._journal.newer, str(page.next), wanted=wanted))
        except CallError:
            return
        finally:
            self._followers -= 1


_UNCACHED: Final = {"cache-control": "no-store"}


def operator_endpoints(service: Service, *, in_host: bool = True) -> Mapping[str, ASGIApp]:
    """Return what operators look at, by its paths; what the settings do not switch on is not there.

    Args:
        service: What is looked at.
        in_host: Whether the process is somebody else's app, in which nothing is shown that is not asked for.
    """
    token, observation = service.settings.admin.token, service.observation
    endpoints: dict[str, ASGIApp] = {}
    if observation.observer.journal:
        endpoints[DECISIONS_PATH] = OperatorEndpoint(DecisionLogView(observation.observer.journal), token)
    if prometheus := observation.prometheus:

        async def metrics(_: Request) -> Response:
            text = await anyio.to_thread.run_sync(prometheus.exposition)
            return Response(text, headers={"content-type": prometheus.content_type, **_UNCACHED})

        endpoints[service.settings.telemetry.metrics_path] = OperatorEndpoint(metrics, token)
    if service.settings.playground.is_shown(in_host=in_host):
        endpoints |= playground_endpoints(service)
    return endpoints


async def _asked(read: Callable[[], Page]) -> Page:
    try:
        return await anyio.to_thread.run_sync(read)
    except StoreError as error:
        raise CallError(str(error), status=503, code="decision_log_unavailable") from None
    except (ValueError, OverflowError):
        message = "before and after take the id of a decision of this log, as an earlier answer has it"
        raise CallError(message, status=400, code="unknown_decision") from None


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= MOST_PAGE):
        raise CallError(f"limit is a number from 1 to {MOST_PAGE}", status=400, code="invalid_limit", param="limit")
    return int(text)
