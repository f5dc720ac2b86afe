"""The subcommands and their options; each hands over to a module of this room."""

from enum import StrEnum
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Final, Literal

import typer

from plano_asgi.classify.prompts import PromptForm
from plano_asgi.cli.log_commands import decisions, replay, top
from plano_asgi.cli.options import ConfigOption, JsonOption
from plano_asgi.cli.options import load as _load
from plano_asgi.cli.options import name_of as _name_of
from plano_asgi.conversation import ApiFormat
from plano_asgi.lab.calibration.objective import Objective
from plano_asgi.lab.export.precision import Precision
from plano_asgi.settings import load_settings

app: Final = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


class Device(StrEnum):
    """Where an export is compared with its source."""

    CPU = "cpu"
    CUDA = "cuda"


CasesArgument = Annotated[
    typer.FileBinaryRead,
    typer.Argument(metavar="CASES", help='JSON lines: {"messages": [...], "expect": "route" or null}; - is stdin.'),
]


def _print_version(is_asked: bool) -> None:  # noqa: FBT001 - typer calls it so
    if is_asked:
        typer.echo(version("plano-asgi"))
        raise typer.Exit


@app.callback()
def _main(
    *,
    is_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Route LLM calls by plain-English preferences, inside your own service."""
    del is_version


@app.command()
def serve(
    config: ConfigOption = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port to listen on; 0 takes a free one.")] = 12_000,
) -> None:
    """Serve the decision endpoints and health over HTTP; SIGHUP takes up the configuration as it then is."""
    from plano_asgi.cli.serving import run_server  # noqa: PLC0415 - brings uvicorn along

    run_server(_load(config), partial(load_settings, config), host=host, port=port)


@app.command()
def route(
    text: Annotated[str, typer.Argument(help="What the user says; - reads it from stdin.")],
    config: ConfigOption = None,
    *,
    explain: Annotated[bool, typer.Option("--explain", help="A table for people instead of JSON.")] = False,
) -> None:
    """Decide where one message would go."""
    from plano_asgi.cli.routing import print_decision  # noqa: PLC0415 - brings the router along

    said = typer.get_text_stream("stdin", errors="replace").read() if text == "-" else text
    print_decision(_load(config), said, explain=explain)


@app.command()
def prompt(
    body: Annotated[typer.FileBinaryRead, typer.Argument(metavar="BODY", help="JSON body of an API call; - is stdin.")],
    config: ConfigOption = None,
    *,
    form: Annotated[
        PromptForm | None, typer.Option(help="Order and wording; else the setting classifier.prompt_form.")
    ] = None,
    api: Annotated[ApiFormat | None, typer.Option(help="The API of the body; else told by its keys.")] = None,
    chat: Annotated[bool, typer.Option("--chat", help="The whole text, with the model's chat template.")] = False,
) -> None:
    """Print the exact text that a generative classifier reads of a call, byte for byte."""
    from plano_asgi.cli.prompting import print_prompt  # noqa: PLC0415 - keeps the other commands quick

    print_prompt(_load(config), body.read(), form=form, api_format=api, chat=chat)


@app.command("eval")
def evaluate(  # noqa: PLR0913 - each is an option of its own
    cases: CasesArgument,
    config: ConfigOption = None,
    *,
    compare: Annotated[Path | None, typer.Option(help="A second configuration, on the same cases.")] = None,
    min_accuracy: Annotated[
        float, typer.Option(min=0, max=1, help="Exit 1 where the first configuration's accuracy is below it.")
    ] = 0.0,
    confusion: Annotated[bool, typer.Option("--confusion", help="Show the whole confusion matrix, too.")] = False,
    robustness: Annotated[
        bool, typer.Option("--robustness", help="Tell how often typos, casing, order and wording change a decision.")
    ] = False,
    plot: Annotated[Path | None, typer.Option(help="Draw a picture into this .png or .svg file, too.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Tell how well a configuration decides cases with known answers."""
    from plano_asgi.cli.evaluating import Wishes, print_evaluation  # noqa: PLC0415 - brings the router along

    wishes = Wishes(as_json=as_json, has_confusion=confusion, has_robustness=robustness, picture=plot)
    configurations = [_load(config), *([_load(compare)] if compare else [])]
    accuracy = print_evaluation(configurations, cases, name=_name_of(cases), wishes=wishes)
    if not accuracy >= min_accuracy:  # so written, NaN is not reached, where typer lets it pass
        typer.echo(f"accuracy {accuracy:.3f} is below the least that is asked for, {min_accuracy}", err=True)
        raise typer.Exit(1)


@app.command()
def calibrate(  # noqa: PLR0913 - each is an option of its own
    cases: CasesArgument,
    config: ConfigOption = None,
    *,
    objective: Annotated[Objective, typer.Option(help="What the thresholds make the most of.")] = Objective.ACCURACY,
    target_agreement: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Choose a cascade's band instead: it agrees with its second so often."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The file; else calibration.json beside the configuration.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Fit a classifier's confidence to cases with known answers, and write calibration.json."""
    from plano_asgi.cli.calibrating import run_band_choice, run_calibration  # noqa: PLC0415 - brings the router along

    settings, name = _load(config), _name_of(cases)
    if target_agreement is None:
        run_calibration(settings, cases, name=name, objective=objective, out=out, as_json=as_json)
    else:
        run_band_choice(settings, cases, name=name, target=target_agreement, as_json=as_json)


@app.command()
def export(  # noqa: PLR0913 - each is an option of its own
    source: Annotated[str, typer.Argument(help="A folder with safetensors, a GGUF file, or a hub id: owner/name.")],
    out: Annotated[Path, typer.Option(help="Folder for the bundle.")],
    precision: Annotated[Precision | None, typer.Option(help="Else int8 for cpu, fp16 for cuda.")] = None,
    device: Annotated[Device, typer.Option(help="Where the export is compared with its source.")] = Device.CPU,
    *,
    accept_license: Annotated[bool, typer.Option("--accept-license", help="Accept the model's own licence.")] = False,
    probe: Annotated[bool, typer.Option("--probe", help="Ask the model which quotes it writes.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing bundle.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")] = False,
) -> None:
    """Export a model for the arch_router classifier, and compare the export with its source."""
    from plano_asgi.cli.exporting import run_export  # noqa: PLC0415 - brings numpy along
    from plano_asgi.lab.export.exporting import Order  # noqa: PLC0415 - same

    order = Order(
        source=source,
        out=out,
        precision=precision or (Precision.INT8 if device is Device.CPU else Precision.FP16),
        device=device,
        wants_probe=probe,
        may_replace=force,
        accepts_licence=accept_license,
    )
    run_export(order, is_quiet=quiet)


@app.command()
def train(  # noqa: PLR0913 - each is an option of its own
    cases: Annotated[
        typer.FileBinaryRead,
        typer.Argument(metavar="CASES", help='JSON lines: {"messages": [...], "expect": "route" or null}; - is stdin.'),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the new router.")],
    config: ConfigOption = None,
    *,
    teacher: Annotated[
        Literal["arch_router", "remote"] | None,
        typer.Option(help="The classifier that labels lines without expect; its settings are the configuration's."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of what is drawn.")] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")] = False,
) -> None:
    """Fine-tune the embedded router on labelled traffic; exit 1 if it got no better."""
    from plano_asgi.cli.training import Order, run_training  # noqa: PLC0415 - brings the router along

    order = Order(out=out, teacher=teacher, seed=seed, is_quiet=quiet)
    if not run_training(_load(config), cases, order, name=getattr(cases, "name", "<stdin>")):
        raise typer.Exit(1)


@app.command()
def validate(config: ConfigOption = None, *, as_json: JsonOption = False) -> None:
    """Check a configuration and report every fault; exit 2 if there is one."""
    from plano_asgi.cli.validating import print_validation  # noqa: PLC0415 - keeps the other commands quick

    print_validation(config, as_json=as_json)


@app.command()
def init(
    path: Annotated[Path, typer.Argument(help="Where to write.")] = Path("plano.yaml"),
    *,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> None:
    """Write a commented starting configuration."""
    from plano_asgi.settings import STARTING_FILE  # noqa: PLC0415 - needed here only

    if path.exists() and not force:
        raise typer.BadParameter(f"{path} exists; choose another path or add --force", param_hint="PATH")
    try:
        path.write_text(STARTING_FILE, encoding="utf-8")
    except OSError as error:
        raise typer.BadParameter(f"{path} cannot be written: {error.strerror}", param_hint="PATH") from None
    typer.echo(f"wrote {path}; try: plano-asgi route -c {path} --explain 'Write a haiku about the sea'", err=True)


@app.command()
def doctor(
    config: ConfigOption = None,
    *,
    online: Annotated[bool, typer.Option("--online", help="Ask the providers, too; no model is called.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Check configuration, model, a timed decision, keys and stores; exit 1 if something is wrong."""
    from plano_asgi.cli.examining import print_examination  # noqa: PLC0415 - brings the router along

    if not print_examination(config, is_online=online, as_json=as_json):
        raise typer.Exit(1)


app.command()(decisions)
app.command()(replay)
app.command()(top)
