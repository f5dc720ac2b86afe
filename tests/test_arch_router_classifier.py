"""The Arch-Router classifier as the router meets it: what it answers, when it gives up, and how it recovers."""

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from threading import Barrier, Event
from time import perf_counter
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from plano_asgi import LLMCall
from plano_asgi.assembly import build_router
from plano_asgi.classify.arch_router import ArchRouterClassifier, Decode, Scoring
from plano_asgi.classify.arch_router.bundle import Bundle
from plano_asgi.classify.digests import sha256_of
from plano_asgi.classify.prompts import PromptForm
from plano_asgi.conversation import Conversation, Message, Role
from plano_asgi.decisions import Reason, Scores
from plano_asgi.errors import (
    ClassificationError,
    ClassifierTimeoutError,
    RoutingUnavailableError,
    UnreadableAnswerError,
)
from plano_asgi.lab.export.architecture import Architecture
from plano_asgi.lab.export.graph import write_graph
from plano_asgi.lab.export.precision import Precision
from plano_asgi.lab.export.weights import Weight, tensor_shapes
from plano_asgi.preferences import RoutingPolicy, RoutingPreference
from plano_asgi.settings import Settings

CONFIG = """
model_providers:
  - {{model: openai/gpt-4o-mini, default: true}}
  - model: openai/gpt-4o
    routing_preferences:
      - {{name: code, description: writing code}}
      - {{name: chat, description: small talk}}
routing: {{threshold: 0, on_error: {on_error}}}
classifier: {{queue: {queue}, deadline_ms: {deadline_ms}}}
"""
POISON = "~"
BundleWith = Callable[..., Path]


def policy_of(*names: str, description: str = "what it says") -> RoutingPolicy:
    """Return a policy of names."""
    return RoutingPolicy(
        preferences=tuple(RoutingPreference(name=n, description=description, models=()) for n in names)
    )


def said(text: str) -> Conversation:
    """Return what the user said."""
    return (Message(role=Role.USER, text=text),)


POLICY = policy_of("code", "chat")
LONG = "hello " * 10_000  # as many tokens as a prompt may have


def classifier_of(folder: Path, **more: Any) -> ArchRouterClassifier:
    """Return a classifier on one CPU thread."""
    return ArchRouterClassifier(folder, device="cpu", threads=1, **more)


def is_sound(scores: Scores, policy: RoutingPolicy) -> bool:
    """Return whether scores are probabilities of a policy's routes."""
    chances = [*scores.routes.values(), scores.other]
    return (
        list(scores.routes) == [preference.name for preference in policy.preferences]
        and all(0 <= chance <= 1 for chance in chances)
        and sum(chances) == pytest.approx(1)
    )


@pytest.fixture(scope="module")
def classifier(tiny_bundle: Path) -> Iterator[ArchRouterClassifier]:
    """Return the classifier of the tiny bundle."""
    with closing(classifier_of(tiny_bundle)) as classifier:
        yield classifier


@pytest.fixture
def poisoned(bundle_with: BundleWith, tiny_bundle: Path) -> Iterator[ArchRouterClassifier]:
    """Return a classifier whose model answers NaN wherever a text has the character `~`."""
    data = bytearray((tiny_bundle / "model.onnx.data").read_bytes())
    row = 32 * 4  # bytes of the embedding of one token; the table comes first in the file
    token = Tokenizer.from_file(str(tiny_bundle / "tokenizer.json")).encode(POISON).ids[0]
    data[token * row : (token + 1) * row] = np.full(32, np.nan, np.float32).tobytes()
    with closing(classifier_of(bundle_with({"model.onnx.data": bytes(data)}))) as classifier:
        yield classifier


