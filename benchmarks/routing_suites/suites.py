"""The exam: suites of routes whose intents appear in no training episode, built from test splits of public sets.

Routes of the public sets are described in `benchmarks/data/exam_suites.json`; two files beside it hold policies and
cases that were written by hand apart from all training data. A folder holds the public sets as gzipped JSON lines;
what is drawn from them depends on nothing but the files.
"""

import gzip
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from plano_asgi.conversation import Conversation, Message, Role
from plano_asgi.lab.corpus_files import said, to_conversation
from plano_asgi.preferences import RoutingPolicy, RoutingPreference

DATA: Final = Path(__file__).parents[1] / "data"
HAND_WRITTEN: Final = ("policies_exam", "policies_quality")
SEED: Final = 20_261_123
TURNS_OF_A_SUITE: Final = 400
STRANGERS: Final = 0.4
OUT_OF_SCOPE: Final = 200
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Case:
    """A conversation, and the name of the route that is right; None where none is."""

    conversation: Conversation
    expect: str | None


@dataclass(frozen=True, slots=True)
class Suite:
    """Cases of one policy.

    Attributes:
        family: What it is reported under; a family may have several suites.
        name: Its own name.
        policy: The routes.
        cases: What is asked.
        utterances: Example texts of each route out of training splits, for contenders that need some.
    """

    family: str
    name: str
    policy: RoutingPolicy
    cases: tuple[Case, ...]
    utterances: Mapping[str, Sequence[str]]


def exam(datasets: Path | None, *, is_quick: bool) -> list[Suite]:
    """Return the suites written by hand, with those of a folder of public sets; one case in twenty of each if quick."""
    suites = [*hand_written(), *(public(datasets) if datasets else ())]
    return [replace(suite, cases=suite.cases[::20]) for suite in suites] if is_quick else suites


def hand_written() -> Iterator[Suite]:
    """Yield the suites that need no data set: one for each policy."""
    for family in HAND_WRITTEN:
        for line in (DATA / f"{family}.jsonl").read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            cases = tuple(Case(to_conversation(case["messages"]), case["expect"]) for case in row["cases"])
            routes = {route["name"]: route["description"] for route in row["routes"]}
            yield Suite(row.get("kind", "hand-written"), row["policy"], policy_of(routes), cases, {})


def public(folder: Path) -> Iterator[Suite]:
    """Yield the suites made of public sets."""
    described = json.loads((DATA / "exam_suites.json").read_text(encoding="utf-8"))
    for build in (_clinc150, _banking77, _snips, _sgd, _mt_bench, _topic_shift, _mmlu_domains):
        yield from build(folder, described)


def policy_of(routes: Mapping[str, str]) -> RoutingPolicy:
    """Return routes of these names and descriptions as a policy."""
    return RoutingPolicy(
        preferences=tuple(
            RoutingPreference(name=name, description=description, models=("any/model",))
            for name, description in routes.items()
        )
    )


def _clinc150(folder: Path, described: Row) -> Iterator[Suite]:
    rows = _rows(folder / "clinc150.jsonl.gz")
    strange = [row for row in rows if row["split"] == "test" and row["intent"] is None]
    for number, routes in enumerate(described["clinc150"]):
        none = _draws(number).sample(strange, OUT_OF_SCOPE)
        yield _of_intents("CLINC150", f"clinc150_{number + 1}", routes, rows, none)


def _banking77(folder: Path, described: Row) -> Iterator[Suite]:
    rows = _rows(folder / "banking77.jsonl.gz")
    asked = {intent for routes in described["banking77"] for intent in routes}
    strange = [row for row in rows if row["split"] == "test" and row["intent"] not in asked]
    for number, routes in enumerate(described["banking77"]):
        none = _draws(number).sample(strange, OUT_OF_SCOPE)
        yield _of_intents("BANKING77", f"banking77_{number + 1}", routes, rows, none)


def _snips(folder: Path, described: Row) -> Iterator[Suite]:
    """Two suites of five intents each; the texts of the other two have no route."""
    rows, routes = _rows(folder / "snips.jsonl.gz"), described["snips"]
    for left_out in (("GetWeather", "RateBook"), ("BookRestaurant", "SearchScreeningEvent")):
        kept = {intent: text for intent, text in routes.items() if intent not in left_out}
        none = [row for row in rows if row["split"] == "test" and row["intent"] in left_out]
        yield _of_intents("SNIPS", f"snips_without_{'_'.join(left_out)}", kept, rows, none)


