"""Our translations beside those of LLM-Rosetta, which others wrote: the same, or different for a reason given here.

What is compared is what a body means: who says what, which tools there are, how to answer. All calls and answers of
the tests of translation are; a difference that no row of the tables explains fails, and so does a row that explains
nothing any more.
"""

import json
import runpy
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cache
from pathlib import Path
from typing import Any, Final

import orjson
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from llm_rosetta import ConversionError, ConversionPipeline

from plano_asgi.conversation import ApiFormat
from plano_asgi.errors import CallError
from plano_asgi.providers import ProviderFormat
from plano_asgi.translate import translate_answer, translate_request

CHAT, MESSAGES, RESPONSES = ApiFormat.CHAT_COMPLETIONS, ApiFormat.MESSAGES, ApiFormat.RESPONSES
THEIR_NAMES: Final = {CHAT: "openai_chat", MESSAGES: "anthropic", RESPONSES: "openai_responses"}
LETTERS: Final = {CHAT: "C", MESSAGES: "M", RESPONSES: "R"}
PAIRS: Final = [(source, target) for source in ApiFormat for target in ApiFormat if source != target]
REQUESTS: Final = runpy.run_path(str(Path(__file__).with_name("test_translate_requests.py")))
ANSWERS: Final = runpy.run_path(str(Path(__file__).with_name("test_translate_answers.py")))
ORACLES: Final = runpy.run_path(str(Path(__file__).with_name("test_translate_oracles.py")))

View = dict[str, Any]


def texts(content: Any) -> list[Any]:
    """Return content that may be one text as parts."""
    return [("text", content)] if isinstance(content, str) else list(content or ())


def url_of(media_type: str, data: str) -> str:
    """Return inline data as a URL."""
    return f"data:{media_type};base64,{data}"


def of_source(kind: str, source: Mapping[str, Any], name: Any) -> tuple[Any, ...]:
    """Return an image or a document of Messages."""
    if source["type"] == "base64":
        return (kind, url_of(source["media_type"], source["data"]), name)
    return (kind, source.get("url") or source.get("file_id") or source.get("data"), name)


def known_detail(detail: Any) -> Any:
    """Return how closely to look at an image, None where it is as by default."""
    return None if detail == "auto" else detail


def chat_part(part: Any) -> tuple[Any, ...]:
    """Return what a part of a message of Chat Completions means."""
    match part:
        case {"type": "text", "text": text}:
            return ("text", text)
        case {"type": "refusal", "refusal": text}:
            return ("refusal", text)
        case {"type": "image_url", "image_url": image}:
            return ("image", image["url"], known_detail(image.get("detail")))
        case {"type": "file", "file": file}:
            return ("file", file.get("file_data") or file.get("file_id"), file.get("filename"))
        case _:
            return part if isinstance(part, tuple) else ("other", part)


