"""Transcripts of agents in one neutral form, and the calls that they are made of in each of the three APIs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from plano_asgi.conversation import ApiFormat, LLMCall
from plano_asgi.wire import read_call, read_document

FILE: Final = Path(__file__).parents[1] / "data" / "agent_transcripts.json"
IMAGE: Final = "IMAGE"
PIXEL: Final = "iVBORw0KGgo="


@dataclass(frozen=True)
class Transcript:
    """One agent at work: its instructions, its tools, and step by step what is said and done."""

    name: str
    system: str
    tools: tuple[str, ...]
    steps: Sequence[Mapping[str, Any]]


@dataclass
class History:
    """What was said so far, as a client keeps it.

    Attributes:
        system: The instructions.
        tools: Names of the tools.
        entries: Each with its kind: `user`, `harness`, `say` or `use`.
    """

    system: str
    tools: tuple[str, ...] = ()
    entries: list[dict[str, Any]] = field(default_factory=list)

    def body(self, api_format: ApiFormat) -> dict[str, Any]:
        """Return the next call's body."""
        return _BODIES[api_format](self)

    def call(self, api_format: ApiFormat) -> LLMCall:
        """Return the next call, as the router reads it."""
        return read_call(read_document(orjson.dumps(self.body(api_format))), api_format)


def transcripts() -> tuple[Transcript, ...]:
    """Return all of them."""
    told = json.loads(FILE.read_text(encoding="utf-8"))
    return tuple(Transcript(one["name"], one["system"], tuple(one["tools"]), one["steps"]) for one in told)


def _chat(history: History) -> dict[str, Any]:
    messages: list[dict[str, Any]] = [{"role": "system", "content": history.system}]
    for entry in history.entries:
        if entry["kind"] in {"user", "harness"}:
            messages.append({"role": "user", "content": entry["text"]})
        elif entry["kind"] == "say":
            messages.append({"role": "assistant", "content": entry["text"]})
        else:
            calls = [
                {"id": used["id"], "type": "function", "function": {"name": used["tool"], "arguments": "{}"}}
                for used in entry["uses"]
            ]
            messages.append({"role": "assistant", "content": None, "tool_calls": calls})
            messages += [
                {"role": "tool", "tool_call_id": used["id"], "content": used["result"]} for used in entry["uses"]
            ]
    tools = [
        {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in history.tools
    ]
    return {"model": "auto", "messages": messages, **({"tools": tools} if tools else {})}


def _messages(history: History) -> dict[str, Any]:
    messages: list[dict[str, Any]] = []
    for entry in history.entries:
        if entry["kind"] == "harness" and messages and messages[-1]["role"] == "user":
            messages[-1]["content"].append({"type": "text", "text": entry["text"]})
        elif entry["kind"] in {"user", "harness"}:
            messages.append({"role": "user", "content": [{"type": "text", "text": entry["text"]}]})
        else:
            thought = [{"type": "thinking", "thinking": "hm", "signature": entry["seal"]}] if entry.get("seal") else []
            said = [{"type": "text", "text": entry["text"]}] if entry.get("text") else []
            uses = entry.get("uses", [])
            calls = [{"type": "tool_use", "id": used["id"], "name": used["tool"], "input": {}} for used in uses]
            messages.append({"role": "assistant", "content": [*thought, *said, *calls]})
            if uses:
                results = [
                    {"type": "tool_result", "tool_use_id": used["id"], "content": _result(used["result"])}
                    for used in uses
                ]
                messages.append({"role": "user", "content": results})
    tools = [{"name": name, "input_schema": {"type": "object"}} for name in history.tools]
    head = {"model": "auto", "max_tokens": 1024, "system": history.system}
    return {**head, "messages": messages, **({"tools": tools} if tools else {})}


def _result(text: str) -> object:
    if text != IMAGE:
        return text
    return [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}]


def _responses(history: History) -> dict[str, Any]:
    items: list[dict[str, Any]] = []
    for entry in history.entries:
        if entry["kind"] in {"user", "harness"}:
            items.append({"role": "user", "content": entry["text"]})
            continue
        if entry.get("seal"):
            items.append({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": entry["seal"]})
        if entry.get("text"):
            items.append({"role": "assistant", "content": [{"type": "output_text", "text": entry["text"]}]})
        uses = entry.get("uses", [])
        items += [
            {"type": "function_call", "call_id": used["id"], "name": used["tool"], "arguments": "{}"} for used in uses
        ]
        items += [{"type": "function_call_output", "call_id": used["id"], "output": used["result"]} for used in uses]
    tools = [{"type": "function", "name": name, "parameters": {"type": "object"}} for name in history.tools]
    return {"model": "auto", "instructions": history.system, "input": items, **({"tools": tools} if tools else {})}


_BODIES: Final = {ApiFormat.CHAT_COMPLETIONS: _chat, ApiFormat.MESSAGES: _messages, ApiFormat.RESPONSES: _responses}