class Parrot:
    """Weights of a model that always says the same: each token has one that follows it."""

    def __init__(self, shape: Architecture, chain: list[int]) -> None:
        """Take the tokens, all different, from the one that ends every prompt to the one that ends the answer."""
        assert len(set(chain)) == len(chain) <= shape.hidden
        self._shapes = tensor_shapes(shape)
        self._chain = chain

    def tensor(self, name: str) -> Weight:
        """Return a tensor; the layers add nothing to what the embedding says."""
        tensor = np.zeros(self._shapes[name], np.float32)
        if name.endswith("norm.weight"):
            tensor += 1
        for place, (token, following) in enumerate(zip(self._chain, self._chain[1:], strict=False)):
            if name == "model.embed_tokens.weight":
                tensor[token, place] = 1
            if name == "lm_head.weight":
                tensor[following, place] = 1
        return tensor


@pytest.fixture
def parrot(tiny_bundle: Path, tmp_path: Path) -> Callable[..., ArchRouterClassifier]:
    """Return what makes a classifier whose model always says a text, none of whose tokens comes twice."""

    def make(text: str, **more: Any) -> ArchRouterClassifier:
        """Write its bundle."""
        folder = tmp_path / "parrot"
        folder.mkdir()
        shutil.copy(tiny_bundle / "tokenizer.json", folder)
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        bundle = Bundle.read(tiny_bundle)
        shape = Architecture(
            layers=2, hidden=32, intermediate=64, heads=4, kv_heads=2, head_size=16,
            vocabulary=bundle.vocabulary, context=bundle.context, is_tied=False,
        )  # fmt: skip
        last_of_prompt = tokenizer.encode(bundle.chat_after).ids[-1]
        chain = [last_of_prompt, *tokenizer.encode(text).ids, bundle.end_tokens[0]]
        write_graph(shape, Parrot(shape, chain), folder, Precision.FP32)
        hashes = {name: sha256_of(folder / name) for name in bundle.sha256}
        replace(bundle, folder=folder, sha256=hashes).write()
        return classifier_of(folder, **more)

    return make


@pytest.fixture
def settings(settings_of: Callable[[str], Settings]) -> Callable[..., Settings]:
    """Return what makes settings."""

    def make(*, on_error: str = "default", queue: int = 64, deadline_ms: int = 10_000) -> Settings:
        """Fill the configuration in."""
        return settings_of(CONFIG.format(on_error=on_error, queue=queue, deadline_ms=deadline_ms))

    return make


def test_the_revision_tells_answers_apart(tiny_bundle: Path) -> None:
    """Whatever may change an answer changes the revision: form, decoding and scoring; device and threads do not."""
    wanted: list[dict[str, Any]] = [
        {},
        {"form": PromptForm.CARD},
        {"form": PromptForm.INSTRUCTIONS_FIRST},
        {"decode": Decode.GENERATE},
        {"scoring": Scoring.JOINT},
    ]

    revisions = [ArchRouterClassifier(tiny_bundle, **more).revision for more in wanted]

    assert len(set(revisions)) == len(wanted)
    assert ArchRouterClassifier(tiny_bundle, threads=7, device="cpu").revision == revisions[0]
    assert ArchRouterClassifier(tiny_bundle, form=PromptForm.GATEWAY).revision == revisions[0]


@pytest.mark.parametrize("form", PromptForm)
def test_every_form_of_the_prompt_serves(bundle_with: BundleWith, form: PromptForm) -> None:
    """Each form has probabilities, and other ones than another form has, whichever the bundle was checked with."""
    folder = bundle_with(prompt_form=form)
    chosen, other = (
        classifier_of(folder, form=each) for each in (form, next(other for other in PromptForm if other is not form))
    )

    scores, different = (each.classify(said("hi"), POLICY) for each in (chosen, other))

    assert is_sound(scores, POLICY)
    assert scores != different
    assert classifier_of(folder).revision.split("-")[1] == "gateway"


