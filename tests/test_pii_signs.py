"""The fast search for personal data: what it leaves out holds nothing."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from benchmarks.pii import corpus
from plano_asgi.guard.pii import Finding, find_personal
from plano_asgi.guard.pii.patterns import PATTERNS

MARKS = [
    *(
        "key",
        "Token",
        "api_key",
        "client-secret",
        "PASSWORT",
        "mot de passe",
        "contraseña",
        "pwd",
        '"senha"',
        "password",
    ),
    *(
        ": ",
        "=",
        " is ",
        " ist ",
        " está ",
        "\n",
        '"',
        "'",
        " ",
        ", ",
        "@",
        "://",
        "-",
        "_",
        ".",
        ":",
        "::",
        "/",
        "+",
        "(",
    ),
    *("sk-", "ghp_", "xoxb-", "AKIA", "AIza", "ya29.", "SG.", "eyJ", "glpat-", "-----BEGIN PRIVATE KEY-----"),
    *(
        "hunter22xyz",
        "A1b2C3d4E5f6G7h8I9",
        "example.org",
        "10.20.30.40",
        "2001:db8",
        "555",
        "0171 2345",
        "RSSMRA85T10A562S",
    ),
    *("İ", "ß", "٣", "call", "tel", "ssn", "Social Security", "CPF", "steuer", "tax \u0131d"),
    *("b\u017fn", "sofi", "Pesel"),
    *("123456789", "12345678901", "012-34-5678", "11144477735", "44051401458", "111222333", "00 49 171 2345678"),
]
SPANS = [line.text[start:end] for line in corpus() for _, start, end in line.spans]
texts = st.lists(st.sampled_from(MARKS) | st.sampled_from(SPANS) | st.text(max_size=6), max_size=24).map("".join)


def found_everywhere(text: str) -> tuple[Finding, ...]:
    """Return what a search finds that tries every pattern at every place."""
    taken: set[int] = set()
    found = []
    for pattern in PATTERNS:
        for match in pattern.form.finditer(text):
            start, end = match.span("value" if "value" in pattern.form.groupindex else 0)
            end = start + pattern.length(text[start:end]) if pattern.length else end
            if end > start and pattern.is_one(text, start, end) and taken.isdisjoint(range(start, end)):
                taken |= set(range(start, end))
                found.append(Finding(pattern.kind, start, end))
    return tuple(sorted(found, key=lambda one: one.start))


@settings(max_examples=200, deadline=None)
@given(texts)
@example("İ password: hunter22xyz İ")
@example("password\n\tis hunter22xyz")
@example("pa\u017f\u017fword: hunter22xyz")
@example("BURGERSERVICENUMMER" + " " * 18 + "111222333")
@example("pe\u017fel" + " " * 24 + "44051401458")
@example("SOCIAL SECURITY NO. 219099999")
@example("CPF 11144477735")
@example("SSN 219099999")
@example("sofinr 111222333")
@example("bsn: 111222333")
@example("Tax ID 86095742719")
@example("x" * 3000 + "eyJ" + "a" * 4000 + ".eyJ" + "b" * 5000 + "." + "c" * 2000)
@example("github_pat_" + "a1" * 100 + " AKIA" + "Z" * 16 + " ya29.sk-" + "a" * 30)
def test_what_is_found_fast_is_what_is_there(text: str) -> None:
    """Looking around signs only finds what trying every pattern at every place does."""
    assert find_personal(text) == found_everywhere(text)


def test_the_corpus_is_searched_as_a_whole_as_it_is_line_by_line() -> None:
    """Text between findings takes nothing away from them."""
    gap = "\n" + "word " * 100 + "\n"
    whole = gap.join(line.text for line in corpus())

    assert find_personal(whole) == found_everywhere(whole)
