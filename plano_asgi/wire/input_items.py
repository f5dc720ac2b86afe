"""`GET /v1/responses/{id}/input_items`: the items that an answer was made of, in pages. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final, Self
from urllib.parse import parse_qsl

from plano_asgi.wire.fields import Fields, invalid

MOST_ITEMS: Final = 100
_USUAL_ITEMS: Final = 20
_ORDERS: Final = ("asc", "desc")
_PREFIXES: Final = {"message": "msg", "function_call": "fc", "custom_tool_call": "ctc", "reasoning": "rs"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemsQuery:
    """Which items are asked for.

    Attributes:
        limit: How many, 1 to 100.
        is_ascending: Whether those that were said first come first.
        after: The id of the item before the first of them; None for the beginning.
    """

    limit: int = _USUAL_ITEMS
    is_ascending: bool = False
    after: str | None = None

    @classmethod
    def of(cls, query: str) -> Self:
        """Return what a URL's query asks for; of a field that it has twice, the last.

        Raises:
            WireFormatError: A field has no such value.
        """
        asked = dict(parse_qsl(query))
        limit, order = asked.get("limit", str(_USUAL_ITEMS)), asked.get("order", "desc")
        is_number = limit.isascii() and limit.isdigit() and len(limit) <= len(str(MOST_ITEMS))
        if not (is_number and 1 <= int(limit) <= MOST_ITEMS):
            raise invalid("limit", f"a number from 1 to {MOST_ITEMS}")
        if order not in _ORDERS:
            raise invalid("order", "expected one of asc, desc")
        return cls(limit=int(limit), is_ascending=order == "asc", after=asked.get("after"))


def page_of(items: Sequence[object], query: ItemsQuery, *, response_id: str) -> dict[str, object]:
    """Return a page of the items of an answer as the API lists them.

    Args:
        items: All of them, the first first.
        query: Which are asked for.
        response_id: The answer's id, of which items without one get theirs.

    Raises:
        WireFormatError: There is no item of the id that the page is to come after.
    """
    listed = list(_listed(items, response_id))
    if not query.is_ascending:
        listed.reverse()
    ids = [str(item["id"]) for item in listed]
    if query.after is not None and query.after not in ids:
        raise invalid("after", "the id of an item that an earlier page has")
    start = 0 if query.after is None else ids.index(query.after) + 1
    end = start + query.limit
    told = ids[start:end]
    return {
        "object": "list",
        "data": listed[start:end],
        "first_id": told[0] if told else None,
        "last_id": told[-1] if told else None,
        "has_more": end < len(ids),
    }


def _listed(items: Sequence[object], response_id: str) -> Iterator[dict[str, object]]:
    """Yield items in full; each has an id that no other has."""
    ours = blake2b(response_id.encode(), digest_size=16).hexdigest()
    known: set[object] = set()
    for number, item in enumerate(items):
        if not isinstance(item, dict):
            continue
        whole = _whole(item)
        if not isinstance(whole.get("id"), str) or whole["id"] in known:
            whole = {"id": f"{_PREFIXES.get(str(whole.get('type')), 'item')}_{ours}{number:04d}", **_without_id(whole)}
        known.add(whole["id"])
        yield whole


def _whole(item: Fields) -> dict[str, object]:
    """Return an item with the fields that a call may leave out of a message."""
    kind = item.get("type") or ("message" if "role" in item else "item_reference")
    if kind != "message":
        return {"type": kind, **item}
    content, part = item.get("content"), "output_text" if item.get("role") == "assistant" else "input_text"
    parts = [{"type": part, "text": content}] if isinstance(content, str) else content
    return {"status": "completed", **item, "type": kind, "content": parts}


def _without_id(item: Fields) -> Fields:
    return {key: value for key, value in item.items() if key != "id"}
