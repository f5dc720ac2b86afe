"""What a message says: text, images and tool calls out of strings and part lists.

The three APIs use different names for the same kinds of part and never one name for two kinds, so one table reads
them all. Parts of kinds that are unknown here carry no text for a router and are passed over.
"""

from dataclasses import dataclass, field
from typing import Final

from plano_asgi.wire.fields import an_array, an_object, place, required_string, wrong_type

TEXT_PARTS: Final = frozenset({"text", "input_text", "output_text"})
IMAGE_PARTS: Final = frozenset({"image", "image_url", "input_image"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """One message's content; its words are not in its `repr`.

    Attributes:
        text: All text parts, joined by a newline.
        tool_calls: Names of the tools called.
        tool_results: Text of each tool result, and whether an image is part of it.
        has_image: Whether an image is among the parts, tool results left out.
    """

    text: str = field(default="", repr=False)
    tool_calls: tuple[str, ...] = ()
    tool_results: tuple[tuple[str, bool], ...] = field(default=(), repr=False)
    has_image: bool = False


def read_content(value: object, at: str) -> Content:
    """Return what a string, a part list or null says.

    Raises:
        WireFormatError: The value is none of these, or a part is malformed.
    """
    if value is None:
        return Content()
    if isinstance(value, str):
        return Content(text=value)
    if not isinstance(value, list):
        raise wrong_type(at, "a string or an array of parts")
    texts: list[str] = []
    tool_calls: list[str] = []
    tool_results: list[tuple[str, bool]] = []
    has_image = False
    for index, element in enumerate(an_array(value, at, allow_empty=True)):
        part_at = place(at, index)
        part = an_object(element, part_at)
        kind = required_string(part, "type", part_at)
        if kind in TEXT_PARTS:
            texts.append(required_string(part, "text", part_at))
        elif kind == "refusal":
            texts.append(required_string(part, "refusal", part_at))
        elif kind in IMAGE_PARTS:
            has_image = True
        elif kind == "tool_use":
            tool_calls.append(required_string(part, "name", part_at))
        elif kind == "tool_result":
            result = read_content(part.get("content"), place(part_at, "content"))
            tool_results.append((result.text, result.has_image))
    return Content(
        text="\n".join(texts), tool_calls=tuple(tool_calls), tool_results=tuple(tool_results), has_image=has_image
    )
