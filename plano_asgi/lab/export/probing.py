"""Which quotes the model writes of its own accord: `{"route": "x"}` or `{'route': 'x'}`."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from plano_asgi.classify.arch_router.completions import Quoting
from plano_asgi.classify.arch_router.tokens import Tokens
from plano_asgi.lab.export.parity_prompts import PolicyPrompts

PROBES_OF_A_POLICY: Final = 2
MOST_TOKENS: Final = 24
_QUOTINGS: Final = {'"': Quoting.DOUBLE, "'": Quoting.SINGLE}
_KEY: Final = re.compile(r"""(["'])route\1\s*:""")


@dataclass(frozen=True, slots=True)
class Probe:
    """What the model wrote.

    Attributes:
        answers: How many.
        double: How many of them in double quotes.
        single: How many in single quotes.
    """

    answers: int
    double: int
    single: int

    @property
    def quoting(self) -> Quoting:
        """The quotes that most answers have; double ones where it makes no difference."""
        return Quoting.SINGLE if self.single > self.double else Quoting.DOUBLE


def probe(model: Any, tokenizer: Any, groups: Sequence[PolicyPrompts], ends: Sequence[int]) -> Probe:  # noqa: ANN401 - torch's
    """Return which quotes a model in transformers writes when it answers freely and greedily."""
    prompts = [group.static + rest for group in groups for rest in group.rests[:PROBES_OF_A_POLICY]]
    texts = [tokenizer.decode(_answer(model, prompt, ends), skip_special_tokens=True) for prompt in prompts]
    return read_quoting(texts)


def read_quoting(texts: Sequence[str]) -> Probe:
    """Return how often each kind of quotes stands around the key in answers."""
    found = Counter(_QUOTINGS[key[1]] for key in map(_KEY.search, texts) if key)
    return Probe(len(texts), found[Quoting.DOUBLE], found[Quoting.SINGLE])


def _answer(model: Any, prompt: Tokens, ends: Sequence[int]) -> list[int]:  # noqa: ANN401 - torch's
    import torch  # noqa: PLC0415 - the export extra's
    from transformers import GenerationConfig  # noqa: PLC0415 - same

    greedy = GenerationConfig(
        do_sample=False, max_new_tokens=MOST_TOKENS, eos_token_id=list(ends), pad_token_id=ends[0]
    )
    ids = torch.tensor([prompt])
    with torch.inference_mode():
        whole = model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=greedy)
    answer: list[int] = whole[0, len(prompt) :].tolist()
    return answer
