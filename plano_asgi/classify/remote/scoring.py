"""Probabilities of routes out of the log-probabilities of a generated answer. Pure.

Theory of operation: the answer is walked token by token. At every position the server names the likeliest alternatives
to the token that it took. An alternative points to the candidates (the routes, and `other`) one of whose spellings,
`{"route": "NAME"}` with double or single quotes, can still come about from the text so far and the alternative;
alternatives that point to none of them are left out, as a grammar would leave them out, and the rest are made to sum
to 1. What points to one candidate alone is that candidate's; what points to several (`code` to both `code_review` and
`code_generation`) is shared among them in proportion to what is theirs alone. The walk goes on with the share of the
token that was taken, and ends where the text has become one candidate's or nobody's; what remains then is the parsed
answer's. So the scores sum to 1, and an answer without alternatives has all of it.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from plano_asgi.decisions import Scores
from plano_asgi.preferences import NO_ROUTE_NAME

Candidate = str | None  # a route's name, or None for none of them
Spelling = tuple[bytes, Candidate]
Pointing = tuple[list[Candidate], float]

LEAST_OF_THE_ANSWER: Final = 0.501  # above the default threshold, and so is nothing else

_FRAMES: Final = (
    ('{"route": ', "}"),
    ('{"route":', "}"),
    ('{ "route": ', " }"),
    ("{'route': ", "}"),
    ("{'route':", "}"),
)
_BRACKET: Final = b"{"


@dataclass(frozen=True, slots=True)
class Step:
    """One position of an answer.

    Attributes:
        token: The bytes of the token that was taken.
        chances: Probability in [0, 1] of that token and of its likeliest alternatives, by their bytes.
    """

    token: bytes
    chances: Mapping[bytes, float]


def certain(route: Candidate, routes: Sequence[str]) -> Scores:
    """Return scores that leave no doubt: all on one route, or on none of them."""
    return Scores(routes={name: float(name == route) for name in routes}, other=float(route is None))


def scores_of(steps: Sequence[Step], answer: Candidate, routes: Sequence[str]) -> Scores:
    """Return the probability of each route and of none of them; the answer's own is 0.501 at the least.

    Greedy decoding may choose what has less than half, and its choice is to stand where the settings name no threshold.

    Args:
        steps: The answer's tokens; leading ones that are no part of the JSON object are passed over.
        answer: What the whole answer was read as.
        routes: The policy's routes, in its order.
    """
    alone: dict[Candidate, float] = dict.fromkeys((*routes, None), 0.0)
    pointings, remaining = _walk(steps, [spelling for candidate in alone for spelling in _spellings(candidate)])
    alone[answer] += remaining
    for candidates, mass in pointings:
        if len(candidates) == 1:
            alone[candidates[0]] += mass
    masses = dict(alone)
    for candidates, mass in pointings:
        if len(candidates) > 1:
            theirs = sum(alone[candidate] for candidate in candidates)
            for candidate in candidates:
                masses[candidate] += mass * (alone[candidate] / theirs if theirs > 0 else 1 / len(candidates))
    chances = _with_majority(masses, answer)
    return Scores(routes={name: chances[name] for name in routes}, other=chances[None])


def _walk(steps: Sequence[Step], possible: Sequence[Spelling]) -> tuple[list[Pointing], float]:
    """Return what each alternative points to with its probability, and the probability of the walk itself."""
    pointings: list[Pointing] = []
    written, remaining = b"", 1.0
    for step in steps:
        token = step.token if written else step.token[step.token.find(_BRACKET) :]
        if not written and not token.startswith(_BRACKET):
            continue
        taken = step.chances.get(step.token, 0.0)
        others = [
            (_pointed_to(written + other, possible), chance)
            for other, chance in step.chances.items()
            if other != step.token
        ]
        others = [(candidates, chance) for candidates, chance in others if candidates]
        if total := taken + math.fsum(chance for _, chance in others):
            pointings += [(candidates, remaining * chance / total) for candidates, chance in others]
            remaining *= taken / total
        written += token
        possible = [spelling for spelling in possible if _is_way_to(written, spelling[0])]
        if len({candidate for _, candidate in possible}) <= 1:
            break
    return pointings, remaining


def _with_majority(masses: Mapping[Candidate, float], answer: Candidate) -> dict[Candidate, float]:
    """Return the masses as probabilities, what the answer lacks taken from the others in proportion."""
    total = math.fsum(masses.values())
    chances = {candidate: min(1.0, mass / total) for candidate, mass in masses.items()}
    own = max(chances[answer], LEAST_OF_THE_ANSWER)
    rest = math.fsum(chance for candidate, chance in chances.items() if candidate != answer)
    scale = (1 - own) / rest if rest else 0.0
    return {name: own if name == answer else chance * scale for name, chance in chances.items()}


def _pointed_to(text: bytes, possible: Sequence[Spelling]) -> list[Candidate]:
    return list(dict.fromkeys(candidate for spelling, candidate in possible if _is_way_to(text, spelling)))


def _is_way_to(text: bytes, spelling: bytes) -> bool:
    return spelling.startswith(text) or text.startswith(spelling)


def _spellings(candidate: Candidate) -> list[Spelling]:
    if candidate is None:
        values = {f'"{NO_ROUTE_NAME}"', f"'{NO_ROUTE_NAME}'", '""', "''", "null", "None"}
    else:
        values = {json.dumps(candidate), json.dumps(candidate, ensure_ascii=False), repr(candidate), f"'{candidate}'"}
    return [
        (f"{before}{value}{after}".encode(errors="surrogatepass"), candidate)
        for before, after in _FRAMES
        for value in values
    ]
