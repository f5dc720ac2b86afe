"""Bad and odd input at the decision endpoints and through the middleware, and that nothing after it is affected."""

import gzip
import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPMessage
from itertools import product
from typing import Any, Final
from urllib.parse import urlsplit

import anyio
import pytest
from starlette.applications import Starlette
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.testing import capture_logs

from plano_asgi import PlanoMiddleware
from plano_asgi.testing import FixedClassifier

SETTINGS: Final = """\
model_providers:
  - {model: openai/gpt-4o-mini, default: true}
  - model: anthropic/claude-sonnet-4-20250514
    routing_preferences: [{name: code_generation, description: generating new code}]
limits: {body_bytes: 2000000}
"""
CANARY: Final = "sk-canary-5f2c9"
CHAT, MESSAGES, RESPONSES = "/routing/v1/chat/completions", "/routing/v1/messages", "/routing/v1/responses"
TURNS: Final = [{"role": "user", "content": CANARY}]
GOOD: Final[Mapping[str, Mapping[str, Any]]] = {
    CHAT: {"model": "auto", "messages": TURNS},
    MESSAGES: {"model": "auto", "max_tokens": 64, "messages": TURNS},
    RESPONSES: {"model": "auto", "input": TURNS},
}
TURNS_AT: Final = {CHAT: "messages", MESSAGES: "messages", RESPONSES: "input"}
ANTHROPIC_TYPES: Final = {403: "permission_error", 413: "request_too_large"}
JSON_TYPE: Final = {"content-type": "application/json"}
MODEL: Final = "anthropic/claude-sonnet-4-20250514"


@dataclass(frozen=True, kw_only=True)
class Case:
    """One request and its answer: a decision, or an error with a code and the field at fault."""

    name: str
    path: str
    body: bytes | Sequence[bytes]
    status: int = 400
    code: str = ""
    param: str | None = None
    route: str | None = "code_generation"
    headers: Mapping[str, str] = field(default_factory=lambda: JSON_TYPE)
    method: str = "POST"


def body(path: str, **changes: object) -> bytes:
    """Return a good body with some fields changed."""
    return json.dumps({**GOOD[path], **changes}).encode()


def without(path: str, key: str) -> bytes:
    """Return a good body less one field."""
    return json.dumps({name: value for name, value in GOOD[path].items() if name != key} | {"user": CANARY}).encode()


def with_turn(path: str, **turn: object) -> bytes:
    """Return a body with one turn."""
    return body(path, **{TURNS_AT[path]: [turn]})


def with_raw(path: str, raw: bytes) -> bytes:
    """Return a good body with one more member, written as it is."""
    return body(path)[:-1] + b', "metadata": ' + raw + b"}"


def not_json(path: str) -> Iterator[tuple[str, bytes, str]]:
    """Yield names, bodies and codes of what is no JSON document to us."""
    good = body(path)
    yield "empty", b"", "invalid_json"
    yield "truncated", good[:-2], "invalid_json"
    yield "truncated after a key", b'{"user": "%s", "model":' % CANARY.encode(), "invalid_json"
    yield "two documents", good + good, "invalid_json"
    yield "array", b'["%s"]' % CANARY.encode(), "invalid_type"
    yield "string", b'"%s"' % CANARY.encode(), "invalid_type"
    yield "number", b"1", "invalid_type"
    yield "null", b"null", "invalid_type"
    yield "invalid UTF-8", with_raw(path, b'"\xff\xfe"'), "invalid_json"
    yield "UTF-16", good.decode().encode("utf-16"), "invalid_json"
    yield "UTF-32 without BOM", good.decode().encode("utf-32-le"), "invalid_json"
    yield "BOM", b"\xef\xbb\xbf" + good, "invalid_json"
    for number in (b"NaN", b"Infinity", b"-Infinity", b"1e999", b"1e400", b"9" * 5_000, b"01", b"+1", b".5"):
        yield f"number {number[:12].decode()}", with_raw(path, number), "invalid_json"
    yield "bomb of open brackets", b"[" * 100_000, "too_deep"
    yield "bomb of objects", b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "too_deep"
    yield "257 levels", with_raw(path, b"[" * 256 + b"]" * 256), "too_deep"
    yield "lone surrogate", with_raw(path, rb'"\ud800"'), "invalid_json"
    yield "raw newline in a string", with_raw(path, b'"a\nb"'), "invalid_json"
    yield "model twice", good[:-1] + b', "model": "openai/gpt-4o"}', "duplicate_key"
    yield "model twice, once escaped", good[:-1] + rb', "mod\u0065l": "openai/gpt-4o"}', "duplicate_key"
    yield "turns twice", good[:-1] + b', "%s": []}' % TURNS_AT[path].encode(), "duplicate_key"


