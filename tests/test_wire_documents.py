"""JSON bodies: which bytes are one, where its members lie, and what splicing leaves alone."""

import json
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plano_asgi.errors import WireFormatError
from plano_asgi.wire import JsonDocument, read_document, rewrite
from plano_asgi.wire.json_document import MAX_DEPTH

MODEL = "anthropic/claude-x"
CODES = {"invalid_json", "invalid_type", "too_deep", "duplicate_key"}
INLINE = {"routing_policy", "routing_preferences"}

# The source text of JSON, in every style that the grammar allows.
spaces = st.sampled_from(["", "", " ", "\n", "\t", "\r\n", " \t  "])


def escaped(char: str) -> str:
    r"""Return a character as `\u` escapes, a surrogate pair where it needs one."""
    units = char.encode("utf-16-be")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02X}" for i in range(0, len(units), 2))


any_char = st.characters(exclude_categories=["Cs"])
raw_char = st.characters(exclude_categories=["Cs"], exclude_characters='"\\', min_codepoint=0x20)
char_sources = st.one_of(
    raw_char, any_char.map(escaped), st.sampled_from([r"\"", r"\\", r"\/", r"\b", r"\n", "{", "]", ",", ":", "\x7f"])
)
string_sources = st.lists(char_sources, max_size=6).map(lambda chars: f'"{"".join(chars)}"')
number_sources = st.one_of(
    st.integers(-(10**30), 10**30).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.sampled_from(
        ["-0", "-0.0", "1.0", "1e5", "1E+5", "1e-400", "9" * 30, str(2**63), str(2**64), str(-(2**63) - 1)]
    ),
)
scalar_sources = st.one_of(string_sources, number_sources, st.sampled_from(["true", "false", "null"]))


class Written(NamedTuple):
    """One member as written: its key, and everything from the key's first byte to the value's last."""

    name: str
    source: str


@st.composite
def members(draw: st.DrawFn, values: st.SearchStrategy[str], keys: st.SearchStrategy[str] = string_sources) -> Written:
    """Draw one member of an object."""
    key = draw(keys)
    return Written(json.loads(key), f"{key}{draw(spaces)}:{draw(spaces)}{draw(values)}")


@st.composite
def enclosed(draw: st.DrawFn, opening: str, elements: Sequence[str], closing: str) -> str:
    """Draw the source of an array or object of these elements."""
    inside = ",".join(f"{draw(spaces)}{element}{draw(spaces)}" for element in elements)
    return f"{opening}{inside or draw(spaces)}{closing}"


def containers(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Return the sources of arrays and objects of inner sources."""
    arrays = st.lists(inner, max_size=3).flatmap(lambda elements: enclosed("[", elements, "]"))
    objects = st.lists(members(inner), max_size=3).flatmap(
        lambda found: enclosed("{", [member.source for member in found], "}")
    )
    return st.one_of(arrays, objects)


value_sources = st.recursive(scalar_sources, containers, max_leaves=6)
member_lists = st.lists(members(value_sources), max_size=5)


@st.composite
def documents(draw: st.DrawFn, found: Sequence[Written]) -> bytes:
    """Draw the bytes of an object with these members."""
    source = draw(enclosed("{", [member.source for member in found], "}"))
    return f"{draw(spaces)}{source}{draw(spaces)}".encode()


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Draw a document in which some bytes were replaced by others."""
    data = draw(documents(draw(member_lists)))
    wrecks = [b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"\xff", b"\x00", b"\\ud800", b"1e999", b"\xef\xbb\xbf"]
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 4)))
        data = data[:start] + draw(st.sampled_from([b"", b"1", b"NaN", *wrecks]) | st.binary(max_size=3)) + data[end:]
    return data


def as_parsed(digits: str) -> int | float:
    """Return an integer as the parser means it: a float beyond 64 bits."""
    number = int(digits)
    return number if -(2**63) <= number < 2**64 else float(number)


