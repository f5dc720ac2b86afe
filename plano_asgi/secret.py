"""Credentials: one that never shows itself, and the headers that they come in."""

from typing import Final, NoReturn

KEY_HEADERS: Final = ("x-api-key", "api-key", "authorization")  # in which callers show their keys
_MASK: Final = "**********"


class Secret:
    """Text that no `repr`, `str`, f-string or pickle reveals; `reveal()` is the one way to read it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        """Keep the value."""
        self._value = value

    def reveal(self) -> str:
        """Return the secret text; for the line of code that sends it and no other."""
        return self._value

    def __repr__(self) -> str:
        """Return a mask of fixed length."""
        return f"Secret({_MASK!r})"

    def __str__(self) -> str:
        """Return a mask of fixed length."""
        return _MASK

    def __eq__(self, other: object) -> bool:
        """Compare the secret texts."""
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        """Hash the secret text."""
        return hash((Secret, self._value))

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled."""
        message = "a Secret cannot be pickled; pass the name of its environment variable instead"
        raise TypeError(message)
