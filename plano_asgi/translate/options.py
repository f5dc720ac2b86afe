"""A call's options as a writer takes them: what its API has no place for becomes a loss at the end."""

from collections.abc import Iterable, Mapping

from plano_asgi.translate.call import Option
from plano_asgi.translate.losses import Losses
from plano_asgi.translate.taking import NO_SUCH_FIELD, NOTHING, Taking
from plano_asgi.wire.exact_json import ExactNumber

_HARMLESS: Mapping[str, object] = {
    "store": False,
    "service_tier": "auto",
    "parallel_tool_calls": True,
    "truncation": "disabled",
}


class Options:
    """The options of one call, to take from while its body is written."""

    def __init__(self, options: Mapping[str, Option], losses: Losses) -> None:
        """Take nothing yet."""
        self._left = dict(options)
        self._losses = losses

    def take(self, name: str) -> Option | None:
        """Return an option, or None where the call has no such."""
        return self._left.pop(name, None)

    def peek(self, name: str) -> object:
        """Return an option's value, or None, without taking it."""
        return self._left[name].value if name in self._left else None

    def put_back(self, name: str, option: Option) -> None:
        """Undo the taking of an option that turned out to have no place."""
        self._left[name] = option

    def value(self, name: str) -> object:
        """Return an option's value, or None."""
        option = self.take(name)
        return None if option is None else option.value

    def clamped(self, name: str, *, most: float) -> object:
        """Return a number that is at most `most`; a greater one is a loss."""
        option = self.take(name)
        if option is None:
            return None
        value = option.value
        number = float(value.text) if isinstance(value, ExactNumber) else value
        if isinstance(number, int | float) and number > most:
            self._losses.add(option.at, f"the other API allows at most {most:g}, which was sent")
            return most
        return value

    def lose(self, name: str, why: str) -> None:
        """Note an option as lost, where the call has it."""
        option = self.take(name)
        if option is not None:
            self._losses.add(option.at, why)

    def rest(self) -> None:
        """Note every option that nobody has taken as a loss, but for those that ask for what happens anyway."""
        for name in list(self._left):
            if self._left[name].value == _HARMLESS.get(name, NOTHING):
                self.take(name)
            self.lose(name, NO_SUCH_FIELD)


def read_options(body: Taking, names: Iterable[str]) -> dict[str, Option]:
    """Return those of the fields that are there and say something, as options."""
    values = {name: body.take(name) for name in names}
    return {name: Option(value, body.place(name)) for name, value in values.items() if value not in NOTHING}


def read_numbers(body: Taking, names: Iterable[str]) -> dict[str, Option]:
    """Return those of the fields that are there, as options; each is a number."""
    values = {name: body.number(name) for name in names}
    return {name: Option(value, body.place(name)) for name, value in values.items() if value is not None}


def without_none(fields: Mapping[str, object]) -> dict[str, object]:
    """Return the fields that have a value."""
    return {key: value for key, value in fields.items() if value is not None}
