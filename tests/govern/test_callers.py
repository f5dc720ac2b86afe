"""Who calls, and how much a call is thought to take: what a hostile caller can do about either."""

from typing import Any

import anyio
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plano_asgi.catalogues import WrittenPrices
from plano_asgi.govern import (
    Caller,
    Governor,
    Measure,
    MemoryCounters,
    Part,
    Pseudonyms,
    Quota,
    SlidingWindow,
    output_estimate,
)
from plano_asgi.wire import read_document
from plano_asgi.wire.usage import Usage

VALUES = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=9)
NAMES = ("messages", "max_tokens", "max_completion_tokens", "max_output_tokens", "n")
CALL = {"messages": [{"role": "user", "content": "x" * 400}]}


@settings(suppress_health_check=[HealthCheck.too_slow])  # the first draw is slow on a busy machine
@given(body=st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=5), default=st.integers(0, 10_000))
def test_every_call_has_an_estimate_within_bounds(body: dict[str, Any], default: int) -> None:
    """Whatever is in a body, there is an estimate of its answers, neither negative nor beyond what can be counted."""
    assert 0 <= output_estimate(body, otherwise=default) <= 2**50


@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        ({}, 77),
        ({"max_tokens": 10}, 10),
        ({"max_completion_tokens": 10, "max_tokens": 5}, 10),
        ({"max_output_tokens": 10, "n": 3}, 30),
        ({"max_tokens": -1}, 77),
        ({"max_tokens": "10"}, 77),
        ({"max_tokens": True}, 77),
        ({"max_tokens": 10**30, "n": 10**30}, 2**50),
    ],
    ids=str,
)
def test_output_is_what_the_call_allows_or_the_setting(body: dict[str, Any], tokens: int) -> None:
    """A limit that is none counts as not given; one beyond all bounds counts as the most there is."""
    assert output_estimate(body, otherwise=77) == tokens


@pytest.mark.parametrize(
    ("one", "other", "are_one"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("testclient", "testclient", True),
    ],
)
def test_an_ipv6_network_counts_as_one_client(one: str, other: str, are_one: bool) -> None:  # noqa: FBT001 - a table
    """Whoever may choose among 2**64 addresses has one limit all the same."""
    assert (Caller([], one).network == Caller([], other).network) is are_one


@pytest.mark.parametrize(
    "headers",
    [
        [(b"Authorization", b"Bearer sk-1")],
        [(b"x-api-key", b"sk-1")],
        [(b"api-key", b" sk-1 ")],
        [(b"authorization", b"bearer  sk-1")],
    ],
    ids=["bearer", "anthropic", "azure", "odd bearer"],
)
def test_one_key_is_one_caller_however_it_is_shown(headers: list[tuple[bytes, bytes]]) -> None:
    """The header that an SDK puts its key in makes no second limit."""
    assert Caller(headers).api_keys == ("sk-1",)


def test_a_call_counts_against_every_key_that_it_shows() -> None:
    """Another key beside one's own, or the same header twice, is no way around a limit for each key."""
    own = (b"authorization", b"Bearer own")
    dodges = [
        Caller([own]),
        Caller([(b"x-api-key", b"made-up-1"), own]),
        Caller([own, (b"authorization", b"Bearer made-up-2")]),
        Caller([(b"api-key", b"own")]),
        Caller([(b"authorization", b"Bearer another")]),
    ]

    assert admitted((Part.API_KEY,), *dodges) == [True, False, False, False, True]


def test_more_keys_than_a_caller_has_are_none() -> None:
    """However many keys a call shows, it costs no more counters than four; those with more share one limit."""
    many = [Caller([(b"x-api-key", f"{call}-{key}".encode()) for key in range(5)]) for call in range(2)]
    four = Caller([(b"x-api-key", str(key).encode()) for key in range(4)])

    assert len(four.api_keys) == 4
    assert admitted((Part.API_KEY,), *many, Caller([]), four) == [True, False, False, True]


def test_a_call_with_too_many_keys_has_what_is_left_for_those_without() -> None:
    """Who has used up its own limit may use that of calls without a key, which all of them have but once."""
    own = (b"authorization", b"Bearer own")
    crowd = [own, *[(b"x-api-key", str(key).encode()) for key in range(4)]]

    calls = [Caller([own]), Caller([own]), Caller(crowd), Caller(crowd), Caller([])]
    assert admitted((Part.API_KEY,), *calls) == [True, False, True, False, False]


