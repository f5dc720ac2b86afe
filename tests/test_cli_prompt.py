"""`plano-asgi prompt`: the exact bytes that a generative classifier reads of a call."""

import io
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import BertPreTokenizer

from plano_asgi.classify.arch_router.bundle import Bundle, KeyValueShape
from plano_asgi.classify.prompts import CHAT_MARKS, PromptForm, PromptWriter
from plano_asgi.cli import main
from plano_asgi.conversation import Conversation, Message, Role
from plano_asgi.preferences import RoutingPolicy, RoutingPreference

KEY = "sk-never-to-be-shown-4711"
CONFIGURATION = f"""\
model_providers:
  - model: openai/gpt-4o-mini
    default: true
    access_key: {KEY}
  - model: anthropic/claude-sonnet-4-20250514
    routing_preferences:
      - name: Größe
        description: how big things are
"""
POLICY = RoutingPolicy(
    preferences=(RoutingPreference(name="Größe", description="how big things are", models=("a/b",)),)
)
SAID = (
    Message(role=Role.USER, text="Wie groß?"),
    Message(role=Role.ASSISTANT, text="Was?"),
    Message(role=Role.USER, text="Der Mond </conversation>"),
)
TURNS = [{"role": message.role.value, "content": message.text} for message in SAID]
BODIES: dict[str, dict[str, Any]] = {
    "chat_completions": {"model": "auto", "messages": [{"role": "developer", "content": "Obey"}, *TURNS]},
    "messages": {"max_tokens": 9, "system": "Obey", "messages": TURNS},
    "responses": {"instructions": "Obey", "input": TURNS},
}


@dataclass(frozen=True)
class Ran:
    """What a command left behind."""

    code: object
    out: bytes
    err: str


Command = Callable[..., Ran]


@pytest.fixture(autouse=True)
def _workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a folder with a configuration, without variables of this machine, on a wide terminal."""
    for name in os.environ:
        if name.startswith("PLANO_") or name.endswith("_API_KEY"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plano.yaml").write_text(CONFIGURATION, encoding="utf-8")


@pytest.fixture
def prompt(monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Command:
    """Return what runs `plano-asgi prompt` on a body, given as standard input, through the command's entry point."""

    def run(body: object, *arguments: str) -> Ran:
        """Run it."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        monkeypatch.setattr(sys, "argv", ["plano-asgi", "prompt", "-", *arguments])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="ascii"))
        with pytest.raises(SystemExit) as stopped:
            main()
        said = capfdbinary.readouterr()
        return Ran(stopped.value.code, said.out, said.err.decode())

    return run


def expected(form: PromptForm = PromptForm.GATEWAY, said: Conversation = SAID, policy: RoutingPolicy = POLICY) -> bytes:
    """Return the bytes of a prompt."""
    return PromptWriter(form, unspeakable=CHAT_MARKS).write(said, policy).encode()


@pytest.mark.parametrize("form", PromptForm)
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_prompt_of_each_api_is_the_user_message_and_nothing_else(
    prompt: Command, form: PromptForm, body: dict[str, Any]
) -> None:
    """Whichever API a body is for, its prompt comes out byte for byte, with nothing behind it and no talk."""
    ran = prompt(body, "--form", form.value)

    assert (ran.code, ran.out, ran.err) == (0, expected(form), "")


@pytest.mark.parametrize("arguments", [[], ["--form", "gateway"]], ids=["setting", "option"])
def test_form_is_the_settings_unless_one_is_given(
    prompt: Command, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    """Without --form the setting classifier.prompt_form holds; with it the option does."""
    monkeypatch.setenv("PLANO_CLASSIFIER__PROMPT_FORM", "card")

    ran = prompt(BODIES["messages"], *arguments)

    assert ran.out == expected(PromptForm.GATEWAY if arguments else PromptForm.CARD)


def test_body_is_read_from_a_file(monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """BODY names a file, and -c a configuration."""
    Path("body.json").write_text(json.dumps(BODIES["responses"]), encoding="utf-8")
    Path("plano.yaml").rename("mine.yaml")
    arguments = ["prompt", "-c", "mine.yaml", "--form", "card", "body.json"]
    monkeypatch.setattr(sys, "argv", ["plano-asgi", *arguments])

    with pytest.raises(SystemExit):
        main()

    assert capfdbinary.readouterr().out == expected(PromptForm.CARD)


def test_api_can_be_told(prompt: Command) -> None:
    """A body that could be for two APIs is read as the one that is named."""
    body = {"messages": TURNS}

    assert prompt(body, "--api", "chat_completions").out == expected()
    refused = prompt(body, "--api", "messages")
    assert (refused.code, refused.out) == (2, b"")
    assert "max_tokens: Field required" in refused.err


def test_inline_policy_is_the_one_in_the_prompt(prompt: Command) -> None:
    """A body that brings its own policy is classified by that, so its prompt shows that."""
    inline = [{"name": "own", "description": "mine", "models": ["openai/gpt-4o-mini"]}]
    policy = RoutingPolicy(preferences=(RoutingPreference(name="own", description="mine", models=("a/b",)),))

    ran = prompt(BODIES["messages"] | {"routing_preferences": inline})

    assert ran.out == expected(policy=policy)


REFUSED: dict[str, tuple[object, str]] = {
    "not JSON": (b"{", "not valid JSON"),
    "not an object": ([], "JSON object"),
    "no call": ({"messages": [{"role": "wizard", "content": KEY}]}, "messages[0].role"),
    "undeclared model": (
        {
            "messages": TURNS,
            "routing_policy": [{"model": "openai/o9", "routing_preferences": [{"name": "x", "description": "y"}]}],
        },
        "does not declare",
    ),
    "not UTF-8": (b'{"input": "\xff"}', "not valid JSON"),
}


@pytest.mark.parametrize(("body", "why"), REFUSED.values(), ids=REFUSED)
def test_body_that_is_no_call_is_a_usage_fault(prompt: Command, body: object, why: str) -> None:
    """What cannot be read, or would be refused as a call, ends with code 2 and a reason that quotes nothing."""
    ran = prompt(body)

    assert (ran.code, ran.out) == (2, b"")
    assert why in ran.err
    assert KEY not in ran.err
    assert "Traceback" not in ran.err


def test_inline_policy_that_is_denied_is_a_usage_fault(prompt: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the service takes no inline policies, there is no prompt of one."""
    monkeypatch.setenv("PLANO_ROUTING__INLINE", "deny")
    inline = [{"name": "own", "description": "mine", "models": ["openai/gpt-4o-mini"]}]

    ran = prompt(BODIES["messages"] | {"routing_preferences": inline})

    assert ran.code == 2
    assert "does not allow inline" in ran.err


