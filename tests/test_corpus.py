"""The training data: well formed, labelled with known labels, and apart from the demo and the exam."""

import json
import math
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from plano_asgi.conversation import Role
from plano_asgi.lab.corpus_files import CORPUS_FOLDER, HELD_OUT, policies, task_types
from plano_asgi.lab.train.held_out import held_out
from plano_asgi.preferences import RoutingPolicy, RoutingPreference

ROOT = Path(__file__).parents[1]
DEMO = ROOT / "examples" / "demo"
EXAM = ROOT / "benchmarks" / "data"
FILES = sorted(CORPUS_FOLDER.iterdir())
ALIKE = 0.8
FEWEST_WORDS = 6  # greetings and thanks are nobody's invention
Row = dict[str, Any]


def rows(path: Path) -> list[Row]:
    """Return the lines of a JSONL file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def corpus(prefix: str) -> list[Row]:
    """Return the lines of all files of the corpus whose names begin alike."""
    return [row for path in FILES if path.name.startswith(prefix) for row in rows(path)]


def said_in(row: Row) -> list[str]:
    """Return every text of a line: what is said in it, and how its routes are named and described."""
    cases = [row, *row.get("cases", [])]
    routes = [row, *row.get("routes", [])]
    turns = [message["content"] for case in cases for message in case.get("messages", [])]
    return [*turns, *(route[key] for route in routes for key in ("text", "name", "description") if key in route)]


def user_turns(row: Row) -> list[str]:
    """Return what users say in a line of the corpus or of the exam."""
    cases = [row, *row.get("cases", [])]
    turns = [m["content"] for case in cases for m in case.get("messages", []) if m["role"] == "user"]
    return [*turns, *([row["text"]] if "text" in row else [])]


def demo_texts() -> list[str]:
    """Return the texts of the demo's requests and of their paraphrases."""
    groups: list[Row] = json.loads((DEMO / "paraphrases.json").read_text(encoding="utf-8"))
    return [text for group in groups for text in (group["of"], *group["texts"])]


def exam() -> list[Row]:
    """Return the policies of the exam that were written by hand."""
    return [row for name in ("policies_exam", "policies_quality") for row in rows(EXAM / f"{name}.jsonl")]


def exam_suites() -> Row:
    """Return what the exam makes of public data sets: the routes, described."""
    suites: Row = json.loads((EXAM / "exam_suites.json").read_text(encoding="utf-8"))
    return suites


def described_suites() -> list[dict[str, str]]:
    """Return the described routes of the suites."""
    suites = exam_suites()
    topics: dict[str, str] = suites["topic_shift"]["topics"]
    return [
        *suites["clinc150"],
        *suites["banking77"],
        suites["snips"],
        suites["mt_bench"],
        suites["mmlu_domains"],
        topics,
    ]


def words(text: str) -> frozenset[str]:
    """Return the words of a text."""
    return frozenset(re.findall(r"\w+", text.lower()))


