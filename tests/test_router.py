"""One router: what is classified, what is remembered, and what becomes of a call that cannot be classified."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plano_asgi.classify import Classifier, IsAwaited, always_awaited
from plano_asgi.conversation import ApiFormat, Conversation, LLMCall, Message, Role
from plano_asgi.decisions import PolicySource, Reason, Scores, Source
from plano_asgi.errors import PolicyRefusedError
from plano_asgi.policy import Rules
from plano_asgi.preferences import RoutingPolicy, RoutingPreference
from plano_asgi.providers import ModelCatalog, ModelProvider
from plano_asgi.router import OnError, Router
from plano_asgi.stores import MemoryStore, Store
from plano_asgi.testing import FixedClassifier

DEFAULT = "openai/gpt-4o-mini"
CODE = RoutingPreference(name="code", description="writing code", models=("openai/gpt-4o",))
CHAT = RoutingPreference(name="chat", description="small talk", models=("openai/gpt-4o-mini",))
POLICY = RoutingPolicy(preferences=(CODE, CHAT))
CATALOG = ModelCatalog(
    providers=(ModelProvider(model=DEFAULT, is_default=True), ModelProvider(model="openai/gpt-4o")),
)
TURN = Message(role=Role.USER, text="write a parser")
CALL = LLMCall(api_format=ApiFormat.CHAT_COMPLETIONS, conversation=(TURN,))


class OddClassifier:
    """Gives whatever scores it is told to; its revision can be chosen."""

    kind = "odd"
    threshold = 0.5
    deadline_ms = 1_000.0
    parallelism = 1

    def __init__(self, scores: Scores, *, revision: str = "odd") -> None:
        """Keep the scores."""
        self.scores = scores
        self.revision = revision

    def prepare(self, policy: RoutingPolicy) -> None:
        """Do nothing."""

    def classify(
        self, conversation: Conversation, policy: RoutingPolicy, *, is_awaited: IsAwaited = always_awaited
    ) -> Scores:
        """Return the scores."""
        del conversation, policy
        return self.scores

    def close(self) -> None:
        """Do nothing."""


def new_router(  # noqa: PLR0913 - what the tests vary
    classifier: Classifier | None = None,
    *,
    policy: RoutingPolicy = POLICY,
    cache: Store[bytes, Scores] | None = None,
    on_error: OnError = OnError.DEFAULT,
    allow_inline: bool = True,
    applies_to: tuple[str, ...] = ("*",),
) -> Router:
    """Return a router over a classifier that finds code in everything."""
    return Router(
        classifier=classifier or FixedClassifier({"code": 0.9, "chat": 0.1}),
        policy=policy,
        catalog=CATALOG,
        rules=Rules(threshold=0.5, default_model=DEFAULT, applies_to=applies_to),
        cache=MemoryStore(size=100) if cache is None else cache,
        on_error=on_error,
        allow_inline=allow_inline,
        deadline_ms=5_000,
    )


def test_a_matched_call_says_where_it_goes_and_why() -> None:
    """A classified call carries route, model, confidence, scores, sources and the time it took."""
    decision = new_router().route(CALL)

    assert (decision.route, decision.would_use, decision.confidence) == ("code", "openai/gpt-4o", 0.9)
    assert (decision.reason, decision.source, decision.policy) == (
        Reason.MATCHED,
        Source.CLASSIFIER,
        PolicySource.CONFIG,
    )
    assert 0 < decision.latency_ms < 5_000


def test_an_identical_call_is_answered_from_the_cache() -> None:
    """The same conversation under the same policy is classified once; the second decision says it was remembered."""
    classifier = FixedClassifier({"code": 0.9})
    router = new_router(classifier)

    first, second = router.route(CALL), router.route(CALL)

    assert len(classifier.calls) == 1
    assert second == replace(first, source=Source.CACHE)


@pytest.mark.parametrize(
    "same",
    [
        replace(CALL, model="gpt-4"),
        replace(CALL, is_stream=True),
        replace(CALL, api_format=ApiFormat.MESSAGES),
        replace(CALL, inline_policy=POLICY),
    ],
    ids=["model", "stream", "api", "equal-inline-policy"],
)
def test_what_a_classifier_does_not_read_does_not_matter(same: LLMCall) -> None:
    """Calls that differ only in what no classifier sees share one classification."""
    router = new_router()
    router.route(CALL)

    assert router.route(same).source is Source.CACHE


@pytest.mark.parametrize(
    "other",
    [
        replace(CALL, conversation=(replace(TURN, text="write a parser "),)),
        replace(CALL, conversation=(replace(TURN, has_image=True),)),
        replace(CALL, conversation=(TURN, Message(role=Role.ASSISTANT, text=""))),
        replace(CALL, conversation=(Message(role=Role.SYSTEM, text="be brief"), TURN)),
        replace(CALL, conversation=(TURN, TURN)),
        replace(CALL, inline_policy=RoutingPolicy(preferences=(CODE,))),
        replace(CALL, inline_policy=RoutingPolicy(preferences=(CHAT, CODE))),
        replace(CALL, inline_policy=RoutingPolicy(preferences=(replace(CODE, description="proofs"), CHAT))),
        replace(CALL, inline_policy=RoutingPolicy(preferences=(replace(CODE, name="coding"), CHAT))),
    ],
    ids=["text", "image", "later-turn", "system", "repeated", "fewer", "order", "description", "name"],
)
def test_what_a_classifier_reads_keeps_calls_apart(other: LLMCall) -> None:
    """Calls that differ in conversation or policy are classified each for itself."""
    router = new_router()
    router.route(CALL)

    assert router.route(other).source is Source.CLASSIFIER


messages = st.builds(
    Message,
    role=st.sampled_from(Role),
    text=st.text(st.characters(exclude_categories=()), max_size=3),
    tool_calls=st.lists(st.sampled_from(["", "a", "b", "a\nb", "0"]), max_size=2).map(tuple),
    has_image=st.booleans(),
)
conversations = st.lists(messages, max_size=3).map(lambda some: (*some, TURN))


@settings(deadline=None, max_examples=80)
@given(first=conversations, second=conversations)
def test_only_equal_conversations_share_an_answer(first: Conversation, second: Conversation) -> None:
    """Any two conversations share a classification exactly if they are equal, whatever characters they hold."""
    router = new_router()
    router.route(replace(CALL, conversation=first))

    decision = router.route(replace(CALL, conversation=second))

    router.close()
    assert (decision.source is Source.CACHE) == (first == second)


def test_a_remembered_answer_serves_a_policy_with_other_models() -> None:
    """Models are no part of what is remembered: an inline policy that differs only there gets its own model."""
    router = new_router()
    router.route(CALL)
    swapped = RoutingPolicy(preferences=(replace(CODE, models=(DEFAULT,)), CHAT))

    decision = router.route(replace(CALL, inline_policy=swapped))

    assert (decision.source, decision.policy) == (Source.CACHE, PolicySource.INLINE)
    assert (decision.route, decision.would_use) == ("code", DEFAULT)


def test_answers_of_one_revision_are_not_those_of_another() -> None:
    """Classifiers of different revisions do not share a cache's answers, however alike the revisions begin."""
    cache: MemoryStore[bytes, Scores] = MemoryStore(size=10)
    scores = Scores(routes={"code": 0.9, "chat": 0.1}, other=0.0)
    first, second = (OddClassifier(scores, revision="r" * 100 + end) for end in "12")

    new_router(first, cache=cache).route(CALL)

    assert new_router(first, cache=cache).route(CALL).source is Source.CACHE
    assert new_router(second, cache=cache).route(CALL).source is Source.CLASSIFIER