def test_a_caller_with_several_keys_is_told_of_the_limit_with_the_least_left() -> None:
    """One limit is told once, as it stands for the key that has used the most of it; the other is settled too."""
    window = SlidingWindow(60)
    governor = Governor(
        quotas=(Quota(name="all", measure=Measure.INPUT_TOKENS, limit=1_000, window=window, per=(Part.API_KEY,)),),
        counters=MemoryCounters(),
        allow_lists=(),
        prices=WrittenPrices({}, otherwise=None),
        pseudonyms=Pseudonyms(b"secret"),
    )

    async def run() -> list[list[tuple[str, int]]]:
        """Use one key, then both, then the other."""
        document, told = read_document(orjson.dumps(CALL)), []
        for keys in ([b"one"], [b"one", b"two"], [b"two"]):
            caller = Caller([(b"x-api-key", key) for key in keys])
            admission = await governor.admission(caller, document, route=None, models=["openai/gpt-4o"])
            await admission.admit("openai/gpt-4o")
            await admission.settle(Usage(input_tokens=50))
            told.append([(counted.quota.name, counted.standing.used) for counted in admission.counted])
        return told

    assert anyio.run(run) == [[("all", 0)], [("all", 50)], [("all", 50)]]


def test_pseudonyms_tell_parts_apart_and_give_nothing_away() -> None:
    """The same parts have the same name, others another, with another secret all are others; none shows its parts."""
    names = Pseudonyms(b"secret")

    assert names.of("a", "b") == names.of("a", "b") != names.of("ab") != names.of("a b")
    assert names.of("sk-canary") != Pseudonyms(b"other").of("sk-canary")
    assert "canary" not in names.of("sk-canary") + repr(Caller([(b"x-api-key", b"sk-canary")], "canary"))


def admitted(per: tuple[Part, ...], *callers: Caller) -> list[bool]:
    """Return who of some callers is admitted by a limit of one call."""
    window = SlidingWindow(60)
    governor = Governor(
        quotas=(Quota(name="one", measure=Measure.REQUESTS, limit=1, window=window, per=per),),
        counters=MemoryCounters(),
        allow_lists=(),
        prices=WrittenPrices({}, otherwise=None),
        pseudonyms=Pseudonyms(b"secret"),
    )

    async def run() -> list[bool]:
        """Make a call for each."""
        document = read_document(orjson.dumps(CALL))
        admissions = [
            await governor.admission(caller, document, route=None, models=["openai/gpt-4o"]) for caller in callers
        ]
        return [await admission.admit("openai/gpt-4o") is None for admission in admissions]

    return anyio.run(run)


def test_callers_without_a_key_share_a_limit() -> None:
    """Leaving the key out is no way around a limit for each key."""
    assert admitted((Part.API_KEY,), Caller([]), Caller([(b"x-api-key", b"k")]), Caller([])) == [True, True, False]


def test_settling_by_the_estimate_where_the_provider_says_nothing() -> None:
    """Without usage the estimate stands, an answer's own events in place of the output's."""
    window = SlidingWindow(60)
    quotas = tuple(
        Quota(name=measure.value, measure=measure, limit=10_000, window=window)
        for measure in (Measure.INPUT_TOKENS, Measure.OUTPUT_TOKENS)
    )
    governor = Governor(
        quotas=quotas,
        counters=MemoryCounters(),
        allow_lists=(),
        prices=WrittenPrices({}, otherwise=None),
        pseudonyms=Pseudonyms(b""),
        output_tokens=500,
    )

    async def run() -> list[list[int]]:
        """Make three calls, and see what the next one finds."""
        document, seen = read_document(orjson.dumps(CALL)), []
        for usage, written in ((Usage(), None), (Usage(), 40), (Usage(output_tokens=600), 40), (None, None)):
            admission = await governor.admission(Caller([]), document, route=None, models=["openai/gpt-4o"])
            await admission.admit("openai/gpt-4o")
            await admission.settle(usage, written=written)
            await admission.settle(usage, written=written)
            seen.append([counted.standing.used for counted in admission.counted])
        return seen

    assert anyio.run(run) == [[0, 0], [107, 500], [214, 540], [321, 1140]]