def wrong_fields(path: str) -> Iterator[tuple[str, bytes, str, str]]:
    """Yield names, bodies, codes and the places of fields that are not what the API says."""
    turns = TURNS_AT[path]
    for name, model in {"number": 5, "object": {"id": CANARY}, "array": [CANARY], "bool": True}.items():
        yield f"model {name}", body(path, model=model), "invalid_type", "model"
    names = {"empty": "", "long": CANARY * 30, "very long": "m" * 1_900_000, "CR LF": f"{CANARY}\r\nx-evil: 1"}
    names |= {"NUL": f"{CANARY}\0", "escape": f"\x1b[31m{CANARY}", "dots": f"../{CANARY}", "space": f"a {CANARY}"}
    names |= {"line separator": f"{CANARY}\u2028", "bidi": f"\u202e{CANARY}"}
    for name, model in names.items():
        yield f"model {name}", body(path, model=model), "invalid_value", "model"
    yield "no turns", without(path, turns), "missing_required_parameter", turns
    yield "turns null", body(path, **{turns: None}), "missing_required_parameter", turns
    yield "turns object", body(path, **{turns: {"0": CANARY}}), "invalid_type", turns
    yield "turn a string", body(path, **{turns: [CANARY]}), "invalid_type", f"{turns}[0]"
    yield "turn null", body(path, **{turns: [*TURNS, None]}), "invalid_type", f"{turns}[1]"
    yield "no role", with_turn(path, content=CANARY), "missing_required_parameter", f"{turns}[0].role"
    yield "unknown role", with_turn(path, role=CANARY, content="hi"), "invalid_value", f"{turns}[0].role"
    yield "role number", with_turn(path, role=5, content=CANARY), "invalid_type", f"{turns}[0].role"
    for name, content in {"number": 7, "object": {"text": CANARY}, "bool": False}.items():
        yield f"content {name}", with_turn(path, role="user", content=content), "invalid_type", f"{turns}[0].content"
    part = f"{turns}[0].content[0]"
    yield "part a string", with_turn(path, role="user", content=[CANARY]), "invalid_type", part
    untyped = with_turn(path, role="user", content=[{"text": CANARY}])
    yield "part without type", untyped, "missing_required_parameter", f"{part}.type"
    text_number = with_turn(path, role="user", content=[{"type": "text", "text": 5}])
    yield "part with a number for text", text_number, "invalid_type", f"{part}.text"
    for name, stream in {"string": CANARY, "number": 1}.items():
        yield f"stream {name}", body(path, stream=stream), "invalid_type", "stream"


def fields_of_one_api() -> Iterator[Case]:
    """Yield faults that only one API knows."""
    for path in (CHAT, MESSAGES):
        yield Case(name="no turn", path=path, body=body(path, messages=[]), code="empty_array", param="messages")
        text = body(path, messages=CANARY)
        yield Case(name="turns a string", path=path, body=text, code="invalid_type", param="messages")
    missing = "missing_required_parameter"
    yield Case(
        name="no max_tokens", path=MESSAGES, body=without(MESSAGES, "max_tokens"), code=missing, param="max_tokens"
    )
    wrong = {"max_tokens": "64", "system": 5}
    for name, value in wrong.items():
        data = body(MESSAGES, **{name: value})
        yield Case(name=f"wrong {name}", path=MESSAGES, body=data, code="invalid_type", param=name)
    yield Case(name="input number", path=RESPONSES, body=body(RESPONSES, input=5), code="invalid_type", param="input")
    calls = with_turn(CHAT, role="assistant", tool_calls=CANARY)
    yield Case(name="tool_calls", path=CHAT, body=calls, code="invalid_type", param="messages[0].tool_calls")


