"""Bounded stores behind one small protocol."""

from typing import Protocol, TypeVar

from plano_asgi.stores.memory import MemoryStore

__all__ = ["MemoryStore", "Store"]

_Key_contra = TypeVar("_Key_contra", contravariant=True)
_Value = TypeVar("_Value")


class Store(Protocol[_Key_contra, _Value]):
    """A bounded map that may forget what it was given, at any time; thread-safe."""

    def get(self, key: _Key_contra) -> _Value | None:
        """Return what is kept under the key, or None."""

    def put(self, key: _Key_contra, value: _Value) -> None:
        """Keep a value under the key."""
