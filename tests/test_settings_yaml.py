"""`plano.yaml`: what its text may say, and what is said about text that it may not."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plano_asgi.errors import ConfigurationError, Fault
from plano_asgi.settings import STARTING_FILE, Settings, load_settings

MINIMAL = "model_providers: [{model: openai/gpt-4o-mini, default: true}]\n"
PLANTED = "sk-planted-0123456789"

Load = Callable[[str], Settings]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Return a function that loads a text as `plano.yaml`, with an empty environment."""
    monkeypatch.chdir(tmp_path)

    def loaded(text: str) -> Settings:
        Path("plano.yaml").write_bytes(text.encode("utf-8", "surrogatepass"))
        return load_settings(environ={})

    return loaded


def faults_of(load: Load, text: str) -> tuple[Fault, ...]:
    """Return the faults of a text that cannot be loaded."""
    with pytest.raises(ConfigurationError) as caught:
        load(text)
    return caught.value.faults


def test_starting_file_as_written_loads_without_a_warning(load: Load) -> None:
    """The file that `plano-asgi init` writes is a complete configuration."""
    loaded = load(STARTING_FILE)

    assert loaded.warnings == ()
    assert loaded.catalog.default_model == "openai/gpt-4o-mini"
    assert [preference.name for preference in loaded.policy.preferences] == ["complex_reasoning", "code_generation"]


def test_starting_file_with_every_setting_uncommented_says_the_defaults(load: Load) -> None:
    """Every default that the starting file shows is the default."""
    marker = "# enabled: true"
    above, _, below = STARTING_FILE.partition(marker)
    shown = "\n".join(line.removeprefix("# ") for line in (marker + below).splitlines())

    assert load(above + shown) == load(STARTING_FILE)


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "---\n", "~\n"], ids=["empty", "comment", "marker", "null"])
def test_file_without_content_is_no_settings(load: Load, text: str) -> None:
    """An empty file is not a syntax error; all that is missing is a model provider."""
    (fault,) = faults_of(load, text)

    assert fault.where == "model_providers"
    assert "no model provider" in fault.what


@pytest.mark.parametrize(
    ("text", "line", "expected"),
    [
        (f"{MINIMAL}mode: [observe", 2, "a bracket is not closed"),
        (f"{MINIMAL}cache:\n\tsize: 1\n", 3, "a tab cannot indent YAML"),
        (f"{MINIMAL}mode: *{PLANTED}\n", 2, "has no anchor"),
        (f"{MINIMAL}mode: &a observe\nstartup: &a wait\n", 3, "anchor (&name) is given twice"),
        (f"{MINIMAL}strict: !e!x 1\n", 2, "a tag (!name) is not allowed"),
        (f"{MINIMAL}---\n{MINIMAL}", 2, "second document"),
        (f"{MINIMAL}mode: '\x01'\n", 2, "control character"),
        ("- observe\n", 1, "expected settings"),
        ('mode: "\\UFFFFFFFF"\n', 1, "not valid YAML"),
        (f"!x {{{MINIMAL.strip()}}}\n", 1, "a tag (!name) is not allowed"),
        (f"{MINIMAL}paths: {'[' * 60}{']' * 60}\n", 2, "nested deeper than 32 levels"),
    ],
    ids=[
        "syntax",
        "tab",
        "alias",
        "anchor",
        "tag_handle",
        "documents",
        "control",
        "top_level_list",
        "code_point",
        "top_level_tag",
        "depth",
    ],
)
def test_unreadable_text_is_one_fault_with_its_line(load: Load, text: str, line: int, expected: str) -> None:
    """Text that is no configuration at all is one fault, at the line where it stops being one."""
    (fault,) = faults_of(load, text)

    assert fault.origin in {f"plano.yaml:{line}", f"plano.yaml:{line + 1}"}
    assert expected in fault.what
    assert PLANTED not in str(fault)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mode: !!python/name:os.system x", "plano.yaml:2: mode: a tag (!name) is not allowed"),
        (f"mode: !{PLANTED} x", "plano.yaml:2: mode: a tag (!name) is not allowed"),
        ("cache: !!omap [size: 1]", "plano.yaml:2: cache: a tag (!name) is not allowed"),
        ("mode: observe\nstrict: true\nmode: rewrite", "plano.yaml:4: mode: is given twice, first at plano.yaml:2"),
        ("cache: {size: 1, size: 2}", "plano.yaml:2: cache.size: is given twice"),
        ("? [mode]\n: observe", "plano.yaml:2: a key is plain text"),
        ("? !!python/name:os.system mode\n: observe", "plano.yaml:2: a key is plain text"),
        ("paths: &a [/v1/messages, *a]", "plano.yaml:2: paths[1]: an alias (*name) repeats a value inside itself"),
        ("cache: {size: 010}", "plano.yaml:2: cache.size: expected a whole number"),
        ("modd: observe", "plano.yaml:2: modd: is not a setting; did you mean mode?"),
        ("threshold: 0.5", "plano.yaml:2: threshold: is not a setting; did you mean routing.threshold?"),
        ("mode: on", "plano.yaml:2: mode: expected one of observe, rewrite, forward"),
        ("classifier:\n  threads: 0", "plano.yaml:3: classifier.threads: expected a whole number of at least 1"),
        ("classifier: embedded", "plano.yaml:2: classifier: expected a mapping"),
    ],
    ids=[
        "python_tag",
        "own_tag",
        "omap",
        "duplicate",
        "nested_duplicate",
        "list_key",
        "tagged_key",
        "recursive_alias",
        "octal",
        "typo",
        "misplaced",
        "bool_for_text",
        "below_bound",
        "text_for_section",
    ],
)
def test_fault_in_readable_text_names_line_path_and_remedy(load: Load, text: str, expected: str) -> None:
    """A fault in a file says where it is and what would be right."""
    found = [str(fault) for fault in faults_of(load, f"{MINIMAL}{text}\n")]

    assert any(line.startswith(expected) for line in found), found
    assert PLANTED not in "".join(found)


