"""What is kept of an answer that calls may go on from, and under which key."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final, Self

from plano_asgi.secret import KEY_HEADERS
from plano_asgi.wire.exact_json import read_json, write_json
from plano_asgi.wire.fields import Fields

_FORM: Final = ("owner", "said", "response")
_CREDENTIALS: Final = frozenset(name.encode() for name in KEY_HEADERS)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptResponse:
    """What a call goes on from; its words are not in its `repr`.

    Attributes:
        owner: The model whose provider keeps the answer itself; None where we do.
        said: The items that were said before the answer; nothing where its owner keeps it.
        response: The answer as its caller was told it; empty where its owner keeps it.
    """

    owner: str | None = None
    said: tuple[object, ...] = field(default=(), repr=False)
    response: Fields = field(default_factory=dict, repr=False)

    @property
    def items(self) -> tuple[object, ...]:
        """All that was said, answer included; nothing where its owner keeps it."""
        output = self.response.get("output")
        return (*self.said, *output) if isinstance(output, list) else self.said

    def as_document(self) -> bytes:
        """Return it as it is kept."""
        return write_json({"owner": self.owner, "said": list(self.said), "response": self.response})

    @classmethod
    def from_document(cls, document: bytes) -> Self:
        """Return what `as_document` wrote.

        Raises:
            ValueError: Somebody else wrote it.
        """
        kept = read_json(document)
        owner, said, response = map(kept.get, _FORM) if isinstance(kept, dict) else (None, None, None)
        is_owned = owner is None or isinstance(owner, str)
        if not (is_owned and isinstance(said, list) and isinstance(response, dict)):
            raise ValueError("what is kept is of another form")
        return cls(owner=owner, said=tuple(said), response=response)


def tenant_of(client_headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return what tells callers apart: a hash of the credential that one came with; all who came with none are one."""
    sent = sorted((name.lower(), value.strip()) for name, value in client_headers if name.lower() in _CREDENTIALS)
    return blake2b(repr(sent).encode(), digest_size=32, person=b"plano caller").digest()


def key_of(tenant: bytes, response_id: str) -> str:
    """Return what an answer is kept under: without both the credential and the id nobody finds it, or tells whose."""
    return "response:" + blake2b(response_id.encode(), key=tenant, digest_size=32).hexdigest()
