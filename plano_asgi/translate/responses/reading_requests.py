"""An OpenAI Responses request, read."""

from collections.abc import Mapping
from typing import Final

from plano_asgi.conversation import Role
from plano_asgi.translate.call import (
    Call,
    Choosing,
    Effort,
    Option,
    OutputFormat,
    Text,
    Tool,
    ToolChoice,
    Turn,
)
from plano_asgi.translate.options import read_numbers, read_options
from plano_asgi.translate.responses.reading_items import read_items
from plano_asgi.translate.taking import Taking
from plano_asgi.wire.fields import invalid, missing, wrong_type
from plano_asgi.wire.inline_policy import INLINE_KEYS

_CHOOSING: Final = {"auto": Choosing.AUTO, "none": Choosing.NONE, "required": Choosing.REQUIRED}
_SHARED: Final = (
    "metadata",
    "moderation",
    "parallel_tool_calls",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "safety_identifier",
    "service_tier",
    "store",
    "user",
)
_ONLY_HERE: Final = "only Responses has it"
_KEPT_ELSEWHERE: Final = "what the provider keeps under it is not in the call that was sent"
_DOING_NOTHING: Final[Mapping[str, tuple[object, ...]]] = {
    "background": (False,),
    "include": (["reasoning.encrypted_content"],),
    "truncation": ("disabled",),
    "top_logprobs": (0,),
}


def read_request(body: Taking) -> Call:
    """Return the call that a body makes.

    Raises:
        WireFormatError: The body does not have this API's shape.
        NotTranslatableError: It holds what no other API has a place for, and the call would be another without.
    """
    for key in ("previous_response_id", "conversation", "prompt"):
        body.lose(key, _KEPT_ELSEWHERE)
    for key, harmless in _DOING_NOTHING.items():
        body.lose(key, _ONLY_HERE, unless=harmless)
    body.ignore("model", "stream_options", *INLINE_KEYS)
    text, reasoning = body.child("text"), body.child("reasoning")
    call = Call(
        turns=_turns(body),
        tools=tuple(tool for taken in body.children("tools") if (tool := _tool(taken)) is not None),
        tool_choice=_tool_choice(body),
        output=_output(text.child("format")) if text else None,
        effort=_effort(reasoning),
        options=_options(body, text, reasoning),
        is_stream=bool(body.flag("stream")),
    )
    if text:
        text.rest(_ONLY_HERE)
    body.rest(_ONLY_HERE)
    return call


def _turns(body: Taking) -> tuple[Turn, ...]:
    instructions = body.take("instructions")
    if instructions is not None and not isinstance(instructions, str):
        raise wrong_type("instructions", "a string")
    first = (Turn(Role.SYSTEM, (Text(instructions, "instructions"),), "instructions"),) if instructions else ()
    said = body.take("input")
    if isinstance(said, str):
        return (*first, Turn(Role.USER, (Text(said, "input"),), "input"))
    if said is None:
        raise missing("input")
    return (*first, *read_items(said, body.losses))


def _options(body: Taking, text: Taking | None, reasoning: Taking | None) -> dict[str, Option]:
    options = read_options(body, _SHARED) | read_numbers(body, ("temperature", "top_p"))
    if body.flag("store") is False:
        del options["store"]  # which is what the other APIs do anyway
    limit = body.whole("max_output_tokens")
    if limit is not None:
        options["max_tokens"] = Option(limit, "max_output_tokens")
    verbosity = text and text.text("verbosity")
    if verbosity:
        options["verbosity"] = Option(verbosity, "text.verbosity")
    summary = reasoning and (reasoning.text("summary") or reasoning.text("generate_summary"))
    if summary:
        options["reasoning_summary"] = Option(summary, "reasoning.summary")
    return options


def _effort(reasoning: Taking | None) -> Effort | None:
    if reasoning is None:
        return None
    level = reasoning.text("effort")
    reasoning.ignore("summary", "generate_summary")
    reasoning.rest(_ONLY_HERE)
    return Effort(level, at="reasoning.effort") if level else None


def _output(form: Taking | None) -> OutputFormat | None:
    kind = form and form.required_text("type")
    if form is None or kind == "text":
        return None
    if kind == "json_object":
        return OutputFormat(None, at=form.at)
    if kind != "json_schema":
        raise invalid(form.place("type"), "expected text, json_object or json_schema")
    output = OutputFormat(
        form.fields("schema") or {},
        form.required_text("name"),
        form.text("description"),
        form.flag("strict"),
        at=form.at,
    )
    form.rest()
    return output


def _tool(tool: Taking) -> Tool | None:
    kind = tool.required_text("type")
    if kind not in {"function", "custom"}:
        tool.losses.add(tool.at, "a tool that its provider runs is not translated")
        return None
    is_function = kind == "function"
    read = Tool(
        tool.required_text("name"),
        (tool.fields("parameters") or {}) if is_function else None,
        tool.text("description"),
        tool.flag("strict"),
        None if is_function else tool.fields("format"),
        at=tool.at,
    )
    tool.rest(_ONLY_HERE)
    return read


def _tool_choice(body: Taking) -> ToolChoice | None:
    value = body.take("tool_choice")
    if value is None:
        return None
    at = "tool_choice"
    if isinstance(value, str):
        if value not in _CHOOSING:
            raise invalid(at, f"expected one of {', '.join(_CHOOSING)}")
        return ToolChoice(_CHOOSING[value], at=at)
    if not isinstance(value, dict):
        raise wrong_type(at, "a string or an object")
    choice = Taking(value, at, body.losses)
    kind = choice.required_text("type")
    if kind in {"function", "custom"}:
        return ToolChoice(Choosing.NAMED, (choice.required_text("name"),), is_custom=kind == "custom", at=at)
    if kind == "allowed_tools":
        names = tuple(name for tool in choice.children("tools") if (name := tool.text("name")))
        return ToolChoice(_CHOOSING[choice.choice("mode", {"auto", "required"}) or "auto"], names, at=at)
    body.losses.add(at, "a tool that its provider runs is not translated")
    return None
