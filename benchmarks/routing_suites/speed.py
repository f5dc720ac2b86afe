"""Milliseconds of one decision by the length of the text and the number of routes, on one thread."""

from collections.abc import Mapping
from statistics import median
from time import perf_counter
from typing import Final

from benchmarks.routing_suites.suites import policy_of
from plano_asgi.classify.embedded import EmbeddedClassifier
from plano_asgi.lab.corpus_files import said

TOKENS: Final = (16, 64, 256)
ROUTES: Final = (2, 8, 30)
WORD: Final = "harbour "  # one token


def latency_table(router: EmbeddedClassifier, *, runs: int) -> Mapping[str, Mapping[str, float]]:
    """Return medians: by tokens of the latest turn, then by routes whose descriptions are encoded already."""
    table: dict[str, dict[str, float]] = {}
    for tokens in TOKENS:
        conversation = said(WORD * (tokens - 2))
        for routes in ROUTES:
            policy = policy_of({f"route_{n}": f"requests of kind {n}, which are many" for n in range(routes)})
            router.prepare(policy)
            taken = []
            for _ in range(runs):
                started = perf_counter()
                router.classify(conversation, policy)
                taken.append(perf_counter() - started)
            table.setdefault(str(tokens), {})[str(routes)] = round(median(taken) * 1000, 2)
    return table
