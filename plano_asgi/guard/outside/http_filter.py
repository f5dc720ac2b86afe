"""A filter that is a server: it is sent the body, and answers with what takes the body's place."""

from dataclasses import dataclass
from http import HTTPStatus

from plano_asgi.errors import NetworkError
from plano_asgi.guard.verdicts import Subject, Verdict
from plano_asgi.net import HttpRequest, StreamingClient

_OK = range(200, 300)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpFilter:
    """Posts to its URL and the path of the API; an answer of 4xx blocks, and any other but 2xx is a failure.

    It is sent the body, its type and the call's id, and no header or key of the caller.

    Attributes:
        name: What callers and logs are told.
        url: What the path is appended to.
        client: What asks.
        most_bytes: Most bytes of an answer.
    """

    name: str
    url: str
    client: StreamingClient
    most_bytes: int

    async def judge(self, subject: Subject) -> Verdict:
        """Return what the server says.

        Raises:
            NetworkError: It cannot be asked, it fails, or its answer is too long.
        """
        kind = "text/event-stream" if subject.is_stream else "application/json"
        headers = (("content-type", kind), ("accept", kind), ("x-request-id", subject.request_id))
        request = HttpRequest(url=self.url.rstrip("/") + subject.path, headers=headers, body=subject.body)
        answer = await self.client.open(request)
        try:
            if HTTPStatus.BAD_REQUEST <= answer.status < HTTPStatus.INTERNAL_SERVER_ERROR:
                return Verdict.blocked("it was rejected", status=answer.status)
            if answer.status not in _OK:
                raise NetworkError(f"the filter answered with status {answer.status}")
            body = bytearray()
            while piece := await answer.read():
                body += piece
                if len(body) > self.most_bytes:
                    raise NetworkError(f"the filter's answer is longer than {self.most_bytes} bytes")
        finally:
            await answer.aclose()
        is_same = not body or body == subject.body  # a server with nothing to change may answer with nothing
        return Verdict.passed() if is_same else Verdict.changed(bytes(body))

    async def aclose(self) -> None:
        """Close this event loop's connections."""
        await self.client.aclose()