def policies(path: str) -> Iterator[tuple[str, bytes, int, str, str]]:
    """Yield names, bodies, statuses, codes and places of inline policies that are refused."""
    route = {"name": "r", "description": CANARY}

    def by_model(**changes: object) -> bytes:
        return body(path, routing_policy=[{"model": MODEL, "routing_preferences": [route], **changes}])

    for key, (name, value, code) in product(
        ("routing_policy", "routing_preferences"),
        [("object", {}, "invalid_type"), ("string", CANARY, "invalid_type"), ("empty", [], "empty_array")],
    ):
        yield f"{key} {name}", body(path, **{key: value}), 400, code, key
    for key in ("base_url", "endpoint", "access_key", "headers", "provider_interface", "passthrough_auth"):
        yield f"policy with {key}", by_model(**{key: CANARY}), 400, "unknown_parameter", f"routing_policy[0].{key}"
    yield "policy with an odd key", by_model(**{f"a\r\n{CANARY}": 1}), 400, "unknown_parameter", "routing_policy[0]"
    for model in (
        "http://169.254.169.254/latest",
        "file:///etc/passwd",
        "openai/../../x",
        f"openai/\r\n{CANARY}",
        "x y",
    ):
        yield f"policy model {model!r}", by_model(model=model), 400, "invalid_value", "routing_policy[0].model"
    for name, model in {"undeclared model": f"openai/{CANARY}", "unknown alias": CANARY}.items():
        yield name, by_model(model=model), 403, "model_not_allowed", "routing_policy"
    at = "routing_policy[0].routing_preferences"
    for name, value in {"other": "other", "empty": "", "newline": f"{CANARY}\n", "long": CANARY * 5}.items():
        renamed = by_model(routing_preferences=[route | {"name": value}])
        yield f"route name {name}", renamed, 400, "invalid_value", f"{at}[0].name"
    yield "same name twice", by_model(routing_preferences=[route, route]), 400, "invalid_value", f"{at}[1].name"
    many = [{"name": f"r{number}", "description": "d"} for number in range(10_000)]
    for count in (101, 10_000):
        crowd = by_model(routing_preferences=many[:count])
        yield f"{count} routes", crowd, 400, "too_many_routes", "routing_policy"
    for size in (2_001, 1_000_000):
        long = by_model(routing_preferences=[route | {"description": "d" * size}])
        yield f"description of {size}", long, 400, "string_too_long", f"{at}[0].description"
    blank = by_model(routing_preferences=[route | {"description": " "}])
    yield "blank description", blank, 400, "invalid_value", f"{at}[0].description"
    both = body(path, routing_policy=[], routing_preferences=[{**route, "models": [MODEL]}])
    yield "both forms", both, 400, "invalid_value", "routing_policy"


