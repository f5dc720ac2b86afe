"""Which tokenizer counts for which model: what is written, what is known of OpenAI's models, and the rule."""

import os
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha1
from pathlib import Path

import pytest

from plano_asgi.assembly.tokens import build_token_counter
from plano_asgi.errors import ConfigurationError, MissingExtraError
from plano_asgi.settings import Settings
from plano_asgi.tokens import Said
from plano_asgi.tokens.loading import encoding_of, is_on_this_machine

SettingsOf = Callable[[str], Settings]
LIMIT = "ratelimits: [{limit: {tokens: 1000, unit: minute}}]"
O200K = "https://openaipublic.blob.core.windows.net/encodings/o200k_base.tiktoken"
PLUGIN = """\
import sys
sys.path.insert(0, sys.argv[1])
from plano_asgi.tokens.loading import load_encoding
from plano_asgi.tokens import LateTokenizer
tokenize = load_encoding("two_letters")
print(tokenize("ababab"), tokenize("<|end|>"))
late = LateTokenizer("o200k_base", lambda: load_encoding("o200k_base"), size=9)
late.load()
print(late.counter, late.problem.partition(":")[0])
"""
ENCODING = """\
def two_letters():
    ranks = {bytes([byte]): byte for byte in range(256)} | {b"ab": 256}
    return {"name": "two_letters", "pat_str": r"\\\\w+|.", "mergeable_ranks": ranks, "special_tokens": {"<|end|>": 257}}
ENCODING_CONSTRUCTORS = {"two_letters": two_letters}
"""


def providers(*lines: str) -> str:
    """Return models as configuration, the first one the default."""
    entries = [f"  - {{{line}{', default: true' if number == 0 else ''}}}" for number, line in enumerate(lines)]
    return "\n".join(["model_providers:", *entries, ""])


@pytest.fixture
def kept_encoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a file where tiktoken would keep the encoding of OpenAI's newer models."""
    (tmp_path / sha1(O200K.encode()).hexdigest()).write_bytes(b"")  # noqa: S324 - a name, as tiktoken gives it
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))


def test_written_tokenizer_counts_for_its_model(settings_of: SettingsOf, tokenizer_json: Path) -> None:
    """A file is loaded once for all models that name it; each has an overhead of its own; the rest goes by the rule."""
    text = providers(
        f"model: own/a, base_url: 'http://x/v1', tokenizer: '{tokenizer_json}'",
        f"model: own/b, base_url: 'http://x/v1', tokenizer: '{tokenizer_json}', chat_overhead: {{message: 5, call: 9}}",
        "model: own/c, base_url: 'http://x/v1', chat_overhead: {call: 9}",
    )
    counter = build_token_counter(settings_of(text))
    counter.load()
    counts = counter.counts(Said(("hello there",), 1), ["own/a", "own/b", "own/c"])

    assert len(counter.tokenizers) == 1
    assert counts["own/b"] - counts["own/a"] == 14 - 7
    assert counts["own/c"] == 3 + 4 + 9
    assert [counter.is_exact(model) for model in counts] == [True, True, False]


@pytest.mark.usefixtures("kept_encoding")
def test_openai_models_have_their_encoding_where_something_counts_and_it_is_there(settings_of: SettingsOf) -> None:
    """Only what limits, budgets or switches need is loaded, and `rule` asks for none."""
    models = ("model: openai/gpt-4o", "model: openai/gpt-4", "model: openai/of-tomorrow", "model: anthropic/claude")
    by_rule = build_token_counter(settings_of(providers("model: openai/gpt-4o, tokenizer: rule") + LIMIT))
    unlimited = build_token_counter(settings_of(providers(*models)))
    limited = build_token_counter(settings_of(providers(*models) + LIMIT))

    assert (by_rule.tokenizers, unlimited.tokenizers) == ((), ())
    assert [tokenizer.name for tokenizer in limited.tokenizers] == ["o200k_base"]


def test_nothing_is_downloaded_that_nobody_has_asked_for(
    settings_of: SettingsOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An encoding whose file is not on this machine is no default, and a cache that is switched off holds none."""
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    text = providers("model: openai/gpt-4o") + LIMIT
    empty = build_token_counter(settings_of(text)).tokenizers
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", "")

    assert (empty, build_token_counter(settings_of(text)).tokenizers) == ((), ())
    assert not is_on_this_machine("no_such_encoding")


def test_models_of_openai_are_known_by_their_names() -> None:
    """The encoding is tiktoken's own word; a model that it does not know has none."""
    assert (encoding_of("gpt-4o-mini"), encoding_of("gpt-4"), encoding_of("llama")) == (
        "o200k_base",
        "cl100k_base",
        None,
    )


def test_encodings_are_loaded_by_tiktoken_and_what_cannot_be_is_told(tmp_path: Path) -> None:
    """A mark counts as the text that it is; a download that fails leaves the rule. In a process of its own."""
    (tmp_path / "tiktoken_ext").mkdir()
    (tmp_path / "tiktoken_ext" / "made_up.py").write_text(ENCODING.replace("\\\\", "\\"), encoding="utf-8")
    nowhere = {"TIKTOKEN_CACHE_DIR": str(tmp_path), "HTTPS_PROXY": "http://127.0.0.1:9", "HOME": str(tmp_path)}
    path = {name: os.environ[name] for name in ("PYTHONPATH", "PATH") if name in os.environ}
    command = [sys.executable, "-c", PLUGIN, str(tmp_path)]
    ran = subprocess.run(command, env={**path, **nowhere}, capture_output=True, text=True, check=True)

    assert ran.stdout.splitlines() == ["3 7", "None ProxyError"]


@pytest.mark.parametrize("written", ["gpt2", "tokenizer.model", "o200k"])
def test_what_names_no_tokenizer_is_a_fault(settings_of: SettingsOf, written: str) -> None:
    """It says where, and what can be written."""
    with pytest.raises(ConfigurationError, match=r"model_providers\[0\].tokenizer.*names no tokenizer.*o200k_base"):
        settings_of(providers(f"model: openai/gpt-4o, tokenizer: {written}"))


def test_file_that_is_missing_is_a_fault(settings_of: SettingsOf) -> None:
    """It says which model's it is."""
    settings = settings_of(providers("model: openai/gpt-4o", "model: openai/b, tokenizer: /nowhere/tokenizer.json"))

    with pytest.raises(ConfigurationError, match=r"model_providers\[1\].tokenizer: names a file that is not there"):
        build_token_counter(settings)


def test_encoding_without_its_extra_says_what_to_install(
    settings_of: SettingsOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where tiktoken is not installed, the setting that needs it is named; the default is silent."""
    monkeypatch.setitem(sys.modules, "tiktoken", None)
    settings = settings_of(providers("model: openai/gpt-4o, tokenizer: o200k_base"))

    assert encoding_of("gpt-4o") is None
    with pytest.raises(MissingExtraError, match=r"tokenizer needs an extra: pip install 'plano-asgi\[tiktoken\]'"):
        build_token_counter(settings)
