"""The Django app: its system checks."""

from django.apps import AppConfig
from django.core.checks import register


class PlanoConfig(AppConfig):
    """Registers the checks; nothing is built and no model loaded."""

    name = "plano_asgi_django"
    verbose_name = "plano-asgi"

    def ready(self) -> None:
        """Register the checks."""
        from plano_asgi_django.checks import check_keys, check_order, check_settings, check_upload_limit  # noqa: PLC0415 - when apps are loaded

        register(check_settings, "plano")
        register(check_order, "plano")
        register(check_upload_limit, "plano")
        register(check_keys, "plano", deploy=True)
