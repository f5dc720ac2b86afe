"""What the Arch-Router classifier finds in one pass is what plain passes find, one token at a time."""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from plano_asgi.classify.arch_router import ArchRouterClassifier, Decode, Scoring
from plano_asgi.classify.arch_router.bundle import Bundle
from plano_asgi.classify.arch_router.completion_tree import CompletionTree
from plano_asgi.classify.arch_router.completions import Quoting
from plano_asgi.classify.arch_router.engine import Engine, Question, Scored
from plano_asgi.classify.arch_router.reading import Reader
from plano_asgi.classify.arch_router.rows import Row
from plano_asgi.classify.arch_router.session import PIECE_TOKENS_CPU, CausalSession, KeyValues
from plano_asgi.classify.arch_router.tokens import BundleTokenizer
from plano_asgi.classify.prompts import PromptForm, PromptWriter
from plano_asgi.conversation import Conversation, Message, Role
from plano_asgi.decisions import Scores
from plano_asgi.errors import ClassifierTimeoutError, UnreadableAnswerError
from plano_asgi.preferences import RoutingPolicy, RoutingPreference, name_fault

BRUTE_FORCE = 1e-5  # of probabilities
ALONE = 1e-4  # of logits, by which company and prefixes may move them
LEAST_AGREEMENT = 0.5

WORDS = [
    "code",
    "code_review",
    "code review",
    'say "hi"',
    "it's",
    "größe",
    "gro\u0308ße",
    "日本",
    "🙂",
    "<|im_end|>",
    "\\",
]
names = st.lists(
    st.one_of(st.sampled_from(WORDS), st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=8)),
    min_size=1,
    max_size=5,
    unique=True,
).filter(lambda names: not any(map(name_fault, names)))


def policy_of(*names: str) -> RoutingPolicy:
    """Return a policy of names, each its own description."""
    return RoutingPolicy(preferences=tuple(RoutingPreference(name=n, description=n, models=()) for n in names))


def said(text: str) -> Conversation:
    """Return what the user said."""
    return (Message(role=Role.USER, text=text),)


def all_of(scores: Scores) -> list[float]:
    """Return the probabilities in the policy's order, that of none last."""
    return [*scores.routes.values(), scores.other]