def headers_and_encodings(path: str) -> Iterator[Case]:
    """Yield requests whose head or content encoding is at fault."""
    good = body(path)
    for name, headers in {
        "no content type": {},
        "text": {"content-type": "text/plain"},
        "multipart": {"content-type": "multipart/form-data; boundary=x"},
        "UTF-16 charset": {"content-type": "application/json; charset=utf-16"},
    }.items():
        yield Case(name=name, path=path, body=good, status=415, code="unsupported_media_type", headers=headers)
    packed = gzip.compress(good)
    bomb = gzip.compress(b" " * 50_000_000, 9)
    for name, encoding, data, status, code in [
        ("truncated gzip", "gzip", packed[:-9], 400, "invalid_encoding"),
        ("gzip and junk", "gzip", packed + CANARY.encode(), 400, "invalid_encoding"),
        ("two gzip members", "gzip", packed + packed, 400, "invalid_encoding"),
        ("not gzip", "gzip", good, 400, "invalid_encoding"),
        ("not deflate", "deflate", good, 400, "invalid_encoding"),
        ("gzip of nothing", "gzip", b"", 400, "invalid_encoding"),
        ("gzip bomb", "gzip", bomb, 413, "request_too_large"),
        ("unknown encoding", CANARY, good, 415, "unsupported_encoding"),
        ("not br", "br", good, 400, "invalid_encoding"),
        ("not zstd", "zstd", b"(\xb5/\xfd" + good, 400, "invalid_encoding"),
        ("gzip of gzip", "gzip, gzip", gzip.compress(packed), 415, "unsupported_encoding"),
    ]:
        headers = {**JSON_TYPE, "content-encoding": encoding}
        yield Case(name=name, path=path, body=data, status=status, code=code, headers=headers)
    big = {**JSON_TYPE, "content-length": "30000000"}
    yield Case(name="announced too large", path=path, body=b"", status=413, code="request_too_large", headers=big)
    chunks = (CANARY.encode() * 1_000,) * 140
    yield Case(name="chunked and too large", path=path, body=chunks, status=413, code="request_too_large")
    for method in ("GET", "PUT", "PATCH", "DELETE", "OPTIONS"):
        yield Case(name=method, path=path, body=b"", method=method, status=405, code="method_not_allowed")


def odd_but_good(path: str) -> Iterator[tuple[str, bytes | Sequence[bytes], Mapping[str, str]]]:
    """Yield names, bodies and headers of requests that are decided all the same."""
    good = body(path)
    yield "chunks of one byte", tuple(good[i : i + 1] for i in range(len(good))), {}
    yield "gzip", gzip.compress(good), {"content-encoding": "gzip"}
    yield "deflate", zlib.compress(good), {"content-encoding": "deflate"}
    yield "deflate without header", zlib.compress(good, wbits=-15), {"content-encoding": "deflate"}
    yield "identity", good, {"content-encoding": "identity"}
    yield "charset", good, {"content-type": 'Application/JSON; charset="UTF-8"'}
    for number in (b"123456789012345678901234567890", b"1.0", b"-0", b"1e300"):
        yield f"number {number.decode()}", with_raw(path, number), {}
    yield "256 levels", with_raw(path, b"[" * 255 + b"]" * 255), {}
    yield "no model", without(path, "model"), {}
    yield "model null", body(path, model=None), {}
    yield "unknown model", body(path, model="openai/does-not-exist"), {}
    yield "nulls", body(path, stream=None, routing_policy=None, routing_preferences=None), {}
    yield "NUL and escapes", with_turn(path, role="user", content=f"\0\x1b[31m{CANARY}\u202e"), {}
    yield "10,000 turns", body(path, **{TURNS_AT[path]: TURNS * 10_000}), {}
    yield "1 MB of text", with_turn(path, role="user", content="word " * 200_000), {}
    yield "unknown fields and parts", body(path, **{"\r\n": [{}], "user": CANARY}), {}
    parts = [{"type": "text", "text": CANARY}, {"type": "hologram", "hologram": {"deep": [1]}}, {"type": "input_audio"}]
    yield "unknown parts", with_turn(path, role="user", content=parts), {}
    for key in ("baggage", "x-plano-model", "x-plano-route", "x-arch-route", "cookie"):
        yield f"header {key}", good, {key: CANARY * 500}
    yield "malformed traceparent", good, {"traceparent": f"00-{CANARY}-00f067aa0ba902b7-01"}
    yield "long request id", good, {"x-request-id": CANARY * 20}


