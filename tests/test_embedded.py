"""The embedded router with its shipped model: what it thinks."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from plano_asgi.classify.embedded import EmbeddedClassifier
from plano_asgi.conversation import Conversation, Message, Role
from plano_asgi.decisions import Scores
from plano_asgi.preferences import RoutingPolicy, RoutingPreference

ROUTES = {
    "code_generation": "writing new code: functions, scripts, classes",
    "summarization": "summarising long documents, articles or meeting notes",
    "translation": "translating text from one language into another",
    "maths": "solving mathematical problems, equations and proofs",
}
TEXTS = [
    "Write a Python function that reverses a linked list",
    "Summarise this article in three sentences",
    "thanks, bye",
    "solve x^2 + 3x - 4 = 0",
    "Übersetze das bitte ins Französische: guten Morgen",
    "?",
]


def policy_of(routes: dict[str, str]) -> RoutingPolicy:
    """Return a policy of names and descriptions."""
    return RoutingPolicy(
        preferences=tuple(
            RoutingPreference(name=name, description=description, models=("openai/gpt-4o",))
            for name, description in routes.items()
        )
    )


def conversation(*turns: str) -> Conversation:
    """Return turns of user and assistant, each in turn, the user first."""
    return tuple(Message(role=(Role.USER, Role.ASSISTANT)[i % 2], text=text) for i, text in enumerate(turns))


def best(scores: Scores) -> str | None:
    """Return the likeliest route, or None where none of them is likelier than any."""
    name, chance = max(scores.routes.items(), key=lambda item: item[1])
    return name if chance > scores.other else None


POLICY = policy_of(ROUTES)


@pytest.fixture(scope="module")
def classifier() -> EmbeddedClassifier:
    """Return the shipped classifier, loaded."""
    classifier = EmbeddedClassifier()
    classifier.prepare(POLICY)
    return classifier


@pytest.mark.parametrize(
    ("text", "route"),
    [
        ("Write a Python function that reverses a linked list", "code_generation"),
        ("Implement a REST endpoint in Go that returns the current time", "code_generation"),
        ("Give me a short summary of this report: sales rose in May ...", "summarization"),
        ("Translate 'good morning, how are you?' into French", "translation"),
        ("Solve the equation x^2 + 3x - 4 = 0", "maths"),
        ("thanks, bye", None),
        ("hello", None),
        ("what will the weather be like tomorrow?", None),
    ],
)
def test_obvious_calls_are_classified_as_anybody_would(
    classifier: EmbeddedClassifier, text: str, route: str | None
) -> None:
    """A plain request goes to the route that describes it, and small talk to none, at the model's own threshold."""
    scores = classifier.classify(conversation(text), POLICY)

    assert best(scores) == route
    if route is not None:
        assert scores.routes[route] >= classifier.threshold


def test_answers_do_not_depend_on_who_else_asks(classifier: EmbeddedClassifier) -> None:
    """The same input has bit for bit the same scores alone, again, and while eight threads ask other things."""
    alone = [classifier.classify(conversation(text), POLICY) for text in TEXTS]

    with ThreadPoolExecutor(8) as pool:
        crowded = list(pool.map(lambda text: classifier.classify(conversation(text), POLICY), TEXTS * 8))

    assert crowded == alone * 8
    assert EmbeddedClassifier().classify(conversation(TEXTS[0]), POLICY) == alone[0]


@settings(deadline=None, max_examples=60)
@example(turns=["\ud800 hi"], count=2)
@given(
    turns=st.lists(st.text(st.characters(exclude_categories=()), max_size=60), max_size=4),
    count=st.integers(1, len(ROUTES)),
)
def test_any_conversation_has_probabilities(classifier: EmbeddedClassifier, turns: list[str], count: int) -> None:
    """Any text, lone surrogates and control characters included, has probabilities in [0, 1] that sum to 1."""
    policy = RoutingPolicy(preferences=POLICY.preferences[:count])

    scores = classifier.classify(conversation(*turns), policy)

    chances = [*scores.routes.values(), scores.other]
    assert list(scores.routes) == list(ROUTES)[:count]
    assert all(0 <= chance <= 1 for chance in chances)
    assert sum(chances) == pytest.approx(1, abs=1e-5)


