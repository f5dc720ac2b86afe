"""The bounded store in memory."""

import time

from plano_asgi.stores import MemoryStore


def test_a_store_forgets_what_was_used_longest_ago() -> None:
    """A full store drops the value whose last use, be it read or write, lies furthest back."""
    store: MemoryStore[str, int] = MemoryStore(size=2)
    store.put("a", 1)
    store.put("b", 2)
    store.get("a")
    store.put("c", 3)

    assert [store.get(key) for key in "abc"] == [1, None, 3]


def test_a_store_forgets_what_is_too_old() -> None:
    """A value is kept for its time to live and no longer."""
    store: MemoryStore[str, int] = MemoryStore(size=2, ttl_s=0.05)
    store.put("a", 1)
    assert store.get("a") == 1

    time.sleep(0.1)

    assert store.get("a") is None
    assert len(store) == 0


def test_a_store_of_no_size_keeps_nothing() -> None:
    """A size of 0 switches a store off without an error."""
    store: MemoryStore[str, int] = MemoryStore(size=0)

    store.put("a", 1)

    assert store.get("a") is None
    assert len(store) == 0
