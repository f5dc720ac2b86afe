"""Reading a request body off an ASGI connection, within bounds."""

from typing import Final

import anyio
from starlette.types import Receive

from plano_asgi.errors import WireFormatError
from plano_asgi.intake.encodings import too_large

DRAIN_BYTES: Final = 1_048_576
DRAIN_S: Final = 0.5


class ClientDisconnectedError(Exception):
    """The client went away before its body was complete; nobody is left to answer."""


async def read_body(receive: Receive, *, limit: int, timeout_s: float) -> bytes:
    """Return the whole body.

    Raises:
        WireFormatError: 413 beyond `limit` bytes, 408 after `timeout_s` seconds.
        ClientDisconnectedError: The client went away.
    """
    try:
        with anyio.fail_after(timeout_s):
            return await _read(receive, limit)
    except TimeoutError:
        message = f"the body did not arrive within {timeout_s:g} seconds; send it faster"
        raise WireFormatError(message, code="request_timeout", status=408) from None


async def _read(receive: Receive, limit: int) -> bytes:
    data = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnectedError
        if message["type"] != "http.request":
            continue
        data += message.get("body", b"")
        if len(data) > limit:
            await _drain(receive, more=message.get("more_body", False))
            raise too_large(limit)
        if not message.get("more_body", False):
            return bytes(data)


async def _drain(receive: Receive, *, more: bool) -> None:
    """Read on for a little while: a connection closed on a client that still sends is reset, and its answer lost."""
    size = 0
    with anyio.move_on_after(DRAIN_S):
        while more and size < DRAIN_BYTES:
            message = await receive()
            size += len(message.get("body", b""))
            more = message.get("more_body", False)
