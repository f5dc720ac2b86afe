"""Prompt injection, by what it usually says: a short list of rules, each with a weight. A heuristic, and no more.

What is read is what users and tools say; instructions are the service's own. A text's score is how sure its rules are
together that it is an attack: 1 less the product of their doubts.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import inf, prod
from types import MappingProxyType
from typing import Final

from plano_asgi.conversation import Role
from plano_asgi.guard.bounded_patterns import BoundedPattern, bounded_pattern
from plano_asgi.guard.call_texts import heard_texts
from plano_asgi.guard.filters.judging import judge_texts
from plano_asgi.guard.verdicts import Subject, Verdict

_READ: Final = frozenset({Role.USER, Role.TOOL})
_ODD: Final = (
    ("\u0130", "i"),
    ("\u0131", "i"),
    ("\u017f", "s"),
)  # the same to `re` where it ignores case, not to lower
Words = tuple[str, ...]


def _any(words: Words) -> str:
    return f"(?:{'|'.join(words)})"


_DISREGARD: Final = (
    *("ignore", "ignoriere", "ignorez", "ignora", "ignorá", "ignorare", "disregard", "forget", "override", "bypass"),
    *("vergiss", "oublie", "oubliez", "olvida", "dimentica", "esqueça"),
)
_OF_OLD: Final = (
    *("previous", "prior", "above", "earlier", "preceding", "foregoing", "initial", "original", "existing", "system"),
    *("your", "given", "safety", "vorherigen", "bisherigen", "obigen", "précédentes", "antérieures", "anteriores"),
    *("previas", "precedenti", "anteriori"),
)
_ORDERS: Final = (
    *("instruction", "instructions", "prompt", "prompts", "rules", "directions", "directives", "guidelines"),
    *("guardrails", "commands", "programming", "restrictions", "anweisungen", "regeln", "vorgaben", "consignes"),
    *("instrucciones", "reglas", "istruzioni", "regole", "instruções", "regras"),
)
_FORGET: Final = ("forget", "disregard", "ignore")
_LEARNT: Final = ("told", "taught", "said", "learned", "know")
_SHOW: Final = (
    *("reveal", "show", "print", "repeat", "output", "display", "leak", "tell", "give", "write"),
    *("zeig", "zeige", "affiche", "muestra", "mostra"),
)
_HIDDEN: Final = ("system", "initial", "hidden", "secret", "developer")
_PROMPT: Final = ("prompt", "instruction", "instructions", "message", "anweisungen", "consignes")
_BECOME: Final = ("you are", "act as", "pretend", "become", "simulate", "du bist")
_UNBOUND: Final = (
    *("dan", "do anything now", "jailbroken", "jailbreak", "developer mode", "unrestricted", "unfiltered"),
    *("uncensored", "god mode", "evil"),
)
_WITHOUT: Final = ("without", "no", "free of", "have no", "ohne", "sans", "sin")
_MORAL: Final = ("ethical", "moral", "content", "safety")
_LIMITS: Final = (
    *("rules", "restrictions", "guidelines", "filter", "filters", "limits", "limitations", "policies", "policy"),
    "guardrails",
)
_TASK: Final = ("instruction", "instructions", "task", "directive", "prompt")
_KEEP_FROM: Final = (
    *("tell", "telling", "inform", "informing", "mention", "alert", "alerting", "notify", "notifying"),
)
_PEOPLE: Final = ("user", "human", "operator")
_SEND: Final = ("send", "post", "forward", "upload", "exfiltrate", "append", "email")
_PRIVATE: Final = (
    *("conversation", "chat history", "system prompt", "api key", "api keys", "credentials", "password", "passwords"),
    *("secrets", "contacts"),
)
_DECODE: Final = ("decode", "decrypt", "rot13", "base64")
_OBEY: Final = ("follow", "obey", "execute", "comply")
_NEAR: Final = r"[^.!?\n]{0,30}"
_NEARER: Final = r"[^.!?\n]{0,16}"
_GAP: Final = r"\s{1,2}"


@dataclass(frozen=True, slots=True)
class Rule:
    """What an attack says.

    Attributes:
        weight: How sure it is one, in [0, 1].
        pattern: What it looks like, in upper or lower case.
        needs: Of each of these at least one word is in whatever the pattern matches; to look for words is a hundred
            times as fast.
    """

    weight: float
    pattern: str
    needs: tuple[Words, ...] = ()


RULES: Final[Mapping[str, Rule]] = MappingProxyType(
    {
        "override": Rule(
            0.9,
            rf"\b{_any(_DISREGARD)}\b{_NEAR}\b{_any(_OF_OLD)}\b{_NEARER}\b{_any(_ORDERS)}\b"
            rf"|\b{_any(_DISREGARD)}\b{_NEARER}\b{_any(_ORDERS)}\b{_NEARER}\b{_any(_OF_OLD)}\b",
            (_DISREGARD, _OF_OLD, _ORDERS),
        ),
        "forget_all": Rule(
            0.7,
            rf"\b{_any(_FORGET)}{_GAP}(?:everything|all)\b{_NEARER}\b(?:you|i|we)\b{_NEARER}\b{_any(_LEARNT)}\b",
            (_FORGET, _LEARNT),
        ),
        "reveal": Rule(
            0.7,
            rf"\b{_any(_SHOW)}\b{_NEAR}\b(?:your|the|deine|tes|vos|tus|tuoi)\b[\s:]{{1,2}}(?:full |entire |own )?"
            rf"{_any(_HIDDEN)}[\s-]?{_any(_PROMPT)}\b",
            (_SHOW, _HIDDEN, _PROMPT),
        ),
        "persona": Rule(0.7, rf"\b{_any(_BECOME)}\b{_NEAR}\b{_any(_UNBOUND)}\b", (_BECOME, _UNBOUND)),
        "without_rules": Rule(
            0.7,
            rf"\b{_any(_WITHOUT)}\b{_NEARER}\b{_any(_MORAL)}{_GAP}{_any(_LIMITS)}\b",
            (_WITHOUT, _MORAL, _LIMITS),
        ),
        "chat_marks": Rule(
            0.8,
            r"<\|(?:im_start|im_end|system|start_header_id|eot_id)\|>|<<sys>>|\[/?inst\]|</?system>"
            r"|(?:^|\n)#{2,4} {0,2}(?:system|new instructions?)(?: prompt)? {0,2}:|\[system\] {0,2}:",
            (("<|", "<<", "inst]", "system>", "##", "[system]"),),
        ),
        "new_orders": Rule(
            0.5,
            rf"\b(?:new|updated|real|actual|revised)\s(?:system\s)?{_any(_TASK)}\s?:"
            rf"|\b(?:from|starting) now on\b{_NEARER}\byou (?:will|must|are)\b",
            ((*_TASK, "now on"),),
        ),
        "secrecy": Rule(
            0.5,
            rf"\b(?:do not|don.t|never|without) {_any(_KEEP_FROM)}\b{_NEARER}\b{_any(_PEOPLE)}\b",
            (_KEEP_FROM, _PEOPLE),
        ),
        "exfiltration": Rule(
            0.6,
            rf"\b{_any(_SEND)}\b{_NEAR}\b{_any(_PRIVATE)}\b{_NEARER}\b(?:to|at)\b",
            (_SEND, _PRIVATE),
        ),
        "smuggled": Rule(0.6, rf"\b{_any(_DECODE)}\b{_NEAR}\b{_any(_OBEY)}\b", (_DECODE, _OBEY)),
        "unseen_letters": Rule(0.9, "[\U000e0020-\U000e007f]{4}|[\u200b\u200c\u2060\u2063]{8}"),
    }
)
"""By name."""


@dataclass(frozen=True, slots=True)
class BoundedRule:
    """A rule that is ready to be used: its name, and its pattern in a form whose search is bounded."""

    name: str
    rule: Rule
    form: BoundedPattern

    def is_in(self, text: str, words: str, *, until: float) -> bool:
        """Return whether a text says it; `words` is the text in lower case.

        Raises:
            TimeoutError: It is later than `until`.
        """
        if not all(any(word in words for word in group) for group in self.rule.needs):
            return False
        return self.form.is_in(text, until=until)


@dataclass(frozen=True, slots=True, kw_only=True)
class InjectionFilter:
    """Blocks or reports calls in which somebody seems to give a model orders that are not theirs to give.

    Attributes:
        name: What callers and logs are told.
        blocks: Whether that blocks; else it is reported.
        threshold: Least score in [0, 1] of a text that does.
        deadline_s: Seconds that it may take.
    """

    name: str
    blocks: bool
    threshold: float
    deadline_s: float
    rules: tuple[BoundedRule, ...]

    async def judge(self, subject: Subject) -> Verdict:
        """Return the verdict on a call."""
        return await judge_texts(self, subject, deadline_s=self.deadline_s)

    def judged(self, subject: Subject, *, until: float) -> Verdict:
        """Return the verdict on a call.

        Raises:
            TimeoutError: It is later than `until`.
        """
        for text in _read(subject):
            found = found_in(text, self.rules, until=until)
            if found and score(found) >= self.threshold:
                counts = dict.fromkeys(found, 1)
                what = f"it looks like prompt injection ({', '.join(found)})"
                return Verdict.blocked(what, found=counts) if self.blocks else Verdict.passed(found=counts)
        return Verdict.passed()

    async def aclose(self) -> None:
        """Do nothing."""


def _read(subject: Subject) -> Iterator[str]:
    """Yield what users and tools say: message by message, and what else is in documents and results."""
    said = dict.fromkeys(message.text for message in subject.conversation if message.role in _READ)
    yield from said
    yield from (text for text in heard_texts(subject.value) if text not in said)


def injection_rules() -> tuple[BoundedRule, ...]:
    """Return the rules, ready to be used."""
    return tuple(BoundedRule(name, rule, bounded_pattern(rule.pattern)) for name, rule in RULES.items())


def found_in(text: str, rules: Iterable[BoundedRule], *, until: float = inf) -> Mapping[str, float]:
    """Return the weights of the rules that a text falls under, by their names.

    Raises:
        TimeoutError: It is later than `until`, by `time.monotonic`.
    """
    words = _in_lower_case(text)
    return {one.name: one.rule.weight for one in rules if one.is_in(text, words, until=until)}


def _in_lower_case(text: str) -> str:
    """Return a text with all letters small, as `re` sees them where it ignores case."""
    if not text.isascii():
        for odd, plain in _ODD:
            text = text.replace(odd, plain)
    return text.lower()


def score(found: Mapping[str, float]) -> float:
    """Return how sure rules of these weights are together, in [0, 1]."""
    return 1 - prod(1 - weight for weight in found.values())