def found_members(document: JsonDocument) -> dict[str, Any]:
    """Return what lies at the places that the scanner found, parsed by another parser."""
    data = document.data
    return {
        json.loads(data[m.start : m.value_start].rstrip(b": \t\r\n")): json.loads(
            data[m.value_start : m.end], parse_int=as_parsed
        )
        for m in document.members
    }


def code_of(data: bytes) -> str:
    """Return the code with which the bytes are refused."""
    with pytest.raises(WireFormatError) as caught:
        read_document(data)
    assert caught.value.status == 400
    assert caught.value.param is None
    return caught.value.code


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.binary(max_size=60), damaged(), st.text(alphabet='{}[]",:\\u0 ', max_size=30).map(str.encode)))
def test_any_bytes_are_a_document_or_a_wire_format_error(data: bytes) -> None:
    """Whatever the bytes, they are refused as such or their members lie where the scanner says."""
    try:
        document = read_document(data)
    except WireFormatError as error:
        assert error.code in CODES  # noqa: PT017 - both outcomes are right
    else:
        assert found_members(document) == document.value
        assert [member.name for member in document.members] == list(document.value)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_scanner_agrees_with_the_parser_in_every_style(data: st.DataObject) -> None:
    """Each member's bytes mean what the parser says; a document is refused exactly if a top-level key repeats."""
    written = data.draw(member_lists)
    body = data.draw(documents(written))

    if len({member.name for member in written}) < len(written):
        assert code_of(body) == "duplicate_key"
        return
    document = read_document(body)

    assert [body[m.start : m.end].decode() for m in document.members] == [member.source for member in written]
    assert [m.name for m in document.members] == [member.name for member in written]
    assert found_members(document) == document.value


@pytest.mark.parametrize("indent", [None, 0, 2, "\t"], ids=["line", "zero", "two", "tab"])
@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": "), (" , ", " : ")], ids=["tight", "usual", "wide"])
@pytest.mark.parametrize("ensure_ascii", [True, False], ids=["escaped", "utf8"])
def test_members_of_any_usual_encoder_are_found(
    indent: int | str | None, separators: tuple[str, str], *, ensure_ascii: bool
) -> None:
    """Indentation, separators and escapes of an encoder make no difference to what is found."""
    body = {"model": "m", 'q"\\': "é😀 {[", "n": [1.0, 1e5, -0.0, 10**29], "": {}, "ü": {"a": [{"b": "]}"}]}, "z": None}
    data = json.dumps(body, indent=indent, separators=separators, ensure_ascii=ensure_ascii).encode()

    document = read_document(data)

    assert found_members(document) == document.value
    assert [member.name for member in document.members] == list(body)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(b"", "invalid_json", id="empty"),
        pytest.param(b" \n", "invalid_json", id="blank"),
        pytest.param(b'{"model":', "invalid_json", id="truncated"),
        pytest.param(b'{"a":1,}', "invalid_json", id="trailing comma"),
        pytest.param(b'{"a":1}}', "invalid_json", id="trailing bracket"),
        pytest.param(b'{"a":1}\x00', "invalid_json", id="trailing NUL"),
        pytest.param(b"{'a':1}", "invalid_json", id="single quotes"),
        pytest.param(b'{"a":1/**/}', "invalid_json", id="comment"),
        pytest.param(b'{"a":"\n"}', "invalid_json", id="raw newline"),
        pytest.param(b'{"a":01}', "invalid_json", id="leading zero"),
        pytest.param(b"[]", "invalid_type", id="array"),
        pytest.param(b'"x"', "invalid_type", id="string"),
        pytest.param(b"1", "invalid_type", id="number"),
        pytest.param(b"null", "invalid_type", id="null"),
        pytest.param(b'{"a":"\xff"}', "invalid_json", id="invalid UTF-8"),
        pytest.param(b'{"a":"\xc0\xaf"}', "invalid_json", id="overlong UTF-8"),
        pytest.param(b'{"a":"\xed\xa0\x80"}', "invalid_json", id="surrogate in UTF-8"),
        *(pytest.param('{"a":1}'.encode(e), "invalid_json", id=e) for e in ("utf-8-sig", "utf-16", "utf-16-le")),
        *(pytest.param('{"a":1}'.encode(e), "invalid_json", id=e) for e in ("utf-16-be", "utf-32", "utf-32-le")),
        *(pytest.param(b'{"a":%s}' % n, "invalid_json", id=n.decode()) for n in (b"NaN", b"Infinity", b"-Infinity")),
        *(pytest.param(b'{"a":%s}' % n, "invalid_json", id=n.decode()) for n in (b"1e999", b"-1e999")),
        pytest.param(b'{"a":' + b"9" * 5000 + b"}", "invalid_json", id="5000 digits"),
        pytest.param(rb'{"a":"\ud800"}', "invalid_json", id="lone high surrogate"),
        pytest.param(rb'{"a":"\udc00\ud800"}', "invalid_json", id="surrogates reversed"),
        pytest.param(rb'{"\ud800":1}', "invalid_json", id="lone surrogate in a key"),
        pytest.param(b"[" * 100_000, "too_deep", id="depth bomb"),
        pytest.param(b'{"a":' * 100_000, "too_deep", id="depth bomb of objects"),
    ],
)
def test_bytes_that_are_no_json_object_are_refused(data: bytes, code: str) -> None:
    """What is not one JSON object in UTF-8 is refused with the code for it."""
    assert code_of(data) == code