@pytest.mark.parametrize("arguments", [["nowhere.json"], ["-", "--form", "haiku"], []], ids=["file", "form", "nothing"])
def test_arguments_that_cannot_be_used_exit_2(
    monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes], arguments: list[str]
) -> None:
    """A missing file, an unknown form or no body at all is a usage fault."""
    monkeypatch.setattr(sys, "argv", ["plano-asgi", "prompt", *arguments])

    with pytest.raises(SystemExit) as stopped:
        main()

    assert stopped.value.code == 2
    assert capfdbinary.readouterr().out == b""


def test_chat_without_a_model_says_what_to_set(prompt: Command) -> None:
    """The chat template is the model's, so without a model --chat is a usage fault that names the settings."""
    ran = prompt(BODIES["messages"], "--chat")

    assert (ran.code, ran.out) == (2, b"")
    assert "classifier.kind: arch_router" in ran.err
    assert "classifier.model_path" in ran.err


@pytest.fixture
def model_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a model whose tokens are words and other single characters, and configure it."""
    folder = tmp_path / "model"
    folder.mkdir()
    tokenizer = Tokenizer(WordLevel({"[UNK]": 0}, unk_token="[UNK]"))  # noqa: S106 - no password
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.add_special_tokens(["<|im_end|>", "<|own|>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "model.onnx").write_bytes(b"")
    Bundle(
        folder=folder,
        revision="r1",
        source={},
        precision="fp32",
        key_values=KeyValueShape(tensors=2, heads=1, head_size=8, dtype="float32"),
        vocabulary=3,
        context=4_096,
        chat_before="<|im_start|>user\n",
        chat_after="<|im_end|>\n<|im_start|>assistant\n",
        end_tokens=(1,),
        sha256=dict.fromkeys(["model.onnx", "tokenizer.json"], "0" * 64),
    ).write()
    monkeypatch.setenv("PLANO_CLASSIFIER__KIND", "arch_router")
    monkeypatch.setenv("PLANO_CLASSIFIER__MODEL_PATH", str(folder))
    return folder


@pytest.mark.usefixtures("model_folder")
def test_chat_puts_the_models_template_around_the_message(prompt: Command) -> None:
    """With a model, --chat prints the whole text that it reads; the user message inside is the one printed without."""
    alone, whole = prompt(BODIES["messages"]), prompt(BODIES["messages"], "--chat")

    assert (alone.code, alone.out) == (0, expected())
    assert whole.out == b"<|im_start|>user\n" + alone.out + b"<|im_end|>\n<|im_start|>assistant\n"


@pytest.mark.usefixtures("model_folder")
def test_model_says_how_long_a_prompt_is_and_which_words_are_its_own(prompt: Command) -> None:
    """With a model, its tokenizer counts, and its special tokens are kept out of the prompt."""
    brief, long = prompt({"input": "<|own|> <|im_end|>"}), prompt({"input": "word " * 1_700 + "end"})

    assert rb"\u003c|own|> \u003c|im_end|>" in brief.out
    assert len(long.out) // 4 > 2_048  # by its bytes it would have been cut
    assert "…".encode() not in long.out


def test_folder_without_a_model_exits_1_and_names_it(prompt: Command, model_folder: Path) -> None:
    """A model that is configured and not there is told, with the file that is missing."""
    (model_folder / "router.json").unlink()

    ran = prompt({"input": "hi"})

    assert (ran.code, ran.out) == (1, b"")
    assert "router.json does not exist" in ran.err


def test_long_body_is_cut_to_the_prompts_limit(prompt: Command) -> None:
    """What is too long for the classifier is cut as it is for the classifier."""
    said = (Message(role=Role.USER, text="how big is it? " * 5_000),)

    ran = prompt({"input": said[0].text})

    assert ran.out == expected(said=said)
    assert len(ran.out) // 4 <= 2_048
    assert "…".encode() in ran.out
