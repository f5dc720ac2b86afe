"""`manage.py plano_check`: whether the settings can be used and the model can be asked."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from plano_asgi.errors import PlanoError
from plano_asgi_django.service import adapted


class Command(BaseCommand):
    """Loads the model, and prints what the configuration comes to."""

    help = "Check the settings of PLANO, load the model and time one decision."

    def handle(self, *_: Any, **__: Any) -> None:  # noqa: ANN401 - Django's own options
        """Print one line.

        Raises:
            CommandError: The settings cannot be used, or the model cannot be loaded.
        """
        try:
            own = adapted()
            self.stdout.write(own.report() if own else "routing is switched off: enabled is false")
        except PlanoError as error:
            raise CommandError(str(error)) from error
