"""`flask plano route TEXT` and `flask plano check`."""

import click
from flask.cli import AppGroup

from plano_asgi.errors import PlanoError
from plano_asgi.intake.inbound_calls import decision_on_text
from plano_asgi_flask.current import current

SWITCHED_OFF = "routing is switched off: enabled is false"

commands = AppGroup("plano", help="Route by the settings of this app.")


@commands.command()
@click.argument("text")
def route(text: str) -> None:
    """Print where a call with this text would go, as JSON."""
    try:
        own = current()
        if own is None:
            raise click.ClickException(SWITCHED_OFF)
        own.router.start()
        click.echo(decision_on_text(own.router, text))  # bytes: UTF-8 whatever the locale
    except PlanoError as error:
        raise click.ClickException(str(error)) from error


@commands.command()
def check() -> None:
    """Load the model and time one decision."""
    try:
        own = current()
        click.echo(own.report() if own else SWITCHED_OFF)
    except PlanoError as error:
        raise click.ClickException(str(error)) from error
