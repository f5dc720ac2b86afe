"""The subcommands and their options; each hands over to a module of this room."""

from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Final

import typer

from plano_asgi.settings import Settings, load_settings

app: Final = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", help="YAML file; else PLANO_CONFIG_FILE, else plano.yaml here, else the environment alone."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON on stdout instead of a table.")]


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


def _load(config: Path | None) -> Settings:
    settings = load_settings(config)
    for warning in settings.warnings:
        typer.echo(f"warning: {warning}", err=True)
    return settings


@app.command()
def serve(
    config: ConfigOption = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port to listen on; 0 takes a free one.")] = 12_000,
) -> None:
    """Serve the decision endpoints and health over HTTP."""
    from plano_asgi.cli.serving import run_server  # noqa: PLC0415 - brings uvicorn along

    run_server(_load(config), host=host, port=port)


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
def doctor(config: ConfigOption = None, *, as_json: JsonOption = False) -> None:
    """Check what is installed, the model's files and a timed decision; exit 1 if something is wrong."""
    from plano_asgi.cli.examining import print_examination  # noqa: PLC0415 - brings the router along

    if not print_examination(config, as_json=as_json):
        raise typer.Exit(1)
