"""A target asked within the caller's own run: one call is one run in a trace, whoever answers it."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult

from plano_asgi_langchain.telling import as_chunk
from plano_asgi_langchain.tools import native_options

Messages = list[BaseMessage]
Stop = list[str] | None
Options = dict[str, Any]


def generated(
    target: BaseChatModel,
    messages: Messages,
    stop: Stop,
    run_manager: CallbackManagerForLLMRun | None,
    options: Options,
) -> ChatResult:
    """Return a target's answer."""
    return target._generate(messages, stop=stop, run_manager=run_manager, **native_options(target, options))


async def agenerated(
    target: BaseChatModel,
    messages: Messages,
    stop: Stop,
    run_manager: AsyncCallbackManagerForLLMRun | None,
    options: Options,
) -> ChatResult:
    """Return a target's answer, without blocking the event loop."""
    return await target._agenerate(messages, stop=stop, run_manager=run_manager, **native_options(target, options))


def streamed(
    target: BaseChatModel,
    messages: Messages,
    stop: Stop,
    run_manager: CallbackManagerForLLMRun | None,
    options: Options,
) -> Iterator[ChatGenerationChunk]:
    """Yield a target's answer as it comes; in one chunk where the target does not stream."""
    native = native_options(target, options)
    if target._should_stream(async_api=False, **{**native, "stream": True}):
        yield from target._stream(messages, stop=stop, run_manager=run_manager, **native)
        return
    result = target._generate(messages, stop=stop, run_manager=run_manager, **native)
    yield as_chunk(result.generations[0].message)


async def astreamed(
    target: BaseChatModel,
    messages: Messages,
    stop: Stop,
    run_manager: AsyncCallbackManagerForLLMRun | None,
    options: Options,
) -> AsyncIterator[ChatGenerationChunk]:
    """Yield a target's answer as it comes, without blocking the event loop; as `streamed` otherwise."""
    native = native_options(target, options)
    if target._should_stream(async_api=True, **{**native, "stream": True}):
        async for chunk in target._astream(messages, stop=stop, run_manager=run_manager, **native):
            yield chunk
        return
    result = await target._agenerate(messages, stop=stop, run_manager=run_manager, **native)
    yield as_chunk(result.generations[0].message)
