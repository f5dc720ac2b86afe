"""Faults of a configuration as what they are: pydantic makes another error of whatever it comes by."""

from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import ValidationError

from plano_asgi.errors import ConfigurationError


@contextmanager
def named_faults() -> Iterator[None]:
    """Raise a `ConfigurationError` itself, where pydantic has wrapped it; any other error stays as it is."""
    try:
        yield
    except ValidationError as error:
        causes = (fault.get("ctx", {}).get("error") for fault in error.errors(include_input=False))
        configuration = next((cause for cause in causes if isinstance(cause, ConfigurationError)), None)
        raise configuration or error from None