@pytest.mark.parametrize(
    ("conversation", "policy"),
    [
        ((), POLICY),
        (said(" \n"), POLICY),
        ((Message(role=Role.ASSISTANT, text="hi"),), POLICY),
        (said("hello"), RoutingPolicy()),
    ],
    ids=["empty", "blank", "assistant-only", "no-routes"],
)
def test_where_nothing_can_be_decided_no_model_is_loaded(
    bundle_with: BundleWith, conversation: Conversation, policy: RoutingPolicy
) -> None:
    """Without user text or routes it is none of them for certain, whatever state the model's files are in."""
    damaged = classifier_of(bundle_with({"model.onnx": b""}, is_vouched=False))

    scores = damaged.classify(conversation, policy)

    assert scores == Scores(routes={p.name: 0.0 for p in policy.preferences}, other=1.0)


def test_ten_megabytes_of_conversation_are_no_matter(classifier: ArchRouterClassifier) -> None:
    """A conversation of ten megabytes in one message, or in ten thousand, has probabilities."""
    one = said("hello wörld " * 850_000)
    many = tuple(Message(role=(Role.USER, Role.ASSISTANT)[n % 2], text="hello " * 170) for n in range(10_001))

    assert is_sound(classifier.classify(one, POLICY), POLICY)
    assert is_sound(classifier.classify(many, POLICY), POLICY)


def test_a_long_conversation_fits_a_model_that_reads_little(bundle_with: BundleWith) -> None:
    """Where a model reads less than the usual prompt, what is said is cut to what it reads."""
    with closing(classifier_of(bundle_with(context=1_536))) as classifier:
        assert is_sound(classifier.classify(said(LONG), POLICY), POLICY)


def test_a_hundred_routes_of_sixty_four_characters_are_scored(classifier: ArchRouterClassifier) -> None:
    """The largest number of routes, with the longest names, has probabilities."""
    policy = policy_of(*(f"{'conversation ' * 5:.61}{n:03}" for n in range(100)), description="routes")

    assert is_sound(classifier.classify(said("hello"), policy), policy)


def test_routes_beyond_the_context_are_an_error_that_says_so(classifier: ArchRouterClassifier) -> None:
    """Routes that take more tokens than the model reads are refused in plain words, and the next call is fine."""
    policy = policy_of("code", "chat", description="x y z " * 20)
    large = policy_of(*map(str, range(5)), description="x y z " * 333)

    for attempt in (lambda: classifier.classify(said("hello"), large), lambda: classifier.prepare(large)):
        with pytest.raises(ClassificationError, match=r"has \d+ tokens.* reads 4096; use fewer routes or shorter"):
            attempt()

    assert is_sound(classifier.classify(said("hello"), policy), policy)


def test_a_prepared_policy_has_the_same_answers(tiny_bundle: Path) -> None:
    """What is run in advance changes how long an answer takes, and the answer by less than 1e-5."""
    prepared, other = classifier_of(tiny_bundle), classifier_of(tiny_bundle)
    prepared.prepare(POLICY)

    for text in ("hello", "write code"):
        scores, expected = prepared.classify(said(text), POLICY), other.classify(said(text), POLICY)
        assert dict(scores.routes) == pytest.approx(dict(expected.routes), abs=1e-5)


@pytest.mark.parametrize("decode", Decode)
def test_nobody_waits_longer_than_they_want(tiny_bundle: Path, decode: Decode) -> None:
    """Who does not wait any more has a timeout while the model is busy with others; later calls are answered."""
    classifier = classifier_of(tiny_bundle, decode=decode)
    classifier.prepare(POLICY)
    started, outcomes = Barrier(9), []

    def ask(number: int) -> None:
        """Ask for something long, and have no patience."""
        started.wait()
        try:
            classifier.classify(said(f"{number} {LONG}"), POLICY, is_awaited=lambda: False)
        except ClassificationError as error:
            outcomes.append(type(error))

    with ThreadPoolExecutor(9) as pool:
        list(pool.map(ask, range(9)))

    assert ClassifierTimeoutError in outcomes
    assert set(outcomes) <= {ClassifierTimeoutError, UnreadableAnswerError}
    scoring = classifier_of(tiny_bundle)
    assert is_sound(scoring.classify(said("hello"), POLICY), POLICY)


