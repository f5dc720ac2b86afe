"""Amazon Bedrock over its Converse API: asked with a key or a signature, streamed in AWS's binary messages."""

import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

import anthropic
import openai
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from structlog.testing import capture_logs

from plano_asgi.errors import MissingExtraError
from plano_asgi.net import HttpRequest
from plano_asgi.net.aws_signing import AwsSigner
from plano_asgi.providers import AwsCredentials
from plano_asgi.secret import Secret
from plano_asgi.testing import FixedClassifier
from plano_asgi.wire.aws_event_stream import write_message

KEY: Final = "bedrock-canary-key"
ACCESS_ID, SECRET, TOKEN = "AKIDEXAMPLE", "wJalrXUtnFEMI/canary", "session/canary=="
MODEL: Final = "eu.anthropic.claude-sonnet-4-20250514-v1:0"
WORDS: Final = ("Guten ", "Tag, ", "日本語")
TEXT: Final = "".join(WORDS)
USAGE: Final = {"inputTokens": 7, "outputTokens": 4, "totalTokens": 13, "cacheReadInputTokens": 2}
TURNS: Final[Any] = [{"role": "user", "content": "Schreib etwas"}]
SIGNED: Final = f"aws: {{access_key_id: {ACCESS_ID}, secret_access_key: '{SECRET}', session_token: '{TOKEN}'}}"
CALLERS: Final = ("chat", "messages", "responses")


def event(kind: str, payload: dict[str, Any], message_type: str = "event") -> bytes:
    """Return one message of a stream."""
    name = ":event-type" if message_type == "event" else ":exception-type"
    headers = {":message-type": message_type, name: kind, ":content-type": "application/json"}
    return write_message(headers, json.dumps(payload).encode())


HEAD: Final = event("messageStart", {"role": "assistant"})
SAID: Final = [event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": word}}) for word in WORDS]
STOPPED: Final = [event("contentBlockStop", {"contentBlockIndex": 0}), event("messageStop", {"stopReason": "end_turn"})]
TOLD: Final = event("metadata", {"usage": USAGE, "metrics": {"latencyMs": 3}})
THROTTLED: Final = event("throttlingException", {"message": "Too many requests"}, "exception")
BROKEN: Final = event("internalServerException", {"message": "Something broke"}, "exception")
DAMAGED: Final = SAID[0][:-1] + bytes([SAID[0][-1] ^ 1])
STREAMS: Final = {
    "throttled-late": [HEAD, THROTTLED],
    "breaks": [HEAD, SAID[0], BROKEN],
    "damaged": [HEAD, SAID[0], DAMAGED],
    "cut": [HEAD, SAID[0], SAID[1][:20]],
    "unstopped": [HEAD, *SAID],
    "untold": [HEAD, *SAID, *STOPPED],
    "bytes": [bytes([byte]) for byte in b"".join([HEAD, *SAID, *STOPPED, TOLD])],
}


@dataclass
class FakeBedrock:
    """What a fake of Bedrock has heard: targets as they stood on the wire, headers, and bodies."""

    url: str = ""
    heard: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)

    async def converse(self, request: Request) -> Response:
        """Answer as the model's name says."""
        body = await request.body()
        self.heard.append((request.scope["raw_path"].decode(), dict(request.headers), body))
        model, verb = request.path_params["model"], request.path_params["verb"]
        if model == "throttled":
            return JSONResponse({"message": "Too many requests, please wait"}, 429)
        if model == "rejects":
            return JSONResponse({"message": "The maximum tokens you requested exceeds the model limit"}, 400)
        if verb == "converse-stream":
            parts = STREAMS.get(model, [HEAD, *SAID, *STOPPED, TOLD])
            return StreamingResponse(pieces(parts), media_type="application/vnd.amazon.eventstream")
        message = {"role": "assistant", "content": [{"text": TEXT}]}
        return JSONResponse({"output": {"message": message}, "stopReason": "end_turn", "usage": USAGE})


