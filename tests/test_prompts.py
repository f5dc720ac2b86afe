"""The prompt's forms: every rule with the hash of a prompt that is put together here, by other means."""

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plano_asgi.classify.prompts import PromptForm, PromptWriter, estimated_tokens
from plano_asgi.conversation import Conversation, Message, Role
from plano_asgi.preferences import RoutingPolicy, RoutingPreference

GATEWAY, CARD, INSTRUCTIONS_FIRST = PromptForm.GATEWAY, PromptForm.CARD, PromptForm.INSTRUCTIONS_FIRST
PUBLISHED = {
    GATEWAY: (856, "8004153a5e58066139d261d56392543ef29c63487ad4872aaba4d29929890dde"),
    CARD: (862, "6e4a1f1d7e91bad8e5b7dbef7df8f88ca1eee1660230c39ec003497672d7a293"),
}
IMITATION = re.compile(r"<\s*/?\s*(routes|conversation)\s*>", re.IGNORECASE)

Pairs = Sequence[tuple[str, str]]
IMAGES: Pairs = [("Image generation", "generating image")]
TWO: Pairs = [("code", "writing functions"), ("facts", "looking things up")]
CHECKED: Pairs = [
    ("user", "hi"),
    ("assistant", "Hello! How can I assist you today?"),
    ("user", "given the image In style of Andy Warhol, portrait of Bart and Lisa Simpson"),
]


def sha256(text: str) -> str:
    """Return the hash of a text's bytes in UTF-8."""
    return hashlib.sha256(text.encode()).hexdigest()


def dumped(form: PromptForm, value: object) -> str:
    """Return a value as the form writes JSON."""
    if form is CARD:
        return json.dumps(value)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def policy_of(routes: Pairs) -> RoutingPolicy:
    """Return the policy of routes by name and description."""
    return RoutingPolicy(
        preferences=tuple(RoutingPreference(name=n, description=d, models=("openai/gpt-4o",)) for n, d in routes)
    )


def conversation_of(pairs: Pairs) -> Conversation:
    """Return the conversation of messages by role and text."""
    return tuple(Message(role=Role(role), text=text) for role, text in pairs)


def template(form: PromptForm) -> str:
    """Return the form's fixed words with `{routes}` and `{conversation}` where those stand."""
    routes, messages = (
        dumped(form, [{"name": "N", "description": "D"}]),
        dumped(form, [{"role": "user", "content": "C"}]),
    )
    prompt = PromptWriter(form).write(conversation_of([("user", "C")]), policy_of([("N", "D")]))
    before, between = prompt.split(routes)
    between, after = between.split(messages)
    return f"{before}{{routes}}{between}{{conversation}}{after}"


def put_together(form: PromptForm, kept: Pairs, routes: Pairs) -> str:
    """Return the prompt that the kept messages and the routes make, by splitting the template."""
    before, rest = template(form).split("{routes}")
    between, after = rest.split("{conversation}")
    named = dumped(form, [{"name": name, "description": description} for name, description in routes])
    said = dumped(form, [{"role": role, "content": text} for role, text in kept])
    return before + named + between + said + after


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A conversation and routes, what of them is kept, and the prompt's hash."""

    id: str
    sha256: str
    said: Pairs
    kept: Pairs | None = None
    routes: Pairs = field(default_factory=lambda: IMAGES)
    form: PromptForm = GATEWAY
    escaped: tuple[str, str] = ("", "")  # what is written otherwise than `json.dumps` does, and how
    options: dict[str, Any] = field(default_factory=dict)


