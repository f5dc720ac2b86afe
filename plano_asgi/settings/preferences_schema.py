"""The settings of routing preferences with several models."""

from typing import Annotated

from pydantic import Field

from plano_asgi.preferences import SelectionPolicy
from plano_asgi.settings.fields import ModelReference, Prefer
from plano_asgi.settings.providers_schema import NestedPreference
from plano_asgi.settings.section import Section


class Selection(Section):
    """How the models of a preference are ordered."""

    prefer: Prefer = SelectionPolicy.NONE


class TopPreference(NestedPreference):
    """A routing preference written at the top level, with the models that serve it."""

    models: Annotated[tuple[ModelReference, ...], Field(min_length=1)]
    selection_policy: Selection = Selection()
