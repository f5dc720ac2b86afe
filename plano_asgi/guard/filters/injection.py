"""Prompt injection, by what it usually says: a short list of rules, each with a weight. A heuristic, and no more.

What is read is what users and tools say; instructions are the service's own. A text's score is how sure its rules are
together that it is an attack: 1 less the product of their doubts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from types import MappingProxyType
from typing import Final

from plano_asgi.conversation import Role
from plano_asgi.guard.bounded_patterns import BoundedPattern, bounded_pattern
from plano_asgi.guard.filters.judging import judge_texts
from plano_asgi.guard.verdicts import Subject, Verdict

_READ: Final = frozenset({Role.USER, Role.TOOL})
_OF_OLD: Final = (
    "(?:previous|prior|above|earlier|preceding|foregoing|initial|original|existing|system|your|given|safety"
    "|vorherigen|bisherigen|obigen|précédentes|antérieures|anteriores|previas|precedenti|anteriori)"
)
_ORDERS: Final = (
    "(?:instruction|instructions|prompt|prompts|rules|directions|directives|guidelines|guardrails|commands|programming"
    "|restrictions|anweisungen|regeln|vorgaben|consignes|instrucciones|reglas|istruzioni|regole|instruções|regras)"
)
_DISREGARD: Final = (
    "(?:ignore|ignoriere|ignorez|ignora|ignorá|ignorare|disregard|forget|override|bypass|vergiss|oublie|oubliez"
    "|olvida|dimentica|esqueça)"
)
_NEAR: Final = r"[^.!?\n]{0,30}"
_NEARER: Final = r"[^.!?\n]{0,16}"
_GAP: Final = r"\s{1,2}"

RULES: Final[Mapping[str, tuple[float, str]]] = MappingProxyType(
    {
        "override": (
            0.9,
            (
                rf"\b{_DISREGARD}\b{_NEAR}\b{_OF_OLD}\b{_NEARER}\b{_ORDERS}\b"
                rf"|\b{_DISREGARD}\b{_NEARER}\b{_ORDERS}\b{_NEARER}\b{_OF_OLD}\b"
            ),
        ),
        "forget_all": (
            0.7,
            (
                rf"\b(?:forget|disregard|ignore){_GAP}(?:everything|all)\b{_NEARER}\b(?:you|i|we)\b{_NEARER}"
                r"\b(?:told|taught|said|learned|know)\b"
            ),
        ),
        "reveal": (
            0.7,
            (
                r"\b(?:reveal|show|print|repeat|output|display|leak|tell|give|write|zeig|zeige|affiche|muestra|mostra)\b"
                rf"{_NEAR}\b(?:your|the|deine|tes|vos|tus|tuoi)\b[\s:]{{1,2}}(?:full |entire |own )?"
                r"(?:system|initial|hidden|secret|developer)[\s-]?"
                r"(?:prompt|instruction|instructions|message|anweisungen|consignes)\b"
            ),
        ),
        "persona": (
            0.7,
            (
                rf"\b(?:you are|act as|pretend|become|simulate|du bist)\b{_NEAR}"
                r"\b(?:dan|do anything now|jailbroken|jailbreak|developer mode|unrestricted|unfiltered|uncensored"
                r"|god mode|evil)\b"
            ),
        ),
        "without_rules": (
            0.7,
            (
                rf"\b(?:without|no|free of|have no|ohne|sans|sin)\b{_NEARER}\b(?:ethical|moral|content|safety){_GAP}"
                r"(?:rules|restrictions|guidelines|filter|filters|limits|limitations|policies|policy|guardrails)\b"
            ),
        ),
        "chat_marks": (
            0.8,
            (
                r"<\|(?:im_start|im_end|system|start_header_id|eot_id)\|>|<<sys>>|\[/?inst\]|</?system>"
                r"|(?:^|\n)#{2,4} {0,2}(?:system|new instructions?)(?: prompt)? {0,2}:|\[system\] {0,2}:"
            ),
        ),
        "new_orders": (
            0.5,
            (
                r"\b(?:new|updated|real|actual|revised)\s(?:system\s)?(?:instruction|instructions|task|directive|prompt)"
                rf"\s?:|\b(?:from|starting) now on\b{_NEARER}\byou (?:will|must|are)\b"
            ),
        ),
        "secrecy": (
            0.5,
            (
                r"\b(?:do not|don.t|never|without) (?:tell|telling|inform|informing|mention|alert|alerting|notify"
                rf"|notifying)\b{_NEARER}\b(?:user|human|operator)\b"
            ),
        ),
        "exfiltration": (
            0.6,
            (
                rf"\b(?:send|post|forward|upload|exfiltrate|append|email)\b{_NEAR}\b(?:conversation|chat history"
                rf"|system prompt|api key|api keys|credentials|password|passwords|secrets|contacts)\b{_NEARER}"
                r"\b(?:to|at)\b"
            ),
        ),
        "smuggled": (0.6, rf"\b(?:decode|decrypt|rot13|base64)\b{_NEAR}\b(?:follow|obey|execute|comply)\b"),
        "unseen_letters": (0.9, "[\U000e0020-\U000e007f]{4}|[\u200b\u200c\u2060\u2063]{8}"),
    }
)
"""By name: the weight, in [0, 1], and the pattern."""


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
    rules: tuple[tuple[str, float, BoundedPattern], ...]

    async def judge(self, subject: Subject) -> Verdict:
        """Return the verdict on a call."""
        return await judge_texts(self, subject, deadline_s=self.deadline_s)

    def judged(self, subject: Subject, *, until: float) -> Verdict:
        """Return the verdict on a call.

        Raises:
            TimeoutError: It is later than `until`.
        """
        for message in subject.conversation:
            if message.role not in _READ:
                continue
            found = {name: weight for name, weight, rule in self.rules if rule.is_in(message.text, until=until)}
            if found and score(found) >= self.threshold:
                counts = dict.fromkeys(found, 1)
                what = f"it looks like prompt injection ({', '.join(found)})"
                return Verdict.blocked(what, found=counts) if self.blocks else Verdict.passed(found=counts)
        return Verdict.passed()

    async def aclose(self) -> None:
        """Do nothing."""


def injection_rules() -> tuple[tuple[str, float, BoundedPattern], ...]:
    """Return the rules, ready to be used: name, weight and pattern of each."""
    return tuple((name, weight, bounded_pattern(pattern)) for name, (weight, pattern) in RULES.items())


def score(found: Mapping[str, float]) -> float:
    """Return how sure rules of these weights are together, in [0, 1]."""
    return 1 - prod(1 - weight for weight in found.values())
