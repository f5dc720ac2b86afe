"""`plano-asgi train`: the embedded router, fine-tuned on a team's own traffic."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from plano_asgi.assembly import build_router
from plano_asgi.classify.embedded.artifacts import SHIPPED_FOLDER
from plano_asgi.classify.embedded.texts import conversation_texts
from plano_asgi.decisions import Reason
from plano_asgi.errors import CasesError, ConfigurationError, Fault, MissingExtraError
from plano_asgi.lab.evaluation import Case, read_cases
from plano_asgi.router import OnError
from plano_asgi.settings import Settings

FEWEST: Final = 20
NEEDED: Final = ("torch", "onnx")
Teacher = Literal["arch_router", "remote"]


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked for.

    Attributes:
        out: Folder for the new router.
        teacher: The classifier that labels the cases without `expect`; None where all have it.
        seed: Of what is drawn.
        is_quiet: Whether nothing but errors is said.
    """

    out: Path
    teacher: Teacher | None
    seed: int
    is_quiet: bool


def run_training(settings: Settings, lines: Iterable[bytes], order: Order, *, name: str) -> bool:
    """Fine-tune the router on the cases, print what came of it, and return whether it got better.

    Args:
        settings: Name the routes, and the teacher's model where there is a teacher.
        lines: The cases, one JSON object a line.
        order: What is asked for.
        name: What the cases are called in faults.

    Raises:
        CasesError: The cases cannot be used, or are too few.
        MissingExtraError: The train extra is not installed.
        ConfigurationError: The settings have no routes, or lack what the teacher needs.
        BadParameter: The folder is that of the router to start from.
    """
    if any(find_spec(module) is None for module in NEEDED):
        raise MissingExtraError("train", needed_for="plano-asgi train")
    from plano_asgi.lab.train.finetuning import EPOCHS, Course, Lesson, fine_tune  # noqa: PLC0415 - brings torch along

    start = _start(settings, order)
    policies = {str(settings.config_file or "the environment"): settings.policy}
    cases = read_cases(lines, origin=name, policies=policies, may_lack_labels=order.teacher is not None)
    console = Console(stderr=True, quiet=order.is_quiet)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        asking = progress.add_task("asking the teacher", total=sum(not case.is_labelled for case in cases))
        labelled = _labelled(cases, settings, order.teacher, lambda: progress.advance(asking))
        lessons = [Lesson(case.call.conversation, case.expect) for case in labelled]
        if len(lessons) < FEWEST:
            what = f"{len(lessons)} labelled cases are too few to learn from; bring {FEWEST} or more"
            raise CasesError([Fault(origin=name, where="", what=what)])
        reading = progress.add_task("reading the cases", total=len(lessons))
        learning = progress.add_task("learning", total=EPOCHS)
        done = fine_tune(
            Course(lessons=lessons, policy=settings.policy, start=start, out=order.out, seed=order.seed),
            on_read=lambda: progress.advance(reading),
            on_epoch=lambda: progress.advance(learning),
        )
    console.print(f"learned from {done.learned} cases, tried on the {done.kept_back} kept back")
    console.print(f"accuracy on those: {done.before:.3f} before, {done.after:.3f} after")
    if done.folder is None:
        console.print("It did not get better, so nothing was written; more cases, or clearer descriptions, may help.")
        return False
    typer.echo(f"classifier.model_path: {done.folder}")
    return True


def _start(settings: Settings, order: Order) -> Path:
    """Return the router to start from: the configured one, unless the path is the teacher's."""
    if not settings.policy.preferences:
        raise ConfigurationError([Fault(where="routing_preferences", what="there are no routes to learn; write some")])
    is_own = settings.classifier.kind == "embedded" and order.teacher is None
    start = (settings.classifier.model_path if is_own else None) or SHIPPED_FOLDER
    if order.out.resolve() == start.resolve():
        raise typer.BadParameter("it is the router to start from; choose another folder", param_hint="--out")
    return start


def _labelled(
    cases: Sequence[Case], settings: Settings, teacher: Teacher | None, on_answer: Callable[[], object]
) -> Iterator[Case]:
    """Yield the cases in which the user says something, each with its own label or with what the teacher decides.

    Where the teacher has no answer in time, there is no label and no case.
    """
    spoken = [case for case in cases if conversation_texts(case.call.conversation)]
    if teacher is None:
        yield from spoken
        return
    asked = replace(
        settings,
        enabled=True,
        classifier=settings.classifier.model_copy(update={"kind": teacher}),
        routing=settings.routing.model_copy(update={"on_error": OnError.DEFAULT.value}),  # a failure ends nothing here
    )
    router = build_router(asked)
    try:
        router.start()
        if router.problem is not None:
            raise router.problem
        for case in spoken:
            if case.is_labelled:
                yield case
                continue
            decision = router.route(case.call)
            on_answer()
            if decision.reason is not Reason.ERROR:
                yield replace(case, expect=decision.route, is_labelled=True)
    finally:
        router.close()