def test_aliases_that_expand_without_bound_are_refused(load: Load) -> None:
    """A small file cannot become a large tree."""
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 8)}]" for n in range(1, 10)]

    (fault,) = faults_of(load, "\n".join(levels))

    assert "more than 50,000 values, aliases (*name) included" in fault.what


def test_aliases_that_nest_without_bound_are_refused(load: Load) -> None:
    """A chain of aliases is as deep as what it expands to."""
    chain = ["a0: &a0 x", *(f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 60))]

    found = faults_of(load, MINIMAL + "\n".join(chain))

    assert any("nested deeper than 32 levels" in fault.what for fault in found)


def test_alias_used_as_shorthand_repeats_its_value(load: Load) -> None:
    """An ordinary alias works."""
    text = "routing: {applies_to: &names [/v1/a, /v1/b]}\npaths: *names\n"

    assert load(MINIMAL + text).paths == ("/v1/a", "/v1/b")


@pytest.mark.parametrize("text", ["classifier:\n", "classifier:\n  device:\n"], ids=["section", "setting"])
def test_key_without_a_value_keeps_its_default(load: Load, text: str) -> None:
    """A section whose settings are all commented out means the defaults."""
    assert load(MINIMAL + text).classifier.device == "auto"


def test_file_larger_than_a_mebibyte_is_refused(load: Load) -> None:
    """The size of a file is bounded before it is parsed."""
    (fault,) = faults_of(load, MINIMAL + "#" * 1_048_576)

    assert "larger than 1048576 bytes" in fault.what


def test_file_that_is_not_utf8_is_a_fault_with_its_line(tmp_path: Path) -> None:
    """Bytes that are no text are a fault, not a traceback."""
    path = tmp_path / "latin.yaml"
    path.write_bytes(MINIMAL.encode() + b"mode: caf\xe9\n")

    with pytest.raises(ConfigurationError) as caught:
        load_settings(path, environ={})

    assert caught.value.faults[0].origin == f"{path}:2"
    assert "not UTF-8" in caught.value.faults[0].what


def test_byte_order_mark_is_ignored(load: Load) -> None:
    """A file saved by a Windows editor loads."""
    assert load("\ufeff" + MINIMAL).catalog.default_model == "openai/gpt-4o-mini"


SCRAPS = st.sampled_from(
    [
        "mode",
        "classifier",
        "model_providers",
        "model",
        ":",
        ": ",
        "- ",
        "\n",
        "  ",
        "[",
        "]",
        "{",
        "}",
        "&a ",
        "*a",
        "!!int ",
        "!!bool ",
        "!!float x",
        "!x ",
        "'",
        '"',
        "|",
        "> ",
        "? ",
        "%YAML 1.1",
        "---",
        "0x_",
        "1e9999",
        "0b",
        "\\U7fffffff",
        "\\ud800",
        "<<",
        "~",
        "\u2028",
        "\x85",
        "\t",
        "#",
        ",",
        ".nan",
        "1:30",
        "2026-01-01",
        "yes",
        "=",
        "@",
        "`",
    ]
)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text() | st.lists(SCRAPS, max_size=30).map("".join))
def test_any_text_loads_or_raises_configuration_error(load: Load, text: str) -> None:
    """No text makes the loader raise anything but ConfigurationError, which lists at least one fault."""
    found: tuple[Fault, ...] | None = None
    try:
        load(text)
    except ConfigurationError as error:
        found = error.faults

    assert found is None or all(fault.what and (fault.where or fault.origin) for fault in found)
    assert found != ()


PLACES = st.sampled_from(
    [
        "mode: {}",
        "mode: '{}",
        "mode: [{}",
        "mode: {}: {}",
        "mode: |{}",
        "mode: *{}",
        "mode: !{} x",
        "mode: !{}!x x",
        "mode: &{} &{} x",
        "mode: \t{}",
        "cache: {}",
        "cache: {size: {}}",
        "routing: {threshold: {}, unmatched: {}, applies_to: {}}",
        "admin: {token: [{}]}",
        "admin: {token: $ {}}",
        "paths: [{}]",
        "model_providers: {}",
        "model_providers: [{}]",
        "model_providers: [{model: {}, default: {}, name: ['{}']}]",
        "model_providers: [{access_key: [{}], base_url: {}, headers: {}}]",
        "model_providers: [{model: {}/{} x, access_key: {}}, {model: {}/{} x}]",
        "routing_preferences: [{name: {}, description: [], models: [{}]}]",
        "routing_preferences: [{selection_policy: {prefer: {}}}]",
        "routing_preferences: [{selection_policy: {}}]",
        "version: {}",
        "listeners: [{}]",
        "- {}",
        "%{} {}",
    ]
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(PLACES, min_size=1, max_size=3))
def test_error_text_never_holds_a_value_of_the_file(load: Load, texts: list[str]) -> None:
    """Wherever a secret lands, no error repeats it."""
    text = "\n".join(texts).replace("{}", PLANTED)

    with pytest.raises(ConfigurationError) as caught:
        load(text)

    assert PLANTED not in f"{caught.value}{caught.value!r}{caught.value.faults!r}"
