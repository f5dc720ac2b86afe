"""`wrap_client`: an SDK's client as it is, but for where its calls go."""

from pathlib import Path
from typing import Any, Final, TypeVar

from plano_asgi.outbound.family import family_of
from plano_asgi.outbound.outbound_transport import transport
from plano_asgi.router import Router
from plano_asgi.settings import Settings

_Client = TypeVar("_Client")


def wrap_client(
    client: _Client,
    *,
    config: str | Path | None = None,
    settings: Settings | None = None,
    router: Router | None = None,
) -> _Client:
    """Return a copy of an SDK's client whose LLM calls are routed on their way out; it shares the connections.

    For the clients of `openai` and `anthropic`, blocking and async, Azure's among them. The copy keeps keys, base URL,
    timeouts, retries and headers, and sends through the client that it is made of: what that has been given of limits,
    proxies, certificates and event hooks applies to calls of model providers too. Closing one of the two closes both.

    Args:
        client: The client.
        config: As `transport` takes it.
        settings: As `transport` takes it.
        router: As `transport` takes it.

    Raises:
        TypeError: It is no client of that kind.
        ConfigurationError: As `transport` raises it.
        ArtifactError: As `transport` raises it.
        MissingExtraError: As `transport` raises it.
    """
    sender, copy = getattr(client, "_client", None), getattr(client, "with_options", None)
    if sender is None or copy is None:
        message = f"expected a client of the openai or the anthropic SDK, got {type(client).__qualname__}"
        raise TypeError(f"{message}; other HTTP clients take transport=plano_asgi.transport()")
    family = family_of(sender)
    make = family.AsyncClient if isinstance(sender, family.AsyncClient) else family.Client
    inner = _AwaitedSender(sender) if make is family.AsyncClient else _BlockingSender(sender)
    http_client = make(
        transport=transport(inner, config=config, settings=settings, router=router),
        auth=sender.auth,
        headers=sender.headers,
        params=sender.params,
        cookies=sender.cookies,
        timeout=sender.timeout,
        follow_redirects=sender.follow_redirects,
        max_redirects=sender.max_redirects,
        base_url=sender.base_url,
        trust_env=sender.trust_env,
    )
    wrapped: _Client = copy(http_client=http_client)
    return wrapped


class _BlockingSender:
    """A client as a transport: its connections, proxies and event hooks, but not its auth, which is one provider's."""

    def __init__(self, client: Any) -> None:  # noqa: ANN401 - of httpx or httpx2
        self._client: Final = client

    def handle_request(self, request: Any) -> Any:  # noqa: ANN401 - of httpx or httpx2
        return self._client.send(request, stream=True, auth=None, follow_redirects=False)

    def close(self) -> None:
        self._client.close()


class _AwaitedSender:
    def __init__(self, client: Any) -> None:  # noqa: ANN401 - of httpx or httpx2
        self._client: Final = client

    async def handle_async_request(self, request: Any) -> Any:  # noqa: ANN401 - of httpx or httpx2
        return await self._client.send(request, stream=True, auth=None, follow_redirects=False)

    async def aclose(self) -> None:
        await self._client.aclose()
