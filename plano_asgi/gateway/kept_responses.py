"""What is kept of an answer that calls may go on from, and under which key."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final, Self

from plano_asgi.secret import KEY_HEADERS
from plano_asgi.wire.exact_json import read_json, write_json

_CREDENTIALS: Final = frozenset(name.encode() for name in KEY_HEADERS)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptResponse:
    """What a call goes on from; its words are not in its `repr`.

    Attributes:
        owner: The model whose provider keeps the answer itself; None where we do.
        items: All that was said, answer included; nothing where its owner keeps it.
    """

    owner: str | None = None
    items: tuple[object, ...] = field(default=(), repr=False)

    def as_document(self) -> bytes:
        """Return it as it is kept."""
        return write_json({"owner": self.owner, "items": list(self.items)})

    @classmethod
    def from_document(cls, document: bytes) -> Self:
        """Return what `as_document` wrote.

        Raises:
            ValueError: Somebody else wrote it.
        """
        kept = read_json(document)
        owner, items = (kept.get("owner"), kept.get("items")) if isinstance(kept, dict) else (None, None)
        if not isinstance(items, list) or not (owner is None or isinstance(owner, str)):
            raise ValueError("what is kept is of another form")
        return cls(owner=owner, items=tuple(items))


def tenant_of(client_headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return what tells callers apart: a hash of the credential that one came with; all who came with none are one."""
    sent = sorted((name.lower(), value.strip()) for name, value in client_headers if name.lower() in _CREDENTIALS)
    return blake2b(repr(sent).encode(), digest_size=32, person=b"plano caller").digest()


def key_of(tenant: bytes, response_id: str) -> str:
    """Return what an answer is kept under: without both the credential and the id nobody finds it, or tells whose."""
    return "response:" + blake2b(response_id.encode(), key=tenant, digest_size=32).hexdigest()
