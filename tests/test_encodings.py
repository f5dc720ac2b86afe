"""Bodies in every content encoding, at the decision endpoints and through the middleware."""

import gzip
import json
import sys
import tracemalloc
import zlib
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, Final

import brotli  # type: ignore[import-untyped]  # has no types
import httpx
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from plano_asgi import PlanoMiddleware
from plano_asgi.errors import WireFormatError
from plano_asgi.intake import decode_body
from plano_asgi.testing import FixedClassifier

CONFIG: Final = """\
model_providers:
  - {model: openai/gpt-4o-mini, default: true}
  - model: openai/gpt-4o
    routing_preferences: [{name: code, description: writing code}]
limits: {body_bytes: 100000}
"""
PATH: Final = "/v1/chat/completions"
BODY: Final = json.dumps({"model": "auto", "messages": [{"role": "user", "content": "write a parser " * 20}]}).encode()
LIMIT: Final = 100_000
ENCODERS: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstandard.compress,
}
PACKAGES: Final = {"br": "brotli", "zstd": "zstandard"}

Ask = Callable[..., httpx.Response]
each_encoding = pytest.mark.parametrize("encoding", ENCODERS)
each_optional = pytest.mark.parametrize("encoding", PACKAGES)


async def echo(request: Request) -> Response:
    """Answer with what the app was given."""
    body = await request.body()
    return JSONResponse({"body": body.decode("latin-1"), "headers": dict(request.headers)})


@pytest.fixture(scope="module")
def app(behind: Callable[..., PlanoMiddleware]) -> ASGIApp:
    """Return an app that echoes what it was given, behind the middleware."""
    return behind(Starlette(routes=[Route(PATH, echo, methods=["POST"])]), CONFIG, FixedClassifier({"code": 0.9}))


@pytest.fixture
def send(app: ASGIApp, ask: Ask) -> Ask:
    """Return what sends an encoded body to the app, or to the decision endpoint beside it."""

    def request(content: bytes, encoding: str, *, path: str = PATH) -> httpx.Response:
        headers = {"content-type": "application/json", "content-encoding": encoding}
        return ask(app, "POST", path, content=content, headers=headers)

    return request


@each_encoding
def test_encoded_body_is_decided(encoding: str, send: Ask) -> None:
    """The decision endpoint reads a body in every encoding."""
    assert send(ENCODERS[encoding](BODY), encoding, path=f"/routing{PATH}").json()["route"] == "code"


@each_encoding
def test_encoded_body_is_rewritten_and_sent_on_plain(encoding: str, send: Ask) -> None:
    """The app reads the decided model in a plain body of the right length."""
    got = send(ENCODERS[encoding](BODY), encoding.upper()).json()

    assert got["body"].encode() == BODY.replace(b'"auto"', b'"gpt-4o"')
    assert "content-encoding" not in got["headers"]
    assert got["headers"]["content-length"] == str(len(got["body"]))


def refusal(data: bytes, encoding: str, *, limit: int = LIMIT) -> tuple[int, str]:
    """Return the status and the code that a body is refused with."""
    with pytest.raises(WireFormatError) as refused:
        decode_body(data, encoding, limit=limit)
    return refused.value.status, refused.value.code


DAMAGES: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "cut short": lambda data: data[:-1],
    "half": lambda data: data[: len(data) // 2],
    "nothing": lambda data: data[:0],
    "followed by junk": lambda data: data + b"junk",
    "twice": lambda data: data * 2,
    "plain": lambda _: BODY,
}


@each_encoding
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damaged_data_is_refused(encoding: str, damage: Callable[[bytes], bytes]) -> None:
    """Data that is cut short, followed by something else or no such data at all is no body, in every encoding alike."""
    assert refusal(damage(ENCODERS[encoding](BODY)), encoding) == (400, "invalid_encoding")


@each_encoding
def test_damaged_body_reaches_the_app_as_it_came(encoding: str, send: Ask) -> None:
    """Through the middleware a body that cannot be decoded goes on byte for byte, its encoding too."""
    damaged = ENCODERS[encoding](BODY)[:-1]

    got = send(damaged, encoding).json()

    assert (got["body"].encode("latin-1"), got["headers"]["content-encoding"]) == (damaged, encoding)


@each_encoding
@pytest.mark.parametrize(("size", "fits"), [(LIMIT, True), (LIMIT + 1, False)], ids=["fits", "one byte more"])
def test_bound_holds_to_the_byte(encoding: str, size: int, *, fits: bool) -> None:
    """A body of as many bytes as are allowed is read, and one more is refused."""
    data = ENCODERS[encoding](b"x" * size)

    if fits:
        assert decode_body(data, encoding, limit=LIMIT) == b"x" * size
    else:
        assert refusal(data, encoding) == (413, "request_too_large")


