"""The shape of the settings, derived from the schema: what exists, what each place expects, and what is nearest."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from enum import Enum, auto
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from plano_asgi.settings.draft import Keys
from plano_asgi.settings.schema import ENV_PREFIX, PlanoSettings

_LEAST_LIKENESS: Final = 0.6
_SAME_LEVEL_BONUS: Final = 0.15  # a name beside the unknown one is likelier than the same name elsewhere
_COMPARED_CHARS: Final = 200
_INDEX = re.compile(r"(?<=__)\d+(?=__|$)")


class Kind(Enum):
    """What a place in the settings holds."""

    SECTION = auto()
    LIST = auto()
    MAP = auto()
    FLAG = auto()
    WHOLE = auto()
    NUMBER = auto()
    TEXT = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """One place in the settings.

    Attributes:
        kind: What it holds.
        expects: A sentence that says so, without a value.
        children: The settings of a section.
        item: What each entry of a list or map is.
    """

    kind: Kind
    expects: str
    children: Mapping[str, "Outline"] = field(default_factory=dict)
    item: "Outline | None" = None


@cache
def outline() -> Outline:
    """Return the outline of all settings."""
    return _section(PlanoSettings)


def outline_at(keys: Keys) -> Outline | None:
    """Return what a path is expected to hold, or None where there is no such setting."""
    here: Outline | None = outline()
    for key in keys:
        if here is None:
            return None
        is_entry = here.kind is Kind.MAP or (here.kind is Kind.LIST and isinstance(key, int))
        here = here.item if is_entry else here.children.get(str(key))
    return here


def known_settings() -> tuple[str, ...]:
    """Return every setting as a dotted path, in the schema's order; `[]` stands for an index."""
    return tuple(_leaves(outline(), ""))


def variable_name(setting: str) -> str:
    """Return the environment variable of a setting; the first entry's, where it is in a list."""
    return ENV_PREFIX + setting.replace("[]", ".0").replace(".", "__").upper()


def nearest_setting(keys: Keys) -> str | None:
    """Return the known setting that an unknown path most likely means, or None."""
    level = re.sub(r"\[\d+\]", "[]", "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys[:-1]))
    asked = str(keys[-1])[:_COMPARED_CHARS].lower()
    best, setting = 0.0, None
    for known in _everything(outline(), ""):
        parent, _, name = known.rpartition(".")
        likeness = SequenceMatcher(None, asked, name).ratio()
        likeness += _SAME_LEVEL_BONUS if parent == level.removeprefix(".") else -_SAME_LEVEL_BONUS
        if likeness > max(best, _LEAST_LIKENESS):
            best, setting = likeness, known
    return setting


def nearest_variable(name: str) -> str | None:
    """Return the known variable that an unknown one most likely means, with its indices, or None."""
    asked = _INDEX.sub("0", name[:_COMPARED_CHARS]).upper()
    likely = [(SequenceMatcher(None, asked, known).ratio(), known) for known in _variables()]
    likeness, known = max(likely)
    if likeness <= _LEAST_LIKENESS:
        return None
    indices = iter(_INDEX.findall(name))
    return _INDEX.sub(lambda found: next(indices, found.group()), known)


@cache
def _variables() -> tuple[str, ...]:
    """Return the variable of every setting, and the one that names the file."""
    return (*(variable_name(setting) for setting in _everything(outline(), "")), f"{ENV_PREFIX}CONFIG_FILE")


def _everything(place: Outline, path: str) -> Iterator[str]:
    """Yield the path of every setting, sections and lists included."""
    for name, child in place.children.items():
        here = f"{path}.{name}".removeprefix(".")
        yield here
        if child.children:
            yield from _everything(child, here)
        elif child.item and child.kind is Kind.LIST:
            yield from _everything(child.item, f"{here}[]")


def _leaves(place: Outline, path: str) -> Iterator[str]:
    """Yield the path of every setting that holds a value of its own."""
    for known in _everything(place, path):
        found = outline_at(tuple(_keys(known)))
        has_parts = bool(found and found.kind is Kind.LIST and found.item and found.item.children)
        if found and not found.children and not has_parts:
            yield known


def _keys(setting: str) -> Iterator[str | int]:
    """Yield the keys of a dotted path, 0 for each `[]`."""
    for part in setting.split("."):
        yield part.removesuffix("[]")
        if part.endswith("[]"):
            yield 0


def _section(model: type[BaseModel]) -> Outline:
    """Return the outline of a group of settings."""
    children = {name: _place(info.annotation, info.metadata) for name, info in model.model_fields.items()}
    return Outline(kind=Kind.SECTION, expects="expected a mapping, one `key: value` a line", children=children)


def _place(annotation: object, metadata: list[object]) -> Outline:  # noqa: PLR0911  # one return for each kind
    """Return the outline of one annotation with its constraints."""
    annotation, metadata = _unwrapped(annotation, metadata)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return _section(annotation)
    if origin is tuple:
        least = "a list that is not empty" if _bound(metadata, "min_length") else "a list"
        return Outline(kind=Kind.LIST, expects=f"expected {least}", item=_place(arguments[0], []))
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        item = _place(arguments[1], [])
        of_what = "mappings" if item.children else "text"
        return Outline(kind=Kind.MAP, expects=f"expected a mapping of names to {of_what}", item=item)
    if origin is Literal or (isinstance(annotation, type) and issubclass(annotation, Enum)):
        choices = arguments or tuple(member.value for member in annotation)  # type: ignore[attr-defined]  # an Enum
        kind = Kind.WHOLE if all(isinstance(choice, int) for choice in choices) else Kind.TEXT
        return Outline(kind=kind, expects=f"expected one of {', '.join(map(str, choices))}")
    if annotation is bool:
        return Outline(kind=Kind.FLAG, expects="expected true or false")
    if annotation in {int, float}:
        kind, noun = (Kind.WHOLE, "a whole number") if annotation is int else (Kind.NUMBER, "a number")
        return Outline(kind=kind, expects=f"expected {noun} {_range(metadata)}")
    return Outline(kind=Kind.TEXT, expects="expected text; put it in quotes")


def _unwrapped(annotation: object, metadata: list[object]) -> tuple[object, list[object]]:
    """Return an annotation without `| None` and `Annotated`, and all the constraints it carried."""
    while True:
        origin, arguments = get_origin(annotation), get_args(annotation)
        if origin in {Union, UnionType}:
            annotation = next(argument for argument in arguments if argument is not NoneType)
        elif origin is Annotated:
            annotation, metadata = arguments[0], [*metadata, *arguments[1:]]
        else:
            return annotation, metadata


def _bound(metadata: list[object], name: str) -> object:
    """Return a constraint of that name, or None."""
    for constraint in metadata:
        inner = constraint.metadata if isinstance(constraint, FieldInfo) else [constraint]
        for candidate in inner:
            if (found := getattr(candidate, name, None)) is not None:
                return found
    return None


def _range(metadata: list[object]) -> str:
    """Return the words for the bounds of a number."""
    least, above, most = (_bound(metadata, name) for name in ("ge", "gt", "le"))
    lower = f"above {above}" if above is not None else f"of at least {least}"
    return f"{lower} and at most {most}" if above is not None or least != 0 else f"from {least} to {most}"
