"""Which tokenizers count, and which models are counted by the rule instead."""

from collections.abc import Iterator
from time import perf_counter

from plano_asgi.assembly import Service
from plano_asgi.cli.findings import Finding
from plano_asgi.tokens import LateTokenizer
from plano_asgi.tokens.loading import ENCODINGS, is_on_this_machine


def examine_tokenizers(service: Service, *, is_online: bool) -> Iterator[Finding]:
    """Yield what came of loading each tokenizer, and who has none although something is limited.

    Args:
        service: The service; its tokenizers are loaded.
        is_online: Whether an encoding may be downloaded that is not on this machine.
    """
    for tokenizer in service.tokens.tokenizers:
        yield _loaded(tokenizer, is_online=is_online)
    models = [provider.model for provider in service.settings.catalog.providers]
    if service.governor and service.governor.quotas:
        by_rule = [model for model in models if not service.tokens.has_tokenizer(model)]
        told = f"counted by the rule for {', '.join(by_rule)}; see tokenizer of model_providers"
        yield Finding("tokens", told if by_rule else "counted by each model's own tokenizer")


def _loaded(tokenizer: LateTokenizer, *, is_online: bool) -> Finding:
    subject = f"tokenizer {tokenizer.name}"
    if tokenizer.name in ENCODINGS and not (is_online or is_on_this_machine(tokenizer.name)):
        return Finding(subject, "is not on this machine; each start downloads it where it can (--online tries it)")
    started = perf_counter()
    tokenizer.load()
    if tokenizer.counter is None:
        return Finding(subject, f"cannot be loaded, so the rule counts: {tokenizer.problem}", ok=False)
    return Finding(subject, f"loaded in {perf_counter() - started:.1f} s", ok=True)
