"""`DecisionJournal`: what the decision log is told of each call, and how it is read again."""

import hashlib
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from plano_asgi.conversation import Conversation, LLMCall, Message, Role
from plano_asgi.decisions import Attempt, RoutingDecision
from plano_asgi.errors import StoreError
from plano_asgi.events import DECISION_LOG_FAILED, CallIdentity, get_logger
from plano_asgi.observe.decision_stores import DecisionStore, Entry, Kept
from plano_asgi.observe.facts import CallOutcome
from plano_asgi.observe.writing import BackgroundWriter
from plano_asgi.preferences import NO_ROUTE_NAME

MOST_PAGE: Final = 1_000
MOST_NAME_CHARS: Final = 256
FILTERS: Final = (
    "api",
    "arm",
    "conversation_hash",
    "experiment",
    "model",
    "policy",
    "reason",
    "request_id",
    "requested_model",
    "route",
    "served_by",
    "source",
    "stage",
    "trace_id",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some entries of the log.

    Attributes:
        entries: The entries, each with its `id`.
        next: The id before which older ones begin; None where there are none.
    """

    entries: tuple[Entry, ...]
    next: str | None = None


class DecisionJournal:
    """Writes down every decision, and gives them back; bounded by its store, and by 1,000 entries not yet written.

    Attributes:
        store: Where entries are kept.
        keeps_conversations: Whether entries hold what callers wrote.
    """

    def __init__(self, store: DecisionStore, *, classifier: str, hash_key: bytes, keeps_conversations: bool) -> None:
        """Take where entries are kept and what goes into them.

        Args:
            store: Where.
            classifier: What decides as usual, as `classifier.kind` names it.
            hash_key: At most 64 bytes; conversations of equal hash are equal, and nobody without it can tell which.
            keeps_conversations: Whether entries hold what callers wrote.
        """
        self.store: Final = store
        self.keeps_conversations: Final = keeps_conversations
        self._instance = secrets.token_hex(4)
        self._classifier = classifier
        self._hash_key = hash_key
        self._writer = BackgroundWriter(store.put) if store.is_slow else None

    @property
    def worker(self) -> str:
        """Which process this is, e.g. `4711-9f3a60c1`; one that is forked off has a name of its own."""
        return f"{os.getpid()}-{self._instance}"

    def decided(self, call: LLMCall, decision: RoutingDecision, identity: CallIdentity | None) -> None:
        """Write a decision down; that of a call that we serve waits for the call's end."""
        entry = {**self._opening(call, identity, decision.decided_by(self._classifier)), **_decided(decision)}
        if identity and identity.is_served:
            identity.entry = entry
        else:
            self._put(entry)

    def ended(self, identity: CallIdentity, outcome: CallOutcome) -> None:
        """Write down the decision on a call that we have served, and what came of it."""
        entry, identity.entry = identity.entry, None
        if entry is not None and outcome.decision is not None:
            self._put({**entry, **_decided(outcome.decision), **_outcome(outcome)})

    def left_alone(self, identity: CallIdentity) -> None:
        """Write down the decision on a call that others serve after all."""
        entry, identity.entry = identity.entry, None
        if entry is not None:
            self._put(entry)

    def newest(self, *, limit: int, before: str | None = None, wanted: Mapping[str, str] | None = None) -> Page:
        """Return the newest entries that are wanted, the newest first; blocks.

        Args:
            limit: Most entries of a page.
            before: The `next` of the page before.
            wanted: Values by the names in `FILTERS`; `none` is wanted for what is null.

        Raises:
            StoreError: The store cannot be asked.
            ValueError: `before` is no id of this log.
        """
        found: list[Entry] = []
        for kept in self.store.newest(before=before):
            if not _is_wanted(kept.entry, wanted or {}):
                continue
            if len(found) == limit:
                return Page(entries=tuple(found), next=str(found[-1]["id"]))
            found.append(_shown(kept))
        return Page(entries=tuple(found))

    def newer(self, after: str, *, wanted: Mapping[str, str] | None = None) -> Page:
        """Return what has come after an entry, the oldest first, and as `next` where to go on; raises as `newest` does.

        At most 1,000 entries are looked at; more come with the next question.
        """
        found: list[Entry] = []
        last = after
        for kept in self.store.newer(after, limit=MOST_PAGE):
            last = kept.id
            if _is_wanted(kept.entry, wanted or {}):
                found.append(_shown(kept))
        return Page(entries=tuple(found), next=last)

    def close(self) -> None:
        """Have everything written; what comes later is written too."""
        if self._writer:
            self._writer.flush()

    def _put(self, entry: Entry) -> None:
        if self._writer:
            self._writer.put(entry)
            return
        try:
            self.store.put([entry])
        except StoreError as error:
            get_logger().warning(DECISION_LOG_FAILED, error=type(error).__name__)

    def _opening(self, call: LLMCall, identity: CallIdentity | None, classifier: str) -> dict[str, object]:
        opening: dict[str, object] = {
            "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "worker": self.worker,
            "request_id": identity and identity.request_id,
            "trace_id": identity and identity.trace_id,
            "api": call.api_format.value,
            "requested_model": call.model and _encodable(call.model[:MOST_NAME_CHARS]),
            "is_stream": call.is_stream,
            "conversation_hash": conversation_hash(call.conversation, self._hash_key),
        }
        if self.keeps_conversations:
            opening["conversation"] = written(call.conversation)
        return {**opening, "classifier": classifier}


def conversation_hash(conversation: Conversation, key: bytes) -> str:
    """Return 32 hex digits that are equal for equal conversations; nobody without the key can tell from what."""
    hasher = hashlib.blake2b(key=key, digest_size=16)
    for message in conversation:
        for part in (message.role.value, message.text, *message.tool_calls, str(message.has_image)):
            data = part.encode("utf-8", "surrogatepass")
            hasher.update(len(data).to_bytes(8, "big") + data)
    return hasher.hexdigest()


def written(conversation: Conversation) -> list[dict[str, object]]:
    """Return a conversation as the log keeps it."""
    return [
        {
            "role": message.role.value,
            "text": _encodable(message.text),
            "tool_calls": list(map(_encodable, message.tool_calls)),
            "has_image": message.has_image,
        }
        for message in conversation
    ]


def _encodable(text: str) -> str:
    """Return a text that JSON can carry: halves of characters, which a host's own calls may hold, become `?`."""
    return text.encode("utf-8", "replace").decode()


def read_conversation(told: object) -> Conversation | None:
    """Return the conversation that an entry holds; None where it holds none, or nothing that is one."""
    if not isinstance(told, list) or not all(isinstance(turn, dict) for turn in told):
        return None
    try:
        return tuple(
            Message(
                role=Role(turn["role"]),
                text=str(turn["text"]),
                tool_calls=tuple(map(str, turn.get("tool_calls", ()))),
                has_image=turn.get("has_image") is True,
            )
            for turn in told
        )
    except (KeyError, TypeError, ValueError):
        return None


def _decided(decision: RoutingDecision) -> Entry:
    scores = decision.scores
    chances = {**scores.routes, NO_ROUTE_NAME: scores.other} if scores else {}
    return {
        "route": decision.route,
        "model": decision.would_use,
        "reason": decision.reason.value,
        "source": decision.source.value,
        "policy": decision.policy.value,
        "confidence": None if decision.confidence is None else round(decision.confidence, 4),
        "scores": {name: round(chance, 4) for name, chance in chances.items()},
        "stage": decision.stage,
        "failed_stage": decision.failed_stage,
        "experiment": decision.trial and decision.trial.experiment,
        "arm": decision.trial and decision.trial.arm,
        "latency_ms": round(decision.latency_ms, 2),
    }


def _outcome(outcome: CallOutcome) -> Entry:
    decision = outcome.decision
    return {
        "served_by": decision and decision.served_by,
        "attempts": [_attempt(attempt) for attempt in decision.attempts] if decision else [],
        "status": outcome.status,
        "end": outcome.end,
        "input_tokens": outcome.usage.input_tokens,
        "output_tokens": outcome.usage.output_tokens,
        "cached_tokens": outcome.usage.cached_tokens,
        "cost_usd": outcome.cost_usd,
        "losses": list(outcome.losses),
        "first_word_ms": None if outcome.first_word_s is None else round(outcome.first_word_s * 1000, 1),
        "duration_ms": round(outcome.duration_s * 1000, 1),
    }


def _attempt(attempt: Attempt) -> Entry:
    told = {"model": attempt.model, "outcome": attempt.outcome, "status": attempt.status}
    return {**told, "duration_ms": round(attempt.duration_ms, 1)}


def _is_wanted(entry: Entry, wanted: Mapping[str, str]) -> bool:
    return all(("none" if entry.get(name) is None else str(entry[name])) == value for name, value in wanted.items())


def _shown(kept: Kept) -> Entry:
    return {"id": kept.id, **kept.entry}
