"""A model provider that costs as little as can be: `python -m benchmarks.gateway_cost.provider PORT`.

It speaks Chat Completions over kept connections, answers at once with the same words, plain or as a stream of
`CHUNKS` events, and reads of a call only whether it asks for a stream. One that is to be `LONG` is as many events of
`LONG_EVENT_BYTES` as there are, sent as fast as they are read.
"""

import asyncio
import json
import sys
from typing import Final, cast

CHUNKS: Final = 24
LONG: Final = b"say a lot"
LONG_EVENTS: Final = 256
LONG_EVENT_BYTES: Final = 16_384
USAGE: Final = {"prompt_tokens": 60, "completion_tokens": CHUNKS, "total_tokens": 60 + CHUNKS}
ABOUT: Final = {"id": "chatcmpl-1", "created": 1, "model": "small"}


def _plain() -> bytes:
    message = {"role": "assistant", "content": "word " * CHUNKS}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    body = json.dumps({**ABOUT, "object": "chat.completion", "choices": [choice], "usage": USAGE}).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body


def _streamed() -> bytes:
    about = {**ABOUT, "object": "chat.completion.chunk"}
    deltas: list[dict[str, object]] = [{"content": "word "}] * CHUNKS
    choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in ({"role": "assistant"}, *deltas)]
    choices.append({"index": 0, "delta": {}, "finish_reason": "stop"})
    told = [*({**about, "choices": [choice]} for choice in choices), {**about, "choices": [], "usage": USAGE}]
    events = [b"data: %s\n\n" % json.dumps(event).encode() for event in told] + [b"data: [DONE]\n\n"]
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(event), event) for event in events) + b"0\r\n\r\n"
    return b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n" + chunks


def _long_event() -> bytes:
    choice = {"index": 0, "delta": {"content": "x" * (LONG_EVENT_BYTES - 150)}, "finish_reason": None}
    event = b"data: %s\n\n" % json.dumps({**ABOUT, "object": "chat.completion.chunk", "choices": [choice]}).encode()
    return b"%x\r\n%s\r\n" % (len(event), event)


class Provider(asyncio.Protocol):
    """One connection."""

    plain: Final = _plain()
    streamed: Final = _streamed()
    long_event: Final = _long_event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)
        self._read = b""
        self._left = 0
        self._is_paused = False

    def pause_writing(self) -> None:
        """Wait with a long answer until what was sent is read."""
        self._is_paused = True

    def resume_writing(self) -> None:
        """Go on with it."""
        self._is_paused = False
        self._go_on()

    def _go_on(self) -> None:
        while self._left and not self._is_paused and not self._transport.is_closing():
            self._left -= 1
            self._transport.write(self.long_event)
            if not self._left:
                self._transport.write(self.streamed.partition(b"\r\n\r\n")[2])

    def data_received(self, data: bytes) -> None:
        """Answer every call that is complete."""
        self._read += data
        while (end := self._read.find(b"\r\n\r\n")) >= 0:
            head = self._read[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self._read) < end + 4 + length:
                return
            body, self._read = self._read[end + 4 : end + 4 + length], self._read[end + 4 + length :]
            is_stream = b'"stream":true' in body or b'"stream": true' in body
            if LONG in body:
                self._transport.write(self.streamed.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
                self._left = LONG_EVENTS
                self._go_on()
            else:
                self._transport.write(self.streamed if is_stream else self.plain)


async def serve(port: int) -> None:
    """Serve until the process is stopped."""
    server = await asyncio.get_running_loop().create_server(Provider, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