def log_softmax(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return log probabilities."""
    shifted = logits.astype(np.float64) - logits.max()
    result: npt.NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum())
    return result


def list_of(scored: Scored | Exception) -> list[float]:
    """Return the scores that there are."""
    assert not isinstance(scored, Exception)
    return [float(chance) for chance in scored]


class Oracle:
    """Reads whole texts, without prefix, tree or company, and asks for one token at a time."""

    def __init__(self, folder: Path) -> None:
        """Load the bundle."""
        self.bundle = Bundle.read(folder)
        self.tokenizer = BundleTokenizer(self.bundle)

    @cached_property
    def session(self) -> CausalSession:
        """The graph."""
        return CausalSession(self.bundle, device="cpu", threads=1)

    def prompt(self, conversation: Conversation, policy: RoutingPolicy) -> list[int]:
        """Return a prompt's tokens."""
        tokenizer = self.tokenizer
        writer = PromptWriter(PromptForm.GATEWAY, count_tokens=tokenizer.count, unspeakable=tokenizer.special_words)
        text = self.bundle.chat_before + writer.write(conversation, policy) + self.bundle.chat_after
        return list(tokenizer.encode(text))

    def logits_after(self, tokens: Sequence[int]) -> npt.NDArray[np.float32]:
        """Return the vocabulary's logits after a text."""
        return self.session.read(tokens, self.session.nothing)[1]

    def answers(self, policy: RoutingPolicy, write: Callable[[dict[str, str]], str]) -> list[tuple[int, ...]]:
        """Return the tokens of all answers, `other` last, each with its end."""
        texts = [write({"route": name}) for name in (*(p.name for p in policy.preferences), "other")]
        return [(*self.tokenizer.encode(text), self.bundle.end_tokens[0]) for text in texts]

    def scores(
        self,
        prompt: list[int],
        answers: list[tuple[int, ...]],
        *,
        temperature: float = 1.0,
        joint: bool = False,
    ) -> list[float]:
        """Return the probability of each answer."""
        log_chances: dict[tuple[int, ...], npt.NDArray[np.float64]] = {}
        totals = []
        for answer in answers:
            total = -np.log(answers.count(answer))
            for at, token in enumerate(answer):
                allowed = following(answers, answer[:at])
                if not joint and len(allowed) == 1:
                    continue
                if answer[:at] not in log_chances:
                    logits = self.logits_after([*prompt, *answer[:at]]) / np.float32(temperature)
                    log_chances[answer[:at]] = log_softmax(logits if joint else logits[allowed])
                total += log_chances[answer[:at]][token if joint else allowed.index(token)]
            totals.append(total)
        return [float(score) for score in np.exp(log_softmax(np.array(totals)))]

    def greedy_among(self, prompt: list[int], answers: list[tuple[int, ...]]) -> tuple[int, ...]:
        """Return the answer that is written where only these may be."""
        written: tuple[int, ...] = ()
        while written not in answers:
            allowed = following(answers, written)
            likeliest = int(self.logits_after([*prompt, *written])[allowed].argmax()) if len(allowed) > 1 else 0
            written = (*written, allowed[likeliest])
        return written

    def greedy(self, prompt: list[int], *, most: int) -> list[int]:
        """Return what is written of the model's own accord, without the end."""
        written: list[int] = []
        while len(written) < most:
            token = int(self.logits_after([*prompt, *written]).argmax())
            if token in self.bundle.end_tokens:
                break
            written.append(token)
        return written


def following(answers: list[tuple[int, ...]], written: tuple[int, ...]) -> list[int]:
    """Return the tokens that may follow."""
    return sorted({a[len(written)] for a in answers if a[: len(written)] == written and len(a) > len(written)})


@pytest.fixture(scope="module")
def oracle(tiny_bundle: Path) -> Oracle:
    """Return the oracle of the tiny bundle."""
    return Oracle(tiny_bundle)


@pytest.fixture(scope="module")
def classifier(tiny_bundle: Path) -> ArchRouterClassifier:
    """Return the classifier of the tiny bundle, as it comes."""
    return ArchRouterClassifier(tiny_bundle, device="cpu", threads=1)


@pytest.fixture(scope="module")
def joint_classifier(tiny_bundle: Path) -> ArchRouterClassifier:
    """Return a classifier that scores whole completions."""
    return ArchRouterClassifier(tiny_bundle, device="cpu", threads=1, scoring=Scoring.JOINT)


@settings(deadline=None, max_examples=40)
@example(names=["größe", "gro\u0308ße", "code", "code_review"], text="ok")
@example(names=["<|im_end|>", 'say "hi"', "it's"], text="<|im_end|>")
@given(names=names, text=st.text(min_size=1, max_size=20).filter(str.strip))
def test_scores_are_those_of_plain_passes(
    classifier: ArchRouterClassifier, oracle: Oracle, names: list[str], text: str
) -> None:
    """For any route names and any text, scores are within 1e-5 of what whole passes over whole texts give."""
    policy = policy_of(*names)

    scores = classifier.classify(said(text), policy)

    answers = oracle.answers(policy, lambda answer: json.dumps(answer, ensure_ascii=False))
    expected = oracle.scores(oracle.prompt(said(text), policy), answers)
    assert list(scores.routes) == names
    assert all_of(scores) == pytest.approx(expected, abs=BRUTE_FORCE)
    assert sum(all_of(scores)) == pytest.approx(1)


@settings(deadline=None, max_examples=12)
@example(names=["größe", "gro\u0308ße", "code", "code_review"])
@given(names=names)
def test_joint_scores_are_those_of_plain_passes(
    joint_classifier: ArchRouterClassifier, oracle: Oracle, names: list[str]
) -> None:
    """Joint scores, too, are within 1e-5 of what whole passes give."""
    policy = policy_of(*names)

    scores = joint_classifier.classify(said("ok"), policy)

    answers = oracle.answers(policy, lambda answer: json.dumps(answer, ensure_ascii=False))
    expected = oracle.scores(oracle.prompt(said("ok"), policy), answers, joint=True)
    assert all_of(scores) == pytest.approx(expected, abs=BRUTE_FORCE)


@pytest.mark.parametrize("temperature", [0.25, 4.0])
def test_temperature_and_quotes_are_the_bundles(
    bundle_with: Callable[..., Path], oracle: Oracle, temperature: float
) -> None:
    """Logits are divided by the bundle's temperature, and answers are in the quotes that it names."""
    classifier = ArchRouterClassifier(bundle_with(temperature=temperature, quoting=Quoting.SINGLE), device="cpu")
    policy = policy_of("code", "it's", "código")

    scores = classifier.classify(said("ok"), policy)

    prompt = oracle.prompt(said("ok"), policy)
    assert all_of(scores) == pytest.approx(
        oracle.scores(prompt, oracle.answers(policy, repr), temperature=temperature), abs=BRUTE_FORCE
    )
    classifier.close()


def test_the_likeliest_is_what_greedy_decoding_writes_where_the_tree_branches_once(
    classifier: ArchRouterClassifier, oracle: Oracle
) -> None:
    """Where candidates part at one token, the best one is what greedy decoding among them writes; elsewhere mostly.

    Where they part again, the product of all steps counts, and greedy decoding looks at one step at a time.
    """
    agreed, asked = 0, 0
    for names in (
        ("alpha", "beta", "gamma"),
        ("code", "code_review", "code_tests", "chat"),
        ("a", "ab", "abc", "abcd"),
    ):
        policy = policy_of(*names)
        answers = oracle.answers(policy, json.dumps)
        branches_once = len(CompletionTree.build([a[:-1] for a in answers], end=answers[0][-1]).branches) == 1
        for text in map(str, range(12)):
            best = int(np.argmax(all_of(classifier.classify(said(text), policy))))
            greedy = answers.index(oracle.greedy_among(oracle.prompt(said(text), policy), answers))
            assert best == greedy or not branches_once
            agreed, asked = agreed + (best == greedy and not branches_once), asked + (not branches_once)

    sys.stdout.write(f"where the tree branches again, greedy decoding agrees on {agreed} of {asked}\n")
    assert asked
    assert agreed / asked >= LEAST_AGREEMENT


def test_generated_answers_are_what_the_model_writes(oracle: Oracle, tiny_bundle: Path) -> None:
    """Generation, token by token on kept keys and values, writes what whole passes over the growing text write."""
    session = oracle.session
    engine = Engine(session, context=oracle.bundle.context, temperature=1.0)
    reader = Reader(oracle.bundle, form=PromptForm.GATEWAY, joint=False)
    policy = policy_of("code", "chat")
    read = reader.policy(policy)
    question = Question(reader.prompt(said("hello"), policy), read.static, read.tree)

    written = engine.generate(question, ends=oracle.bundle.end_tokens, most=12)

    assert list(written) == oracle.greedy(oracle.prompt(said("hello"), policy), most=12)
    with pytest.raises(ClassifierTimeoutError):  # and no half an answer, which would be remembered
        engine.generate(replace(question, is_awaited=lambda: False), ends=(), most=12)
    generating = ArchRouterClassifier(tiny_bundle, device="cpu", decode=Decode.GENERATE)
    with pytest.raises(UnreadableAnswerError):  # what random weights write names no route
        generating.classify(said("hello"), policy)
    generating.close()


tokens = st.integers(0, 255)


@settings(deadline=None, max_examples=40)
@example(text=[5, 6], at=1)
@given(text=st.lists(tokens, min_size=2, max_size=60), at=st.integers(1, 59))
def test_a_prefix_changes_nothing(oracle: Oracle, text: list[int], at: int) -> None:
    """Logits after a text that reads on from a prefix, be it by one token, are within 1e-4 of those of the whole."""
    at = min(at, len(text) - 1)
    session = oracle.session

    prefix = session.extended(text[:at], session.nothing)
    longer, logits = session.read(text[at:], prefix)

    np.testing.assert_allclose(logits, oracle.logits_after(text), atol=ALONE)
    assert (prefix.length, longer.length) == (at, len(text))
    assert longer.bytes == len(text) * 4 * 2 * 16 * 4


@settings(deadline=None, max_examples=30)
@given(
    texts=st.lists(st.lists(tokens, min_size=1, max_size=30), min_size=1, max_size=6),
    prefix=st.lists(tokens, max_size=10),
    candidates=st.lists(st.lists(tokens, min_size=1, max_size=5), min_size=2, max_size=4),
)
def test_company_changes_nothing(
    oracle: Oracle, texts: list[list[int]], prefix: list[int], candidates: list[list[int]]
) -> None:
    """In a batch of any lengths and trees, logits are within 1e-4 of what each text has alone, padding or not."""
    session = oracle.session
    past = session.extended(prefix, session.nothing) if prefix else session.nothing
    trees = [CompletionTree.build(candidates[: 1 + index % len(candidates)], end=2) for index in range(len(texts))]
    rows = [Row.of(text, tree) for text, tree in zip(texts, trees, strict=True)]

    together = session.run(rows, past)

    for row, found in zip(rows, together, strict=True):
        (alone,) = session.run([row], past)
        assert [len(logits) for logits in found] == [len(choices) for choices in row.candidates]
        for one, other in zip(found, alone, strict=True):
            np.testing.assert_allclose(one, other, atol=ALONE)


@pytest.mark.parametrize("joint", [False, True], ids=["branch", "joint"])
def test_sixty_four_questions_of_all_kinds_have_the_answers_they_have_alone(oracle: Oracle, *, joint: bool) -> None:
    """A batch of 64 prompts of four policies and many lengths gives what each gives alone, within 1e-5."""
    reader = Reader(oracle.bundle, form=PromptForm.GATEWAY, joint=joint)
    policies = [policy_of("code"), policy_of("code", "code_review"), policy_of(*WORDS), policy_of(*WORDS[::-1])]
    questions = []
    for index in range(64):
        policy, conversation = policies[index % 4], said("word " * (1 + index % 7))
        read = reader.policy(policy)
        questions.append(Question(reader.prompt(conversation, policy), read.static, read.tree))
    engine = Engine(oracle.session, context=oracle.bundle.context, temperature=1.0)
    engine.prefixes.pin(reader.root(), questions[1].static)
    uncached = Engine(oracle.session, context=oracle.bundle.context, temperature=1.0, prefix_bytes=0)

    together = engine.score(questions)

    for question, scores in zip(questions, together, strict=True):
        (alone,) = uncached.score([question])
        assert list_of(scores) == pytest.approx(list_of(alone), abs=BRUTE_FORCE)


class Watched(CausalSession):
    """A session that remembers how many tokens of a text were read at once."""

    def __init__(self, bundle: Bundle) -> None:
        """Begin with none."""
        super().__init__(bundle, device="cpu", threads=1)
        self.lengths: list[int] = []

    def _run(self, rows: Sequence[Row], prefix: KeyValues, *, keep: bool) -> tuple[npt.NDArray[np.float32], Any]:
        """Remember those of the rows."""
        self.lengths += [len(row.tokens) for row in rows]
        return super()._run(rows, prefix, keep=keep)


@pytest.fixture
def long_question(oracle: Oracle) -> Question:
    """Return a prompt of some 3,300 tokens, most of them the policy's."""
    policy = RoutingPolicy(
        preferences=tuple(
            RoutingPreference(name=name, description=f"{name}: {'tell of it ' * 170}", models=("m",))
            for name in ("code", "chat", "poetry")
        )
    )
    reader = Reader(oracle.bundle, form=PromptForm.GATEWAY, joint=False)
    read = reader.policy(policy)
    assert len(read.static) > 2 * PIECE_TOKENS_CPU
    return Question(reader.prompt(said("hello"), policy), read.static, read.tree)


def test_a_long_prompt_is_read_in_pieces(oracle: Oracle, long_question: Question) -> None:
    """Whatever a policy that a call brings along takes, so much is read at once, and scores are as of the whole."""
    tree = long_question.tree
    session = Watched(oracle.bundle)
    engine = Engine(session, context=oracle.bundle.context, temperature=1.0)

    scored = [engine.score([long_question])[0] for _ in range(2)]  # from the policy's own prefix, the second time
    engine.generate(replace(long_question, static=()), ends=(), most=1)

    (logits,) = oracle.session.run([Row.of(long_question.prompt, tree)], oracle.session.nothing)
    whole = pytest.approx(list(tree.scores(logits, temperature=1.0)), abs=BRUTE_FORCE)
    assert [list_of(each) for each in scored] == [whole, whole]
    assert max(session.lengths) <= PIECE_TOKENS_CPU + len(tree.forced) + len(tree.tokens)


def test_a_long_prompt_that_nobody_waits_for_is_left_off(oracle: Oracle, long_question: Question) -> None:
    """Between two pieces it is asked whether anybody waits, be it for a policy's prefix, and company has its answer."""
    session = Watched(oracle.bundle)
    engine = Engine(session, context=oracle.bundle.context, temperature=1.0)
    given_up = replace(long_question, is_awaited=lambda: False)
    short = replace(long_question, prompt=long_question.prompt[-200:])

    for _ in range(2):
        problem, answer = engine.score([given_up, short])

        assert isinstance(problem, ClassifierTimeoutError)
        assert sum(list_of(answer)) == pytest.approx(1)
    assert sum(session.lengths) < 2 * (PIECE_TOKENS_CPU + 250)


def test_a_prompt_that_is_too_long_spares_its_company(oracle: Oracle) -> None:
    """Beyond the context there is an error that says so, for that question alone."""
    reader = Reader(oracle.bundle, form=PromptForm.GATEWAY, joint=False)
    read = reader.policy(policy_of("code", "chat"))
    fine = Question(reader.prompt(said("ok"), policy_of("code", "chat")), read.static, read.tree)
    engine = Engine(oracle.session, context=len(fine.prompt) + 20, temperature=1.0)

    before, problem, after = engine.score([fine, replace(fine, prompt=fine.prompt * 2), fine])

    assert "tokens" in str(problem)
    assert list_of(before) == pytest.approx(list_of(after), abs=BRUTE_FORCE)
