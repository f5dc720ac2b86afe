"""What a provider lets us in by: a key, or a signature."""

from collections.abc import Callable
from dataclasses import dataclass, field

import anyio.to_thread

from plano_asgi.net import HttpRequest
from plano_asgi.providers import ModelProvider
from plano_asgi.secret import Secret
from plano_asgi.upstream.exchanges import Exchange
from plano_asgi.upstream.requests import RawHeaders, upstream_request

Sign = Callable[[ModelProvider, HttpRequest], HttpRequest]


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What a provider lets us in by.

    Attributes:
        key: That of its keys which is to be sent; None for the first, if it has any.
        sign: What signs the calls of a provider that wants that; it may block.
    """

    key: Secret | None = field(default=None, repr=False)
    sign: Sign | None = None

    async def request(
        self, provider: ModelProvider, exchange: Exchange, *, client_headers: RawHeaders, is_stream: bool
    ) -> HttpRequest:
        """Return the request of an exchange, ready to be sent.

        Raises:
            ForwardingError: There is no key of the caller's where that is needed, or no URL.
            NoCredentialsError: It has to be signed, and there is nothing to sign it with.
        """
        request = upstream_request(
            provider,
            exchange.provider_format,
            body=exchange.body,
            client_headers=client_headers,
            key=self.key,
            is_stream=is_stream,
            is_translated=exchange.is_translated,
        )
        if self.sign is None or not provider.is_signed:
            return request
        return await anyio.to_thread.run_sync(self.sign, provider, request, abandon_on_cancel=True)
