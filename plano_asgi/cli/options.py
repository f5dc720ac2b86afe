"""What several subcommands are given, and what they make of it."""

from pathlib import Path
from typing import Annotated

import typer

from plano_asgi.settings import Settings, load_settings

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", help="YAML file; else PLANO_CONFIG_FILE, else plano.yaml here, else the environment alone."
    ),
]

JsonOption = Annotated[bool, typer.Option("--json", help="JSON on stdout instead of a table.")]


def name_of(file: typer.FileBinaryRead) -> str:
    """Return what a file is called in messages."""
    return str(getattr(file, "name", "<stdin>"))


def load(config: Path | None) -> Settings:
    """Return the settings, having told what of them has no effect."""
    settings = load_settings(config)
    for warning in settings.warnings:
        typer.echo(f"warning: {warning}", err=True)
    return settings