@pytest.mark.parametrize(("size", "sources"), [(2, ["cache", "classifier"]), (0, ["classifier", "classifier"])])
def test_the_cache_is_bounded(size: int, sources: list[str]) -> None:
    """A router remembers as many answers as its cache keeps, and none where that is 0."""
    cache: MemoryStore[bytes, Scores] = MemoryStore(size=size)
    router = new_router(cache=cache)
    for text in "abc":
        router.route(LLMCall.from_text(text))

    assert [router.route(LLMCall.from_text(text)).source.value for text in "ca"] == sources
    assert len(cache) == size


@pytest.mark.parametrize(
    "conversation",
    [
        (),
        (Message(role=Role.USER, text=" \n\t"),),
        (Message(role=Role.SYSTEM, text="be brief"), Message(role=Role.ASSISTANT, text="hello")),
        (Message(role=Role.USER, text="", has_image=True),),
    ],
    ids=["empty", "blank", "no-user", "image-only"],
)
def test_a_call_without_user_text_is_not_classified(conversation: Conversation) -> None:
    """Where the user says nothing there is nothing to classify, and the call is unmatched."""
    classifier = FixedClassifier({"code": 0.9})

    decision = new_router(classifier).route(replace(CALL, conversation=conversation))

    assert (decision.reason, decision.source, decision.would_use) == (Reason.NO_MATCH, Source.NONE, DEFAULT)
    assert classifier.calls == []


def test_a_policy_without_routes_needs_no_classifier() -> None:
    """A router without preferences starts and sends every call to the default without asking anybody."""
    classifier = FixedClassifier({})
    router = new_router(classifier, policy=RoutingPolicy())

    router.start()

    assert router.route(CALL).reason is Reason.NO_MATCH
    assert classifier.calls == []


def test_calls_that_are_not_to_be_routed_are_not_classified() -> None:
    """A bypassed call and one whose model no pattern covers keep the model they name, unclassified."""
    classifier = FixedClassifier({"code": 0.9})
    router = new_router(classifier, applies_to=("auto",))
    auto, named = replace(CALL, model="auto"), replace(CALL, model="gpt-4")

    bypassed, not_applicable = router.route(auto, bypass=True), router.route(named)

    assert (bypassed.reason, bypassed.would_use) == (Reason.BYPASSED, "auto")
    assert (not_applicable.reason, not_applicable.would_use) == (Reason.NOT_APPLICABLE, "gpt-4")
    assert classifier.calls == []
    assert router.route(auto).reason is Reason.MATCHED


def test_a_refused_inline_policy_is_the_callers_error() -> None:
    """An inline policy is refused where the service denies them all, whatever `on_error` says."""
    with pytest.raises(PolicyRefusedError):
        new_router(allow_inline=False).route(replace(CALL, inline_policy=POLICY))


def test_a_started_router_is_ready() -> None:
    """Starting loads and times the classifier; only then is the router ready."""
    router = new_router()
    assert not router.is_ready

    assert router.start() >= 0

    assert router.is_ready


@pytest.mark.anyio
@pytest.mark.parametrize(
    "call",
    [
        CALL,
        LLMCall.from_text(""),
        replace(CALL, model="gpt-4"),
        replace(CALL, inline_policy=RoutingPolicy(preferences=(CHAT,))),
    ],
    ids=["matched", "no-text", "not-applicable", "inline"],
)
async def test_route_and_aroute_decide_alike(call: LLMCall) -> None:
    """The blocking and the awaitable form give equal decisions, first and from the cache, on any event loop."""
    blocking, awaitable = new_router(applies_to=("auto",)), new_router(applies_to=("auto",))

    for bypass in (False, False, True):
        assert await awaitable.aroute(call, bypass=bypass) == blocking.route(call, bypass=bypass)
