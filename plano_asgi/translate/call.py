"""A call in no API's words: turns of parts, tools, and options; what every format is read into and written from.

`at` is where a thing stood in the caller's body, so that a loss can name its place; it takes no part in comparisons.
Words, media and arguments are not in any `repr`.
"""

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from plano_asgi.conversation import Role
from plano_asgi.wire.fields import Fields


def _at() -> str:
    return field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Inline:
    """Media within the body, in base64."""

    media_type: str
    data: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Link:
    """Media at a URL."""

    url: str = field(repr=False)


class Keeper(StrEnum):
    """Who keeps a file that a body names by its id, or made what only its maker can read."""

    OPENAI = "openai"
    ANTHROPIC = "anthropic"


@dataclass(frozen=True, slots=True)
class Stored:
    """Media that a provider keeps under an id."""

    file_id: str
    keeper: Keeper


@dataclass(frozen=True, slots=True)
class PlainText:
    """A document that is text."""

    text: str = field(repr=False)

    def as_inline(self) -> Inline:
        """Return the text as media within the body."""
        return Inline("text/plain", b64encode(self.text.encode()).decode())


@dataclass(frozen=True, slots=True)
class Text:
    """Words."""

    text: str = field(repr=False)
    at: str = _at()


@dataclass(frozen=True, slots=True)
class Image:
    """A picture; `detail` is how closely OpenAI's models look at it, None where that is left to them."""

    source: Inline | Link | Stored
    detail: str | None = None
    at: str = _at()


@dataclass(frozen=True, slots=True)
class File:
    """A document, with the name that people know it by."""

    source: Inline | Link | Stored | PlainText
    name: str | None = None
    at: str = _at()


@dataclass(frozen=True, slots=True)
class Audio:
    """A recording in base64; `format` is `wav` or `mp3`."""

    format: str
    data: str = field(repr=False)
    at: str = _at()


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a tool: `arguments` is the JSON text of an object, or free text where the tool is custom."""

    id: str
    name: str
    arguments: str = field(repr=False)
    is_custom: bool = False
    at: str = _at()


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool gave back to the call of that id."""

    call_id: str
    parts: "tuple[Text | Image | File, ...]" = field(repr=False)
    is_error: bool = False
    is_custom: bool = False
    at: str = _at()


@dataclass(frozen=True, slots=True)
class Thinking:
    """What a model thought before it spoke.

    Attributes:
        text: The thoughts, or a summary of them; empty where only the signature is known.
        signature: What lets its maker know its own thoughts again; nobody else can use it.
        maker: Who can; None where there is no signature.
        item_id: OpenAI's id of the reasoning item; empty for others.
        is_redacted: Whether the signature holds the thoughts themselves, encrypted.
    """

    text: str = field(repr=False)
    signature: str | None = field(default=None, repr=False)
    maker: Keeper | None = None
    item_id: str = ""
    is_redacted: bool = False
    at: str = _at()


@dataclass(frozen=True, slots=True)
class Refusal:
    """A model's words when it declines."""

    text: str = field(repr=False)
    at: str = _at()


Part = Text | Image | File | Audio | ToolCall | ToolResult | Thinking | Refusal


@dataclass(frozen=True, slots=True)
class Turn:
    """What one side says: `Role.TOOL` does not occur, a tool's result is a part of the user's turn."""

    role: Role
    parts: tuple[Part, ...]
    at: str = _at()


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that the model may call; `schema` is the JSON schema of its arguments, None where it takes free text."""

    name: str
    schema: Fields | None
    description: str | None = None
    is_strict: bool | None = None
    custom_format: Fields | None = None
    at: str = _at()


class Choosing(StrEnum):
    """Whether the model calls tools."""

    AUTO = "auto"
    NONE = "none"
    REQUIRED = "required"
    NAMED = "named"


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """Which tools the model may call: under `NAMED` it must call the one, else it has only `names`, or all if none."""

    choosing: Choosing
    names: tuple[str, ...] = ()
    is_custom: bool = False
    at: str = _at()


@dataclass(frozen=True, slots=True)
class OutputFormat:
    """The form that the answer's text must have: a JSON schema, or any JSON where that is None."""

    schema: Fields | None
    name: str | None = None
    description: str | None = None
    is_strict: bool | None = None
    at: str = _at()


@dataclass(frozen=True, slots=True)
class Effort:
    """How much the model should think: a level, a budget in tokens, `none` for not at all, or what it thinks right."""

    level: str | None = None
    budget: int | None = None
    at: str = _at()


@dataclass(frozen=True, slots=True)
class Option:
    """The value of a parameter and where it stood."""

    value: object
    at: str = _at()


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call, in no API's words.

    Attributes:
        turns: The conversation, oldest first; instructions are turns of `Role.SYSTEM`.
        options: Parameters by the name that Chat Completions gives them, `max_tokens`, `top_k` and `reasoning_summary`
            (whether thoughts are to be shown, as Responses says it) beside those.
        is_stream: Whether the answer is asked for as a stream.
        wants_usage: Whether the caller wants the usage at the end of a stream, where its API leaves that to callers.
    """

    turns: tuple[Turn, ...]
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    output: OutputFormat | None = None
    effort: Effort | None = None
    options: Mapping[str, Option] = field(default_factory=dict)
    is_stream: bool = False
    wants_usage: bool = True


def joined(turns: tuple[Turn, ...], *roles: Role) -> tuple[Turn, ...]:
    """Return the turns with neighbours of the same role made one, for those roles."""
    groups: list[tuple[Turn, list[Part]]] = []
    for turn in turns:
        if groups and turn.role in roles and groups[-1][0].role is turn.role:
            groups[-1][1].extend(turn.parts)
        else:
            groups.append((turn, list(turn.parts)))
    return tuple(Turn(first.role, tuple(parts), first.at) for first, parts in groups)
