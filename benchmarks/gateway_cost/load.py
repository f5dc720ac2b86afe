"""A client that costs as little as can be, so that what is measured is the server."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from time import perf_counter
from typing import Final

KEY: Final = "sk-" + 4 * "0123456789abcdef"  # of nobody
TURNS: Final = (
    {"role": "system", "content": "You are the assistant of a small shop. Be brief, friendly and exact."},
    {"role": "user", "content": "My label printer prints every second label twice."},
    {"role": "assistant", "content": "Which version of its driver do you use, and on which system?"},
)
_numbers = count(1)


@dataclass(frozen=True, slots=True)
class Workload:
    """What a contender is asked.

    Attributes:
        model: That clients name.
        is_new: Whether no conversation is ever asked twice.
    """

    model: str
    is_new: bool = False


@dataclass(frozen=True, slots=True)
class Taken:
    """What a block of calls took.

    Attributes:
        latencies_s: Of each call, from its first byte sent to the last byte of its answer.
        first_s: Until the first byte of each answer's body.
        seconds: From the first call to the last answer.
    """

    latencies_s: tuple[float, ...]
    first_s: tuple[float, ...]
    seconds: float


def requests(workload: Workload, *, port: int, is_stream: bool) -> Iterator[bytes]:
    """Yield requests without end."""
    while True:
        number = next(_numbers) if workload.is_new else 0
        asked = f"Version {number}. Write a SQL query for last week's orders, sorted by customer {number}."
        body: dict[str, object] = {"model": workload.model, "messages": [*TURNS, {"role": "user", "content": asked}]}
        if is_stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        data = json.dumps(body, separators=(",", ":")).encode()
        yield (
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:%d\r\ncontent-type: application/json\r\n"
            b"authorization: Bearer %s\r\ncontent-length: %d\r\n\r\n%s" % (port, KEY.encode(), len(data), data)
        )


async def take(port: int, workload: Workload, *, in_flight: int, is_stream: bool, seconds: float) -> Taken:
    """Return what calls take, `in_flight` of them at a time over as many connections, for so many seconds."""
    asked = requests(workload, port=port, is_stream=is_stream)
    latencies: list[float] = []
    firsts: list[float] = []
    started = perf_counter()

    async def caller() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while perf_counter() - started < seconds:
            begun = perf_counter()
            writer.write(next(asked))
            firsts.append(await _answer(reader) - begun)
            latencies.append(perf_counter() - begun)
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*(caller() for _ in range(in_flight)))
    return Taken(tuple(latencies), tuple(firsts), perf_counter() - started)


async def _answer(reader: asyncio.StreamReader) -> float:
    """Read one answer, and return when its body began.

    Raises:
        RuntimeError: It is no success.
    """
    head = await reader.readuntil(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").lower().split("\r\n")
    headers: Mapping[str, str] = dict(line.split(": ", 1) for line in lines if ": " in line)
    if " 200" not in status:
        body = await reader.read(400)
        raise RuntimeError(f"{status}: {body.decode(errors='replace')}")
    if length := headers.get("content-length"):
        first = await reader.readexactly(1)
        began = perf_counter()
        await reader.readexactly(int(length) - len(first))
        return began
    began = 0.0
    while size := int(await reader.readuntil(b"\r\n"), 16):
        began = began or perf_counter()
        await reader.readexactly(size + 2)
    await reader.readexactly(2)
    return began
