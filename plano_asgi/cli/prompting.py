"""`plano-asgi prompt`: the exact text that a generative classifier reads of a call."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import typer

from plano_asgi.classify.prompts import CHAT_MARKS, DEFAULT_LIMIT, PromptForm, PromptWriter, estimated_tokens
from plano_asgi.conversation import ApiFormat, LLMCall
from plano_asgi.errors import CallError
from plano_asgi.policy import checked_inline
from plano_asgi.settings import Settings
from plano_asgi.wire import JsonDocument, read_call, read_document


@dataclass(frozen=True, slots=True)
class _Model:
    """What a model has to do with prompts; as good a guess as can be had where there is no model."""

    count_tokens: Callable[[str], int] = estimated_tokens
    limit: int = DEFAULT_LIMIT
    unspeakable: Iterable[str] = CHAT_MARKS
    chat: tuple[str, str] | None = None


def print_prompt(
    settings: Settings, body: bytes, *, form: PromptForm | None, api_format: ApiFormat | None, chat: bool
) -> None:
    """Print the prompt's bytes and nothing else.

    Args:
        settings: The policy, unless the call brings its own, and the form, unless one is given.
        body: A call's body.
        form: Order and wording.
        api_format: The API of the body; None tells it by its keys.
        chat: Whether the chat template goes around the user message.

    Raises:
        typer.BadParameter: The body is not a call that this configuration takes, or there is no chat template.
        ArtifactError: The model's folder does not hold an exported model.
    """
    try:
        call = _read(body, api_format)
        if call.inline_policy is not None:
            checked_inline(call.inline_policy, settings.catalog, allowed=settings.routing.inline == "allow")
    except CallError as error:
        raise typer.BadParameter(str(error), param_hint="BODY") from None
    model = _model(settings)
    before, after = _chat_template(model) if chat else ("", "")
    writer = PromptWriter(
        form or PromptForm(settings.classifier.prompt_form),
        count_tokens=model.count_tokens,
        limit=model.limit,
        unspeakable=model.unspeakable,
    )
    text = writer.write(call.conversation, call.inline_policy or settings.policy)
    typer.echo((before + text + after).encode(), nl=False)  # bytes: UTF-8 whatever the locale


def _model(settings: Settings) -> _Model:
    folder = settings.classifier.model_path
    if settings.classifier.kind not in {"arch_router", "cascade"} or folder is None:
        return _Model()
    from plano_asgi.classify.arch_router.bundle import Bundle  # noqa: PLC0415 - only where the settings ask for it
    from plano_asgi.classify.arch_router.tokens import BundleTokenizer  # noqa: PLC0415 - same

    bundle = Bundle.read(folder)
    tokenizer = BundleTokenizer(bundle)
    return _Model(
        tokenizer.count, bundle.prompt_tokens, tokenizer.special_words, (bundle.chat_before, bundle.chat_after)
    )


def _chat_template(model: _Model) -> tuple[str, str]:
    if model.chat is None:
        raise typer.BadParameter(
            "the chat template is the model's; set classifier.kind: arch_router and classifier.model_path",
            param_hint="--chat",
        )
    return model.chat


def _read(body: bytes, api_format: ApiFormat | None) -> LLMCall:
    document = read_document(body)
    return read_call(document, api_format or _told_by_keys(document))


def _told_by_keys(document: JsonDocument) -> ApiFormat:
    """Return the API that a body's keys speak of; Chat Completions and Messages differ in `system` alone."""
    if "messages" not in document.value:
        return ApiFormat.RESPONSES
    return ApiFormat.MESSAGES if "system" in document.value else ApiFormat.CHAT_COMPLETIONS
