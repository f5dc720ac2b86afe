"""The subcommands that read the decision log."""

from pathlib import Path
from typing import Annotated

import typer

from plano_asgi.cli.options import ConfigOption, JsonOption, load, name_of
from plano_asgi.errors import ConfigurationError
from plano_asgi.secret import Secret


def decisions(  # noqa: PLR0913 - each is an option of its own
    config: ConfigOption = None,
    *,
    url: Annotated[str, typer.Option(help="Where plano-asgi serve listens.")] = "http://127.0.0.1:12000",
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many of the newest.")] = 20,
    route: Annotated[str | None, typer.Option(help="Of this route only; none for calls that no route matched.")] = None,
    model: Annotated[str | None, typer.Option(help="That go to this model only.")] = None,
    reason: Annotated[str | None, typer.Option(help="With this reason only.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Show what comes, too, until interrupted.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the decision log of a running server; the configuration tells the admin token."""
    from plano_asgi.cli.reading_decisions import LogReader, print_decisions  # noqa: PLC0415 - brings an HTTP client along

    asked = {"route": route, "model": model, "reason": reason}
    wanted = {name: value for name, value in asked.items() if value is not None}
    print_decisions(LogReader(url, _admin_token(config), wanted), limit=limit, is_followed=follow, as_json=as_json)


def top(
    config: ConfigOption = None,
    *,
    url: Annotated[str, typer.Option(help="Where plano-asgi serve listens.")] = "http://127.0.0.1:12000",
    once: Annotated[bool, typer.Option("--once", help="Print it once instead of following.")] = False,
) -> None:
    """Watch a running server: routes, models, tokens, costs, errors; the configuration tells the admin token."""
    from plano_asgi.cli.reading_decisions import LogReader  # noqa: PLC0415 - brings an HTTP client along
    from plano_asgi.cli.watching import watch  # noqa: PLC0415 - same

    watch(LogReader(url, _admin_token(config), {}), is_once=once)


def replay(
    log: Annotated[
        typer.FileBinaryRead,
        typer.Argument(metavar="LOG", help="What plano-asgi decisions --json has printed; - is stdin."),
    ],
    config: ConfigOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Decide logged conversations again under a configuration, and show which would go elsewhere."""
    from plano_asgi.cli.replaying import print_replay  # noqa: PLC0415 - brings the router along

    if not print_replay(load(config), log, name=name_of(log), as_json=as_json):
        typer.echo("nothing to decide again: the log keeps no conversations; see decision_log.content", err=True)
        raise typer.Exit(1)


def _admin_token(config: Path | None) -> Secret | None:
    """Return the token of a configuration; None where there is no configuration here, and none was named."""
    try:
        return load(config).admin.token
    except ConfigurationError:
        if config is not None:
            raise
        return None
