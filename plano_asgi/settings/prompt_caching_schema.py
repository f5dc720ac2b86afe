"""The settings of providers' prompt caches."""

from typing import Annotated

from pydantic import Field, Strict

from plano_asgi.settings.fields import Flag
from plano_asgi.settings.section import Section


class PromptCachingSettings(Section):
    """What is done, where we call providers ourselves, so that they keep prompts' beginnings in their caches.

    Attributes:
        inject: Whether calls to Anthropic's API get marks where their caller has set none.
        min_prefix_tokens: Fewest tokens, at four bytes each, of a call that gets any.
    """

    inject: Flag = False
    min_prefix_tokens: Annotated[int, Strict(), Field(ge=1, le=10_000_000)] = 1_024
