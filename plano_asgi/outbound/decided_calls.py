"""What calls were decided that have failed: when an SDK tries one of them again, it keeps its model."""

import re
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from plano_asgi.decisions import RoutingDecision
from plano_asgi.intake import Headers
from plano_asgi.stores import MemoryStore

MOST_KEPT: Final = 1_000
KEPT_S: Final = 900.0  # longer than SDKs go on trying
_RETRY: Final = re.compile(r"[1-9][0-9]{0,3}")


@dataclass(frozen=True, slots=True)
class FirstTry:
    """A call that failed here; without a decision where it could not be decided."""

    decision: RoutingDecision | None


class DecidedCalls:
    """Remembers how the 1,000 calls that failed last were decided, each for 15 minutes; holds no text of a call."""

    def __init__(self) -> None:
        """Start with none."""
        self._tries: MemoryStore[bytes, FirstTry] = MemoryStore(size=MOST_KEPT, ttl_s=KEPT_S)

    def recall(self, headers: Headers, body: bytes) -> FirstTry | None:
        """Return what is known of a call that is tried again; None for one that is new, or forgotten."""
        return self._tries.get(_key(headers, body)) if is_retry(headers) else None

    def remember(self, headers: Headers, body: bytes, decision: RoutingDecision | None) -> None:
        """Keep the decision of a call that may be tried again; None where there is none."""
        self._tries.put(_key(headers, body), FirstTry(decision))


def is_retry(headers: Headers) -> bool:
    """Return whether an SDK makes the call a second time, or a later one, as it says in `x-stainless-retry-count`."""
    return _RETRY.fullmatch(headers.get("x-stainless-retry-count")) is not None


def _key(headers: Headers, body: bytes) -> bytes:
    """Return what tells one logical call from another: the body, and the idempotency key where there is one."""
    return blake2b(body, key=blake2b(headers.get("idempotency-key").encode(), digest_size=32).digest()).digest()