@each_encoding
def test_bomb_stops_at_the_bound(encoding: str) -> None:
    """A few kilobytes that would become fifty megabytes are refused before they have become one."""
    bomb = ENCODERS[encoding](b" " * 50_000_000)
    decode_body(ENCODERS[encoding](BODY), encoding, limit=LIMIT)  # what is imported is not counted
    tracemalloc.start()
    try:
        assert refusal(bomb, encoding) == (413, "request_too_large")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert len(bomb) < 100_000
    assert peak < 1_000_000


def test_zstd_may_not_ask_for_a_large_window() -> None:
    """A frame whose header asks for 128 MiB of memory is refused, whatever it holds (RFC 9659)."""
    parameters = zstandard.ZstdCompressionParameters(window_log=27)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    frame = compressor.compress(BODY) + compressor.flush()

    assert refusal(frame, "zstd") == (400, "invalid_encoding")


def test_zstd_size_that_lies_is_refused() -> None:
    """A frame that announces an enormous content costs no memory."""
    header = b"\x28\xb5\x2f\xfd\xc0\x00" + (2**50).to_bytes(8, "little")

    assert refusal(header, "zstd") == (400, "invalid_encoding")


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=300), encoding=st.sampled_from(list(ENCODERS)), start=st.integers(0, 80))
def test_any_bytes_are_decoded_or_refused_in_kind(data: bytes, encoding: str, start: int) -> None:
    """No bytes, whole or in the middle of good ones, raise anything but an error that a caller can be told."""
    good = ENCODERS[encoding](BODY)
    for tampered in (data, good[:start] + data + good[start + len(data) :]):
        try:
            decoded = decode_body(tampered, encoding, limit=1_000)
        except WireFormatError as error:
            assert (error.status, error.code) in {(400, "invalid_encoding"), (413, "request_too_large")}  # noqa: PT017 - some are good
        else:
            assert len(decoded) <= 1_000


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=2_000).map(lambda data: data * 20), encoding=st.sampled_from(list(ENCODERS)))
def test_what_was_encoded_is_decoded(data: bytes, encoding: str) -> None:
    """Decoding undoes encoding."""
    assert decode_body(ENCODERS[encoding](data), encoding, limit=LIMIT) == data


OLD: Final = {"missing": None, "too old": SimpleNamespace(Decompressor=object, ZstdDecompressor=object)}


@each_optional
@pytest.mark.parametrize("installed", OLD.values(), ids=OLD)
def test_missing_package_makes_its_encoding_an_unknown_one(
    encoding: str, installed: Any, send: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the package, or with one too old, the caller is told what can be read, and the service what it needs."""
    monkeypatch.setitem(sys.modules, PACKAGES[encoding], installed)
    (other,) = set(PACKAGES) - {encoding}
    content = ENCODERS[encoding](BODY) if installed is OLD["missing"] else b"anything"

    answer = send(content, encoding, path=f"/routing{PATH}")

    assert (answer.status_code, answer.json()["error"]["code"]) == (415, "unsupported_encoding")
    assert answer.headers["accept-encoding"] == f"gzip, deflate, {other}"
    assert "pip install 'plano-asgi[compression]'" in answer.json()["error"]["message"]


@each_optional
def test_missing_package_leaves_the_app_its_body(encoding: str, send: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package the middleware passes such a body on as it came."""
    content = ENCODERS[encoding](BODY)
    monkeypatch.setitem(sys.modules, PACKAGES[encoding], None)

    assert send(content, encoding).json()["body"].encode("latin-1") == content


@pytest.mark.parametrize("encoding", ["gzip, br", "compress", "zstd, zstd", "aws-chunked"])
def test_unknown_and_stacked_encodings_are_refused(encoding: str, send: Ask) -> None:
    """An unknown encoding, or several on top of each other, is answered with those that can be read."""
    answer = send(BODY, encoding, path=f"/routing{PATH}")

    assert (answer.status_code, answer.headers["accept-encoding"]) == (415, "gzip, deflate, br, zstd")
    assert "pip install" not in answer.json()["error"]["message"]


def test_refused_media_type_speaks_of_no_encoding(app: ASGIApp, ask: Ask) -> None:
    """A 415 that is not about the encoding does not pretend to be (RFC 7694, section 3)."""
    answer = ask(app, "POST", f"/routing{PATH}", content=b"x", headers={"content-type": "text/plain"})

    assert answer.status_code == 415
    assert "accept-encoding" not in answer.headers
