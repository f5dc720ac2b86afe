"""Routing preferences in plain English, and the policy they make up."""

import hashlib
import unicodedata
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Final

MAX_ROUTES: Final = 100
MAX_NAME_CHARS: Final = 64
MAX_DESCRIPTION_CHARS: Final = 2_000
NO_ROUTE_NAME: Final = "other"  # the word by which a classifier says "none of these"


class SelectionPolicy(StrEnum):
    """How the models of a preference are ordered before the first is used."""

    NONE = "none"
    CHEAPEST = "cheapest"
    FASTEST = "fastest"


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingPreference:
    """One route: when to take it, and the models that serve it.

    Attributes:
        name: The route's name.
        description: Plain English; what the classifier compares the conversation with.
        models: Qualified models (`provider/name`); the first serves, the rest follow when it cannot.
        selection_policy: How the models are ordered.
    """

    name: str
    description: str
    models: tuple[str, ...]
    selection_policy: SelectionPolicy = SelectionPolicy.NONE


@dataclass(frozen=True, kw_only=True)
class RoutingPolicy:
    """The whole set of preferences in force for one call; names are unique."""

    preferences: tuple[RoutingPreference, ...] = ()

    @cached_property
    def digest(self) -> bytes:
        """What a classifier's answer depends on: names and descriptions, in their order, as 16 bytes."""
        hasher = hashlib.blake2b(digest_size=16, person=b"plano-policy")
        for preference in self.preferences:
            for text in (preference.name, preference.description):
                data = text.encode("utf-8", "surrogatepass")
                hasher.update(len(data).to_bytes(4, "big") + data)
        return hasher.digest()

    def named(self, route: str) -> RoutingPreference:
        """Return the preference of that name.

        Raises:
            KeyError: There is none.
        """
        for preference in self.preferences:
            if preference.name == route:
                return preference
        raise KeyError(route)


def name_fault(name: str) -> str | None:
    """Return what is wrong with a route name, or None."""
    if not 1 <= len(name) <= MAX_NAME_CHARS:
        return f"a route name has 1 to {MAX_NAME_CHARS} characters"
    categories = {unicodedata.category(char) for char in name}
    if "Cc" in categories:
        return "a route name has no control characters"
    if "Cs" in categories:  # no JSON answer could carry it
        return "a route name has no lone surrogates"
    if name == NO_ROUTE_NAME:
        return f'"{NO_ROUTE_NAME}" is reserved for "none of these"; choose another route name'
    return None


def description_fault(description: str) -> str | None:
    """Return what is wrong with a route description, or None."""
    if not description.strip():
        return "a description says in plain English when to take the route; it cannot be empty"
    if len(description) > MAX_DESCRIPTION_CHARS:
        return f"a description has at most {MAX_DESCRIPTION_CHARS} characters"
    return None