def alike(texts: Sequence[str], others: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield pairs of a text and another whose sets of words are all but equal."""
    by_size: dict[int, list[tuple[str, frozenset[str]]]] = defaultdict(list)
    for other in others:
        by_size[len(words(other))].append((other, words(other)))
    for text in texts:
        own = words(text)
        sizes = range(max(FEWEST_WORDS, math.ceil(ALIKE * len(own))), int(len(own) / ALIKE) + 1)
        for other, theirs in (pair for size in sizes for pair in by_size[size]):
            if len(own) >= FEWEST_WORDS and len(own & theirs) >= ALIKE * len(own | theirs):
                yield text, other


def described(text: str) -> str:
    """Return a description as it compares: without case and full stop."""
    return text.lower().strip(" .")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_line_of_the_corpus_is_an_object_with_the_keys_of_its_file(path: Path) -> None:
    """A file of the corpus is JSONL whose lines have the same keys, and no line says nothing or is there twice."""
    lines = path.read_text(encoding="utf-8").splitlines()

    assert len({frozenset(row) for row in rows(path)}) == 1
    assert len(set(lines)) == len(lines)
    assert all(text.strip() for row in rows(path) for text in said_in(row))


def test_every_file_of_the_corpus_is_read() -> None:
    """What lies in the folder is what the loader makes sources of: no file is forgotten, no line is lost."""
    tasks, own = task_types(), policies()

    assert len(tasks.conversations) == len(corpus("texts_")) + len(corpus("conversations"))
    assert len(tasks.routes) == len(corpus("routes_"))
    assert [source.name for source in own] == [row["policy"] for row in corpus("policies_")]
    assert {path.name.split("_")[0].partition(".")[0] for path in FILES} == {
        "texts",
        "conversations",
        "routes",
        "policies",
    }


def test_corpus_is_not_a_toy() -> None:
    """There are at least 500 texts, and every task type has its share of them."""
    counts: dict[str, int] = defaultdict(int)
    for row in corpus("texts_"):
        counts[row["task"]] += 1

    assert sum(counts.values()) >= 500
    assert len(counts) == 40
    assert min(counts.values()) >= 20


def test_labels_of_task_types_are_known() -> None:
    """Every label of a conversation or a route is a task type that texts are written for."""
    known = {row["task"] for row in corpus("texts_")}

    assert {row["task"] for row in corpus("conversations")} <= known
    for route in corpus("routes_"):
        assert {*route["covers"], *route["near"]} <= known, route["name"]


def test_routes_cover_something_and_nothing_twice() -> None:
    """A route covers at least one task type, and none that it calls debatable."""
    for route in corpus("routes_"):
        assert route["covers"], route["name"]
        assert not {*route["covers"]} & {*route["near"]}, route["name"]


def test_every_task_type_has_a_route() -> None:
    """No task type is without a route that covers it."""
    assert {task for row in corpus("routes_") for task in row["covers"]} == {row["task"] for row in corpus("texts_")}


@pytest.mark.parametrize("row", [*corpus("policies_"), *exam()], ids=lambda row: row["policy"])
def test_cases_of_a_policy_expect_its_routes_or_none(row: Row) -> None:
    """A hand-written policy is one that the router accepts, and its cases expect a route of its own, or none."""
    preferences = [RoutingPreference(**route, models=("any/model",)) for route in row["routes"]]
    expected = {case["expect"] for case in row["cases"]}

    assert len(RoutingPolicy(preferences=tuple(preferences)).preferences) == len(row["routes"])
    assert expected <= {None, *(route["name"] for route in row["routes"])}
    assert None in expected


def test_conversations_end_with_the_user() -> None:
    """Every conversation ends with the user turn that its label is about, and knows no role but the usual ones."""
    conversations = [*task_types().conversations, *(c for source in policies() for c in source.conversations)]

    assert all(labelled.conversation[-1].role is Role.USER for labelled in conversations)


def test_held_out_subjects_are_those_of_the_demo() -> None:
    """Every request of the demo is about a subject that is kept out of training."""
    requests: list[Row] = json.loads((DEMO / "paraphrases.json").read_text(encoding="utf-8"))

    assert [request["of"] for request in requests if not HELD_OUT.search(request["of"])] == []


def test_labels_of_the_exam_are_kept_out_of_training() -> None:
    """What the exam asks of a public data set is what no training episode may hold."""
    suites = exam_suites()

    for name in ("clinc150", "banking77"):
        assert held_out(name) == {intent for routes in suites[name] for intent in routes}
    assert held_out("sgd_services") == {service for group in suites["sgd"] for service in group}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_corpus_says_nothing_about_a_held_out_subject(path: Path) -> None:
    """No text, name or description of the corpus speaks of what the demo asks about."""
    assert [text for row in rows(path) for text in said_in(row) if HELD_OUT.search(text)] == []


def test_corpus_repeats_nothing_of_the_demo() -> None:
    """No text of the corpus is a demo text or paraphrase, or nearly one."""
    texts = [text for path in FILES for row in rows(path) for text in user_turns(row)]

    assert list(alike(texts, demo_texts())) == []


def test_corpus_repeats_nothing_of_the_exam() -> None:
    """No text of the corpus is said in the exam, or nearly so."""
    texts = [text for path in FILES for row in rows(path) for text in user_turns(row)]
    examined = [text for row in exam() for text in user_turns(row)]

    assert list(alike(texts, examined)) == []


def test_likeness_finds_what_differs_in_a_word() -> None:
    """The comparison above finds a text again that has lost or changed one word of many."""
    text = "write a small parser for dates in the kotlin language please"

    near = ["Write a small parser for dates, in the Kotlin language!", text.replace("dates", "times"), "quite another"]

    assert {other for _, other in alike([text], near)} == set(near[:2])


def test_corpus_describes_no_route_as_the_demo_or_the_exam_does() -> None:
    """No description of the corpus is one of those that demo and exam are decided by."""
    own = {described(route["description"]) for route in corpus("routes_")}
    own |= {described(route["description"]) for row in corpus("policies_") for route in row["routes"]}
    theirs = {described(route["description"]) for row in exam() for route in row["routes"]}
    theirs |= {described(text) for routes in described_suites() for text in routes.values()}
    theirs |= {
        described(found)
        for path in (DEMO / "plano.yaml", DEMO / "requests.json")
        for found in re.findall(r'description"?: "?([^"\n]+)', path.read_text(encoding="utf-8"))
    }

    assert len(theirs) > 40
    assert own & theirs == set()
