"""Reading calls without stopping the event loop."""

from collections.abc import Callable
from typing import Final, TypeVar

import anyio.to_thread

from plano_asgi.conversation import LLMCall

LONG_CONVERSATION: Final = 1_000  # messages; reading more than that takes too long for an event loop
LONG_CHARACTERS: Final = 65_536  # so do as many characters of all messages together

_Result = TypeVar("_Result")


def is_long(call: LLMCall) -> bool:
    """Return whether reading all that a call says takes too long for an event loop."""
    conversation = call.conversation
    return len(conversation) > LONG_CONVERSATION or sum(len(said.text) for said in conversation) > LONG_CHARACTERS


async def read(work: Callable[[], _Result], *, on_thread: bool) -> _Result:
    """Return what comes of reading a call, on a thread or at once."""
    return await anyio.to_thread.run_sync(work) if on_thread else work()