def _of_intents(family: str, name: str, routes: Mapping[str, str], rows: Sequence[Row], none: Sequence[Row]) -> Suite:
    asked = [row for row in rows if row["split"] == "test" and row["intent"] in routes]
    cases = [
        *(Case(said(row["text"]), row["intent"]) for row in asked),
        *(Case(said(row["text"]), None) for row in none),
    ]
    utterances: dict[str, list[str]] = {intent: [] for intent in routes}
    for row in rows:
        if row["split"] == "train" and row["intent"] in routes:
            utterances[row["intent"]].append(row["text"])
    return Suite(family, name, policy_of(routes), tuple(cases), utterances)


def _sgd(folder: Path, described: Row) -> Iterator[Suite]:
    """Turns of dialogues; the routes are the intents of services that no training dialogue uses."""
    wordings = json.loads(gzip.decompress((folder / "sgd_descriptions.json.gz").read_bytes()))
    rows = [row for row in _rows(folder / "sgd_turns.jsonl.gz") if row["split"] == "test" and len(row["active"]) <= 1]
    for number, services in enumerate(described["sgd"]):
        routes = {
            intent: wordings_of_it[0]
            for service in services
            for intent, wordings_of_it in wordings[service]["intents"].items()
        }
        domains = {_domain(service) for service in services}
        ours = [row for row in rows if row["active"] and row["active"][0][0] in services]
        others = [
            row
            for row in rows
            if not domains & set(map(_domain, row["services"]))
            and not {intent for _, intent in row["active"]} & set(routes)
        ]
        chosen = _draws(number)
        strangers = int(TURNS_OF_A_SUITE * STRANGERS)
        asked = [(row, row["active"][0][1]) for row in chosen.sample(ours, TURNS_OF_A_SUITE - strangers)]
        none = [(row, None) for row in chosen.sample(others, strangers)]
        cases = [Case(to_conversation(row["messages"]), expect) for row, expect in (*asked, *none)]
        yield Suite("SGD", f"sgd_{number + 1}", policy_of(routes), tuple(cases), {})


def _draws(number: int) -> random.Random:
    return random.Random(SEED + number)  # noqa: S311 - chooses cases, hides nothing


def _domain(service: str) -> str:
    return service.partition("_")[0]


def _mt_bench(folder: Path, described: Row) -> Iterator[Suite]:
    rows = _rows(folder / "mt_bench.jsonl.gz")
    cases = tuple(Case(said(row["turns"][0]), row["category"]) for row in rows)
    yield Suite("MT-Bench", "mt_bench", policy_of(described["mt_bench"]), cases, {})


def _topic_shift(folder: Path, described: Row) -> Iterator[Suite]:
    """Dialogues of MT-Bench-101 that leave their topic and come back to it; the topics were assigned by hand."""
    topics, dialogues = described["topic_shift"]["topics"], described["topic_shift"]["dialogues"]
    chosen = _draws(0)
    for row in _rows(folder / "mt_bench_101.jsonl.gz"):
        if row["task"] != "TS":
            continue
        first, second = dialogues[str(row["id"])]
        others = chosen.sample(sorted(set(topics) - {first, second}), 6)
        names = sorted({first, second, *others})
        turns = [
            Message(role=role, text=turn[key]) for turn in row["history"] for role, key in _SPEAKERS if turn.get(key)
        ]
        users = [place for place, message in enumerate(turns) if message.role is Role.USER]
        cases = tuple(Case(tuple(turns[: users[at] + 1]), topic) for at, topic in ((1, second), (2, first)))
        yield Suite("topic shift", f"topic_shift_{row['id']}", policy_of({n: topics[n] for n in names}), cases, {})


_SPEAKERS: Final = ((Role.USER, "user"), (Role.ASSISTANT, "bot"))


def _mmlu_domains(folder: Path, described: Row) -> Iterator[Suite]:
    """The cases of vLLM's semantic-router: questions by domain, and some of none."""
    files = {row["file"]: row["data"] for row in _rows(folder / "vsr_testcases.jsonl.gz")}
    routes = described["mmlu_domains"]
    asked = files["domain_classify_cases.json"]
    cases = tuple(Case(said(row["question"]), row["category"] if row["category"] in routes else None) for row in asked)
    yield Suite("semantic-router", "mmlu_domains", policy_of(routes), cases, {})


def _rows(path: Path) -> list[Row]:
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).decode().strip().split("\n")]
