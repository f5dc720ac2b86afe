"""Bodies that are no call of their API, each refused at its place; and huge ones, which are calls like any other."""

import json
import time
from collections.abc import Mapping
from typing import Any, Final

import pytest

from plano_asgi.conversation import ApiFormat, LLMCall
from plano_asgi.errors import WireFormatError
from plano_asgi.wire import read_call, read_document, rewrite

CHAT, MESSAGES, RESPONSES = ApiFormat.CHAT_COMPLETIONS, ApiFormat.MESSAGES, ApiFormat.RESPONSES
USER: Final = [{"role": "user", "content": "hi"}]
SHORTEST: Final[Mapping[ApiFormat, Mapping[str, Any]]] = {
    CHAT: {"model": "m", "messages": USER},
    MESSAGES: {"model": "m", "max_tokens": 1, "messages": USER},
    RESPONSES: {"model": "m", "input": "hi"},
}


def read(body: Mapping[str, Any], api_format: ApiFormat) -> LLMCall:
    """Return the call that a body makes."""
    return read_call(read_document(json.dumps(body).encode()), api_format)


def faulty(api_format: ApiFormat, code: str, param: str, **fields: object) -> Any:
    """Return a case: the shortest body with other fields (`...` leaves one out), and how it is refused."""
    name = f"{api_format} {json.dumps(fields, default=lambda _: 'missing')[:60]}"
    return pytest.param(api_format, code, param, fields, id=name)


MISSING: Final = "missing_required_parameter"
NO_STRING: Final[tuple[Any, ...]] = (5, {}, [], True)
NO_BOOLEAN: Final[tuple[Any, ...]] = ("yes", 1, 0, [])
NO_ARRAY: Final[tuple[Any, ...]] = ("hi", {}, 0)
NO_INPUT: Final[tuple[Any, ...]] = (5, {}, False)


@pytest.mark.parametrize(
    ("api_format", "code", "param", "fields"),
    [
        *(faulty(f, "invalid_type", "model", model=v) for f in ApiFormat for v in NO_STRING),
        *(faulty(CHAT, "invalid_value", "model", model=v) for v in ("", "m" * 257, "a\r\nb", "a b", "\x00", "../a")),
        *(faulty(CHAT, "invalid_value", "model", model=v) for v in ("a/../b", "modèle", "a\u202eb", "😀")),
        *(faulty(f, "invalid_type", "stream", stream=v) for f in ApiFormat for v in NO_BOOLEAN),
        *(faulty(f, MISSING, "messages", messages=v) for f in (CHAT, MESSAGES) for v in (..., None)),
        *(faulty(f, "empty_array", "messages", messages=[]) for f in (CHAT, MESSAGES)),
        *(faulty(f, "invalid_type", "messages", messages=v) for f in (CHAT, MESSAGES) for v in NO_ARRAY),
        *(faulty(f, "invalid_type", "messages[0]", messages=["hi"]) for f in (CHAT, MESSAGES)),
        *(faulty(f, MISSING, "messages[0].role", messages=[{"content": ""}]) for f in (CHAT, MESSAGES)),
        *(faulty(f, "invalid_value", "messages[0].role", messages=[{"role": "alien"}]) for f in (CHAT, MESSAGES)),
        faulty(MESSAGES, "invalid_value", "messages[0].role", messages=[{"role": "tool", "content": ""}]),
        faulty(CHAT, "invalid_type", "messages[0].content", messages=[{"role": "user", "content": 7}]),
        faulty(MESSAGES, "invalid_type", "messages[1].content", messages=[*USER, {"role": "user", "content": {}}]),
        faulty(MESSAGES, MISSING, "messages[0].content", messages=[{"role": "user"}]),
        faulty(CHAT, "invalid_type", "messages[0].content[0]", messages=[{"role": "user", "content": ["x"]}]),
        faulty(CHAT, MISSING, "messages[0].content[0].type", messages=[{"role": "user", "content": [{}]}]),
        faulty(
            CHAT, MISSING, "messages[0].content[0].text", messages=[{"role": "user", "content": [{"type": "text"}]}]
        ),
        faulty(
            CHAT,
            "invalid_type",
            "messages[0].tool_calls[0].function.name",
            messages=[{"role": "assistant", "tool_calls": [{"function": {"name": 1}}]}],
        ),
        *(faulty(MESSAGES, MISSING, "max_tokens", max_tokens=v) for v in (..., None)),
        *(faulty(MESSAGES, "invalid_type", "max_tokens", max_tokens=v) for v in ("5", 1.5, True)),
        faulty(MESSAGES, "invalid_type", "system", system=5),
        *(faulty(RESPONSES, MISSING, "input", input=v) for v in (..., None)),
        *(faulty(RESPONSES, "invalid_type", "input", input=v) for v in NO_INPUT),
        *(faulty(RESPONSES, "invalid_type", "input[0]", input=v) for v in (["hi"], [None])),
        faulty(RESPONSES, "invalid_type", "instructions", instructions=5),
        faulty(RESPONSES, "invalid_type", "input[0].type", input=[{"type": 5}]),
        faulty(RESPONSES, MISSING, "input[0].role", input=[{}]),
        faulty(RESPONSES, "invalid_value", "input[0].role", input=[{"role": "tool", "content": ""}]),
        faulty(RESPONSES, MISSING, "input[0].name", input=[{"type": "function_call"}]),
        faulty(RESPONSES, "invalid_type", "input[0].output", input=[{"type": "function_call_output", "output": 1}]),
    ],
)
def test_body_of_another_shape_is_refused_at_its_place(
    api_format: ApiFormat, code: str, param: str, fields: Mapping[str, Any]
) -> None:
    """A fault is a 400 whose code says what is wrong, whose param says where, and whose message says both."""
    body = {key: value for key, value in {**SHORTEST[api_format], **fields}.items() if value is not ...}

    with pytest.raises(WireFormatError) as caught:
        read(body, api_format)

    assert (caught.value.status, caught.value.code, caught.value.param) == (400, code, param)
    assert caught.value.message.startswith(param)


HUGE: Final = 10 * 1024 * 1024


@pytest.mark.parametrize(
    ("content", "count", "chars"),
    [("a" * HUGE, 1, HUGE), ("\\n" * (HUGE // 2), 1, HUGE // 2), ("hi", 200_000, 2)],
    ids=["one big string", "one big escaped string", "many messages"],
)
def test_huge_body_is_read_and_rewritten_in_bounded_time(content: str, count: int, chars: int) -> None:
    """Size costs time in proportion and no stack."""
    message = f'{{"role":"user","content":"{content}"}}'
    data = f'{{"model":"m","messages":[{",".join([message] * count)}]}}'.encode()
    start = time.perf_counter()

    document = read_document(data)
    call = read_call(document, CHAT)
    rewritten = rewrite(document, model="n")

    assert time.perf_counter() - start < 20
    assert (len(call.conversation), len(call.conversation[-1].text)) == (count, chars)
    assert len(rewritten) == len(data)