def chat_said(messages: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
    """Yield what is said in messages of Chat Completions."""
    for message in messages:
        role = {"developer": "system"}.get(message["role"], message["role"])
        parts = [chat_part(part) for part in texts(message.get("content"))]
        if role == "tool":
            yield ("user", "result", message["tool_call_id"], tuple(parts))
            continue
        if message.get("reasoning_content"):
            yield (role, "thought", message["reasoning_content"], None)
        yield from ((role, *part) for part in parts)
        if message.get("refusal"):
            yield (role, "refusal", message["refusal"])
        for call in message.get("tool_calls") or ():
            function = call.get("function") or call["custom"]
            yield (
                role,
                "call",
                call["id"],
                function["name"],
                arguments_of(function.get("arguments", function.get("input"))),
            )


def arguments_of(arguments: Any) -> Any:
    """Return what a call was given; a text is JSON if it can be."""
    if not isinstance(arguments, str):
        return arguments
    try:
        return json.loads(arguments or "{}")
    except ValueError:
        return arguments


def message_part(block: Any) -> tuple[Any, ...]:
    """Return what a block of Messages means."""
    match block:
        case {"type": "text", "text": text}:
            return ("text", text)
        case {"type": "image" | "document" as kind, "source": source}:
            return of_source("file" if kind == "document" else kind, source, block.get("title"))
        case {"type": "tool_use"}:
            return ("call", block["id"], block["name"], block["input"])
        case {"type": "tool_result"}:
            parts = tuple(message_part(part) for part in texts(block.get("content")))
            return ("result", block["tool_use_id"], parts)
        case {"type": "thinking" | "redacted_thinking"}:
            return ("thought", block.get("thinking", ""), block.get("signature") or block.get("data"))
        case _:
            return block if isinstance(block, tuple) else ("other", block)


def messages_said(body: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    """Yield what is said in a call of Messages."""
    yield from (("system", *message_part(block)) for block in texts(body.get("system")))
    for message in body["messages"]:
        yield from ((message["role"], *message_part(block)) for block in texts(message["content"]))


def response_part(part: Any) -> tuple[Any, ...]:
    """Return what a part of an item of Responses means."""
    match part:
        case {"type": "input_text" | "output_text", "text": text}:
            return ("text", text)
        case {"type": "refusal", "refusal": text}:
            return ("refusal", text)
        case {"type": "input_image"}:
            return ("image", part.get("image_url") or part.get("file_id"), known_detail(part.get("detail")))
        case {"type": "input_file"}:
            source = part.get("file_data") or part.get("file_url") or part.get("file_id")
            return ("file", source, part.get("filename"))
        case _:
            return part if isinstance(part, tuple) else ("other", part)


def responses_said(body: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    """Yield what is said in a call of Responses."""
    yield from (("system", *part) for part in texts(body.get("instructions")))
    if isinstance(body["input"], str):
        yield ("user", "text", body["input"])
        return
    for item in body["input"]:
        yield from item_said(item)


def item_said(item: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    """Yield what is said in an item of Responses."""
    kind = item.get("type", "message")
    if kind == "message":
        role = {"developer": "system"}.get(item["role"], item["role"])
        yield from ((role, *response_part(part)) for part in texts(item["content"]))
    elif kind in {"function_call", "custom_tool_call"}:
        yield (
            "assistant",
            "call",
            item["call_id"],
            item["name"],
            arguments_of(item.get("arguments", item.get("input"))),
        )
    elif kind in {"function_call_output", "custom_tool_call_output"}:
        yield ("user", "result", item["call_id"], tuple(response_part(part) for part in texts(item["output"])))
    elif kind == "reasoning":
        text = "".join(part["text"] for part in item.get("summary", ()))
        yield ("assistant", "thought", text, item.get("encrypted_content"))
    else:
        yield ("assistant", "other", item)


def tool_view(tool: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what a tool of any API is: kind, name, description, schema, strictness."""
    kind = "custom" if tool.get("type") == "custom" and "input_schema" not in tool else "function"
    inner = tool.get(kind, tool)
    schema = inner.get("parameters") or inner.get("input_schema") or inner.get("format")
    if kind == "custom" and schema and "grammar" in schema:
        schema = {"type": schema["type"], **schema["grammar"]}
    return (kind, inner.get("name"), inner.get("description") or None, schema, inner.get("strict") or None)


def choice_view(choice: Any) -> Any:
    """Return a choice of tools in Chat Completions' words, None where it is as by default."""
    match choice:
        case "auto" | {"type": "auto"}:
            return None
        case {"type": "any"}:
            return "required"
        case {"type": "none"}:
            return "none"
        case {"type": "tool" | "function", "name": name} | {"type": "function", "function": {"name": name}}:
            return ("function", name)
        case {"type": "allowed_tools"}:
            allowed = choice.get("allowed_tools", choice)
            return ("allowed", allowed["mode"], [tool_view(tool)[1] for tool in allowed["tools"]])
        case _:
            return choice


def format_view(form: Any) -> Any:
    """Return the form that an answer must have."""
    if not form or form["type"] == "text":
        return None
    inner = form.get("json_schema", form)
    return (form["type"], inner.get("name"), inner.get("schema"), inner.get("strict"))


def told(body: dict[str, Any], key: str, *, by_default: Any) -> Any:
    """Take a field, and return it; None where it says what holds anyway."""
    value = body.pop(key, None)
    return None if value == by_default else value


def chat_view(body: dict[str, Any]) -> View:
    """Return what a call of Chat Completions asks for."""
    stop = body.pop("stop", None)
    return {
        "said": joined(chat_said(body.pop("messages"))),
        "tools": [tool_view(tool) for tool in body.pop("tools", None) or ()],
        "choice": choice_view(body.pop("tool_choice", None)),
        "parallel": told(body, "parallel_tool_calls", by_default=True),
        "limit": body.pop("max_tokens", None) or body.pop("max_completion_tokens", None),
        "stop": [stop] if isinstance(stop, str) else stop,
        "format": format_view(body.pop("response_format", None)),
        "effort": body.pop("reasoning_effort", None),
        "store": told(body, "store", by_default=False),
        "n": told(body, "n", by_default=1),
        **rest(body),
    }


def messages_view(body: dict[str, Any]) -> View:
    """Return what a call of Messages asks for."""
    said = joined(messages_said({"system": body.pop("system", None), "messages": body.pop("messages")}))
    choice, output = body.pop("tool_choice", None) or {}, body.pop("output_config", {})
    return {
        "said": said,
        "tools": [tool_view(tool) for tool in body.pop("tools", None) or ()],
        "choice": choice_view(choice or None),
        "parallel": False if choice.get("disable_parallel_tool_use") else None,
        "limit": body.pop("max_tokens"),
        "stop": body.pop("stop_sequences", None),
        "format": format_view(output.pop("format", None)),
        "effort": output.pop("effort", None),
        "user": (body.pop("metadata", None) or {}).get("user_id"),
        "service_tier": {"standard_only": "default"}.get(tier := body.pop("service_tier", None), tier),
        **rest(body),
    }


def responses_view(body: dict[str, Any]) -> View:
    """Return what a call of Responses asks for."""
    said = joined(responses_said({"instructions": body.pop("instructions", None), "input": body.pop("input")}))
    text, reasoning = body.pop("text", None) or {}, body.pop("reasoning", None) or {}
    return {
        "said": said,
        "tools": [tool_view(tool) for tool in body.pop("tools", None) or ()],
        "choice": choice_view(body.pop("tool_choice", None)),
        "parallel": told(body, "parallel_tool_calls", by_default=True),
        "limit": body.pop("max_output_tokens", None),
        "format": format_view(text.pop("format", None)),
        "verbosity": text.pop("verbosity", None),
        "effort": reasoning.pop("effort", None),
        "store": told(body, "store", by_default=True),
        **{f"text.{key}": value for key, value in text.items()},
        **{f"reasoning.{key}": value for key, value in reasoning.items()},
        **rest(body),
    }


def rest(body: dict[str, Any]) -> View:
    """Return fields that are named the same everywhere, or are known nowhere."""
    stream = told(body, "stream", by_default=False)
    return {"stream": stream, **{key: value for key, value in body.items() if key != "model"}}


def joined(said: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Return what is said with instructions that follow each other as one, whatever stands between them."""
    parts: list[tuple[Any, ...]] = []
    for part in said:
        if part[:2] == ("system", "text") and parts and parts[-1][:2] == ("system", "text"):
            parts[-1] = ("system", "text", f"{parts[-1][2]}\n{part[2]}")
        else:
            parts.append(part)
    return [(*part[:2], " ".join(part[2].split())) if part[0] == "system" else part for part in parts]


VIEWS: Final = {CHAT: chat_view, MESSAGES: messages_view, RESPONSES: responses_view}


def usage_view(usage: Mapping[str, Any]) -> tuple[int, ...]:
    """Return tokens as the API counts them: of the prompt, cached, of the answer, of thoughts."""
    prompt = usage.get("prompt_tokens_details") or usage.get("input_tokens_details") or {}
    said = usage.get("completion_tokens_details") or usage.get("output_tokens_details") or {}
    return (
        usage.get("prompt_tokens") or usage.get("input_tokens") or 0,
        prompt.get("cached_tokens") or usage.get("cache_read_input_tokens") or 0,
        usage.get("completion_tokens") or usage.get("output_tokens") or 0,
        said.get("reasoning_tokens") or said.get("thinking_tokens") or 0,
    )


def answer_view(caller: ApiFormat, answer: Mapping[str, Any]) -> View:
    """Return what an answer says, why it ends, and what it cost."""
    view: View = {"usage": usage_view(answer.get("usage") or {}), "model": answer["model"]}
    if caller is CHAT:
        choice = answer["choices"][0]
        return {**view, "said": list(chat_said([choice["message"]])), "end": choice["finish_reason"]}
    if caller is MESSAGES:
        said = list(messages_said({"messages": [answer]}))
        return {**view, "said": said, "end": (answer["stop_reason"], answer.get("stop_sequence"))}
    said = [part for item in answer["output"] for part in item_said(item)]
    return {**view, "said": said, "end": (answer["status"], (answer["incomplete_details"] or {}).get("reason"))}


# Which of two translations is right where they differ, by the reference of which API.
OPENAI: Final = "platform.openai.com/docs/api-reference"
CLAUDE: Final = "platform.claude.com/docs/en/api/messages"
Holds = Callable[[Any, Any], bool]


@dataclass(frozen=True)
class Difference:
    """One kind of difference between two translations.

    Attributes:
        about: The part of the view in which they differ.
        between: From which API to which: "CM" is from Chat Completions to Messages.
        holds: Whether our part and theirs differ in this way.
        why: Which of them is right, and by what.
    """

    about: str
    between: str
    holds: Holds
    why: str


def left_out(ours: Any, theirs: Any) -> bool:
    """Theirs has nothing there."""
    return bool(ours) and not theirs


def let_through(ours: Any, theirs: Any) -> bool:
    """Ours has nothing there."""
    return not ours and bool(theirs)


def became(ours: Any, theirs: Any) -> Holds:
    """Ours is the one value, theirs the other."""
    return lambda our_part, their_part: (our_part, their_part) == (ours, theirs)


def complaint(phrase: str) -> Holds:
    """Theirs refuses, with such words, what ours translates."""
    return lambda ours, theirs: ours is None and isinstance(theirs, str) and phrase in theirs


def without(*kinds: str) -> Holds:
    """Ours refuses, naming the place, and theirs says nothing of such kinds."""
    return lambda ours, theirs: bool(ours) and not kinds_of(theirs) & set(kinds)


def kinds_of(parts: Any) -> set[str]:
    """Return of what kinds parts of a conversation are; none, where there is none."""
    return {part[1] for part in parts} if isinstance(parts, list) else set()


def in_any_way(_ours: Any, _theirs: Any) -> bool:
    """They may differ as they like."""
    return True


def parts(ours: str | None, theirs: str | None, *, how: Holds = in_any_way) -> Holds:
    """Each has parts of one kind there, or none at all, and they differ in a way."""
    kinds = ({ours} - {None}, {theirs} - {None})
    return lambda our_part, their_part: (
        (kinds_of(our_part), kinds_of(their_part)) == kinds and how(our_part, their_part)
    )


def words(said: Iterable[tuple[Any, ...]]) -> str:
    """Return the texts of parts, one after the other."""
    return "".join(part[2] for part in said)


def tools(ours: str | None, theirs: str | None, *, how: Holds = in_any_way) -> Holds:
    """Each has tools of one kind there, or none at all, and they differ in a way."""
    return lambda our_part, their_part: (
        ({tool[0] for tool in our_part}, {tool[0] for tool in their_part}) == ({ours} - {None}, {theirs} - {None})
        and how(our_part, their_part)
    )


IN_REQUESTS: Final = [
    # what one of the two refuses
    Difference(
        "refused", "CM CR RC RM", complaint("got NoneType"), f"ours: null is no value, and allowed; {OPENAI}/chat"
    ),
    Difference("refused", "MR", complaint("File part"), f"ours: a document of text is text; {CLAUDE}"),
    Difference(
        "refused",
        "CM MC MR RC RM",
        without("image", "file", "other"),
        "ours: what the provider cannot be told is refused; theirs leaves it out in silence and asks something else",
    ),
    Difference(
        "refused",
        "CM CR RM",
        lambda ours, theirs: bool(ours) and kinds_of(theirs) == {"text", "file"},
        f"ours: no recordings there, and no archives for Claude; {OPENAI}/responses, {CLAUDE}; theirs sends documents",
    ),
    # sampling and limits
    Difference("top_p", "CM", let_through, f"ours: Claude takes temperature or top_p; {CLAUDE}"),
    Difference(
        "stop",
        "CM MC",
        lambda ours, theirs: set(ours) < set(theirs),
        f"ours: Messages takes no blank stop sequence, and Chat Completions at most four; {CLAUDE}, {OPENAI}/chat",
    ),
    # fields that theirs does not know
    Difference("user", "CM CR MC MR RC RM", left_out, f"ours: `user` is `metadata.user_id`; {CLAUDE}"),
    Difference("metadata", "CR RC", left_out, f"ours: both OpenAI APIs have it; {OPENAI}/responses"),
    Difference("service_tier", "CM CR MC MR RC RM", left_out, f"ours: every API has it; {OPENAI}/responses, {CLAUDE}"),
    Difference("verbosity", "CR RC", left_out, f"ours: both OpenAI APIs have it; {OPENAI}/responses"),
    Difference("stream_options", "MC RC", left_out, f"ours: else the stream tells no usage; {OPENAI}/chat-streaming"),
    Difference(
        "store",
        "CR MR",
        became(ours=False, theirs=None),
        f"ours: Responses stores by default, the other APIs do not; {OPENAI}/responses",
    ),
    # reasoning
    Difference("reasoning", "MC RC", let_through, f"ours: there is no such field; {OPENAI}/chat"),
    Difference(
        "thinking",
        "RM",
        became({"type": "adaptive", "display": "summarized"}, {"type": "adaptive"}),
        f"ours: `generate_summary` is an older name of `summary`; {OPENAI}/responses",
    ),
    Difference(
        "effort", "MC MR", left_out, f"ours: a budget is an effort, and no thinking is `none`; {OPENAI}/responses"
    ),
    Difference("effort", "MC MR", became("max", "high"), f"ours: there is an effort `max`; {OPENAI}/responses"),
    # the form of an answer
    Difference(
        "format", "CM CR MC MR RC RM", left_out, f"ours: every API takes a JSON schema; {OPENAI}/responses, {CLAUDE}"
    ),
    Difference("text.type", "CR", let_through, f"ours: it stands in `text.format`; {OPENAI}/responses"),
    Difference("text.json_schema", "CR", let_through, f"ours: it stands in `text.format`; {OPENAI}/responses"),
    # tools
    Difference(
        "tools",
        "CM CR MC MR RC RM",
        lambda ours, theirs: [(*tool[:4], None) for tool in ours] == theirs,
        f"ours: every API has `strict`; {OPENAI}/responses, {CLAUDE}",
    ),
    Difference(
        "tools",
        "MC MR RC RM",
        tools(None, "function", how=lambda _, theirs: theirs[0][1] in {"web_search", "bash"}),
        "ours: what a provider runs is no function of the caller's; theirs offers one without arguments",
    ),
    Difference(
        "tools", "CR RC", tools("custom", "function"), f"ours: both OpenAI APIs have tools of free text; {OPENAI}/chat"
    ),
    Difference(
        "tools",
        "CM RM",
        tools(None, "function", how=lambda _, theirs: "Free-form text" in str(theirs)),
        "either: theirs wraps free text in an object and unwraps the answer's; ours leaves the tool out, and says so",
    ),
    Difference(
        "tools",
        "CM",
        tools(None, "function", how=lambda _, theirs: [tool[1] for tool in theirs] == ["b"]),
        f"ours: some tools allowed are these offered; {OPENAI}/responses; theirs lets the model call all",
    ),
    Difference(
        "tools",
        "CR",
        tools("function", "function", how=lambda ours, theirs: not (ours[0][3]["properties"] or theirs[0][3])),
        f"ours: a schema is an object's; {OPENAI}/responses; theirs gives a tool without arguments none",
    ),
    Difference("choice", "CM CR RC", left_out, f"ours: `allowed_tools` is a choice; {OPENAI}/responses"),
    # what is said
    Difference("said", "CM CR RC", parts("file", None), f"ours: the API takes documents; {OPENAI}/chat, {CLAUDE}"),
    Difference(
        "said",
        "MR",
        parts("file", "file", how=lambda ours, theirs: theirs == [(*ours[0][:3], "unknown")]),
        "ours: a document needs no name",
    ),
    Difference(
        "said", "MC", parts("text", None, how=became([("user", "text", "words")], [])), f"ours: a document; {CLAUDE}"
    ),
    Difference(
        "said",
        "MC RM",
        parts(None, "thought"),
        f"ours: thoughts go to who signed them; no other accepts the signature, or ever thought them; {CLAUDE}",
    ),
    Difference(
        "said",
        "CM CR MC RC RM",
        lambda ours, theirs: not ours and kinds_of(theirs) <= {"thought", "text"} and not words(theirs).strip("hm"),
        f"ours: no text may be empty; {CLAUDE}; theirs adds one to thoughts and refusals",
    ),
    Difference(
        "said",
        "MC",
        parts(None, "text", how=lambda _, theirs: "tool-content" in words(theirs)),
        "either: theirs says around a tool's picture whose it is, and repeats the tool's words",
    ),
    Difference(
        "said",
        "CM CR",
        lambda ours, theirs: (
            [part[3:] for part in ours] == [part[3:] for part in theirs]
            and {part[2][:5] for part in ours} == {"call_"}
            and {part[2] for part in theirs} == {"a_b_c_d"}
        ),
        "ours: an id that does not fit becomes one that no other has; theirs may make one of two",
    ),
    Difference(
        "said",
        "CM",
        lambda ours, theirs: [*ours, *theirs] == [("user", "text", "Quick!")],
        f"ours: what tools gave comes first in a turn; {CLAUDE}",
    ),
    Difference(
        "said",
        "CM RM",
        parts("text", "text", how=lambda ours, theirs: words(theirs) == f"[Refusal] {words(ours)}"),
        "either: a refusal of before is words there; theirs says that it was one",
    ),
    Difference("said", "CR", parts("refusal", None), f"ours: there are refusals; {OPENAI}/responses"),
    Difference(
        "said",
        "CM CR",
        parts("call", "call", how=lambda _, theirs: [part[4] for part in theirs] == [{"raw_arguments": "oops"}]),
        "either: arguments that are no JSON are wrapped, under one name or another; ours only where they must be",
    ),
    Difference(
        "said",
        "RM",
        parts("text", "text", how=became([("system", "text", "A B")], [("system", "text", "A")])),
        f"ours: developer messages are instructions; {OPENAI}/responses; theirs leaves them out beside `instructions`",
    ),
]


def said_by(role: str, *content: Any) -> dict[str, Any]:
    """Return a message, of one text or of parts."""
    return {"role": role, "content": content[0] if isinstance(content[0], str) else list(content)}


def chat_call(call_id: str, arguments: str = "{}") -> dict[str, Any]:
    """Return a message of Chat Completions that calls a tool."""
    call = {"id": call_id, "type": "function", "function": {"name": "f", "arguments": arguments}}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def chat_result(call_id: str, content: Any = "ok") -> dict[str, Any]:
    """Return a message of Chat Completions with what a tool gave."""
    return {"role": "tool", "tool_call_id": call_id, "content": content}


def text(words: str, kind: str = "text") -> dict[str, Any]:
    """Return a part that is words."""
    return {"type": kind, "text": words}


HI: Final = said_by("user", "hi")
GO: Final = said_by("user", "go")
CHAT_TURNS: Final = [
    [HI, chat_call("a.b:c|d"), chat_result("a.b:c|d")],
    [HI, said_by("developer", "French!"), GO],
    [HI, said_by("user", ""), GO],
    [HI, chat_call("c"), said_by("user", "Quick!"), chat_result("c")],
    [HI, {"role": "assistant", "content": None, "refusal": "no"}, GO],
    [HI, said_by("assistant", "I think")],
    [HI, chat_call("c", "oops"), chat_result("c", [text("a"), text("b")])],
    [said_by("system", text("A"), text("B")), said_by("developer", "C"), HI],
]
USED: Final = {"type": "tool_use", "id": "t", "name": "f", "input": {"a": [1, None]}}
GIVEN: Final = {"type": "tool_result", "tool_use_id": "t", "content": [text("x"), REQUESTS["MEDIA"][0][3]]}
MESSAGES_TURNS: Final = [
    [HI, said_by("assistant", REQUESTS["THOUGHT"], {"type": "redacted_thinking", "data": "eA=="}, text("ok")), GO],
    [HI, said_by("assistant", USED), said_by("user", GIVEN, text("and?"))],
    [HI, said_by("assistant", "I think")],
]
REASONED: Final = {"type": "reasoning", "id": "rs_1", "summary": [text("hm", "summary_text")], "encrypted_content": "e"}
CUSTOM: Final = {"type": "custom_tool_call", "call_id": "c", "name": "p", "input": "free"}
CALLED: Final = [{"type": "function_call", "call_id": name, "name": "f", "arguments": '{"a": 1}'} for name in "cd"]
RETURNED: Final = [
    {"type": "function_call_output", "call_id": "c", "output": "1"},
    {"type": "function_call_output", "call_id": "d", "output": [text("2", "input_text")]},
]
RESPONSES_TURNS: Final = [
    [HI, REASONED, {"type": "message", **said_by("assistant", text("ok", "output_text"))}, GO],
    [HI, {"type": "message", **said_by("assistant", {"type": "refusal", "refusal": "no"})}, GO],
    [HI, CUSTOM, {"type": "custom_tool_call_output", "call_id": "c", "output": "ok"}],
    [HI, *CALLED, *RETURNED],
    [said_by("developer", "B"), said_by("user", text("a", "input_text"), text("b", "input_text"))],
    [HI, {"type": "item_reference", "id": "x"}],
]
STRICT: Final = {"name": "f", "parameters": {"type": "object", "properties": {}}, "strict": True}
MORE_CALLS: Final[list[tuple[ApiFormat, dict[str, Any]]]] = [
    (MESSAGES, {"max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}], "stream": True}),
    *((CHAT, {"messages": turns}) for turns in (REQUESTS["CONVERSATION"], *CHAT_TURNS)),
    *((MESSAGES, {"messages": turns}) for turns in MESSAGES_TURNS),
    (MESSAGES, {"system": [text("A") | {"cache_control": {"type": "ephemeral"}}, text("B")]}),
    *((RESPONSES, {"input": turns}) for turns in RESPONSES_TURNS),
    (RESPONSES, {"instructions": "A", "input": RESPONSES_TURNS[-2]}),
    (RESPONSES, {"user": "u", "metadata": {"a": "b"}, "service_tier": "default"}),
    (CHAT, {"tools": [{"type": "function", "function": STRICT}]}),
    (RESPONSES, {"tools": [{"type": "function", **STRICT}]}),
]


def all_calls() -> list[tuple[ApiFormat, bytes]]:
    """Return the calls of the tests of translation and those above, each once."""
    shown = []
    for source, part, *_ in REQUESTS["MEDIA"]:
        look = text("look", "input_text" if source is RESPONSES else "text")
        shown.append((source, {"input" if source is RESPONSES else "messages": [said_by("user", look, part)]}))
    fields = [*((row[0], row[2]) for row in REQUESTS["FIELDS"]), *shown, *MORE_CALLS]
    bodies = [(source, {**REQUESTS["LEAST"][source], **given}) for source, given in fields]
    return list(dict.fromkeys((source, orjson.dumps(body)) for source, body in bodies))


def our_request(source: ApiFormat, target: ApiFormat, body: bytes) -> View:
    """Return the view of our translation."""
    try:
        return VIEWS[target](json.loads(translate_request(body, source, ProviderFormat(target), model="m").body))
    except CallError as error:
        return {"refused": error.param}


def their_request(source: ApiFormat, target: ApiFormat, body: bytes) -> View:
    """Return the view of their translation."""
    try:
        return VIEWS[target](deepcopy(pipeline(source, target, json.loads(body))[1]))
    except ConversionError as error:
        return {"refused": str(error)}


def pipeline(caller: ApiFormat, provider: ApiFormat, call: Any) -> tuple[ConversionPipeline, Any]:
    """Return what translates theirs, after a call, and what became of that."""
    made = ConversionPipeline(THEIR_NAMES[caller], THEIR_NAMES[provider])
    with warnings.catch_warnings(action="ignore"):
        return made, made.convert_request(call)


def written(elements: Sequence[Any]) -> list[str]:
    """Return elements as text, the same for what is the same."""
    return [json.dumps(element, sort_keys=True) for element in elements]


def differences(ours: View, theirs: View) -> Iterator[tuple[str, Any, Any]]:
    """Yield in what two views differ: which part, and both sides of it; of lists, only what is not the same."""
    if "refused" in ours or "refused" in theirs:
        if not ("refused" in ours and "refused" in theirs):
            yield "refused", ours.get("refused"), theirs.get("refused", theirs.get("said"))
        return
    for about in ours.keys() | theirs.keys():
        our_part, their_part = ours.get(about), theirs.get(about)
        if isinstance(our_part, list) and isinstance(their_part, list):
            matcher = SequenceMatcher(a=written(our_part), b=written(their_part), autojunk=False)
            for tag, a, b, c, d in matcher.get_opcodes():
                if tag != "equal":
                    yield about, our_part[a:b], their_part[c:d]
        elif our_part != their_part:
            yield about, our_part, their_part


def explained(
    source: ApiFormat, target: ApiFormat, ours: View, theirs: View, table: Sequence[Difference]
) -> set[Difference]:
    """Return the kinds of difference between two views; fail where there is none for one of them."""
    found = set()
    for about, our_part, their_part in differences(ours, theirs):
        pair = LETTERS[source] + LETTERS[target]
        kinds = [kind for kind in table if kind.about == about and pair in kind.between.split()]
        known = [kind for kind in kinds if kind.holds(our_part, their_part)]
        assert known, f"{source} -> {target}, {about}: ours {our_part!r}, theirs {their_part!r}"
        found.update(known)
    return found


def requests(source: ApiFormat, target: ApiFormat) -> Iterator[tuple[View, View]]:
    """Yield the views of all calls of an API as both translate them."""
    for api, body in all_calls():
        if api is source:
            yield our_request(source, target, body), their_request(source, target, body)


IN_ANSWERS: Final = [
    Difference(
        "usage",
        "MC MR",
        lambda ours, theirs: ours[0] == theirs[0] + theirs[1],
        f"ours: OpenAI counts cached tokens among the prompt's, Claude beside them; {OPENAI}/responses, {CLAUDE}",
    ),
    Difference(
        "usage",
        "CM RM",
        lambda ours, theirs: ours[0] + ours[1] == theirs[0],
        f"ours: the same, the other way round; {OPENAI}/responses, {CLAUDE}",
    ),
    # why it ends
    Difference(
        "end",
        "RC RM",
        lambda ours, theirs: (ours, theirs) in {("tool_calls", "stop"), (("tool_use", None), ("end_turn", None))},
        f"ours: an answer that calls tools ends for them; {OPENAI}/chat, {CLAUDE}; theirs does not look",
    ),
    Difference(
        "end",
        "MC MR",
        lambda ours, theirs: (
            ours in {"length", ("incomplete", "max_output_tokens")} and theirs in {"stop", ("completed", None)}
        ),
        f"ours: an answer that fills the model's window is cut short; {CLAUDE}",
    ),
    Difference(
        "end",
        "MC MR",
        lambda ours, theirs: (
            ours in {"content_filter", ("incomplete", "content_filter")} and theirs in {"stop", ("completed", None)}
        ),
        f"either: Claude's `refusal` is a classifier's; {CLAUDE}; theirs tells it as words that the model has not said",
    ),
    Difference(
        "said",
        "MC MR",
        became([], [("assistant", "refusal", "Request refused by model.")]),
        "either: the same, in what is said",
    ),
    Difference(
        "end",
        "CM RM",
        became(("refusal", None), ("end_turn", None)),
        f"ours: an answer that a filter has stopped did not end by itself; {OPENAI}/chat",
    ),
    # what is said
    Difference(
        "refused", "RC RM", complaint("no answer"), "ours: an answer may say nothing, and has its form all the same"
    ),
    Difference(
        "said",
        "RC",
        parts(None, "text", how=lambda _, theirs: not words(theirs)),
        "either: a refusal stands beside no text, or an empty one",
    ),
    Difference("said", "CM RM", left_out, f"ours: a refusal is words; {CLAUDE}"),
    Difference(
        "said",
        "RM",
        parts("call", "call", how=lambda ours, theirs: [*map(call_of_item, ours)] == [*map(call_of_item, theirs)]),
        f"ours: what answers a call names its `call_id`, not its item's `id`; {OPENAI}/responses",
    ),
    Difference(
        "said",
        "MR RM",
        lambda ours, theirs: theirs and [unsealed(part) for part in ours if part[1] == "thought"] == theirs,
        "ours: a signature is marked with its maker, and goes back to it alone; theirs may go to any",
    ),
    Difference(
        "said",
        "CR MR",
        lambda ours, theirs: {(part[1], part[2]) for part in (*ours, *theirs)} == {("text", "Größe 🙂")},
        f"ours: what is said keeps its order; {OPENAI}/responses; theirs tells calls before words",
    ),
]


def call_of_item(part: tuple[Any, ...]) -> tuple[str, Any]:
    """Return which call it is of those of the tests: the number at the end of its id, and what is called."""
    return part[2].rpartition("_")[2], part[3:]


def unsealed(part: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a thought whose signature is no more marked with its maker."""
    return (*part[:3], part[3].rpartition(".")[2])


def their_answer(caller: ApiFormat, provider: ApiFormat, body: Any) -> View:
    """Return the view of their translation of an answer."""
    made, _ = pipeline(caller, provider, deepcopy(REQUESTS["LEAST"][caller]))
    try:
        return answer_view(caller, made.convert_response(deepcopy(body)))
    except (KeyError, IndexError):
        return {"refused": "no answer"}


def stopped(provider: ApiFormat, reason: str | None) -> dict[str, Any]:
    """Return an answer that ends for a reason."""
    if provider is MESSAGES:
        said = {"type": "message", "role": "assistant", "content": [text("x")]}
        return {**said, "id": "i", "model": "real", "stop_reason": reason, "stop_sequence": None, "usage": {}}
    choice = {"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": reason}
    return {"id": "i", "model": "real", "choices": [choice]}


def all_answers(provider: ApiFormat) -> list[Any]:
    """Return the answers of a provider in the tests of translation, and more."""
    ends = [reason for of, reason, *_ in ANSWERS["STOPS"] if of.value == provider.value]
    whole = ANSWERS["ANSWERS"][ProviderFormat(provider)]
    return [whole, *(stopped(provider, reason) for reason in ends), *MORE_ANSWERS.get(provider, ())]


REFUSED: Final = {"type": "message", "id": "m", **said_by("assistant", {"type": "refusal", "refusal": "no"})}
CUT: Final = {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
FILTERED: Final = {"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}
WHOLE: Final = ANSWERS["ANSWERS"][ANSWERS["OF_RESPONSES"]]
SPOKEN: Final = {**WHOLE, "output": [WHOLE["output"][1]]}
REFUSING: Final = {"role": "assistant", "content": None, "refusal": "no"}
MORE_ANSWERS: Final = {
    CHAT: [stopped(CHAT, "stop") | {"choices": [{"message": REFUSING, "finish_reason": "stop"}]}],
    RESPONSES: [SPOKEN, SPOKEN | CUT, SPOKEN | FILTERED, {**WHOLE, "output": [REFUSED]}, {**WHOLE, "output": []}],
}


def answers(provider: ApiFormat, caller: ApiFormat) -> Iterator[tuple[View, View]]:
    """Yield the views of all answers of an API as both translate them."""
    for body in all_answers(provider):
        context = ANSWERS["context"](caller, ProviderFormat(provider))
        ours = json.loads(translate_answer(orjson.dumps(body), context).body)
        yield answer_view(caller, ours), their_answer(caller, provider, body)


IN_STREAMS: Final = [
    *(kind for kind in IN_ANSWERS if kind.about == "usage"),
    Difference(
        "refused",
        "RC",
        complaint("IndexError"),
        f"ours: calls are numbered from 0; {OPENAI}/chat-streaming; theirs numbers all that is said",
    ),
    Difference(
        "refused",
        "MR",
        complaint("before receiving its output item"),
        f"ours: the parts of a response are numbered from 0; {OPENAI}/responses-streaming; theirs counts from -1",
    ),
    Difference(
        "said",
        "MC RC",
        became([("assistant", "text", "")], []),
        f"either: a stream begins with an empty text, as it is not known yet what comes; {OPENAI}/chat-streaming",
    ),
    Difference(
        "said",
        "RM",
        parts("thought", "thought", how=lambda ours, theirs: [(*part[:3], None) for part in ours] == theirs),
        "ours: a signature comes with the thoughts; theirs leaves it out of streams",
    ),
    Difference(
        "said",
        "RM",
        parts("call", "call", how=lambda ours, theirs: [(*part[:4], {}) for part in ours] == theirs),
        "either: ours finds the call of arguments by `output_index`; theirs by `item_id`, which this stream has not",
    ),
]


def all_streams(provider: ApiFormat) -> list[bytes]:
    """Return streams of a provider: all that it can tell at once, words alone, and a call alone."""
    return [ANSWERS["STREAMS"][ProviderFormat(provider)], *MORE_STREAMS[provider]]


def of_chunks(*deltas: Mapping[str, Any], end: str) -> bytes:
    """Return a stream of Chat Completions."""
    first, last = {"role": "assistant", "content": ""}, ANSWERS["write_event"](b"[DONE]")
    usage = {"id": "id_1", "model": "real", "choices": [], "usage": ANSWERS["CHAT_USAGE"]}
    chunks = [*map(ANSWERS["chunk"], (first, *deltas)), ANSWERS["chunk"]({}, end)]
    return b"".join([*chunks, ANSWERS["write_event"](orjson.dumps(usage)), last])


def of_item(item: Mapping[str, Any], kind: str, *deltas: str, opened: Mapping[str, Any]) -> bytes:
    """Return a stream of Responses with one item, which begins as `opened` and goes on in pieces."""
    event, place = ANSWERS["event"], {"output_index": 0, "item_id": item["id"]}
    whole = WHOLE | {"output": [item]}
    part = {"type": "output_text", "text": "", "annotations": []}
    begun = event("response.content_part.added", **place, content_index=0, part=part)
    events = [
        event("response.created", response=whole | {"status": "in_progress", "output": []}),
        event("response.output_item.added", output_index=0, item={**item, **opened}),
        *([begun] if "content" in item else []),
        *(event(f"response.{kind}.delta", **place, content_index=0, delta=delta) for delta in deltas),
        event("response.output_item.done", output_index=0, item=item),
        event("response.completed", response=whole),
    ]
    return b"".join(events)


WORDS: Final = ("Grö", "ße 🙂")
ARGUMENTS: Final = ('{"a"', ": 1}")
ENDED: Final = {"stop_reason": "end_turn", "stop_sequence": None}
MORE_STREAMS: Final = {
    CHAT: [
        of_chunks(*({"content": piece} for piece in WORDS), end="stop"),
        of_chunks(
            ANSWERS["called"](0, id="call_1", type="function", function={"name": "f", "arguments": ""}),
            *(ANSWERS["called"](0, function={"arguments": piece}) for piece in ARGUMENTS),
            end="tool_calls",
        ),
    ],
    MESSAGES: [
        ANSWERS["MESSAGES_START"]
        + ANSWERS["block"](0, text(""), *({"type": "text_delta", "text": piece} for piece in WORDS))
        + ANSWERS["event"]("message_delta", delta=ENDED, usage={"output_tokens": 5})
        + ANSWERS["event"]("message_stop"),
        ANSWERS["MESSAGES_START"]
        + ANSWERS["block"](
            0,
            {"type": "tool_use", "id": "call_1", "name": "f", "input": {}},
            *({"type": "input_json_delta", "partial_json": piece} for piece in ARGUMENTS),
        )
        + ANSWERS["MESSAGES_END"],
    ],
    RESPONSES: [
        of_item(WHOLE["output"][1], "output_text", *WORDS, opened={"content": []}),
        of_item(WHOLE["output"][2], "function_call_arguments", *ARGUMENTS, opened={"arguments": ""}),
    ],
}


def their_stream(caller: ApiFormat, provider: ApiFormat, stream: bytes) -> View:
    """Return the view of what the caller's SDK makes of their translation of a stream."""
    made, _ = pipeline(caller, provider, {**deepcopy(REQUESTS["LEAST"][caller]), "stream": True})
    processor, write = made.create_stream_processor(), ANSWERS["write_event"]
    events = [event for told in ANSWERS["told"](stream) for event in processor.process_chunk(told)]
    data = b"".join(write(orjson.dumps(event), name=event.get("type", "")) for event in events)
    try:
        return answer_view(caller, ANSWERS["accumulated"](caller, data + (write(b"[DONE]") if caller is CHAT else b"")))
    except (IndexError, RuntimeError) as error:
        return {"refused": repr(error)}


def streams(provider: ApiFormat, caller: ApiFormat) -> Iterator[tuple[View, View]]:
    """Yield the views of all streams of an API as both translate them."""
    for stream in all_streams(provider):
        ours, _ = ANSWERS["streamed"](caller, ProviderFormat(provider), stream)
        yield answer_view(caller, ANSWERS["accumulated"](caller, ours)), their_stream(caller, provider, stream)


COMPARED: Final = {
    "requests": (requests, IN_REQUESTS),
    "answers": (answers, IN_ANSWERS),
    "streams": (streams, IN_STREAMS),
}
every_subject = pytest.mark.parametrize("subject", COMPARED)


@cache
def found(subject: str, source: ApiFormat, target: ApiFormat) -> frozenset[Difference]:
    """Return the kinds of difference between the two translations; fail where one is of no known kind."""
    views, table = COMPARED[subject]
    kinds: set[Difference] = set()
    return frozenset(kinds.union(*(explained(source, target, *pair, table) for pair in views(source, target))))


@every_subject
@pytest.mark.parametrize(("source", "target"), PAIRS, ids=str)
def test_both_mean_the_same_or_differ_as_is_known(subject: str, source: ApiFormat, target: ApiFormat) -> None:
    """From each API to each other both translations mean the same, but for differences of the kinds listed here."""
    assert found(subject, source, target) <= set(COMPARED[subject][1])


@every_subject
def test_every_listed_difference_is_met(subject: str) -> None:
    """No kind of difference is listed between APIs where it is not there, or not any more."""
    listed = {(kind, pair) for kind in COMPARED[subject][1] for pair in kind.between.split()}
    met = {(kind, LETTERS[pair[0]] + LETTERS[pair[1]]) for pair in PAIRS for kind in found(subject, *pair)}

    assert listed == met


@settings(deadline=None, max_examples=100, derandomize=True, phases=[Phase.generate, Phase.shrink])
@given(call=ORACLES["CALLS"], pair=st.sampled_from(PAIRS))
def test_drawn_calls_mean_the_same_or_differ_as_is_known(pair: tuple[ApiFormat, ApiFormat], call: Any) -> None:
    """So it is with calls of tools, pictures and schemas that nobody has thought of."""
    source, target = pair
    body = orjson.dumps(call)
    if source is not CHAT:
        body = translate_request(body, CHAT, ProviderFormat(source), model="m").body
    explained(source, target, our_request(source, target, body), their_request(source, target, body), IN_REQUESTS)