def test_calls_that_nobody_waits_for_are_not_worked_off(tiny_bundle: Path) -> None:
    """Of forty long calls that are given up, those that had not begun cost those who come later nothing."""
    classifier = classifier_of(tiny_bundle)
    classifier.prepare(POLICY)
    started = perf_counter()
    classifier.classify(said(LONG), POLICY)
    one_s = perf_counter() - started

    def give_up(number: int) -> None:
        """Ask for something long, and have no patience."""
        with suppress(ClassificationError):
            classifier.classify(said(f"{number} {LONG}"), POLICY, is_awaited=lambda: False)

    with ThreadPoolExecutor(40) as pool:
        list(pool.map(give_up, range(40)))
    started = perf_counter()
    classifier.classify(said("hello"), POLICY)

    assert perf_counter() - started < 20 * one_s
    classifier.close()


def test_sixty_four_threads_have_the_answers_they_have_alone(classifier: ArchRouterClassifier) -> None:
    """Whoever asks what at the same time, each answer is within 1e-5 of what it is alone."""
    calls = [(said("word " * (n % 9 + 1)), (POLICY, policy_of("a", "ab", "abc"))[n % 2]) for n in range(64)]
    alone = [classifier.classify(*call) for call in calls]

    with ThreadPoolExecutor(64) as pool:
        together = list(pool.map(lambda call: classifier.classify(*call), calls))

    for one, other in zip(alone, together, strict=True):
        assert dict(one.routes) == pytest.approx(dict(other.routes), abs=1e-5)


def test_a_closed_classifier_may_be_used_again(tiny_bundle: Path) -> None:
    """After `close`, twice even, the model is loaded again and gives the same answer."""
    classifier = classifier_of(tiny_bundle)
    before = classifier.classify(said("hello"), POLICY)

    classifier.close()
    classifier.close()

    assert classifier.classify(said("hello"), POLICY) == before


@pytest.mark.parametrize("decode", Decode)
def test_closing_amid_calls_leaves_nobody_waiting(tiny_bundle: Path, decode: Decode) -> None:
    """Whoever waits for an answer while the model is let go has it, or an error that says so; nobody hangs."""
    classifier = classifier_of(tiny_bundle, decode=decode)
    classifier.prepare(POLICY)
    begun = Event()

    def ask(number: int) -> str:
        """Ask for something long."""
        begun.set()
        try:
            classifier.classify(said(f"{number} {LONG}"), POLICY)
        except UnreadableAnswerError:
            return "answered"
        except ClassificationError as error:
            return str(error)
        return "answered"

    with ThreadPoolExecutor(8) as pool:
        outcomes = [pool.submit(ask, number) for number in range(8)]
        begun.wait()
        classifier.close()

    assert {outcome.result(0) for outcome in outcomes} <= {"answered", "the model is being unloaded"}


@pytest.mark.parametrize(
    ("text", "route"),
    [
        ('{"route": "code"}', "code"),
        ("chat", "chat"),
        ('{"route": "other"}', None),
        ('{"route": "xyz"}', None),
    ],
    ids=["route", "bare", "other", "unknown"],
)
def test_generated_answers_are_read(parrot: Callable[..., ArchRouterClassifier], text: str, route: str | None) -> None:
    """What the model writes is read as a route or as none of them, for certain."""
    classifier = parrot(text, decode=Decode.GENERATE)

    scores = classifier.classify(said("hello"), POLICY)

    assert scores == Scores(
        routes={name: float(name == route) for name in ("code", "chat")}, other=float(route is None)
    )
    classifier.close()


@pytest.mark.parametrize("text", ["code chat", "", "{"], ids=["words", "nothing but the end", "broken"])
def test_an_answer_that_names_no_route_is_an_error(parrot: Callable[..., ArchRouterClassifier], text: str) -> None:
    """Of what the model wrote, only a route or a plain none counts; nothing at all is none."""
    classifier = parrot(text, decode=Decode.GENERATE)

    if text:
        with pytest.raises(UnreadableAnswerError):
            classifier.classify(said("hello"), POLICY)
    else:
        assert classifier.classify(said("hello"), POLICY).other == 1.0
    classifier.close()


