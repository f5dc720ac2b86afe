"""The fifty prompts on which an export is compared with its source."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from plano_asgi.classify.arch_router.completion_tree import CompletionTree
from plano_asgi.classify.arch_router.reading import Reader
from plano_asgi.classify.arch_router.tokens import Tokens
from plano_asgi.conversation import Conversation, Message, Role
from plano_asgi.preferences import RoutingPolicy, RoutingPreference

PROMPTS_FILE: Final = Path(__file__).with_name("parity_prompts.jsonl")
PROMPTS_OF_A_POLICY: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyPrompts:
    """Prompts of one policy.

    Attributes:
        static: Tokens that all of them begin with.
        rests: What follows in each.
        tree: The completions that are scored.
    """

    static: Tokens
    rests: tuple[Tokens, ...]
    tree: CompletionTree


def parity_prompts(reader: Reader, *, most: int = PROMPTS_OF_A_POLICY) -> list[PolicyPrompts]:
    """Return the prompts by policy, as the classifier would read them.

    Args:
        reader: Of the export.
        most: Most prompts of each of the five policies.
    """
    rows = map(json.loads, PROMPTS_FILE.read_text(encoding="utf-8").splitlines())
    return [_prompts(reader, row["routes"], row["conversations"][:most]) for row in rows]


def _prompts(
    reader: Reader, routes: Sequence[Mapping[str, str]], conversations: Sequence[Sequence[Mapping[str, str]]]
) -> PolicyPrompts:
    policy = RoutingPolicy(preferences=tuple(_preference(route) for route in routes))
    read = reader.policy(policy)
    prompts = (reader.prompt(_conversation(messages), policy) for messages in conversations)
    rests = tuple(prompt[len(read.static) :] for prompt in prompts)
    return PolicyPrompts(static=read.static, rests=rests, tree=read.tree)


def _preference(route: Mapping[str, str]) -> RoutingPreference:
    return RoutingPreference(name=route["name"], description=route["description"], models=())


def _conversation(messages: Sequence[Mapping[str, Any]]) -> Conversation:
    return tuple(Message(role=Role(message["role"]), text=message["content"]) for message in messages)
