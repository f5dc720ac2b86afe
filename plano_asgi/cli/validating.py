"""`plano-asgi validate`."""

import json
import sys
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from plano_asgi.assembly import check_deciding
from plano_asgi.errors import ConfigurationError
from plano_asgi.settings import Settings, load_settings


def print_validation(config: Path | None, *, as_json: bool) -> None:
    """Print what a configuration means, or every fault in it.

    Raises:
        ConfigurationError: There are faults, and a person reads them.
        SystemExit: There are faults, and they have been printed as JSON; exit code 2.
    """
    try:
        settings = load_settings(config)
        check_deciding(settings)
    except ConfigurationError as error:
        if not as_json:
            raise
        faults = [{"where": fault.where, "what": fault.what, "origin": fault.origin} for fault in error.faults]
        sys.stdout.write(json.dumps({"valid": False, "faults": faults}) + "\n")
        raise SystemExit(2) from None
    if as_json:
        sys.stdout.write(json.dumps({"valid": True, "faults": [], "warnings": list(settings.warnings)}) + "\n")
        return
    _print_table(settings)


def _print_table(settings: Settings) -> None:
    table = Table(*(Column(name, overflow="fold") for name in ("route", "description", "models")))
    for preference in settings.policy.preferences:
        table.add_row(*map(escape, (preference.name, preference.description, ", ".join(preference.models))))
    console = Console()
    console.print(table)
    default = settings.catalog.default_model or "the model that the client names"
    console.print(f"calls that no route matches: [bold]{escape(default)}[/bold]")
    for warning in settings.warnings:
        console.print(f"[yellow]warning:[/yellow] {escape(warning)}")
    console.print("[green]valid[/green]")