def test_syntax_error_names_the_place_and_never_the_body() -> None:
    """The message of a syntax error has the offset and quotes nothing."""
    with pytest.raises(WireFormatError, match=r"at character 17\b") as caught:
        read_document(b'{"planted": "abc"')

    assert "planted" not in str(caught.value)


def nested(levels: int, opening: bytes, closing: bytes) -> bytes:
    """Return a document that is this many levels deep, itself included."""
    inner = levels - 1
    return b'{"s":"' + b"[{" * 300 + b'","a":' + opening * inner + b"1" + closing * inner + b',"b":[[]],"c":{"d":{}}}'


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"k":', b"}")], ids=["arrays", "objects"])
def test_depth_limit_holds_exactly(opening: bytes, closing: bytes) -> None:
    """A document of 256 levels is read and one of 257 is not; brackets in strings are no levels."""
    assert len(read_document(nested(MAX_DEPTH, opening, closing)).members) == 4
    assert code_of(nested(MAX_DEPTH + 1, opening, closing)) == "too_deep"
    assert MAX_DEPTH == 256


@pytest.mark.parametrize(
    "data",
    [
        b'{"model":"a","model":"b"}',
        b'{"model":"a","model":"a"}',
        rb'{"model":"a","mod\u0065l":"b"}',
        rb'{"\u006dodel":"a","mod\u0065l":"b"}',
        b'{"x":1,"y":2,"x":3}',
        b'{"":1,"":1}',
        rb'{"\ud83d\ude00":1,"%s":1}' % "😀".encode(),
        rb'{"a\/":1,"a/":1}',
        b'{"messages":[{"model":1}],"routing_policy":null,"routing_policy":[]}',
    ],
    ids=["model", "same value", "one escaped", "both escaped", "unknown", "empty", "emoji", "slash", "policy"],
)
def test_repeated_top_level_key_is_refused_however_it_is_spelled(data: bytes) -> None:
    """Two readers could disagree about a key that is there twice, so nobody gets to read it."""
    assert code_of(data) == "duplicate_key"


