"""JSON objects whose fields are taken one by one; what nobody takes is a loss, so that nothing is lost in silence."""

from collections.abc import Collection, Sequence

from plano_asgi.translate.losses import Losses, safe_place
from plano_asgi.wire.exact_json import ExactNumber
from plano_asgi.wire.fields import Fields, a_string, an_array, an_object, invalid, missing, place, wrong_type

NO_SUCH_FIELD = "the other API has no such field"
NOTHING: Collection[object] = (None, "", [], {})  # values that say nothing


class Taking:
    """One JSON object of a body, at a place; a field of the wrong type is a `WireFormatError` that names its place.

    Attributes:
        at: Where the object stands in the body.
        losses: Where losses are noted.
    """

    def __init__(self, fields: Fields, at: str, losses: Losses) -> None:
        """Take nothing yet."""
        self._fields = fields
        self._taken: set[str] = set()
        self.at = at
        self.losses = losses

    def place(self, key: str) -> str:
        """Return where a field stands."""
        return place(self.at, key)

    def take(self, key: str) -> object:
        """Return a field's value; a missing one is None."""
        self._taken.add(key)
        return self._fields.get(key)

    def text(self, key: str) -> str | None:
        """Return a string, or None."""
        value = self.take(key)
        return None if value is None else a_string(value, self.place(key))

    def required_text(self, key: str) -> str:
        """Return a string that must be there."""
        value = self.text(key)
        if value is None:
            raise missing(self.place(key))
        return value

    def choice(self, key: str, allowed: Collection[str]) -> str | None:
        """Return one of the strings allowed, or None."""
        value = self.text(key)
        if value is not None and value not in allowed:
            raise invalid(self.place(key), f"expected one of {', '.join(sorted(allowed))}")
        return value

    def flag(self, key: str) -> bool | None:
        """Return true, false or None."""
        value = self.take(key)
        if value is not None and not isinstance(value, bool):
            raise wrong_type(self.place(key), "true or false")
        return value

    def whole(self, key: str) -> int | None:
        """Return a whole number, or None."""
        value = self.take(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            raise wrong_type(self.place(key), "a whole number")
        return value

    def number(self, key: str) -> float | ExactNumber | None:
        """Return a number, or None."""
        value = self.take(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float | ExactNumber)):
            raise wrong_type(self.place(key), "a number")
        return value

    def fields(self, key: str) -> Fields | None:
        """Return an object as it is, or None."""
        value = self.take(key)
        return None if value is None else an_object(value, self.place(key))

    def child(self, key: str) -> "Taking | None":
        """Return an object, to take from; or None."""
        value = self.fields(key)
        return None if value is None else Taking(value, self.place(key), self.losses)

    def required_child(self, key: str) -> "Taking":
        """Return an object that must be there, to take from."""
        child = self.child(key)
        if child is None:
            raise missing(self.place(key))
        return child

    def children(self, key: str) -> "Sequence[Taking]":
        """Return the objects of an array, to take from; none where there is no array."""
        value = self.take(key)
        return () if value is None else children(value, self.place(key), self.losses)

    def lose(self, key: str, why: str, *, unless: Collection[object] = NOTHING) -> None:
        """Take a field that cannot be carried; it is a loss unless it says nothing or is one of those values."""
        value = self.take(key)
        if value is not None and value not in unless and value not in NOTHING:
            self.losses.add(safe_place(self.at, key), why)

    def ignore(self, *keys: str) -> None:
        """Take fields that tell nothing which a translation should carry."""
        self._taken.update(keys)

    def rest(self, why: str = NO_SUCH_FIELD) -> None:
        """Note every field that nobody has taken, and that says something, as a loss."""
        for key in [key for key in self._fields if key not in self._taken]:
            self.lose(key, why)


def children(value: object, at: str, losses: Losses) -> Sequence[Taking]:
    """Return the objects of an array that may be empty, to take from."""
    elements = an_array(value, at, allow_empty=True)
    places = [place(at, index) for index in range(len(elements))]
    return [Taking(an_object(element, there), there, losses) for element, there in zip(elements, places, strict=True)]
