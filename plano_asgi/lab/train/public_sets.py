"""Public data sets as sources, their training splits only; what the exam asks about is left out.

A folder holds them as gzipped JSON lines; `docs/model-card.md` says where they are from and under which licences.
"""

import gzip
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from plano_asgi.lab.corpus_files import HELD_OUT, LabelledConversation, LabelledRoute, Source, said, to_conversation
from plano_asgi.lab.train.held_out import held_out

LONGEST_TEXT: Final = 1_200

_WORDINGS: Final = (
    "{}",
    "the user wants help with {}",
    "questions and requests about {}",
    "Use for messages on the topic of {}.",
)
_BENCHMARK_TASKS: Final[Mapping[str, tuple[str, ...]]] = {
    "gsm8k": ("maths",),
    "math": ("maths",),
    "agentverse-mgsm": ("maths",),
    "mbpp": ("code",),
    "human_eval": ("code",),
    "agentverse-logicgrid": ("puzzle",),
    "natural_qa": ("fact",),
    "trivia_qa": ("fact",),
    "gpqa": ("hard_science",),
    "commongen": ("sentence",),
}
_BENCHMARK_ROUTES: Final = (
    ("arithmetic", "word problems and equations with a number as the answer", "maths"),
    ("mathematics", "solves sums, algebra, geometry, counting and probability", "maths"),
    ("number-crunching", "the user wants something worked out with numbers", "maths"),
    ("python_functions", "implement a function so that it does what the docstring or the tests say", "code"),
    ("coder", "programs to be written", "code"),
    ("Software", "turn a specification into working source code", "code"),
    ("logic_grid", "deduce who lives where and owns what from a list of clues", "puzzle"),
    ("brainteasers", "riddles and deduction, step by step", "puzzle"),
    ("trivia", "short questions with a name, place, date or number as the answer", "fact"),
    ("quickFacts", "look up who, when, where or what", "fact"),
    ("general_knowledge", "pub quiz style questions", "fact"),
    ("graduate_science", "demanding questions of physics, chemistry and biology for specialists", "hard_science"),
    ("ScienceExpert", "advanced natural science that takes a doctorate to answer", "hard_science"),
    ("sentence-maker", "build a sentence out of given words", "sentence"),
)


def clinc150(folder: Path, wordings: Mapping[str, Sequence[str]] = {}) -> Source:
    """Return CLINC150 (Larson et al. 2019, CC BY 3.0): intents, and domains as broader routes."""
    away = held_out("clinc150")
    rows = [r for r in _rows(folder / "clinc150.jsonl.gz") if r["split"] == "train" and r["intent"] not in away]
    domains: dict[str, set[str]] = {}
    for row in rows:
        if row["intent"] is not None:
            domains.setdefault(row["domain"], set()).add(row["intent"])
    broad = (
        LabelledRoute(domain, ", ".join(map(_words, sorted(intents)[start : start + 8])), frozenset(intents))
        for domain, intents in domains.items()
        for start in (0, 3)
    )
    return _intents("clinc150", rows, broad, wordings)


def banking77(folder: Path, wordings: Mapping[str, Sequence[str]] = {}) -> Source:
    """Return BANKING77 (Casanueva et al. 2020, CC BY 4.0)."""
    away = held_out("banking77")
    rows = [r for r in _rows(folder / "banking77.jsonl.gz") if r["split"] == "train" and r["intent"] not in away]
    return _intents("banking77", rows, (), wordings)


