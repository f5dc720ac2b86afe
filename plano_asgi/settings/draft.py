"""Settings under construction: one tree of values, where each came from, and what is wrong so far."""

from dataclasses import dataclass, field
from typing import Final

from plano_asgi.errors import Fault

Keys = tuple[str | int, ...]

_SHOWN_KEY_CHARS: Final = 64


def dotted(keys: Keys) -> str:
    """Return a path as people write it, e.g. `model_providers[1].model`; unprintable or long keys are abridged."""
    text = ""
    for key in keys:
        if isinstance(key, int):
            text += f"[{key}]"
        else:
            shown = key if key.isprintable() else ascii(key)
            text += f".{shown if len(shown) <= _SHOWN_KEY_CHARS else shown[:_SHOWN_KEY_CHARS] + '...'}"
    return text.removeprefix(".")


@dataclass(slots=True, kw_only=True)
class Draft:
    """What the sources have said so far; later sources overlay earlier ones.

    Attributes:
        values: The merged tree: dicts, lists, scalars and `Secret`s.
        origins: Where the value at a path came from; a path without an entry has the origin of its nearest parent.
        faults: Everything found wrong, in the order it was found.
        warnings: Everything that is accepted but has no effect.
    """

    values: dict[str, object] = field(default_factory=dict, repr=False)
    origins: dict[Keys, str] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def at(self, *keys: str | int) -> object:
        """Return the value at a path, or None where there is none."""
        value: object = self.values
        for key in keys:
            value = _child(value, key)
        return value

    def mappings(self, *keys: str | int) -> list[tuple[Keys, dict[str, object]]]:
        """Return path and content of each mapping in the list at a path; whatever else is there is passed over."""
        found = self.at(*keys)
        entries: list[object] = found if isinstance(found, list) else []
        return [((*keys, index), entry) for index, entry in enumerate(entries) if isinstance(entry, dict)]

    def origin(self, keys: Keys) -> str:
        """Return where the value at a path, or else its nearest parent, came from."""
        for length in range(len(keys), 0, -1):
            if keys[:length] in self.origins:
                return self.origins[keys[:length]]
        return "" if keys else self.origins.get((), "")

    def place(self, keys: Keys) -> str:
        """Return a path with its origin, for a sentence that points to it."""
        origin = self.origin(keys)
        return f"{dotted(keys)} ({origin})" if origin else dotted(keys)

    def fault(self, keys: Keys, what: str, *, is_unknown: bool = False) -> None:
        """Record that the value at a path is wrong, or that there is no such setting."""
        fault = Fault(where=dotted(keys), what=what, origin=self.origin(keys), is_unknown=is_unknown)
        self.faults.append(fault)

    def warn(self, keys: Keys, what: str) -> None:
        """Record that the value at a path has no effect."""
        self.warnings.append(str(Fault(where=dotted(keys), what=what, origin=self.origin(keys))))

    def put(self, keys: Keys, value: object, *, origin: str) -> None:
        """Overlay a value: mappings merge, all else replaces; a list may grow by its next index.

        Where a parent has the wrong shape the value is dropped: that parent is a fault of its own.
        """
        container: object = self.values
        for depth in range(1, len(keys)):
            path = keys[:depth]
            new: object = [] if isinstance(keys[depth], int) else {}
            if self._has_room(container, path, origin) and _child(container, keys[depth - 1]) is None:
                self._write(container, path, new, origin)
            container = _child(container, keys[depth - 1])
        if self._has_room(container, keys, origin):
            self._overlay(container, keys, value, origin)

    def _has_room(self, container: object, keys: Keys, origin: str) -> bool:
        """Return whether a container can hold the last key of a path; a skipped index is a fault."""
        key = keys[-1]
        if isinstance(container, list) and isinstance(key, int):
            if key > len(container):
                what = f"the list has {len(container)} entries, so the next index is {len(container)}"
                self.faults.append(Fault(where=dotted(keys), what=what, origin=origin))
            return key <= len(container)
        return isinstance(container, dict) and isinstance(key, str)

    def _overlay(self, container: object, keys: Keys, value: object, origin: str) -> None:
        """Merge a mapping into a mapping; replace anything else."""
        existing = _child(container, keys[-1])
        if isinstance(existing, dict) and isinstance(value, dict):
            for name, inner in value.items():
                self._overlay(existing, (*keys, name), inner, origin)
        else:
            self.origins = {path: held for path, held in self.origins.items() if path[: len(keys)] != keys}
            self._write(container, keys, value, origin)

    def _write(self, container: object, keys: Keys, value: object, origin: str) -> None:
        """Set the last key of a path; the index after the last appends."""
        key = keys[-1]
        if isinstance(container, dict):
            container[key] = value
        elif isinstance(container, list) and isinstance(key, int):
            container[key : key + 1] = [value]
        self.origins[keys] = origin


def _child(container: object, key: str | int) -> object:
    """Return what a container holds under a key, or None."""
    found: object = None
    if isinstance(container, dict):
        found = container.get(key)
    elif isinstance(container, list) and isinstance(key, int) and key < len(container):
        found = container[key]
    return found