LONG: Pairs = [("user", "an old one"), ("assistant", "a newer one " * 9), ("user", "the newest")]
RULES = [
    Rule(id="checked case", sha256="b8348b2e9ef4fd67188949e3a5e91365bc9a2231c77bcb1c69d276a92d9963c5", said=CHECKED),
    Rule(id="card", form=CARD, sha256="cae23aecf116960f97dc415e4e7b1afe854ce59a71f1e3314a561838f8d7b33d", said=CHECKED),
    Rule(
        id="instructions first",
        form=INSTRUCTIONS_FIRST,
        sha256="b04b836d6b14933231444b0cbe4d21764324817d0a8c8811865ea13fcca60dda",
        said=CHECKED,
    ),
    Rule(
        id="system is dropped",
        sha256="f9ccc89850dc163a1d4f1b63d6ed7766a1d1416cbb137c97819d92e7e6061fba",
        said=[("system", "Obey"), ("user", "hi")],
        kept=[("user", "hi")],
    ),
    Rule(
        id="tool is dropped",
        sha256="f9ccc89850dc163a1d4f1b63d6ed7766a1d1416cbb137c97819d92e7e6061fba",
        said=[("user", "hi"), ("tool", "42")],
        kept=[("user", "hi")],
    ),
    Rule(
        id="empty texts are dropped",
        sha256="f9ccc89850dc163a1d4f1b63d6ed7766a1d1416cbb137c97819d92e7e6061fba",
        said=[("user", ""), ("user", "hi"), ("assistant", "")],
        kept=[("user", "hi")],
    ),
    Rule(
        id="white space is a text",
        sha256="ef2e146c450ad275e0f32fca7c07a676157d7db2a89883ea88932b58cb7ba2d3",
        said=[("user", " "), ("user", "\n")],
    ),
    Rule(
        id="assistant is kept",
        sha256="039e3679c8c825c6f0f9e423c39f2b0973526d135c24b6fc4c5ed3b872d1ab28",
        said=[("assistant", "Welcome"), ("user", "hi"), ("assistant", "Hm")],
    ),
    Rule(
        id="assistant alone",
        sha256="f0148a574a41adb9193a19c5b703c6e4fe92ab13a6ced45eaf532e7b3b53d4a2",
        said=[("assistant", "Welcome")],
    ),
    Rule(id="nothing said", sha256="be742d62e0a080e7c1943c1a4323b52f9bcbd75d6b8f9b53dfe9786caeb2a096", said=[]),
    Rule(
        id="nothing said, card",
        form=CARD,
        sha256="e13ce17edb1f96a66e90f0c095dc9d125e98b1b2e1dd2968fdf3c7706f01853d",
        said=[],
    ),
    Rule(
        id="no routes",
        sha256="3d519966c4f18135be43b693ff559bd77073a9f72688962ba3ce32d97b351557",
        said=[("user", "hi")],
        routes=[],
    ),
    Rule(
        id="two routes",
        sha256="cc799070585f4d6b1830798bcd80eec73e560ac8342fa3b12eb2d2e600dc5b06",
        said=[("user", "hi")],
        routes=TWO,
    ),
    Rule(
        id="two routes, card",
        form=CARD,
        sha256="e1c5f6b4f55c3c5251ac22b1b9c09ea1a34856fe8f47bdee4af6744d1ae2aca5",
        said=[("user", "hi")],
        routes=TWO,
    ),
    Rule(
        id="two routes, instructions first",
        form=INSTRUCTIONS_FIRST,
        sha256="9b8fafc07192da0e4c56346dd602da1b22d71dc43dbc2799a680cee8754b4429",
        said=CHECKED,
        routes=TWO,
    ),
    Rule(
        id="raw UTF-8",
        sha256="fc5137180791514d7329ab5ed50e40648574b9ba666bd3ef09f1b5be136312a2",
        said=[("user", "Größe 中文 😀 \x7f\u2028")],
        routes=[("Maße", "naïve 😀")],
    ),
    Rule(
        id="ASCII, card",
        form=CARD,
        sha256="dec285ba4e7ca7261992d4187aae21dd42a88c0049c9a9da8dcc79ed68345830",
        said=[("user", "Größe 中文 😀 \x7f\u2028")],
        routes=[("Maße", "naïve 😀")],
    ),
    Rule(
        id="control characters",
        sha256="4a1de8af6723ff05bf0b6587d594eee5f3d71939a1b9e2fe8c804ae2a6f19749",
        said=[("user", '"q" \\ / \x00\x01\x1f\b\f\n\r\t')],
    ),
    Rule(
        id="control characters, card",
        form=CARD,
        sha256="7419c9cc4c0a596e4f64a23359b14fbb79bf9052ce02c1353413a45708443376",
        said=[("user", '"q" \\ / \x00\x01\x1f\b\f\n\r\t')],
    ),
    Rule(
        id="placeholders are not filled in",
        sha256="2a76a72fff0ee3f30f8afbea5823ddb7fa0e638460a6451272edbe31fcfcde68",
        said=[("user", "{routes} {conversation} {}")],
        routes=[("{conversation}", "{routes} and {conversation}")],
    ),
    Rule(
        id="lone surrogate",
        sha256="02d125a52f624889d3693c6ba72519702b72ef083a49b5edd7556525e3c1ab23",
        said=[("user", "a\ud800b")],
        escaped=("\ud800", "\\ud800"),
    ),
    Rule(
        id="lone surrogate, card",
        form=CARD,
        sha256="451f3e568d20f6325f771696afbf3feeb6c6f5b20e28f3278484aa06c5cc0549",
        said=[("user", "a\udfffb")],
    ),
    Rule(
        id="own tags",
        sha256="3388886408bfe586c773e99de248928ea04c4eb8b8a3bef6f3bda565c51d87c8",
        said=[("user", "x </ROUTES > y")],
        escaped=("</ROUTES", "\\u003c/ROUTES"),
    ),
    Rule(
        id="unspeakable",
        sha256="3d5824a06e10092b6aca4fa7b8cd55f26c628d8082e105708cef7a045bec6935",
        said=[("user", "x <|im_end|> y")],
        escaped=("<|im", "\\u003c|im"),
        options={"unspeakable": ["<|im_end|>"]},
    ),
    Rule(
        id="oldest are dropped",
        sha256="dfeea4503b1965b4e8aa0b07416bc06af336deb1e9c91ad60475ed93e658236e",
        said=LONG,
        kept=LONG[1:],
        options={"limit": 1100, "count_tokens": len},
    ),
    Rule(
        id="a long one loses its middle",
        sha256="8edaf6d92a77a77a2498e0795dc370653d771c1a77acbbbd9246760e9e2790ab",
        said=[("user", "0123456789" * 40)],
        kept=[("user", f"{'0123456789' * 6}012…789{'0123456789' * 6}")],
        options={"limit": 1057, "count_tokens": len},
    ),
]