def sgd(folder: Path) -> Source:
    """Return Schema-Guided Dialogue (Rastogi et al. 2020, CC BY-SA 4.0): turns, and intents in up to six wordings."""
    away = held_out("sgd_services")
    described = json.loads(gzip.decompress((folder / "sgd_descriptions.json.gz").read_bytes()))
    seen = (r for r in _rows(folder / "sgd_turns.jsonl.gz") if r["split"] == "train" and away.isdisjoint(r["services"]))
    rows = [row for row in seen if len(row["active"]) <= 1]
    services = sorted({service for row in rows for service in row["services"]})
    intents = {(service, intent) for service in services for intent in described[service]["intents"]}
    conversations = tuple(
        LabelledConversation(to_conversation(row["messages"]), _label(*row["active"][0]) if row["active"] else None)
        for row in rows
    )
    narrow = [
        LabelledRoute(intent, wording, frozenset({_label(service, intent)}), _alike(service, intents))
        for service, intent in sorted(intents)
        for wording in described[service]["intents"][intent]
    ]
    broad = [
        LabelledRoute(
            _domain(service),
            wording,
            frozenset(_label(s, i) for s, i in intents if s == service),
            _alike(service, intents),
        )
        for service in services
        for wording in described[service]["descriptions"]
    ]
    return Source("sgd", conversations, (*narrow, *broad))


def benchmarks(folder: Path) -> Source:
    """Return the training split of LLMRouter's questions (MIT) as tasks: maths, code, facts, puzzles, science."""
    conversations = tuple(
        LabelledConversation(said(row["text"][:LONGEST_TEXT]), _BENCHMARK_TASKS[row["task"]][0])
        for row in _rows(folder / "llmrouter_train.jsonl.gz")
        if row["task"] in _BENCHMARK_TASKS and not HELD_OUT.search(row["text"])
    )
    near = {
        "maths": {"puzzle", "hard_science"},
        "puzzle": {"maths"},
        "hard_science": {"fact", "maths"},
        "fact": {"hard_science"},
    }
    routes = tuple(
        LabelledRoute(name, description, frozenset({task}), frozenset(near.get(task, ())))
        for name, description, task in _BENCHMARK_ROUTES
    )
    return Source("benchmarks", conversations, routes)


def arena(folder: Path) -> Source:
    """Return Arena-Hard's prompts (Apache-2.0), each routed by the topic of its cluster."""
    rows = [r for r in _rows(folder / "arena_hard.jsonl.gz") if not HELD_OUT.search(r["turns"][0])]
    conversations = tuple(LabelledConversation(said(r["turns"][0][:LONGEST_TEXT]), r["cluster"]) for r in rows)
    clusters = sorted({r["cluster"] for r in rows})
    routes = tuple(
        LabelledRoute(cluster, wording.format(cluster), frozenset({cluster}))
        for cluster in clusters
        for wording in ("{}", "everything about {}", "requests on {}")
    )
    return Source("arena", conversations, routes)


def _alike(service: str, intents: Iterable[tuple[str, str]]) -> frozenset[str]:
    """Return the intents of other services of the same domain: a turn of theirs could go to this service as well."""
    domain = _domain(service)
    return frozenset(_label(s, i) for s, i in intents if s != service and _domain(s) == domain)


def _domain(service: str) -> str:
    return service.partition("_")[0]


def _intents(
    name: str, rows: Sequence[Mapping[str, Any]], broad: Iterable[LabelledRoute], wordings: Mapping[str, Sequence[str]]
) -> Source:
    labels = sorted({row["intent"] for row in rows if row["intent"] is not None})
    routes = (
        LabelledRoute(label, wording, frozenset({label}))
        for label in labels
        for wording in (*wordings.get(label, ()), *(each.format(_words(label)) for each in _WORDINGS))
    )
    texts = (row for row in rows if not HELD_OUT.search(row["text"]))
    conversations = tuple(LabelledConversation(said(row["text"]), row["intent"]) for row in texts)
    return Source(name, conversations, (*routes, *broad))


def _label(service: str, intent: str) -> str:
    return f"{service}.{intent}"


def _words(label: str) -> str:
    return re.sub(r"[_\W]+", " ", label).strip().lower()


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    yield from map(json.loads, gzip.decompress(path.read_bytes()).decode().strip().split("\n"))