def unmatched(path: str) -> Iterator[tuple[str, bytes]]:
    """Yield bodies that are good calls without a word for a router."""
    yield "empty text", with_turn(path, role="user", content="")
    yield "blank text", with_turn(path, role="user", content=" \n\t")
    yield "system only", with_turn(path, role="system", content=CANARY)
    yield "image only", with_turn(path, role="user", content=[{"type": "image_url", "image_url": {"url": CANARY}}])
    yield "no parts", with_turn(path, role="user", content=[])


def cases() -> Iterator[Case]:
    """Yield every case of every API."""
    for path in (CHAT, MESSAGES, RESPONSES):
        for name, data, code in not_json(path):
            yield Case(name=name, path=path, body=data, code=code)
        for name, data, code, param in wrong_fields(path):
            yield Case(name=name, path=path, body=data, code=code, param=param)
        for name, data, status, code, param in policies(path):
            yield Case(name=name, path=path, body=data, status=status, code=code, param=param)
        yield from headers_and_encodings(path)
        for name, content, headers in odd_but_good(path):
            yield Case(name=name, path=path, body=content, status=200, headers={**JSON_TYPE, **headers})
        for name, data in unmatched(path):
            yield Case(name=name, path=path, body=data, status=200, route=None)
    yield from fields_of_one_api()


@pytest.fixture(scope="module")
def connection(app_of: Callable[..., Starlette], serve: Callable[[Starlette], str]) -> Iterator[HTTPConnection]:
    """Return one connection to one server, for all cases."""
    app = app_of(SETTINGS, FixedClassifier({"code_generation": 0.9}))
    connection = HTTPConnection(urlsplit(serve(app)).netloc, timeout=10)
    yield connection
    connection.close()


@pytest.mark.parametrize("case", list(cases()), ids=lambda case: f"{case.path.rpartition('/v1/')[2]}: {case.name}")
def test_bad_input_is_answered_in_kind_and_leaves_no_trace(
    case: Case, connection: HTTPConnection, caplog: pytest.LogCaptureFixture
) -> None:
    """Each input has its answer in the caller's API, nothing sent is given away, and the next call is decided."""
    secret = {"authorization": f"Bearer {CANARY}"}

    with capture_logs() as events:
        connection.request(case.method, case.path, body=case.body, headers={**secret, **case.headers})
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.request("POST", case.path, body=body(case.path), headers=JSON_TYPE)
        after = json.loads(connection.getresponse().read())

    assert (answer.status, after.get("route")) == (case.status, "code_generation"), text
    assert CANARY not in f"{text}{answer.headers}{events}{caplog.text}"
    said = json.loads(text)
    if case.status == 200:
        assert (said["route"], said["reason"]) == (case.route, "matched" if case.route else "no_match")
    else:
        assert_refused(case, answer.headers, said)


def assert_refused(case: Case, headers: Mapping[str, str] | HTTPMessage, said: Mapping[str, Any]) -> None:
    """Check that an answer is the error of a case in the shape of its API, and is not to be tried again."""
    assert headers["x-should-retry"] == "false"
    if case.path == MESSAGES:
        kind = ANTHROPIC_TYPES.get(case.status, "invalid_request_error")
        assert said == {"type": "error", "error": {"type": kind, "message": said["error"]["message"]}} | {
            "request_id": headers["request-id"]
        }
        if case.status == 400 and case.param:
            assert case.param.replace("[", ".").replace("]", "") in said["error"]["message"]
    else:
        kind = "permission_error" if case.status == 403 else "invalid_request_error"
        message = said["error"]["message"]
        assert said == {"error": {"message": message, "type": kind, "param": case.param, "code": case.code}}


