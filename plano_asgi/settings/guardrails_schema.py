"""The settings of guardrails, and of filters that are not ours."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, Strict

from plano_asgi.settings.fields import BaseUrl, EntityName, Flag, LanguageCode, Milliseconds, RouteName, Share, Text
from plano_asgi.settings.section import Section

Action = Literal["mask", "block", "report"]
OnFailure = Literal["fail_closed", "fail_open"]
PersonalKind = Literal["email", "phone", "card", "iban", "national_id", "ip", "secret"]
Most = Annotated[int, Strict(), Field(ge=1, le=1_000_000_000)]


class FilterSettings(Section):
    """A filter that is not ours; the form is Plano's.

    Attributes:
        id: What guardrails name it by.
        type: Whether it is a server, or Python of an installed package.
        url: Where the server is; the path of the API is appended.
        entry_point: The name of the Python in the entry points `plano_asgi.filters`; None for the id.
    """

    id: Text
    type: Literal["http", "python"] = "http"
    url: BaseUrl | None = None
    entry_point: Text | None = None


class GuardrailSettings(Section):
    """One guardrail.

    Attributes:
        filter: `pii`, `presidio`, `injection`, `languages`, `patterns`, `size`, or the id of one of `filters`.
        action: What is done with what is found; None for `mask` of pii and presidio, else `block`.
        kinds: Of pii: what is searched for.
        entities: Of presidio: what is searched for; None for all that can be found.
        languages: Of presidio: what the texts are written in.
        models: Of presidio: the spaCy model of a language.
        restore: Of pii and presidio: whether what is masked in a call is put back in its answer.
        threshold: Of injection and presidio: least score in [0, 1] that counts; of languages: how sure one has to be.
        unsure: Of languages: what becomes of a call of which no text is surely in one.
        deny: Of patterns: what no text may hold; of languages: those that users may not write in.
        allow: Of patterns: of which a call has to hold one; of languages: the only ones that users may write in.
        characters: Of size: most characters.
        messages: Of size: most messages of a call.
        on_failure: Whether what cannot be judged is refused or passes.
        deadline_ms: Milliseconds that it may take.
    """

    filter: Text
    action: Action | None = None
    kinds: Annotated[tuple[PersonalKind, ...], Field(min_length=1)] | None = None
    entities: Annotated[tuple[EntityName, ...], Field(min_length=1)] | None = None
    languages: Annotated[tuple[LanguageCode, ...], Field(min_length=1)] | None = None
    models: Mapping[LanguageCode, Text] | None = None
    restore: Flag | None = None
    threshold: Share | None = None
    unsure: Literal["pass", "block"] | None = None
    deny: tuple[Text, ...] = ()
    allow: tuple[Text, ...] = ()
    characters: Most | None = None
    messages: Most | None = None
    on_failure: OnFailure = "fail_closed"
    deadline_ms: Milliseconds = 1_000.0


class ChainSettings(Section):
    """Guardrails in their order.

    Attributes:
        calls: Of calls.
        answers: Of answers, in `mode: forward`.
    """

    calls: tuple[GuardrailSettings, ...] = ()
    answers: tuple[GuardrailSettings, ...] = ()


class GuardrailsSettings(ChainSettings):
    """All guardrails.

    Attributes:
        hold: Whether a streamed answer passes as it comes, or once all of it is judged.
        hold_bytes: Most bytes of an answer that is held for that.
        routes: Those of calls of one route, by its name; they come after the others.
    """

    hold: Literal["none", "answer"] = "none"
    hold_bytes: Annotated[int, Strict(), Field(ge=1, le=1_073_741_824)] = 1_048_576
    routes: Mapping[RouteName, ChainSettings] = {}