def test_what_one_text_does_to_the_model_is_its_own_affair(poisoned: ArchRouterClassifier) -> None:
    """Logits that are not finite are an error for their own call; those in the same batch have their answers."""
    texts = ["hello", POISON, "write", POISON, "code", "chat", "hi", "ok"] * 4

    def ask(text: str) -> object:
        """Return the scores, or the error's words."""
        try:
            return poisoned.classify(said(text), POLICY)
        except ClassificationError as error:
            return str(error)

    with ThreadPoolExecutor(len(texts)) as pool:
        outcomes = list(pool.map(ask, texts))

    for text, outcome in zip(texts, outcomes, strict=True):
        if text == POISON:
            assert outcome == "the model gave logits that are not finite"
        else:
            assert isinstance(outcome, Scores)
            assert is_sound(outcome, POLICY)


def test_a_model_that_gives_nan_is_on_error(poisoned: ArchRouterClassifier, settings: Callable[..., Settings]) -> None:
    """A call that the model has no finite answer for is decided by `on_error`, and the next one by the model."""
    with closing(build_router(settings(), classifier=poisoned)) as router:
        router.start()

        failed, fine = (router.route(LLMCall.from_text(text)) for text in (POISON, "hello"))

    assert (failed.reason, failed.would_use) == (Reason.ERROR, "openai/gpt-4o-mini")
    assert fine.reason in {Reason.MATCHED, Reason.NO_MATCH}
    with closing(build_router(settings(on_error="reject"), classifier=poisoned)) as router:
        with pytest.raises(RoutingUnavailableError):
            router.route(LLMCall.from_text(POISON))
        assert router.route(LLMCall.from_text("hello")).reason in {Reason.MATCHED, Reason.NO_MATCH}


def test_a_full_queue_is_on_error(classifier: ArchRouterClassifier, settings: Callable[..., Settings]) -> None:
    """Calls beyond the queue are decided by `on_error` at once, those within it by the model, and later ones too."""
    with closing(build_router(settings(queue=1), classifier=classifier)) as router, ThreadPoolExecutor(64) as pool:
        router.start()
        started = Barrier(64)

        def ask(number: int) -> Reason:
            """Ask when everybody does."""
            started.wait()
            return router.route(LLMCall.from_text(f"hello {number}" + " hello" * 500)).reason

        reasons = list(pool.map(ask, range(64)))
        later = router.route(LLMCall.from_text("later")).reason

    assert Reason.ERROR in reasons
    assert {Reason.MATCHED, Reason.NO_MATCH} & set(reasons)
    assert later in {Reason.MATCHED, Reason.NO_MATCH}


def test_a_deadline_is_on_error(classifier: ArchRouterClassifier, settings: Callable[..., Settings]) -> None:
    """A decision past its deadline is decided by `on_error`, and a caller with more patience has an answer."""
    with closing(build_router(settings(deadline_ms=1), classifier=classifier)) as hasty:
        assert hasty.route(LLMCall.from_text(LONG)).reason is Reason.ERROR

    with closing(build_router(settings(), classifier=classifier)) as patient:
        assert patient.route(LLMCall.from_text(LONG)).reason in {Reason.MATCHED, Reason.NO_MATCH}


def test_shared_weights_change_no_score(tiny_bundle: Path) -> None:
    """Weights that are used as they lie in the file give the scores of weights that are packed."""
    packed, shared = (classifier_of(tiny_bundle, shares_weights=is_shared) for is_shared in (False, True))

    expected, found = (one.classify(said("review my code"), POLICY) for one in (packed, shared))

    assert found.routes == pytest.approx(expected.routes, abs=1e-5)
