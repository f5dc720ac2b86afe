"""LangChain: a chat model takes the place of the app, and its target that of the handler.

What a target reads, and what the answer's `response_metadata["plano"]` tells, is said here in the contract's words.
"""

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final
from urllib.parse import quote

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, convert_to_openai_messages
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from plano_asgi.errors import CallError
from plano_asgi.settings import Settings, load_settings
from plano_asgi_langchain import ChatPlano, Route

if TYPE_CHECKING:
    from tests.contract.conftest import Kit, Seen, Streamed

_NO_BYTES: Final = "messages are Python objects: nothing of them is cut, ambiguous, encoded or measured in bytes"
_NO_HEADERS: Final = "a call has no HTTP headers; `model=` keeps the caller's own model, as tests/langchain shows"
_NO_ANSWER: Final = "what is refused is a CallError, which has status and code, and no answer in an API's format"


class Harness:
    """`ChatPlano`, asked in each of the ways that chat models are."""

    variants: ClassVar = ("invoke", "ainvoke", "stream", "astream")
    not_claimed: ClassVar = {
        "test_handler_reads_the_length_of_what_it_reads": _NO_BYTES,
        "test_refusal_has_the_shape_of_the_callers_api": _NO_ANSWER,
        "test_bypassed_call_keeps_its_model": _NO_HEADERS,
        "test_malformed_body_reaches_the_handler_as_it_came": _NO_BYTES,
        "test_ambiguous_body_is_refused": _NO_BYTES,
        "test_body_beyond_the_limit_reaches_the_handler_as_it_came": _NO_BYTES,
        "test_compressed_body_arrives_plain": _NO_BYTES,
        "test_forged_headers_are_gone": _NO_HEADERS,
        "test_other_request_is_left_alone": "whoever calls a chat model makes a call, never another request",
        "test_call_that_goes_round_is_refused": _NO_HEADERS,
    }

    @contextmanager
    def host(self, variant: str, kit: "Kit") -> "Iterator[ModelHost]":
        """Give the host."""
        settings = load_settings(kit.config)
        yield ModelHost(
            variant,
            kit,
            telling=_chat_plano(kit, settings, spoken=None),
            speaking=_chat_plano(kit, settings, spoken=kit.words),
        )


class Target(BaseChatModel):
    """A chat model that answers with the call that it was given, or speaks the words of a stream."""

    provider: str
    model: str
    spoken: Callable[[], Iterator[bytes]] | None

    @property
    def _llm_type(self) -> str:
        """Say what it is."""
        return "target"

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> Any:
        """Say whose model it is, which is what it is known by."""
        del stop, kwargs
        return {"ls_provider": self.provider, "ls_model_name": self.model}

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        """Answer with the call."""
        return ChatResult(generations=[ChatGeneration(message=AIMessage(self._call(messages, *args, **kwargs)))])

    def _stream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        """Answer with the call in two pieces, or with the words."""
        call = self._call(messages, *args, **kwargs)
        pieces = (word.decode() for word in self.spoken()) if self.spoken else (call[:9], call[9:])
        for piece in pieces:
            yield ChatGenerationChunk(message=AIMessageChunk(content=piece))

    def _call(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: object = None, **options: Any
    ) -> str:
        """Return a call as a client would have written it."""
        del stop, run_manager
        return json.dumps({"model": self.model, "messages": convert_to_openai_messages(messages), **options}, indent=1)


@dataclass(frozen=True)
class ModelHost:
    """A chat model that is asked in one way.

    Attributes:
        variant: The way.
        kit: What tells of a call.
        telling: The model whose targets answer with what they read.
        speaking: The model whose targets speak the words of a stream.
    """

    variant: str
    kit: "Kit"
    telling: ChatPlano
    speaking: ChatPlano

    def send(self, path: str, body: bytes, headers: Mapping[str, str] | None = None) -> "Seen":
        """Return what comes of a call; the path says nothing here, since chat models are called in one form."""
        del path
        assert not headers
        try:
            answer = self._answer(*_call_in(body))
        except CallError as error:
            return self.kit.seen(status=error.status, headers={}, told=None, error={"code": error.code})
        said = answer.response_metadata["plano"]
        told = {
            "body": answer.content,
            "headers": {},
            "route": said["route"],
            "reason": said["reason"],
            "provider": said["model"],
        }
        return self.kit.seen(status=200, headers=_as_headers(said), told=told)

    @contextmanager
    def stream(self, path: str, body: bytes) -> Iterator["Streamed"]:
        """Give the pieces of an answer as they come, and what is told of the decision once the last has come."""
        del path
        headers: dict[str, str] = {}

        def pieces() -> Iterator[bytes]:
            """Yield them."""
            for chunk in self._chunks(self.speaking, *_call_in(body)):
                headers.update(_as_headers(chunk.response_metadata.get("plano", {})))
                if chunk.content:
                    yield chunk.text.encode()

        yield self.kit.streamed(headers, pieces())

    def _answer(self, messages: list[Any], options: dict[str, Any]) -> AIMessage:
        """Return the whole answer."""
        if self.variant == "invoke":
            return self.telling.invoke(messages, **options)
        if self.variant == "ainvoke":
            return asyncio.run(self.telling.ainvoke(messages, **options))
        first, *others = self._chunks(self.telling, messages, options)
        return sum(others, start=first)

    def _chunks(self, llm: ChatPlano, messages: list[Any], options: dict[str, Any]) -> Iterator[AIMessageChunk]:
        """Yield the answer as it comes."""
        if self.variant in {"invoke", "stream"}:
            yield from llm.stream(messages, **options)
            return
        with asyncio.Runner() as runner:
            chunks = llm.astream(messages, **options)
            while chunk := runner.run(_next_of(chunks)):
                yield chunk


async def _next_of(chunks: Any) -> AIMessageChunk | None:
    """Return the next of the chunks, None where there is none."""
    return await anext(chunks, None)


def _chat_plano(kit: "Kit", settings: Settings, *, spoken: Callable[[], Iterator[bytes]] | None) -> ChatPlano:
    """Return a chat model of the contract's configuration, with targets of ours in the place of its models."""

    def target(model: str) -> Target:
        """Return the target for a model."""
        provider, _, name = model.partition("/")
        return Target(provider=provider, model=name, spoken=spoken)

    targets = {model: target(model) for model in settings.catalog.models}
    routes = {
        preference.name: Route(preference.description, [targets[model] for model in preference.models])
        for preference in settings.policy.preferences
    }
    default = settings.catalog.default_model
    return ChatPlano(config=kit.config, routes=routes, default=targets[default] if default else None)


def _call_in(body: bytes) -> tuple[list[Any], dict[str, Any]]:
    """Return the messages of a call, and the options it is made with; its model is the router's to choose."""
    call = json.loads(body)
    return call["messages"], {key: value for key, value in call.items() if key not in {"model", "messages", "stream"}}


def _as_headers(said: Mapping[str, Any]) -> dict[str, str]:
    """Return what an answer's metadata tell, in the words of the headers."""
    told = {
        "x-plano-model": said.get("model"),
        "x-plano-route": quote(said["route"]) if said.get("route") else None,
        "x-plano-confidence": None if said.get("confidence") is None else f"{said['confidence']:.4f}",
        "x-plano-reason": said.get("reason"),
    }
    return {name: value for name, value in told.items() if value is not None}
