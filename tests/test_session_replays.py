"""Twenty transcripts of agents in three APIs, replayed: when models may change, and that they do not otherwise."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Final

import anyio
import pytest

from benchmarks.agent_sessions.replaying import CONTINUED, SIDE, USER_TURN, Replay, Served
from benchmarks.agent_sessions.transcripts import Transcript, transcripts
from benchmarks.sessions import SETTINGS
from plano_asgi.assembly import build_router
from plano_asgi.classify import IsAwaited, always_awaited
from plano_asgi.conversation import ApiFormat, Conversation, Role
from plano_asgi.decisions import Scores, Source
from plano_asgi.preferences import RoutingPolicy
from plano_asgi.router import Router
from plano_asgi.sessions import DecideOn, Lock
from plano_asgi.settings import load_settings
from plano_asgi.stores import MemoryStore
from plano_asgi.testing import FixedClassifier

TRANSCRIPTS: Final = transcripts()
each_transcript = pytest.mark.parametrize("transcript", TRANSCRIPTS, ids=lambda transcript: transcript.name)
each_format = pytest.mark.parametrize("api_format", ApiFormat, ids=str)


class Fickle(FixedClassifier):
    """Takes another route for every conversation that is one answer longer: the worst there is for an agent."""

    def __init__(self) -> None:
        """Know no conversation yet."""
        super().__init__({})

    def classify(
        self, conversation: Conversation, policy: RoutingPolicy, *, is_awaited: IsAwaited = always_awaited
    ) -> Scores:
        """Return certainty of the route whose turn it is by the number of answers."""
        self.calls.append(conversation)
        names = [preference.name for preference in policy.preferences]
        chosen = names[sum(message.role is Role.ASSISTANT for message in conversation) % len(names)]
        return Scores(routes={name: float(name == chosen) for name in names}, other=0.0)


def router_of(decide_on: DecideOn = DecideOn.USER_TURN) -> Router:
    """Return a router whose classifier never thinks the same twice in a row."""
    settings = load_settings(environ={}, overrides={**SETTINGS, "routing": {"decide_on": str(decide_on)}})
    return build_router(settings, classifier=Fickle())


@pytest.fixture
def router() -> Iterator[Router]:
    """Return one with the default settings."""
    made = router_of()
    yield made
    made.close()


def replayed(router: Router, transcript: Transcript, api_format: ApiFormat) -> list[Served]:
    """Return a transcript's calls as they were served."""
    return anyio.run(Replay(router, transcript, api_format).run)


def own(served: list[Served]) -> list[Served]:
    """Return the agent's own calls."""
    return [one for one in served if one.kind != SIDE]


@each_format
@each_transcript
def test_no_model_changes_while_a_turn_lasts(transcript: Transcript, api_format: ApiFormat, router: Router) -> None:
    """A turn stays with the model it was given, whatever the classifier would say, unless that model was down."""
    calls = own(replayed(router, transcript, api_format))

    for before, after in pairwise(calls):
        if after.kind == CONTINUED and not after.is_forced:
            assert after.model == before.model
            assert after.decision.source is Source.SESSION


@each_format
@each_transcript
def test_every_word_of_a_user_is_decided(transcript: Transcript, api_format: ApiFormat, router: Router) -> None:
    """Each turn of the user's asks the classifier, unless thoughts that another provider cannot read hold the model."""
    served = replayed(router, transcript, api_format)

    for one in served:
        if one.kind != CONTINUED and not (one.decision.session and one.decision.session.lock):
            assert one.decision.source in {Source.CLASSIFIER, Source.CACHE}
    assert sum(one.kind == USER_TURN for one in served) == sum("user" in step for step in transcript.steps)


@each_format
@each_transcript
def test_no_model_is_chosen_that_cannot_read_the_thoughts(
    transcript: Transcript, api_format: ApiFormat, router: Router
) -> None:
    """What one provider has signed is given to no other, but where its model is down."""
    if api_format is ApiFormat.CHAT_COMPLETIONS:
        transcript = replace(transcript, steps=[{**step, "think": False} for step in transcript.steps])
    calls = replayed(router, transcript, api_format)

    for one in calls:
        makers = {signer.partition("/")[0] for signer in one.signers[-1:]}
        assert one.is_forced or makers <= {one.model.partition("/")[0]}


@each_format
@each_transcript
def test_side_calls_leave_the_work_alone(transcript: Transcript, api_format: ApiFormat) -> None:
    """An agent's own calls are decided the same whether side calls come between or not."""
    without = replace(transcript, steps=[step for step in transcript.steps if "side" not in step])
    first, second = router_of(), router_of()

    with_them = own(replayed(first, transcript, api_format))
    alone = replayed(second, without, api_format)

    assert [one.model for one in with_them] == [one.model for one in alone]
    first.close()
    second.close()


@each_format
def test_first_decision_of_a_session_holds_where_that_is_set(api_format: ApiFormat) -> None:
    """Under `session`, no transcript has a second model, unless the first was down; side calls have their own."""
    router = router_of(DecideOn.SESSION)

    for transcript in TRANSCRIPTS:
        calls = own(replayed(router, transcript, api_format))
        forced = sum(one.is_forced for one in calls)
        assert len({one.model for one in calls}) == 1 + forced
    router.close()


@each_format
def test_deciding_on_every_call_changes_models_within_turns(api_format: ApiFormat) -> None:
    """What the sessions hold together comes apart without them, so that these transcripts prove something."""
    settings = load_settings(environ={}, overrides=SETTINGS)
    made = build_router(settings, classifier=Fickle())
    bare = Router(
        classifier=Fickle(),
        policy=settings.policy,
        catalog=settings.catalog,
        rules=made.rules,
        cache=MemoryStore(size=100),
        deadline_ms=5_000,
    )

    switches = [
        (before.model, after.model)
        for transcript in TRANSCRIPTS
        for before, after in pairwise(own(replayed(bare, transcript, api_format)))
        if after.kind == CONTINUED and before.model != after.model
    ]

    assert len(switches) > 20
    bare.close()


@each_format
def test_loop_is_locked_and_says_so(api_format: ApiFormat, router: Router) -> None:
    """A call within an open loop of tools names the lock; one of the user's does not."""
    calls = own(replayed(router, TRANSCRIPTS[0], api_format))

    locks = [one.decision.session.lock for one in calls if one.decision.session]

    assert locks == [None, *[Lock.TOOL_LOOP] * (len(calls) - 1)]


@each_format
def test_turn_goes_on_with_who_stood_in(api_format: ApiFormat, router: Router) -> None:
    """Where a provider fails in the middle of a loop, the model that stood in keeps the rest of it."""
    (transcript,) = (one for one in TRANSCRIPTS if one.name == "provider fails in mid-loop")
    calls = own(replayed(router, transcript, api_format))
    first_turn = calls[: next(n for n, one in enumerate(calls) if n and one.kind == USER_TURN)]
    (failed,) = (n for n, one in enumerate(first_turn) if one.is_forced)

    assert first_turn[failed].model != first_turn[failed - 1].model
    assert {one.model for one in first_turn[failed:]} == {first_turn[failed].model}