async def pieces(parts: list[bytes]) -> AsyncIterator[bytes]:
    """Yield the parts of a stream."""
    for part in parts:
        yield part


@pytest.fixture(scope="module")
def running(serve: Callable[[Starlette], str]) -> FakeBedrock:
    """Return a fake of Bedrock that is served."""
    fake = FakeBedrock()
    fake.url = serve(Starlette(routes=[Route("/model/{model:path}/{verb}", fake.converse, methods=["POST"])]))
    return fake


@pytest.fixture
def bedrock(running: FakeBedrock) -> FakeBedrock:
    """Return the fake, with nothing heard yet."""
    running.heard.clear()
    return running


@pytest.fixture
def gateway(bedrock: FakeBedrock, provider: Any, app_of: Callable[..., Starlette]) -> Callable[..., Starlette]:
    """Return what makes a service of one model of Bedrock's, and of one of OpenAI's after it."""

    def make(model: str = MODEL, access: str = f"access_key: {KEY}") -> Starlette:
        """Build it."""
        return app_of(
            "mode: forward\nfailover: {attempts: 2, backoff_s: 0.01}\nmodel_providers:\n"
            f"  - {{model: 'amazon_bedrock/{model}', base_url: '{bedrock.url}', region: eu-west-1, {access}}}\n"
            f"  - {{model: openai/fallback, default: true, base_url: '{provider.url}/v1', access_key: k}}\n"
            "routing_preferences:\n"
            f"  - {{name: code, description: code, models: ['amazon_bedrock/{model}', openai/fallback]}}\n",
            FixedClassifier({"code": 0.9}),
        )

    return make


@pytest.fixture
def said_by(serve: Callable[[Starlette], str]) -> Iterator[Callable[..., str]]:
    """Return what asks a served app through an official SDK, and gives the words of the answer."""
    with ExitStack() as clients:

        def say(app: Starlette, caller: str, *, stream: bool) -> str:
            """Ask."""
            url = serve(app)
            key: dict[str, Any] = {"api_key": "mine", "max_retries": 0}
            if caller == "messages":
                return by_anthropic(clients.enter_context(anthropic.Anthropic(base_url=url, **key)), stream=stream)
            client = clients.enter_context(openai.OpenAI(base_url=f"{url}/v1", **key))
            return by_responses(client, stream=stream) if caller == "responses" else by_chat(client, stream=stream)

        yield say


def by_anthropic(client: Any, *, stream: bool) -> str:
    """Return the words of a message."""
    call = {"model": "auto", "max_tokens": 9, "messages": TURNS}
    if not stream:
        return str(client.messages.create(**call).content[0].text)
    with client.messages.stream(**call) as events:
        message = events.get_final_message()
        assert message.usage.output_tokens == 4
        return str(message.content[0].text)


def by_responses(client: Any, *, stream: bool) -> str:
    """Return the words of a response."""
    if not stream:
        return str(client.responses.create(model="auto", input="Schreib etwas").output_text)
    last = list(client.responses.create(model="auto", input="Schreib etwas", stream=True))[-1]
    assert last.response.usage.output_tokens == 4
    return str(last.response.output_text)


def by_chat(client: Any, *, stream: bool) -> str:
    """Return the words of a completion."""
    call = {"model": "auto", "messages": TURNS}
    if not stream:
        return str(client.chat.completions.create(**call).choices[0].message.content)
    chunks = client.chat.completions.create(**call, stream=True)
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("caller", CALLERS)
def test_official_clients_read_what_bedrock_says(
    caller: str, gateway: Callable[..., Starlette], said_by: Callable[..., str], bedrock: FakeBedrock, *, stream: bool
) -> None:
    """In each API, plain and streamed, an SDK gets Bedrock's words; Bedrock gets its path, the key, and Converse."""
    assert said_by(gateway(), caller, stream=stream) == TEXT

    ((target, headers, body),) = bedrock.heard
    assert target == f"/model/{quote(MODEL, safe='')}/converse{'-stream' if stream else ''}"
    assert headers["authorization"] == f"Bearer {KEY}"
    assert json.loads(body)["messages"] == [{"role": "user", "content": [{"text": "Schreib etwas"}]}]


