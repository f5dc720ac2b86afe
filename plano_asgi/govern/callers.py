"""Who calls: what of a request tells one caller from another, and names for callers that give nothing away."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from hmac import compare_digest
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final

import orjson

from plano_asgi.secret import KEY_HEADERS, Secret

RawHeaders = Iterable[tuple[bytes, bytes]]

MOST_KEYS: Final = 4

_KEY_HEADERS: Final = frozenset(name.encode() for name in KEY_HEADERS)

_BEARER: Final = re.compile(r"bearer\s+", re.IGNORECASE)
_NETWORK_BITS: Final = 64  # of IPv6 what a household or a server is given: one may choose all the rest


@dataclass(frozen=True)
class Caller:
    """The one who makes a call; what it sent is not in its `repr`.

    Attributes:
        headers: The request's headers, as an ASGI scope has them.
        address: The client's address; empty where the server does not know it.
    """

    headers: RawHeaders = field(repr=False)
    address: str = field(default="", repr=False)

    def header(self, name: str) -> str:
        """Return a header's value, repeated ones joined by a comma; empty where it is missing."""
        return self._by_name.get(name.lower(), "")

    @cached_property
    def _by_name(self) -> Mapping[str, str]:
        values: dict[str, str] = {}
        for raw_name, raw_value in self.headers:
            name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1").strip()
            values[name] = f"{values[name]}, {value}" if name in values else value
        return values

    @cached_property
    def api_keys(self) -> tuple[str, ...]:
        """The keys that the caller shows, in whichever headers, each once; an empty one where it shows none.

        More than four of them tell nothing of a caller, and are as none: such calls share what all have without a key.
        """
        shown = [value.decode("latin-1").strip() for name, value in self.headers if name.lower() in _KEY_HEADERS]
        keys = dict.fromkeys([_BEARER.sub("", value, count=1) for value in shown if value])
        return tuple(keys) if 0 < len(keys) <= MOST_KEYS else ("",)

    @property
    def network(self) -> str:
        """The caller's address; of IPv6 the network that it is in."""
        try:
            address = ip_address(self.address)
        except ValueError:
            return self.address
        if not isinstance(address, IPv6Address):
            return str(address)
        return str(address.ipv4_mapped or ip_network((address, _NETWORK_BITS), strict=False))


@dataclass(frozen=True, slots=True)
class Selector:
    """Which callers something is for: by a header.

    Attributes:
        header: The header's name.
        value: What it has to be; None for anything, also where it is missing.
    """

    header: str
    value: Secret | None = None

    def admits(self, caller: Caller) -> bool:
        """Return whether it is for this caller."""
        if self.value is None:
            return True
        given, wanted = caller.header(self.header), self.value.reveal()
        return compare_digest(given.encode("utf-8"), wanted.encode("utf-8"))


class Pseudonyms:
    """Turns what tells callers apart into names that can be stored: the same for the same, and nothing in them."""

    def __init__(self, key: bytes) -> None:
        """Use a secret; processes that share counters share it."""
        self._keyed = blake2b(key=blake2b(key).digest(), digest_size=16)

    def of(self, *parts: str) -> str:
        """Return the name for these parts; empty for none."""
        if not parts:
            return ""
        named = self._keyed.copy()
        named.update(orjson.dumps(parts))
        return named.hexdigest()
