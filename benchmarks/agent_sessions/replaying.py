"""A transcript replayed: who is decided for each call, who serves it, and what that means for providers' caches."""

from dataclasses import dataclass, field
from itertools import count, pairwise
from typing import Any, Final

from benchmarks.agent_sessions.transcripts import History, Transcript
from plano_asgi import Router
from plano_asgi.conversation import ApiFormat
from plano_asgi.decisions import RoutingDecision, Source

USER_TURN, CONTINUED, SIDE = "user turn", "continued", "side call"
CHARACTERS_PER_TOKEN: Final = 4


@dataclass(frozen=True)
class Served:
    """One call of a replay.

    Attributes:
        kind: Whether the user has just spoken, a model goes on, or it is no part of the agent's own conversation.
        decision: What was decided.
        model: Who has served it.
        is_forced: Whether that is so because the decided one was down.
        tokens: About how many tokens it has.
        signers: Models that have signed thoughts which are part of it.
    """

    kind: str
    decision: RoutingDecision
    model: str
    is_forced: bool
    tokens: int
    signers: tuple[str, ...] = ()


@dataclass
class Replay:
    """The calls of a transcript, each made after the one before it was served."""

    router: Router
    transcript: Transcript
    api_format: ApiFormat
    served: list[Served] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Start with nothing said."""
        self._history = History(self.transcript.system, self.transcript.tools)
        self._numbers = count(1)
        self._is_new = True

    async def run(self) -> list[Served]:
        """Make all calls, and return them."""
        for step in self.transcript.steps:
            if "user" in step:
                self._history.entries.append({"kind": "user", "text": step["user"]})
                self._is_new = True
            elif "harness" in step:
                self._history.entries.append({"kind": "harness", "text": step["harness"]})
            elif "side" in step:
                beside = History(step["side"]["system"], entries=[{"kind": "user", "text": step["side"]["user"]}])
                await self._serve(beside, SIDE, is_down=False)
            else:
                await self._go_on(step)
        if "harness" in self.transcript.steps[-1]:
            await self._serve(self._history, CONTINUED, is_down=False)
        return self.served

    async def _go_on(self, step: Any) -> None:  # noqa: ANN401 - JSON
        kind = USER_TURN if self._is_new else CONTINUED
        self._is_new = False
        model = await self._serve(self._history, kind, is_down=bool(step.get("down")))
        seal = f"{model} {next(self._numbers)}" if step.get("think") else None
        uses = [{"id": f"call_{next(self._numbers)}", **used} for used in step.get("use", ())]
        entry = {"kind": "use" if uses else "say", "text": step.get("say"), "uses": uses, "seal": seal}
        self._history.entries.append(entry)

    async def _serve(self, history: History, kind: str, *, is_down: bool) -> str:
        call = history.call(self.api_format)
        decision = await self.router.aroute(call)
        model = decision.would_use or ""
        if is_down:
            model = next(
                (other for other in decision.models if other != model), self.router.catalog.default_model or ""
            )
            await self.router.aserved(decision, by=model)
        tokens = sum(len(message.text) for message in call.conversation) // CHARACTERS_PER_TOKEN
        signers = tuple(entry["seal"].split()[0] for entry in history.entries if entry.get("seal"))
        self.served.append(Served(kind, decision, model, is_down, tokens, signers))
        return model


@dataclass
class Tally:
    """What a number of replays came to.

    Attributes:
        calls: All of them.
        asked: Those for which a classifier was asked, or its cache.
        switches: How often an agent's model changed, unless its provider was down.
        in_turn: Those of them while a model was at work on what the user had said.
        tokens: Of all calls.
        kept: Those of them that the model had read in the call before.
    """

    calls: int = 0
    asked: int = 0
    switches: int = 0
    in_turn: int = 0
    tokens: int = 0
    kept: int = 0

    def add(self, served: list[Served]) -> None:
        """Count one replay."""
        self.calls += len(served)
        self.asked += sum(one.decision.source in {Source.CLASSIFIER, Source.CACHE} for one in served)
        own = [one for one in served if one.kind != SIDE]
        self.tokens += sum(one.tokens for one in own)
        for before, after in pairwise(own):
            self.kept += before.tokens if before.model == after.model else 0
            if before.model != after.model and not after.is_forced:
                self.switches += 1
                self.in_turn += after.kind == CONTINUED