def told_of(model: str, logs: list[Any]) -> list[Any]:
    """Return the lines of a model's calls; a server of the test before may still be writing its own."""
    return [line for line in logs if line.get("model") == f"amazon_bedrock/{model}" and "attempts" in line]


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_tokens_that_bedrock_counts_are_accounted_for(
    gateway: Callable[..., Starlette], ask_chat: Callable[..., Any], *, stream: bool
) -> None:
    """The log has the usage of an answer and of a stream; what Converse counts beside, the cached tokens, included."""
    with capture_logs() as logs:
        ask_chat(gateway("counted"), stream=stream)

    (line,) = told_of("counted", logs)
    assert (line["input_tokens"], line["output_tokens"], line["end"]) == (9, 4, "complete")


def test_stream_is_the_same_however_it_is_cut(gateway: Callable[..., Starlette], said_by: Callable[..., str]) -> None:
    """A stream that arrives byte by byte says what it would say at once."""
    assert said_by(gateway("bytes"), "chat", stream=True) == TEXT


def test_stream_without_its_usage_is_complete(gateway: Callable[..., Starlette], ask_chat: Callable[..., Any]) -> None:
    """A stream that ends after its stop has ended well, though nobody counts it."""
    with capture_logs() as logs:
        answer = ask_chat(gateway("untold"), stream=True)

    assert answer.text.endswith("data: [DONE]\n\n")
    assert '"error"' not in answer.text
    (line,) = told_of("untold", logs)
    assert (line["end"], line["output_tokens"]) == ("complete", None)


@pytest.mark.parametrize(("model", "outcome"), [("throttled", "rate_limited"), ("throttled-late", "rate_limited")])
def test_limited_model_is_passed_over(
    model: str, outcome: str, gateway: Callable[..., Starlette], ask_chat: Callable[..., Any]
) -> None:
    """A limit told by a status, or by the stream's first event, is a failure like any other: the next model answers."""
    answer = ask_chat(gateway(model), stream=True)

    assert answer.headers["x-plano-model"] == "openai/fallback"
    assert f"amazon_bedrock/{model};outcome={outcome}" in answer.headers["x-plano-attempts"]


@pytest.mark.parametrize("model", ["breaks", "damaged", "cut", "unstopped"])
def test_stream_that_breaks_off_ends_with_an_error(
    model: str, gateway: Callable[..., Starlette], ask_chat: Callable[..., Any]
) -> None:
    """An exception, a wrong checksum, half a message or no stop after the first word is never a clean end."""
    answer = ask_chat(gateway(model), stream=True)

    assert WORDS[0] in answer.text
    assert '"error"' in answer.text
    assert '"finish_reason":"stop"' not in answer.text.replace(" ", "")


def test_rejection_is_told_in_the_callers_words(gateway: Callable[..., Starlette], ask_in: Callable[..., Any]) -> None:
    """What Bedrock says against the call itself reaches the caller as an error of its own API."""
    answer = ask_in(gateway("rejects"))

    assert answer.status_code == 400
    assert "exceeds the model limit" in answer.json()["error"]["message"]


