"""System checks of a project that routes; their ids are stable."""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from django.conf import settings as project
from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as CheckWarning

from plano_asgi.errors import ConfigurationError, PlanoError
from plano_asgi_django.service import UPLOAD_LIMIT, adapted

MIDDLEWARE: Final = "plano_asgi_django.PlanoMiddleware"
OUTER: Final = frozenset(
    {
        "corsheaders.middleware.CorsMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.auth.middleware.RemoteUserMiddleware",
        "django.middleware.security.SecurityMiddleware",
    }
)
SECRETS: Final = frozenset({"access_key", "token", "headers"})


def check_settings(**_: Any) -> Sequence[CheckMessage]:  # noqa: ANN401 - what Django hands to every check
    """Return E001 for each setting that does not exist, and E002 for whatever else cannot be used."""
    try:
        adapted()
    except ConfigurationError as error:
        return [
            Error(
                str(fault),
                hint="See PLANO in the project's settings, its config_file, and the PLANO_ variables.",
                id="plano.E001" if fault.is_unknown else "plano.E002",
            )
            for fault in error.faults
        ]
    except PlanoError as error:
        return [Error(str(error), id="plano.E002")]
    return []


def check_order(**_: Any) -> Sequence[CheckMessage]:  # noqa: ANN401 - as above
    """Return W001 where the middleware is listed twice, or in front of one that turns requests away."""
    listed = list(project.MIDDLEWARE)
    if MIDDLEWARE not in listed:
        return []
    twice = [(f"{MIDDLEWARE} is listed more than once.", "Keep one.")] if listed.count(MIDDLEWARE) > 1 else []
    early = [
        (f"{MIDDLEWARE} comes before {name}: calls are decided that may be turned away later.", "Put it after that.")
        for name in listed[listed.index(MIDDLEWARE) :]
        if name in OUTER
    ]
    return [CheckWarning(what, hint=hint, id="plano.W001") for what, hint in (*twice, *early)]


def check_upload_limit(**_: Any) -> Sequence[CheckMessage]:  # noqa: ANN401 - as above
    """Return W002 where Django takes smaller bodies than the router would read."""
    own, most = _adapted_or_none(), getattr(project, UPLOAD_LIMIT)
    if own is None or most is None or most >= (wanted := own.settings.limits.body_bytes):
        return []
    return [
        CheckWarning(
            f"{UPLOAD_LIMIT} is {most}: larger calls, above all with images, are not routed.",
            hint=f"Set {UPLOAD_LIMIT} = {wanted}, or limits.body_bytes to {most}.",
            id="plano.W002",
        )
    ]


def check_keys(**_: Any) -> Sequence[CheckMessage]:  # noqa: ANN401 - as above
    """Return W003 for each secret that `PLANO` holds as plain text and no environment variable does."""
    return [
        CheckWarning(
            f"PLANO holds a secret as plain text: {path}.",
            hint='Write "$NAME" and keep it in the environment variable NAME.',
            id="plano.W003",
        )
        for path in _plain_secrets(getattr(project, "PLANO", {}), "")
    ]


def _adapted_or_none() -> Any:  # noqa: ANN401 - what `adapted` returns
    try:
        return adapted()
    except PlanoError:  # the first check tells
        return None


def _plain_secrets(value: object, path: str, *, is_secret: bool = False) -> Iterator[str]:
    """Yield the paths of secrets that are neither references nor taken from the environment."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _plain_secrets(inner, f"{path}.{key}".removeprefix("."), is_secret=is_secret or key in SECRETS)
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from _plain_secrets(inner, f"{path}[{index}]", is_secret=is_secret)
    elif is_secret and isinstance(value, str) and not value.startswith("$") and value not in os.environ.values():
        yield path