def test_same_key_at_different_levels_is_no_repetition() -> None:
    """Only top-level keys are ours to judge."""
    document = read_document(b'{"model":"a","x":{"model":1,"model":2},"Model":3,"model ":4}')

    assert [member.name for member in document.members] == ["model", "x", "Model", "model "]


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_rewriting_changes_only_the_model_and_cuts_the_policy(data: st.DataObject) -> None:
    """Every other member keeps its bytes and its place; without a policy to cut, so does everything around them."""
    special = st.sampled_from(['"model"', r'"mod\u0065l"', '"routing_policy"', r'"routing_pr\u0065ferences"'])
    drawn = data.draw(st.lists(st.one_of(members(value_sources), members(value_sources, special)), max_size=6))
    written = list({member.name: member for member in drawn}.values())
    before = data.draw(documents(written))

    after = rewrite(read_document(before), model=MODEL)

    is_other = [(m, m.name not in INLINE | {"model"}) for m in written]
    document = read_document(after)
    kept = [after[m.start : m.end].decode() for m in document.members if m.name != "model"]
    assert kept == [member.source for member, is_kept in is_other if is_kept]
    assert json.loads(after) == {k: v for k, v in json.loads(before).items() if k not in INLINE} | {"model": MODEL}
    if not INLINE & {member.name for member in written}:
        spans = {m.name: (m.value_start, m.end) for m in read_document(before).members}
        first = read_document(before).members[0].start if written else before.index(b"{") + 1
        start, end = spans.get("model", (first, first))
        put = before[:start], after[start : len(after) - (len(before) - end)], before[end:]
        assert b"".join(put) == after
        assert put[1] in {b'"%s"' % MODEL.encode(), b'"model":"%s"' % MODEL.encode(), b'"model":"%s",' % MODEL.encode()}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('{"model":"a","x":1}', '{"model":"M","x":1}'),
        ('{"x":1.0, "model" : "a" }', '{"x":1.0, "model" : "M" }'),
        ('\n{ "model": "a" }\n', '\n{ "model": "M" }\n'),
        ('{"model":null,"n":1e5}', '{"model":"M","n":1e5}'),
        ('{"model":{"a":["}"]},"n":-0}', '{"model":"M","n":-0}'),
        (r'{"mod\u0065l":"a"}', r'{"mod\u0065l":"M"}'),
        ('{ "x": 1 }', '{ "model":"M","x": 1 }'),
        ("{}", '{"model":"M"}'),
        (" { } ", ' {"model":"M" } '),
        ('{"routing_policy":[],"model":"a"}', '{"model":"M"}'),
        ('{"model":"a","routing_policy":null}', '{"model":"M"}'),
        ('{"a":1, "routing_policy":[] , "b":2}', '{"model":"M","a":1 , "b":2}'),
        ('{"routing_preferences":[]}', '{"model":"M"}'),
        ('{"routing_policy":1,"routing_preferences":2}', '{"model":"M"}'),
        ('{"x":{"model":"a","routing_policy":[]}}', '{"model":"M","x":{"model":"a","routing_policy":[]}}'),
        ('{"n":123456789012345678901234567890,"model":""}', '{"n":123456789012345678901234567890,"model":"M"}'),
    ],
    ids=[
        *("first", "last", "only", "null", "object", "escaped key", "missing", "empty", "blank", "policy first"),
        *("policy last", "policy between", "policy only", "both policies", "nested names", "30 digits"),
    ],
)
def test_rewritten_body_is_this_to_the_byte(before: str, after: str) -> None:
    """The model is set in place, or put first where there was none; policies go with one comma each."""
    assert rewrite(read_document(before.encode()), model="M").decode() == after


def test_rewriting_escapes_what_json_needs_escaped() -> None:
    """A model name that needs escapes arrives as it is."""
    after = rewrite(read_document(b'{"model":"a"}'), model='a"\\\n😀')

    assert json.loads(after) == {"model": 'a"\\\n😀'}


def test_numbers_beyond_64_bits_are_approximate_in_the_value_and_exact_in_the_bytes() -> None:
    """A big integer is never refused and never rewritten."""
    document = read_document(b'{"n":123456789012345678901234567890}')

    assert isinstance(document.value["n"], float)
    assert math.isclose(document.value["n"], 123456789012345678901234567890)
    assert json.loads(rewrite(document, model="m"))["n"] == 123456789012345678901234567890


def test_repr_of_a_document_quotes_no_value() -> None:
    """A document in a log line or a traceback shows no prompt."""
    assert "planted" not in repr(read_document(b'{"messages":["planted"]}'))
