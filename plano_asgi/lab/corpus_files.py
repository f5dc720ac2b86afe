"""Our own corpus as labelled conversations and routes."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from plano_asgi.conversation import Conversation, Message, Role

CORPUS_FOLDER: Final = Path(__file__).with_name("corpus")
TASK_TYPES: Final = "task_types"
_DEMO_SUBJECTS: Final = (
    r"binary search|quick ?sort|microservice|monolith|capital (city )?of france|french capital"
    r"|actix|sortable|regist\w+ user|user regist"
)
HELD_OUT: Final = re.compile(_DEMO_SUBJECTS, re.IGNORECASE)  # no training text may hold one


@dataclass(frozen=True, slots=True)
class LabelledConversation:
    """A conversation and the label of its latest intent; None where no route of its source may match."""

    conversation: Conversation
    label: str | None


@dataclass(frozen=True, slots=True)
class LabelledRoute:
    """A route and the labels it plainly covers; those in `near` are debatable, and all others certain misses."""

    name: str
    description: str
    covers: frozenset[str]
    near: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Source:
    """One body of data whose labels mean the same throughout.

    Attributes:
        name: Its name.
        conversations: What is said.
        routes: What it may be matched with.
    """

    name: str
    conversations: tuple[LabelledConversation, ...]
    routes: tuple[LabelledRoute, ...]


def task_types() -> Source:
    """Return our own texts and conversations of 90 task types and of none, and the routes that cover them."""
    conversations = [
        *(LabelledConversation(said(row["text"]), row["task"]) for row in _own("texts")),
        *(LabelledConversation(to_conversation(row["messages"]), row["task"]) for row in _own("conversations")),
    ]
    routes = (
        LabelledRoute(row["name"], row["description"], frozenset(row["covers"]), frozenset(row["near"]))
        for row in _own("routes")
    )
    return Source(TASK_TYPES, tuple(conversations), tuple(routes))


def policies() -> tuple[Source, ...]:
    """Return our own hand-written policies, each a source by itself: its labels mean nothing in another."""
    return tuple(map(_policy, _own("policies")))


def wordings() -> Mapping[str, Mapping[str, Sequence[str]]]:
    """Return our descriptions of intents of public data sets: by set, then by intent."""
    described: dict[str, dict[str, list[str]]] = {}
    for row in _own("wordings"):
        described.setdefault(row["set"], {}).setdefault(row["intent"], []).append(row["description"])
    return described


def _own(kind: str) -> Iterator[dict[str, Any]]:
    for path in sorted(CORPUS_FOLDER.glob(f"{kind}_*.jsonl")):
        yield from map(json.loads, path.read_text(encoding="utf-8").splitlines())


def to_conversation(messages: Iterable[Mapping[str, str]]) -> Conversation:
    """Return messages as they stand in JSON as a conversation."""
    return tuple(Message(role=Role(message["role"]), text=message["content"]) for message in messages)


def _policy(row: Mapping[str, Any]) -> Source:
    routes = (LabelledRoute(route["name"], route["description"], frozenset({route["name"]})) for route in row["routes"])
    cases = (LabelledConversation(to_conversation(case["messages"]), case["expect"]) for case in row["cases"])
    return Source(row["policy"], tuple(cases), tuple(routes))


def said(text: str) -> Conversation:
    """Return one user turn as a conversation."""
    return (Message(role=Role.USER, text=text),)
