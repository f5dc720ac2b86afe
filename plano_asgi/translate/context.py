"""What is remembered of a request, so that its answer can be translated back."""

from dataclasses import dataclass, field

from plano_asgi.conversation import ApiFormat
from plano_asgi.providers import ProviderFormat
from plano_asgi.wire.fields import Fields


@dataclass(frozen=True, slots=True, kw_only=True)
class TranslationContext:
    """What is remembered of one translated request.

    Attributes:
        source: The caller's API.
        target: The API of the provider.
        model: The model as the provider names it.
        call_id: What ids are made of where the provider gives none.
        now: The time of the call in Unix seconds, for answers that must tell one; 0 where nobody said.
        wants_usage: Whether the caller wants the usage at the end of a stream.
        echoed: Those fields of the request that an answer of the caller's API repeats.
    """

    source: ApiFormat
    target: ProviderFormat
    model: str
    call_id: str
    now: int = 0
    wants_usage: bool = True
    echoed: Fields = field(default_factory=dict, repr=False)

    @property
    def is_native(self) -> bool:
        """Whether caller and provider speak the same API, so that bytes pass as they are."""
        return self.source.value == self.target.value