class Exchange:
    """One request through the middleware: what the app was given, and what the caller was answered."""

    def __init__(self, app: ASGIApp, case: Case) -> None:
        """Make a case's request of an app, at the path that the app serves itself."""
        self._chunks = [case.body] if isinstance(case.body, bytes) else list(case.body)
        self.sent = b"".join(self._chunks)
        length = {"content-length": str(len(self.sent))} if isinstance(case.body, bytes) else {}
        self.headers = [(k.encode(), v.encode("latin-1")) for k, v in {**length, **case.headers}.items()]
        self._path = case.path.removeprefix("/routing")
        self._method = case.method
        self._app = app
        self.answer: list[Message] = []

    async def run(self) -> None:
        """Make the request."""
        scope = {"type": "http", "method": self._method, "path": self._path, "headers": list(self.headers)}
        await self._app(scope, self._receive, self._send)

    async def _receive(self) -> Message:
        """Give the next piece of the body."""
        chunk = self._chunks.pop(0)
        return {"type": "http.request", "body": chunk, "more_body": bool(self._chunks)}

    async def _send(self, message: Message) -> None:
        """Note a piece of the answer."""
        self.answer.append(message)


@dataclass(frozen=True, slots=True)
class NotingApp:
    """An app that answers 204 and notes the headers and the body of each request."""

    given: list[tuple[list[tuple[bytes, bytes]], bytes]] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        body, is_whole = b"", False
        while not is_whole:
            message = await receive()
            body += message["body"]
            is_whole = not message["more_body"]
        self.given.append((list(scope["headers"]), body))
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})


@pytest.fixture(scope="module", params=["", "strict: true\n"], ids=["lenient", "strict"])
def door(request: pytest.FixtureRequest, behind: Callable[..., PlanoMiddleware]) -> tuple[NotingApp, ASGIApp, bool]:
    """Return an app that notes what it is given, the same behind the middleware, and whether that is strict."""
    app = NotingApp()
    more = f"{request.param}routing: {{cross_format: true}}\n"
    return app, behind(app, SETTINGS + more, FixedClassifier({"code_generation": 0.9})), bool(request.param)


def is_refused(case: Case, *, is_strict: bool) -> bool:
    """Return whether the middleware answers a case itself: ambiguity and policies always, the rest if it is strict."""
    is_policy = case.status == 403 or (case.param or "").startswith(("routing_policy", "routing_preferences"))
    is_read = case.status != 405 and case.code != "unsupported_media_type"  # neither is of interest to it
    return is_policy or case.code == "duplicate_key" or (is_strict and case.status != 200 and is_read)


@pytest.mark.parametrize("case", list(cases()), ids=lambda case: f"{case.path.rpartition('/v1/')[2]}: {case.name}")
def test_bad_input_to_an_app_is_passed_on_or_answered_and_leaves_no_trace(
    case: Case, door: tuple[NotingApp, ASGIApp, bool]
) -> None:
    """What cannot be read reaches the app as it came, or is answered in kind; the next call is routed in any case."""
    app, wrapped, is_strict = door
    app.given.clear()
    first = Exchange(wrapped, case)
    second = Exchange(wrapped, Case(name="good", path=case.path, body=body(case.path)))

    async def both() -> None:
        """Make the request, then a good one."""
        await first.run()
        await second.run()

    with capture_logs() as events:
        anyio.run(both)

    assert CANARY not in str(events)
    assert json.loads(app.given.pop()[1])["model"] == MODEL.partition("/")[2]
    if is_refused(case, is_strict=is_strict):
        assert app.given == []
        assert first.answer[0]["status"] == case.status
        headers = {k.decode(): v.decode() for k, v in first.answer[0]["headers"]}
        assert CANARY not in f"{first.answer}"
        assert_refused(case, headers, json.loads(first.answer[1]["body"]))
    elif case.status == 200 or case.code == "unsupported_media_type":
        sent = json.loads(body(case.path) if "content-encoding" in case.headers else first.sent)
        model = MODEL if case.route else "openai/gpt-4o-mini"
        read = {**sent, "model": model.partition("/")[2]}
        assert json.loads(app.given[0][1]) == {key: read[key] for key in read if not key.startswith("routing_p")}
    else:
        assert app.given == [(first.headers, first.sent)]
