"""Guardrails out of settings."""

from typing import TYPE_CHECKING, Final

from plano_asgi.errors import ConfigurationError, Fault
from plano_asgi.guard import Chain, Guard, Guardrail
from plano_asgi.guard.bounded_patterns import BoundedPattern, bounded_pattern
from plano_asgi.guard.filters import (
    FormDetector,
    InjectionFilter,
    LanguageFilter,
    PatternFilter,
    PersonalDataFilter,
    SizeFilter,
)
from plano_asgi.guard.filters.injection import injection_rules
from plano_asgi.guard.pii import Kind
from plano_asgi.guard.threads import OwnThreads
from plano_asgi.guard.verdicts import Filter, TextFilter
from plano_asgi.settings import Settings

if TYPE_CHECKING:
    from plano_asgi.settings.guardrails_schema import ChainSettings, FilterSettings, GuardrailSettings

CONNECTIONS: Final = 64
CONNECT_S: Final = 2.0
INJECTION_THRESHOLD: Final = 0.7
LANGUAGE_THRESHOLD: Final = 0.6
PRESIDIO_THRESHOLD: Final = 0.4


def build_guard(settings: Settings) -> Guard | None:
    """Return what guards the calls of a service; None where nothing may be changed.

    Raises:
        ConfigurationError: A pattern could take too long, or a filter, a model or a language is not to be had.
        MissingExtraError: A guardrail needs an extra that is not installed.
    """
    written = settings.guardrails
    if settings.mode == "observe":
        return None
    outside = {one.id: _outside(settings, one, index) for index, one in enumerate(settings.filters)}
    return Guard(
        everywhere=_chain(written, outside, "guardrails"),
        by_route={name: _chain(chain, outside, f"guardrails.routes.{name}") for name, chain in written.routes.items()},
        holds_answers=written.hold == "answer",
        most_held_bytes=written.hold_bytes,
    )


def _chain(written: "ChainSettings", outside: dict[str, Filter], where: str) -> Chain:
    return Chain(
        calls=tuple(_guardrail(one, outside, f"{where}.calls[{n}]") for n, one in enumerate(written.calls)),
        answers=tuple(_guardrail(one, outside, f"{where}.answers[{n}]") for n, one in enumerate(written.answers)),
    )


def _guardrail(one: "GuardrailSettings", outside: dict[str, Filter], where: str) -> Guardrail:
    deadline_s = one.deadline_ms / 1000
    judge: Filter
    texts: TextFilter | None = None
    if one.filter in {"pii", "patterns", "size"}:
        judge = texts = _text_filter(one, deadline_s, where)
    elif one.filter in {"injection", "languages", "presidio"}:
        judge = _call_filter(one, deadline_s, where)
    else:
        judge = outside[one.filter]
    return Guardrail(
        name=one.filter,
        filter=judge,
        texts=texts,
        deadline_s=deadline_s,
        fails_open=one.on_failure == "fail_open",
    )


def _call_filter(one: "GuardrailSettings", deadline_s: float, where: str) -> Filter:
    if one.filter == "presidio":
        return _presidio(one, deadline_s, where)
    if one.filter == "languages":
        return _languages(one, deadline_s, where)
    return InjectionFilter(
        name=one.filter,
        blocks=one.action != "report",
        threshold=INJECTION_THRESHOLD if one.threshold is None else one.threshold,
        deadline_s=deadline_s,
        rules=injection_rules(),
    )


def _languages(one: "GuardrailSettings", deadline_s: float, where: str) -> LanguageFilter:
    from plano_asgi.guard.outside.language_model import language_model  # noqa: PLC0415 - only where the settings ask

    model = language_model()
    if unknown := model.unknown((*one.allow, *one.deny)):
        side = "allow" if one.allow else "deny"
        what = f"{', '.join(unknown)}: no language that can be told from others; remove it"
        raise ConfigurationError([Fault(where=f"{where}.{side}", what=what)])
    return LanguageFilter(
        name=one.filter,
        blocks=one.action != "report",
        allow=frozenset(one.allow),
        deny=frozenset(one.deny),
        threshold=LANGUAGE_THRESHOLD if one.threshold is None else one.threshold,
        blocks_unsure=one.unsure == "block",
        deadline_s=deadline_s,
        identify=model.identify,
    )


def _presidio(one: "GuardrailSettings", deadline_s: float, where: str) -> PersonalDataFilter:
    from plano_asgi.guard.outside.presidio import presidio_detector  # noqa: PLC0415 - only where the settings ask

    detector = presidio_detector(
        languages=one.languages or ("en",),
        models=one.models or {},
        entities=one.entities or (),
        threshold=PRESIDIO_THRESHOLD if one.threshold is None else one.threshold,
        where=where,
    )
    return PersonalDataFilter(
        name=one.filter,
        action=one.action or "mask",
        detector=detector,
        restores=one.restore is not False,
        deadline_s=deadline_s,
        threads=OwnThreads(),
    )


def _text_filter(one: "GuardrailSettings", deadline_s: float, where: str) -> TextFilter:
    if one.filter == "pii":
        kinds = frozenset(map(Kind, one.kinds)) if one.kinds else frozenset(Kind)
        return PersonalDataFilter(
            name=one.filter,
            action=one.action or "mask",
            detector=FormDetector(kinds),
            restores=one.restore is not False,
            deadline_s=deadline_s,
        )
    if one.filter == "size":
        return SizeFilter(name=one.filter, characters=one.characters, messages=one.messages)
    return PatternFilter(
        name=one.filter,
        blocks=one.action != "report",
        deny=_patterns(one.deny, f"{where}.deny"),
        allow=_patterns(one.allow, f"{where}.allow"),
        deadline_s=deadline_s,
    )


def _patterns(written: tuple[str, ...], where: str) -> tuple[BoundedPattern, ...]:
    patterns, faults = [], []
    for index, text in enumerate(written):
        try:
            patterns.append(bounded_pattern(text))
        except ValueError as error:
            faults.append(Fault(where=f"{where}[{index}]", what=str(error)))
    if faults:
        raise ConfigurationError(faults)
    return tuple(patterns)


def _outside(settings: Settings, one: "FilterSettings", index: int) -> Filter:
    if one.type == "http":
        from plano_asgi.guard.outside.http_filter import HttpFilter  # noqa: PLC0415 - brings an HTTP client along
        from plano_asgi.net import StreamingClient  # noqa: PLC0415 - same

        client = StreamingClient(connections=CONNECTIONS, connect_s=CONNECT_S)
        return HttpFilter(name=one.id, url=one.url or "", client=client, most_bytes=settings.limits.body_bytes)
    from plano_asgi.guard.outside.python_filter import python_filter  # noqa: PLC0415 - only where the settings ask

    try:
        return python_filter(one.id, one.entry_point or one.id)
    except Exception as error:  # whatever a package raises as it is imported
        what = f"the entry point cannot be loaded ({type(error).__name__}); reinstall the package that has it"
        raise ConfigurationError([Fault(where=f"filters[{index}]", what=what)]) from error
