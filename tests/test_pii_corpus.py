"""Personal data in the lines of five locales that were written by hand: found, and nothing else is."""

from collections import Counter
from time import thread_time
from typing import Final

import pytest

from benchmarks.pii import Tally, corpus, table, tallies
from plano_asgi.guard.pii import Kind, find_personal

LEAST_RECALL, LEAST_PRECISION = 0.95, 0.98
LINES = corpus()
COUNTED = tallies(LINES)


def test_corpus_is_what_it_says() -> None:
    """Three hundred lines, sixty in each locale, a third of them with nothing to find, every kind in each locale."""
    assert Counter(line.locale for line in LINES) == dict.fromkeys(("de", "en", "es", "fr", "it"), 60)
    assert sum(not line.spans for line in LINES) == 100
    assert {(kind, line.locale) for line in LINES for kind, *_ in line.spans} == {
        (kind, locale) for kind in Kind for locale in ("de", "en", "es", "fr", "it")
    }


@pytest.mark.parametrize("key", [(kind, "all") for kind in (*Kind, "all")] + [("all", x) for x in ("de", "en", "es")])
def test_enough_is_found_and_little_else(key: tuple[str, str]) -> None:
    """Of each kind, and in each locale, at least 95 % is found whole, and at least 98 % of what is found is right."""
    tally = COUNTED[key]

    assert tally.recall >= LEAST_RECALL
    assert tally.precision >= LEAST_PRECISION


@pytest.mark.parametrize("line", [line for line in LINES if not line.spans], ids=lambda line: line.text[:24])
def test_code_and_prose_hold_nothing(line: object) -> None:
    """Dates, amounts, versions, orders, files and pages are nobody's data."""
    assert find_personal(line.text) == ()  # type: ignore[attr-defined]  # a line


def test_table_tells_what_is_missed() -> None:
    """What is not found lowers recall, what is found wrongly lowers precision."""
    counted = {("email", "en"): Tally(wanted=4, found=3, right=2), ("all", "all"): Tally()}

    assert "| email | 50% / 67% | - |" in list(table(counted))


@pytest.mark.parametrize("worst", ["1 2-3.", "a.b@", "4111 ", "AB12 ", "key: ", "::1:", "(12) ", "a@b.co ", "+1"])
def test_time_grows_with_the_text_and_no_faster(worst: str) -> None:
    """Sixteen times as much of the worst takes far less than 256 times as long: of digits, letters, signs, findings."""

    def took(text: str) -> float:
        started = thread_time()
        find_personal(text)
        return thread_time() - started

    short = min(took(worst * 2_000) for _ in range(3))
    assert took(worst * 32_000) < 100 * short + 0.05


def test_keys_that_only_begin_cost_no_more_than_other_text() -> None:
    """A megabyte of what no key ends takes a fraction of the two seconds that reading on from each of them took."""
    started = thread_time()

    assert find_personal("-----BEGIN RSA PRIVATE KEY-----" * 32_000) == ()
    assert thread_time() - started < 2


BODY: Final = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\n" * 20
RSA: Final = f"-----BEGIN RSA PRIVATE KEY-----\n{BODY}-----END RSA PRIVATE KEY-----"


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        (f"-----BEGIN RSA PRIVATE KEY-----\n{BODY}[...]\n{RSA}", 2),
        (f"-----BEGIN RSA PRIVATE KEY-----\n{BODY}\nand that is all I have", 1),
        (RSA.replace("cKj", "cKj\n(-----BEGIN CERTIFICATE----- is below)", 1), 1),
        (RSA.replace("-----END", "-----END CERTIFICATE-----\n-----END"), 1),
        (RSA.replace("\n", "\\n"), 1),
        (f"-----BEGIN RSA PRIVATE KEY-----\\n{BODY}".replace("\n", "\\n"), 1),
        (f"-----BEGIN RSA PRIVATE KEY-----\n{BODY * 20}-----END RSA PRIVATE KEY-----", 1),
    ],
    ids=["one cut off before another", "cut off", "a mark within", "a wrong end", "in JSON", "cut off in JSON", "long"],
)
def test_no_part_of_a_key_is_left(text: str, keys: int) -> None:
    """A key that is cut off, very long or mixed with other marks is found with all of its lines."""
    found = find_personal(text)

    assert len(found) == keys
    rest = text
    for one in reversed(found):
        rest = rest[: one.start] + rest[one.end :]
    assert "MIIE" not in rest


def test_a_key_is_found_behind_one_that_only_begins() -> None:
    """What stands between the last beginning and the end is the key, its dashes included."""
    key = "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n" + "Zx9+" * 30 + "\n-----END EC PRIVATE KEY-----"
    text = f"-----BEGIN PRIVATE KEY----- is how it starts: {key} and so on"

    (found,) = find_personal(text)
    assert text[found.start : found.end] == key
