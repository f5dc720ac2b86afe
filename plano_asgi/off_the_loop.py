"""Work on many bytes, which would hold up all other calls of an event loop: it is done on a thread."""

from collections.abc import Callable
from typing import Final, TypeVar

import anyio.to_thread

LARGE_BYTES: Final = 65_536  # to read, weigh or translate fewer takes less time than to hand over to a thread
LARGE_TO_JUDGE_BYTES: Final = 8_192  # filters take longer
LARGE_TO_SCAN_BYTES: Final = 1_048_576  # to look for a few fields takes less long

_Made = TypeVar("_Made")


async def off_the_loop(work: Callable[[], _Made], *, size: int, large: int = LARGE_BYTES) -> _Made:
    """Return what comes of work on `size` bytes: done at once if those are fewer than `large`, else on a thread."""
    return work() if size < large else await anyio.to_thread.run_sync(work)
