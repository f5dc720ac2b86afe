"""Requests signed with AWS credentials (Signature Version 4); the one home of botocore."""

import logging
from dataclasses import replace
from threading import Lock
from typing import Any, Final

from plano_asgi.errors import MissingExtraError, NoCredentialsError
from plano_asgi.net.streaming_client import HttpRequest
from plano_asgi.providers import AwsCredentials

_SIGNED: Final = frozenset({"content-type", "host"})
_AMAZON: Final = "x-amz"


class AwsSigner:
    """Signs requests for one service in one region; thread-safe.

    Credentials come from the standard chain (environment, shared files, container and instance roles) unless they are
    given; they are looked for when the first request is signed, and renewed by botocore before they expire. Both may
    ask the network: sign on a thread.
    """

    def __init__(self, *, service: str, region: str, given: AwsCredentials | None = None) -> None:
        """Look for nothing yet.

        Args:
            service: The service as its signatures name it.
            region: The region.
            given: The credentials; None for those of the standard chain.

        Raises:
            MissingExtraError: botocore is not installed.
        """
        try:
            import botocore.auth  # noqa: F401, PLC0415 - only where the settings ask for it
        except ImportError:
            raise MissingExtraError("bedrock", needed_for="a call that is signed with AWS credentials") from None
        logging.getLogger("botocore.auth").addFilter(_is_worth_telling)
        self._service = service
        self._region = region
        self._given = given
        self._found: Any = None
        self._lock = Lock()

    def signed(self, request: HttpRequest) -> HttpRequest:
        """Return a request with date and signature; its body, host, content type and `x-amz-*` headers are covered.

        Raises:
            NoCredentialsError: There are no credentials, or they cannot be renewed; the message holds nothing of them.
        """
        from botocore.auth import SigV4Auth  # noqa: PLC0415 - only where the settings ask for it
        from botocore.awsrequest import AWSRequest  # noqa: PLC0415
        from botocore.exceptions import BotoCoreError  # noqa: PLC0415

        covered = {name: value for name, value in request.headers if name in _SIGNED or name.startswith(_AMAZON)}
        signing = AWSRequest(method="POST", url=request.url, headers=covered, data=request.body)
        try:
            SigV4Auth(self._credentials().get_frozen_credentials(), self._service, self._region).add_auth(signing)
        except BotoCoreError as error:
            raise NoCredentialsError(f"there are no AWS credentials to sign with ({type(error).__name__})") from None
        kept = [(name, value) for name, value in request.headers if name not in covered and name != "authorization"]
        added = [(name.lower(), str(value)) for name, value in signing.headers.items()]
        return replace(request, headers=(*kept, *added))

    def _credentials(self) -> Any:  # noqa: ANN401 - botocore has no types
        from botocore.credentials import Credentials  # noqa: PLC0415 - only where the settings ask for it
        from botocore.exceptions import NoCredentialsError as NothingFound  # noqa: PLC0415
        from botocore.session import Session  # noqa: PLC0415

        with self._lock:
            if self._found is None and self._given:
                token = self._given.session_token
                self._found = Credentials(
                    self._given.access_key_id.reveal(),
                    self._given.secret_access_key.reveal(),
                    token.reveal() if token else None,
                )
            self._found = self._found or Session().get_credentials()
        if self._found is None:
            raise NothingFound
        return self._found


def _is_worth_telling(record: logging.LogRecord) -> bool:
    """Return whether botocore may log it: what it says of each signature holds the session's token."""
    return record.levelno > logging.DEBUG
