"""`manage.py plano_route TEXT`: one decision, as JSON."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from plano_asgi.errors import PlanoError
from plano_asgi.intake.inbound_calls import decision_on_text
from plano_asgi_django.service import adapted


class Command(BaseCommand):
    """Prints the decision on one message, as the decision endpoints give it."""

    help = "Print where a call with this text would go, as JSON."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the text."""
        parser.add_argument("text", help="what the user says")

    def handle(self, *_: Any, text: str, **__: Any) -> None:  # noqa: ANN401 - Django's own options
        """Print the decision.

        Raises:
            CommandError: There is none: the settings cannot be used, or the model cannot be loaded.
        """
        try:
            own = adapted()
            if own is None:
                raise CommandError("routing is switched off: enabled is false")
            own.router.start()
            self.stdout.write(decision_on_text(own.router, text).decode())
        except PlanoError as error:
            raise CommandError(str(error)) from error