@settings(deadline=None, max_examples=40)
@given(text=st.sampled_from(TEXTS) | st.text(max_size=60), order=st.permutations(POLICY.preferences))
def test_order_of_the_routes_cannot_matter(
    classifier: EmbeddedClassifier, text: str, order: list[RoutingPreference]
) -> None:
    """However the routes of a policy are ordered, no probability moves by more than rounding does."""
    forth = classifier.classify(conversation(text), POLICY)

    back = classifier.classify(conversation(text), RoutingPolicy(preferences=tuple(order)))

    assert dict(back.routes) == pytest.approx(dict(forth.routes), abs=1e-5)
    assert back.other == pytest.approx(forth.other, abs=1e-5)


@pytest.mark.parametrize(
    "silent",
    [(), (Message(role=Role.SYSTEM, text="write code"),), (Message(role=Role.USER, text=" \n"),)],
    ids=["empty", "system-only", "blank"],
)
def test_where_the_user_says_nothing_it_is_none_of_the_routes(
    classifier: EmbeddedClassifier, silent: Conversation
) -> None:
    """A conversation without user text is none of the routes for certain."""
    assert classifier.classify(silent, POLICY) == Scores(routes=dict.fromkeys(ROUTES, 0.0), other=1.0)


def test_routes_are_read_once() -> None:
    """What depends on a route alone is kept: a policy of a hundred routes costs its reading only the first time."""
    classifier = EmbeddedClassifier()
    policy = policy_of({f"route {n}": f"questions about subject number {n}" * 4 for n in range(100)})
    classifier.prepare(RoutingPolicy())

    started = time.perf_counter()
    classifier.prepare(policy)
    prepared = time.perf_counter()
    classifier.classify(conversation("hello"), policy)

    assert time.perf_counter() - prepared < (prepared - started) / 3


@pytest.mark.parametrize(
    ("ask", "answer", "follow_up", "route"),
    [
        (TEXTS[0], "def reverse(items): return items[::-1]", "now in Go", "code_generation"),
        ("Solve x^2 = 4", "x = 2 or x = -2", "and with 9?", "maths"),
    ],
    ids=["code", "maths"],
)
def test_a_short_follow_up_is_read_in_its_context(
    classifier: EmbeddedClassifier, ask: str, answer: str, follow_up: str, route: str
) -> None:
    """A turn that means little by itself is far likelier what the turns before it were."""
    alone = classifier.classify(conversation(follow_up), POLICY)

    followed = classifier.classify(conversation(ask, answer, follow_up), POLICY)

    assert max(followed.routes, key=lambda name: followed.routes[name]) == route
    assert followed.routes[route] > 3 * alone.routes[route]


def test_the_latest_intent_counts(classifier: EmbeddedClassifier) -> None:
    """A change of subject is followed at once, however long the talk before it."""
    code = "def reverse(items): return items[::-1]"
    talk = [TEXTS[0], code, "add type hints", code, "and a docstring", code]

    assert best(classifier.classify(conversation(*talk, "Translate 'hello' into Spanish"), POLICY)) == "translation"
    assert best(classifier.classify(conversation(*talk, "thanks, bye"), POLICY)) is None


@pytest.mark.parametrize("ask_first", [True, False], ids=["ask-first", "ask-last"])
def test_an_ask_is_found_at_either_end_of_a_long_text(classifier: EmbeddedClassifier, *, ask_first: bool) -> None:
    """A request that stands before or behind pages of pasted text is found there."""
    ask, pages = "Please summarise the following meeting notes.", "The board met and talked about the budget. " * 2_000

    scores = classifier.classify(conversation(f"{ask}\n{pages}" if ask_first else f"{pages}\n{ask}"), POLICY)

    assert best(scores) == "summarization"


def test_a_huge_message_costs_no_more_than_a_long_one(classifier: EmbeddedClassifier) -> None:
    """Ten megabytes in one message, and in the turns before it, are classified in bounded time."""
    huge = "words and more words " * 500_000

    started = time.perf_counter()
    scores = classifier.classify(conversation(huge, huge, huge), POLICY)

    assert time.perf_counter() - started < 1
    assert scores.routes.keys() == ROUTES.keys()


def test_without_onnxruntime_the_error_names_the_extra() -> None:
    """Where onnxruntime is not installed, building the classifier works, and loading it names the extra to install."""
    program = """
import sys
sys.modules["onnxruntime"] = None
from plano_asgi import RoutingPolicy
from plano_asgi.classify.embedded import EmbeddedClassifier
from plano_asgi.errors import MissingExtraError

classifier = EmbeddedClassifier()
try:
    classifier.prepare(RoutingPolicy())
except MissingExtraError as error:
    print(error)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)

    assert "plano-asgi[cpu]" in ended.stdout
    assert "classifier.kind: embedded" in ended.stdout
