"""What request headers say to a router."""

import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Self

from plano_asgi.events import CallIdentity
from plano_asgi.hops import HOP_HEADER, hops_of

BYPASS_HEADER: Final = "x-plano-routing"
EXPLAIN_HEADER: Final = "x-plano-explain"

AFFINITY_HEADER: Final = "x-model-affinity"
SWITCH_BUDGET_HEADER: Final = "x-plano-max-switch-spend-pct"

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")
_PERCENTAGE: Final = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,9})?")
_MOST_TOLD_CHARS: Final = 256
_JSON_TYPE: Final = re.compile(r"application/(?:[\w.+-]+\+)?json", re.IGNORECASE)
_CHARSET: Final = re.compile(r"charset\s*=\s*\"?([\w-]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Headers:
    """Request headers by lower-case name; repeated ones are joined by a comma, as RFC 9110 section 5.3 allows."""

    values: Mapping[bytes, bytes] = field(repr=False)  # a client's key is among them

    @classmethod
    def from_raw(cls, raw: Iterable[tuple[bytes, bytes]]) -> Self:
        """Return the headers of an ASGI scope or the like."""
        values: dict[bytes, bytes] = {}
        for any_case, padded in raw:
            name, value = any_case.lower(), padded.strip()
            values[name] = values[name] + b", " + value if name in values else value
        return cls(MappingProxyType(values))

    def get(self, name: str) -> str:
        """Return a header's value, empty where it is missing."""
        return self.values.get(name.encode(), b"").decode("latin-1")

    @property
    def content_length(self) -> int | None:
        """The announced length in bytes; None where there is none that can be read."""
        text = self.get("content-length")
        return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None  # noqa: PLR2004 - fits 64 bits

    @property
    def has_json_content(self) -> bool:
        """Whether the body is declared to be JSON, in UTF-8 or in no particular charset."""
        kind, _, parameters = self.get("content-type").partition(";")
        charset = _CHARSET.search(parameters)
        return bool(_JSON_TYPE.fullmatch(kind.strip())) and (charset is None or charset[1].lower() in {"utf-8", "utf8"})

    @property
    def asks_for_bypass(self) -> bool:
        """Whether the client asks that this one call is not routed."""
        return self.get(BYPASS_HEADER).lower() == "off"

    @property
    def asks_for_readings(self) -> bool:
        """Whether the client wants to see what the classifier reads of its call."""
        return self.get(EXPLAIN_HEADER).lower() == "true"

    @property
    def hops(self) -> int:
        """Through how many routers of this kind the call has come."""
        return hops_of((HOP_HEADER.encode(), told.encode("latin-1")) for told in self.get(HOP_HEADER).split(","))

    def told(self, name: str) -> str | None:
        """Return what a header says where that is 1 to 256 printable characters of ASCII, else None."""
        value = self.get(name)
        return value if 0 < len(value) <= _MOST_TOLD_CHARS and value.isascii() and value.isprintable() else None

    def percentage(self, name: str) -> float | None:
        """Return what a header says where that is a number from 0 to 100, else None."""
        found = _PERCENTAGE.fullmatch(self.get(name))
        return float(found[0]) if found and float(found[0]) <= 100 else None  # noqa: PLR2004 - percent

    def request_id(self) -> str:
        """Return the client's request id where it is harmless, else a new one."""
        given = self.get("x-request-id")
        return given if _REQUEST_ID.fullmatch(given) else f"req_{secrets.token_hex(12)}"

    def trace_id(self) -> str:
        """Return 32 hex digits: of a valid `traceparent`, else new ones."""
        return self.identity().trace_id

    def identity(self) -> CallIdentity:
        """Return what the call is known by, in events and records."""
        return CallIdentity(request_id=self.request_id(), traceparent=self.get("traceparent"))