def signature_of(target: str, headers: dict[str, str], body: bytes) -> str:
    """Return the signature that a request should have, by the steps of AWS's specification.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
    """
    told = dict(part.split("=", 1) for part in headers["authorization"].removeprefix("AWS4-HMAC-SHA256 ").split(", "))
    day, region, service, end = told["Credential"].split("/")[1:]
    names = told["SignedHeaders"].split(";")
    lines = [f"{name}:{headers[name]}" for name in names]
    path = quote(target, safe="/")  # every segment is encoded twice for services other than S3
    canonical = ["POST", path, "", *lines, "", told["SignedHeaders"], hashlib.sha256(body).hexdigest()]
    digest = hashlib.sha256("\n".join(canonical).encode()).hexdigest()
    to_sign = "\n".join(["AWS4-HMAC-SHA256", headers["x-amz-date"], f"{day}/{region}/{service}/{end}", digest])
    key = f"AWS4{SECRET}".encode()
    for part in (day, region, service, end):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.new(key, to_sign.encode(), "sha256").hexdigest()


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_call_is_signed_with_the_credentials_that_are_written_down(
    gateway: Callable[..., Starlette], ask_chat: Callable[..., Any], bedrock: FakeBedrock, *, stream: bool
) -> None:
    """Without a key a call bears a signature over body, host and token that AWS's own steps arrive at, too."""
    answer = ask_chat(gateway(access=f"{SIGNED}, headers: {{x-amzn-trace: blue}}"), stream=stream)

    assert answer.status_code == 200, answer.text
    ((target, headers, body),) = bedrock.heard
    said = headers["authorization"]
    assert said.endswith(f"Signature={signature_of(target, headers, body)}")
    assert f"Credential={ACCESS_ID}/{headers['x-amz-date'][:8]}/eu-west-1/bedrock/aws4_request" in said
    assert "SignedHeaders=content-type;host;x-amz-date;x-amz-security-token;x-amzn-trace" in said
    assert headers["x-amz-security-token"] == TOKEN


@pytest.fixture
def standard_chain(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> pytest.MonkeyPatch:
    """Return what sets the variables of a standard chain that has no credentials but those of the test."""
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / name))
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return monkeypatch


def test_credentials_come_from_the_standard_chain(
    standard_chain: pytest.MonkeyPatch,
    gateway: Callable[..., Starlette],
    ask_chat: Callable[..., Any],
    bedrock: FakeBedrock,
) -> None:
    """Where nothing is written down, AWS's own variables are what a call is signed with."""
    standard_chain.setenv("AWS_ACCESS_KEY_ID", ACCESS_ID)
    standard_chain.setenv("AWS_SECRET_ACCESS_KEY", SECRET)

    assert ask_chat(gateway(access="name: signed")).status_code == 200

    ((target, headers, body),) = bedrock.heard
    assert headers["authorization"].endswith(f"Signature={signature_of(target, headers, body)}")
    assert "x-amz-security-token" not in headers


@pytest.mark.usefixtures("standard_chain")
def test_next_model_answers_where_there_are_no_credentials(
    gateway: Callable[..., Starlette],
    ask_chat: Callable[..., Any],
    bedrock: FakeBedrock,
) -> None:
    """A call that cannot be signed is not sent; it is as if the key had been refused."""
    answer = ask_chat(gateway(access="name: unsigned"))

    assert answer.headers["x-plano-model"] == "openai/fallback"
    assert f"amazon_bedrock/{MODEL};outcome=key_refused;ms=" in answer.headers["x-plano-attempts"]
    assert bedrock.heard == []


def test_what_signs_keeps_its_credentials_to_itself(caplog: pytest.LogCaptureFixture) -> None:
    """Neither the value nor botocore's own log, at any level, shows a secret or a session's token."""
    given = AwsCredentials(
        access_key_id=Secret(ACCESS_ID), secret_access_key=Secret(SECRET), session_token=Secret(TOKEN)
    )
    request = HttpRequest(url="https://x.test/model/m/converse", headers=[("content-type", "a/b")], body=b"{}")

    with caplog.at_level("DEBUG"):
        signed = AwsSigner(service="bedrock", region="us-east-1", given=given).signed(request)

    assert dict(signed.headers)["x-amz-security-token"] == TOKEN
    shown = caplog.text + repr(given) + repr(signed)
    assert not [canary for canary in (ACCESS_ID, SECRET, TOKEN) if canary in shown]


def test_missing_botocore_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Signing without botocore says what to install."""
    monkeypatch.setitem(__import__("sys").modules, "botocore.auth", None)

    with pytest.raises(MissingExtraError, match=r"plano-asgi\[bedrock\]"):
        AwsSigner(service="bedrock", region="us-east-1")
