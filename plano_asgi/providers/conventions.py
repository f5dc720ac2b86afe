"""What is known of a provider by its name alone; the facts themselves are in `table`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from plano_asgi.conversation import ApiFormat
from plano_asgi.providers.formats import ProviderFormat

USUAL_PATHS: Final[Mapping[ProviderFormat, str]] = MappingProxyType(
    {
        ProviderFormat.CHAT_COMPLETIONS: "/chat/completions",
        ProviderFormat.MESSAGES: "/messages",
        ProviderFormat.RESPONSES: "/responses",
        ProviderFormat.BEDROCK_CONVERSE: "/model/{model}/converse",
    }
)
_CHAT_ONLY: Final = frozenset({ProviderFormat.CHAT_COMPLETIONS})
_PREFERRED: Final = (  # in which a call of another API is put, the first that is spoken
    ProviderFormat.CHAT_COMPLETIONS,
    ProviderFormat.MESSAGES,
    ProviderFormat.RESPONSES,
    ProviderFormat.BEDROCK_CONVERSE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Convention:
    """What is known of a provider by its name alone.

    Attributes:
        base_url: Its URL as the official SDK takes it: Anthropic's where Messages is all it speaks, else OpenAI's.
            `{region}` and `{project}` stand for those of the configuration. None where each customer has its own.
        key_variables: Environment variables that its key is usually kept in, the likeliest first.
        needs_key: Whether it answers nobody without a key.
        key_header: The header that carries its key as it is; None for a bearer token.
        bearer_since: The version of the API from which on its key is a bearer token all the same; None for never.
        signed_for: The AWS service for which a call is signed where there is no key; None where none is.
        speaks: The APIs it serves natively.
        paths: Where an API is below `base_url`, if not at its usual place; a `base_url` that ends in `/v1` has all of
            them there. `{model}` stands for the model.
        region_variables: Environment variables that tell `region`, the likeliest first.
        project_variables: The same of `project`.
        api_formats: Those of the APIs it serves that callers use too.
    """

    base_url: str | None = None
    key_variables: tuple[str, ...] = ()
    needs_key: bool = True
    key_header: str | None = None
    bearer_since: str | None = None
    signed_for: str | None = None
    speaks: frozenset[ProviderFormat] = _CHAT_ONLY
    paths: Mapping[ProviderFormat, str] = field(default_factory=dict)
    region_variables: tuple[str, ...] = ()
    project_variables: tuple[str, ...] = ()
    api_formats: frozenset[ApiFormat] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Freeze the mapping, and tell which of its APIs callers use too."""
        object.__setattr__(self, "paths", MappingProxyType(dict(self.paths)))
        of_callers = frozenset(
            api_format for api_format in ApiFormat if ProviderFormat(api_format.value) in self.speaks
        )
        object.__setattr__(self, "api_formats", of_callers)

    @property
    def native_format(self) -> ProviderFormat:
        """The API in which it is asked where it does not speak the caller's."""
        return next(preferred for preferred in _PREFERRED if preferred in self.speaks)

    @property
    def api_format(self) -> ApiFormat:
        """The API whose SDK takes `base_url`."""
        return ApiFormat.MESSAGES if self.speaks == {ProviderFormat.MESSAGES} else ApiFormat.CHAT_COMPLETIONS

    def is_known_url(self, url: str) -> bool:
        """Return whether a URL is the one that is known, in whichever region and project."""
        fixed = map(re.escape, re.split(r"\{\w+\}", (self.base_url or "").rstrip("/")))
        return bool(self.base_url and re.fullmatch("[a-zA-Z0-9-]+".join(fixed), url.rstrip("/")))

    def path_of(self, provider_format: ProviderFormat, *, base_url: str, is_stream: bool) -> str:
        """Return where an API is served below a URL; `{model}` stands for the model, where that is part of it."""
        path = USUAL_PATHS[provider_format]
        if not base_url.endswith("/v1"):
            path = self.paths.get(provider_format, path)
        return f"{path}-stream" if is_stream and provider_format is ProviderFormat.BEDROCK_CONVERSE else path
