"""How an export compares with its source: logits, and the chosen route on fifty prompts.

Both sides read the same tokens and score the same completions; the source one token path at a time in transformers, the
export as the classifier does, on ONNX Runtime.

A route counts as agreed on where both sides like the same candidate best. What decides is the agreement on the *clear*
prompts: those on which the source's best candidate leads its second by more than 0.05. Between two candidates that the
source itself holds to be equal, any rounding may choose. Where fewer than ten prompts are clear, all of them decide.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from plano_asgi.classify.arch_router.engine import Engine, Question
from plano_asgi.classify.arch_router.rows import Row
from plano_asgi.classify.arch_router.session import CausalSession
from plano_asgi.errors import ExportError
from plano_asgi.lab.export.parity_prompts import PolicyPrompts
from plano_asgi.lab.export.precision import Precision
from plano_asgi.lab.export.source import Continuing

LEAST_AGREEMENT: Final = {Precision.FP32: 1.0, Precision.FP16: 0.98, Precision.INT8: 0.9, Precision.INT4: 0.8}
MOST_FP32_DIFFERENCE: Final = 1e-3  # of a logit
CLEAR_MARGIN: Final = 0.05
LEAST_CLEAR: Final = 10  # prompts
COMPARED_LOGITS: Final = 2  # prompts of each policy whose whole vocabulary is compared

Progress = Callable[[float], object]


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What one side says of the prompts.

    Attributes:
        scores: For each prompt the probability of each candidate; 0 where a policy has fewer candidates than another.
        logits: After some of the prompts, those of the whole vocabulary.
    """

    scores: npt.NDArray[np.float64]
    logits: npt.NDArray[np.float32]

    @classmethod
    def of(cls, scores: Sequence[npt.NDArray[np.float64]], logits: Sequence[npt.NDArray[np.float32]]) -> Self:
        """Return the answers in two arrays."""
        table = np.zeros((len(scores), max(map(len, scores))))
        for row, found in zip(table, scores, strict=True):
            row[: len(found)] = found
        return cls(table, np.stack(logits))

    def save(self, path: Path) -> None:
        """Write the arrays to a file."""
        np.savez(path, scores=self.scores, logits=self.logits)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Return what was saved."""
        with np.load(path) as arrays:
            return cls(arrays["scores"], arrays["logits"])


AskSource = Callable[[Any, Sequence[PolicyPrompts], Progress], Answers]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """How an export compares with its source.

    Attributes:
        prompts: How many there were.
        clear_prompts: On how many the source is clear about its route.
        agreement: Share of all prompts with the same route.
        clear_agreement: Share of the clear prompts with the same route.
        least_agreement: What the share that decides had to reach.
        max_logit_difference: Greatest absolute difference of a logit.
        mean_logit_difference: Mean absolute difference of the logits.
        max_score_difference: Greatest absolute difference of a candidate's probability.
        mean_score_difference: Mean over the prompts of the greatest difference.
    """

    prompts: int
    clear_prompts: int
    agreement: float
    clear_agreement: float
    least_agreement: float
    max_logit_difference: float
    mean_logit_difference: float
    max_score_difference: float
    mean_score_difference: float

    @classmethod
    def between(cls, source: Answers, export: Answers, precision: Precision) -> Self:
        """Return how the answers compare."""
        best = np.sort(source.scores, axis=1)
        clear = best[:, -1] - best[:, -2] > CLEAR_MARGIN
        same = source.scores.argmax(axis=1) == export.scores.argmax(axis=1)
        logits = np.abs(source.logits - export.logits)
        scores = np.abs(source.scores - export.scores).max(axis=1)
        return cls(
            prompts=len(same),
            clear_prompts=int(clear.sum()),
            agreement=float(same.mean()),
            clear_agreement=float(same[clear].mean()) if clear.any() else 1.0,
            least_agreement=LEAST_AGREEMENT[precision],
            max_logit_difference=float(logits.max()),
            mean_logit_difference=float(logits.mean()),
            max_score_difference=float(scores.max()),
            mean_score_difference=float(scores.mean()),
        )

    @property
    def deciding_agreement(self) -> float:
        """The share that has to reach the floor."""
        return self.clear_agreement if self.clear_prompts >= LEAST_CLEAR else self.agreement

    def check(self, precision: Precision) -> None:
        """Guarantee that the export is as good as its precision promises.

        Raises:
            ExportError: It is not; the message has the numbers.
        """
        if precision is Precision.FP32 and not self.max_logit_difference <= MOST_FP32_DIFFERENCE:  # NaN misses, too
            raise ExportError(
                f"the export differs from its source by {self.max_logit_difference:.2g} in a logit,"
                f" and fp32 may by {MOST_FP32_DIFFERENCE:g}; no bundle was written"
            )
        if self.deciding_agreement < self.least_agreement:
            raise ExportError(
                f"the export agrees with its source on {self.deciding_agreement:.0%} of the routes, and {precision} has"
                f" to on {self.least_agreement:.0%}; no bundle was written; try a wider precision"
            )

    def as_json(self) -> dict[str, Any]:
        """Return what is recorded in the manifest."""
        return {name: round(value, 6) for name, value in asdict(self).items()}


def answers_of_source(model: Any, groups: Sequence[PolicyPrompts], progress: Progress) -> Answers:  # noqa: ANN401 - torch's
    """Return what the source says in transformers.

    Args:
        model: Of transformers, in float32.
        groups: The prompts.
        progress: Told the share in [0, 1] that is done.
    """
    scores, logits = [], []
    for group in _counted(groups, progress):
        reading = Continuing(model, group.static)
        answers = [reading.answered(rest, group.tree) for rest in group.rests]
        logits += [first for first, _ in answers[:COMPARED_LOGITS]]
        scores += [found for _, found in answers]
    return Answers.of(scores, logits)


def answers_of_export(
    session: CausalSession, groups: Sequence[PolicyPrompts], progress: Progress, *, context: int
) -> Answers:
    """Return what the export says on ONNX Runtime.

    Raises:
        ClassificationError: The graph fails, or gives logits that are not finite.
    """
    scores: list[npt.NDArray[np.float64]] = []
    logits = []
    engine = Engine(session, context=context, temperature=1.0)
    for group in _counted(groups, progress):
        engine.prefixes.pin(group.static)
        questions = [Question(group.static + rest, group.static, group.tree) for rest in group.rests]
        for answer in engine.score(questions):
            if isinstance(answer, Exception):
                raise answer
            scores.append(answer)
        prefix = engine.prefixes.of(questions[0].prompt, group.static)
        for rest in group.rests[:COMPARED_LOGITS]:
            row = Row.text((*rest, *group.tree.forced), wants_logits=True)
            logits.append(session.run([row], prefix.key_values)[0][0])
    return Answers.of(scores, logits)


def _counted(groups: Sequence[PolicyPrompts], progress: Progress) -> Iterable[PolicyPrompts]:
    for index, group in enumerate(groups):
        yield group
        progress((index + 1) / len(groups))
