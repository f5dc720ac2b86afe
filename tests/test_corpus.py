"""The training data: well formed, labelled with known labels, and apart from the demo and the exam."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from plano_asgi.conversation import Role
from plano_asgi.lab.corpus_files import CORPUS_FOLDER, HELD_OUT, policies, task_types, wordings
from plano_asgi.lab.corpus_tidying import SaidBefore, asked_in, tidied
from plano_asgi.lab.train.held_out import held_out
from plano_asgi.preferences import RoutingPolicy, RoutingPreference

ROOT = Path(__file__).parents[1]
DEMO = ROOT / "examples" / "demo"
EXAM = ROOT / "benchmarks" / "data"
GREETINGS = frozenset(
    {
        *("", "hello", "hey", "hey there", "hey you there", "hi", "hi team", "hi there", "hiya", "yo"),
        *("good afternoon", "good evening", "morning"),
        *("great", "lol", "ok", "perfect thank you so much", "ty", "yes", "yes please"),
    }
)  # what is said to anybody, as `spoken` has it; "" is punctuation or a smiley alone
FILES = sorted(CORPUS_FOLDER.glob("*.jsonl"))
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


def corpus_turns() -> list[str]:
    """Return what users say in the whole corpus."""
    return [text for path in FILES for row in rows(path) for text in user_turns(row)]


def spoken(text: str) -> str:
    """Return a text as it sounds: without case, apostrophes and punctuation."""
    return " ".join(re.findall(r"\w+", re.sub("['\u2019]", "", text.lower())))


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

    assert len(tasks.conversations) == len(corpus("texts_")) + len(corpus("conversations_"))
    assert len(tasks.routes) == len(corpus("routes_"))
    assert [source.name for source in own] == [row["policy"] for row in corpus("policies_")]
    assert sum(map(len, wordings().values())) == len({row["intent"] for row in corpus("wordings_")})
    assert {path.name.split("_")[0].partition(".")[0] for path in CORPUS_FOLDER.iterdir()} == {
        "texts",
        "conversations",
        "routes",
        "policies",
        "wordings",
        "README",
    }


def test_corpus_is_not_a_toy() -> None:
    """There are at least 3,000 texts over 80 task types and 20 domains, and every task type has its share of them."""
    texts = corpus("texts_")
    counts = Counter(row["task"] for row in texts)

    assert len(texts) >= 3_000
    assert len(counts) >= 80
    assert min(counts.values()) >= 40
    assert len({row["domain"] for row in texts if "domain" in row}) >= 20
    assert len({row["lang"] for row in texts if "lang" in row}) >= 8


def test_every_task_type_is_described_in_five_wordings() -> None:
    """At least five routes, no two of them described alike, cover each task type."""
    wordings_of: dict[str, set[str]] = {}
    for route in corpus("routes_"):
        for task in route["covers"]:
            wordings_of.setdefault(task, set()).add(described(route["description"]))

    assert wordings_of.keys() == {row["task"] for row in corpus("texts_")} - {None}
    assert min(map(len, wordings_of.values())) >= 5


def test_texts_do_not_begin_alike() -> None:
    """No more than two texts in a hundred share their first four words with another."""
    openings = Counter(tuple(row["text"].lower().split()[:4]) for row in corpus("texts_"))
    shared = sum(count for opening, count in openings.items() if count > 1 and len(opening) == 4)

    assert shared <= 0.02 * sum(openings.values())


def test_follow_ups_keep_and_change_the_intent() -> None:
    """Of the conversations that say so, about half go on with what was asked before."""
    kinds = Counter(row["kind"] for row in corpus("conversations_") if "kind" in row)

    assert kinds.keys() == {"keeps", "changes"}
    assert 0.4 < kinds["keeps"] / kinds.total() < 0.6


def test_corpus_repeats_nothing() -> None:
    """No text of the corpus is said twice in it, or nearly so."""
    said = SaidBefore()

    for path in FILES:
        assert list(tidied(rows(path), said)) == rows(path), path.name


def test_labels_of_task_types_are_known() -> None:
    """Every label of a conversation or a route is a task type that texts are written for."""
    known = {row["task"] for row in corpus("texts_")}

    assert {row["task"] for row in corpus("conversations_")} <= known
    for route in corpus("routes_"):
        assert {*route["covers"], *route["near"]} <= known, route["name"]


def test_routes_cover_something_and_nothing_twice() -> None:
    """A route covers at least one task type, and none that it calls debatable."""
    for route in corpus("routes_"):
        assert route["covers"], route["name"]
        assert not {*route["covers"]} & {*route["near"]}, route["name"]


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
    said = SaidBefore(demo_texts())

    assert [text for text in corpus_turns() if any(said.like(text))] == []


def test_corpus_repeats_nothing_of_the_exam() -> None:
    """No text of the corpus is said in the exam, or nearly so."""
    said = SaidBefore(text for row in exam() for text in user_turns(row))

    assert [text for text in corpus_turns() if any(said.like(text))] == []


def test_corpus_and_exam_share_nothing_but_greetings() -> None:
    """However short a text is, what users say in the corpus is not said in the exam, unless it is said to anybody."""
    examined = {spoken(text) for row in exam() for text in user_turns(row)}

    shared = examined & {spoken(text) for text in corpus_turns()}

    assert shared - GREETINGS == set()
    assert GREETINGS - shared == set()


def test_likeness_finds_what_differs_in_a_word() -> None:
    """The comparison above finds a text again that has lost or changed one word of many."""
    text = "write a small parser for dates in the kotlin language please"

    near = ["Write a small parser for dates, in the Kotlin language!", text.replace("dates", "times"), "quite another"]

    assert set(SaidBefore(near).like(text)) == set(near[:2])
    assert asked_in({"text": text}) == [text]


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