def written(rule: Rule) -> str:
    """Return what the writer makes of a rule's conversation and routes."""
    writer = PromptWriter(rule.form, **rule.options)
    return writer.write(conversation_of(rule.said), policy_of(rule.routes))


@pytest.mark.parametrize("form", PUBLISHED)
def test_fixed_words_are_the_published_ones(form: PromptForm) -> None:
    """With the placeholders back in their places, a prompt is the published template, byte for byte."""
    words = template(form)

    assert (len(words.encode()), sha256(words)) == PUBLISHED[form]


def test_instructions_first_moves_the_conversation_to_the_end_and_changes_no_word() -> None:
    """The gateway's paragraphs stand as they are, but for the conversation's, which is the last."""
    introduction, conversation, task, answer = template(GATEWAY).strip("\n").split("\n\n")

    assert template(INSTRUCTIONS_FIRST) == f"\n{introduction}\n\n{task}\n\n{answer}\n\n{conversation}\n"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_prompt_is_the_one_put_together_by_hand(rule: Rule) -> None:
    """What is kept is written as `json.dumps` writes it, but for what has to be escaped, into the fixed words."""
    expected = put_together(rule.form, rule.said if rule.kept is None else rule.kept, rule.routes)

    assert written(rule) == expected.replace(*rule.escaped)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_prompt_has_the_hash_it_always_had(rule: Rule) -> None:
    """A prompt's bytes do not change from version to version."""
    assert sha256(written(rule)) == rule.sha256


def test_checked_case_has_its_length() -> None:
    """The checked case has 1,099 bytes."""
    assert len(written(RULES[0]).encode()) == 1_099


@pytest.mark.parametrize("form", PromptForm)
@pytest.mark.parametrize("said", [[], CHECKED, [("user", "word " * 9_000)]], ids=["nothing", "little", "too much"])
def test_prompt_begins_with_the_static_part_of_its_policy(form: PromptForm, said: Pairs) -> None:
    """Whatever is said, prompts of one policy share a beginning, which ends where the conversation begins."""
    writer, policy = PromptWriter(form), policy_of(TWO)

    prompt, static = writer.write(conversation_of(said), policy), writer.static_part(policy)

    assert prompt.startswith(static)
    assert prompt[len(static)] == "["
    assert static.rstrip("\n").endswith("<conversation>")


def test_static_part_covers_the_instructions_where_they_come_first() -> None:
    """All that follows the static part of `instructions_first` is the conversation and its closing tag."""
    writer, policy = PromptWriter(INSTRUCTIONS_FIRST), policy_of(TWO)

    rest = writer.write(conversation_of([("user", "hi")]), policy).removeprefix(writer.static_part(policy))

    assert rest == '[{"role":"user","content":"hi"}]\n</conversation>\n'


def test_static_part_tells_policies_apart() -> None:
    """Other routes, another order or another description make another beginning."""
    writer = PromptWriter(GATEWAY)
    policies = [IMAGES, TWO, TWO[::-1], [TWO[0], ("facts", "something else")]]

    assert len({writer.static_part(policy_of(routes)) for routes in policies}) == len(policies)


TEXTS = st.text(st.characters(exclude_categories=["Cs"])).filter(lambda text: not IMITATION.search(text))


@pytest.mark.parametrize("form", PromptForm)
@settings(deadline=None)
@given(
    said=st.lists(st.tuples(st.sampled_from(["user", "assistant"]), TEXTS.filter(bool)), max_size=6),
    routes=st.lists(st.tuples(TEXTS, TEXTS), max_size=4),
)
def test_ordinary_text_is_written_as_json_dumps_writes_it(form: PromptForm, said: Pairs, routes: Pairs) -> None:
    """Text that imitates nothing is not touched: the prompt is the one put together with plain `json.dumps`."""
    prompt = PromptWriter(form, limit=100_000).write(conversation_of(said), policy_of(routes))

    assert prompt == put_together(form, said, routes)


@pytest.mark.parametrize(
    ("text", "tokens"), [("", 0), ("abcd", 1), ("abcdefg", 1), ("ääää", 2), ("\ud800b", 1)], ids=ascii
)
def test_estimated_tokens_are_a_quarter_of_the_bytes(text: str, tokens: int) -> None:
    """Where there is no tokenizer, four bytes of UTF-8 count as a token."""
    assert estimated_tokens(text) == tokens


def test_prompts_need_no_model_and_no_tokenizer() -> None:
    """Writing prompts brings along no inference engine, tokenizer, array or framework."""
    code = "import sys, plano_asgi.classify.prompts; print(*sys.modules)"

    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert {"onnxruntime", "tokenizers", "numpy", "pydantic"}.isdisjoint(ran.stdout.split())
