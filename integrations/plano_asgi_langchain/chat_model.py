"""`ChatPlano`: a chat model that decides each call and lets the chosen model answer it."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from pydantic import ConfigDict, Field, PrivateAttr

from plano_asgi.assembly import build_observed_router, ensure_ungoverned
from plano_asgi.decisions import RoutingDecision
from plano_asgi.router import Router
from plano_asgi_langchain.delegating import agenerated, astreamed, generated, streamed
from plano_asgi_langchain.failing_over import Attempts
from plano_asgi_langchain.faults import named_faults
from plano_asgi_langchain.profiles import common_profile
from plano_asgi_langchain.routes import Route, Target, described
from plano_asgi_langchain.routing import Plan, Routing
from plano_asgi_langchain.structure import METHODS, Method, parsed, parser_of, structure_of
from plano_asgi_langchain.targets import Targets
from plano_asgi_langchain.telling import StreamTail, mark_result, response_id_of, told
from plano_asgi_langchain.tools import STRUCTURE_KEY, Tool, neutral_tool


class ChatPlano(BaseChatModel):
    """A chat model that routes: each call goes to the model that the configured policy has for it.

    Without arguments it is configured by the environment (`PLANO_*`, `PLANO_CONFIG_FILE`) or the `plano.yaml` of the
    working directory. What is decided, and which model has answered, is in `response_metadata["plano"]` of the answer,
    and of a stream's last chunk. Nothing is loaded or imported before the first call.

    Attributes:
        config: The YAML file.
        routes: Routes by name, in place of those that file and environment declare.
        default: The model for calls that no route matches, where `routes` are given.
        router: A router to share, in place of one of its own.
        temperature: What models that are declared by name are made with; None for their own.
        max_tokens: Same: most tokens of an answer.
        timeout: Same: seconds.
        max_retries: Same: how often a model is asked again before it has failed.
        stop: Words that end an answer, where a call has none of its own.
        target_options: Whatever else models that are declared by name are made with.
        streaming: Whether `invoke` streams, too.
        failover: Whether a route's further models are asked when one fails.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True, hide_input_in_errors=True)

    config: Path | None = None
    routes: Mapping[str, Route] | None = Field(default=None, repr=False, exclude=True)
    default: Target | None = Field(default=None, repr=False, exclude=True)
    router: Router | None = Field(default=None, repr=False, exclude=True)
    temperature: float | None = None
    max_tokens: int | None = None
    timeout: float | None = None
    max_retries: int | None = None
    stop: list[str] | None = None
    target_options: dict[str, Any] = Field(default_factory=dict, repr=False, exclude=True)
    streaming: bool = False
    failover: bool = True

    _routing: Routing = PrivateAttr()
    _targets: Targets = PrivateAttr()
    _instances: Mapping[str, BaseChatModel] = PrivateAttr()

    def __init__(self, **fields: Any) -> None:
        """Read the configuration and put the router together; nothing is loaded yet.

        Raises:
            ConfigurationError: The configuration cannot be used; every fault is named.
            pydantic.ValidationError: A field is unknown or of another type.
        """
        with named_faults():
            super().__init__(**fields)

    @classmethod
    def from_config(cls, path: str | Path, **fields: Any) -> Self:
        """Return a model for a configuration file; the environment wins over it.

        Raises:
            ConfigurationError: The configuration cannot be used; every fault is named.
        """
        return cls(config=Path(path), **fields)

    def model_post_init(self, context: Any, /) -> None:
        """Put together what the fields describe."""
        super().model_post_init(context)
        if self.router is None:
            written = described(self.config, self.routes, self.default)
            ensure_ungoverned(written.settings, instead="call plano-asgi serve by ChatOpenAI's base_url")
            self._routing = Routing(build_observed_router(written.settings), failover=written.settings.failover)
            self._instances = written.instances
        elif (self.config, self.routes, self.default) == (None, None, None):
            self._routing, self._instances = Routing(self.router), {}
        else:
            raise ValueError("a router is configured already; leave out config, routes and default")
        said = ("temperature", "max_tokens", "timeout", "max_retries")
        options = {name: value for name in said if (value := getattr(self, name)) is not None}
        self._targets = Targets(
            self._routing.catalog, instances=self._instances, options={**options, **self.target_options}
        )

    def decide(self, messages: LanguageModelInput, **options: Any) -> RoutingDecision:
        """Return where a call would go, without making it; takes what `invoke` takes.

        Raises:
            CallError: The call cannot be decided.
        """
        return self._routing.plan(self._convert_input(messages).to_messages(), _with_neutral_tools(options)).decision

    async def adecide(self, messages: LanguageModelInput, **options: Any) -> RoutingDecision:
        """Return where a call would go, without blocking the event loop; as `decide` otherwise."""
        conversation = self._convert_input(messages).to_messages()
        return (await self._routing.aplan(conversation, _with_neutral_tools(options))).decision

    @property
    def routing(self) -> Routing:
        """What decides calls, for whoever makes them itself."""
        return self._routing

    def attempts(self, plan: Plan) -> Attempts:
        """Return a plan's models in the order in which they are asked; the first alone without `failover`."""
        return Attempts(plan.models if self.failover else plan.models[:1])

    def target(self, model: str) -> BaseChatModel:
        """Return the chat model of a plan's model, made where it is not yet.

        Raises:
            ImportError: Its integration's package is not installed; the message names it.
            ValueError: LangChain has none for its provider, or what it needs is not configured.
        """
        return self._targets.of(model)

    async def atarget(self, model: str) -> BaseChatModel:
        """Return the chat model of a plan's model without blocking the event loop; as `target` otherwise."""
        made = self._targets.made(model)
        return made if made is not None else await asyncio.to_thread(self._targets.of, model)

    def bind_tools(
        self,
        tools: Sequence[Tool],
        *,
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Return this model with tools, each of which the chosen model is given in its own form."""
        chosen = {} if tool_choice is None else {"tool_choice": tool_choice}
        return self.bind(tools=[neutral_tool(tool) for tool in tools], **chosen, **kwargs)

    def with_structured_output(
        self,
        schema: dict[str, Any] | type,
        *,
        include_raw: bool = False,
        method: Method = "function_calling",
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """Return this model with its answers as objects of a schema.

        Args:
            schema: A pydantic class, a TypedDict, or a JSON schema.
            include_raw: Whether `{"raw", "parsed", "parsing_error"}` is answered.
            method: `function_calling`, or what a target has of its own for `json_schema` and `json_mode`.
            strict: Whether the provider is to hold the model to the schema; None for the integration's own choice.
            kwargs: None others are known.

        Raises:
            ValueError: An argument is unknown.
        """
        if kwargs or method not in METHODS:
            unknown = ", ".join(kwargs) or f"the method {method!r}; use one of {', '.join(METHODS)}"
            raise ValueError(f"with_structured_output does not know {unknown}")
        traced = {"kwargs": {"method": method, "strict": strict}, "schema": schema}
        if method == "function_calling":
            options: dict[str, Any] = {} if strict is None else {"strict": strict}
            model = self.bind_tools([schema], tool_choice="any", ls_structured_output_format=traced, **options)
        else:
            structure = structure_of(schema, method=method, strict=strict)
            model = self.bind(**{STRUCTURE_KEY: structure, "ls_structured_output_format": traced})
        return parsed(model, parser_of(schema, method=method), include_raw=include_raw)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        plan = self._routing.plan(messages, kwargs)
        attempts = self.attempts(plan)
        for model in attempts:
            with attempts.trying(model):
                target = self.target(model)
                result = generated(target, messages, stop or self.stop, run_manager, kwargs)
                said = told(plan.decision, model, attempts.failed)
                self._routing.answered(plan, said, response_id_of(result.generations[0].message))
                return mark_result(result, said)
        raise AssertionError("the last attempt returns or raises")

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        plan = await self._routing.aplan(messages, kwargs)
        attempts = self.attempts(plan)
        for model in attempts:
            with attempts.trying(model):
                target = await self.atarget(model)
                result = await agenerated(target, messages, stop or self.stop, run_manager, kwargs)
                said = told(plan.decision, model, attempts.failed)
                await self._routing.aanswered(plan, said, response_id_of(result.generations[0].message))
                return mark_result(result, said)
        raise AssertionError("the last attempt returns or raises")

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        plan = self._routing.plan(messages, kwargs)
        attempts, tail = self.attempts(plan), StreamTail()
        for model in attempts:
            with attempts.trying(model):
                target = self.target(model)
                for chunk in streamed(target, messages, stop or self.stop, run_manager, kwargs):
                    attempts.begin()
                    yield tail.after(chunk)
                said = told(plan.decision, model, attempts.failed)
                self._routing.answered(plan, said, tail.response_id)
                yield tail.chunk(said)
                return

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        plan = await self._routing.aplan(messages, kwargs)
        attempts, tail = self.attempts(plan), StreamTail()
        for model in attempts:
            with attempts.trying(model):
                target = await self.atarget(model)
                async for chunk in astreamed(target, messages, stop or self.stop, run_manager, kwargs):
                    attempts.begin()
                    yield tail.after(chunk)
                said = told(plan.decision, model, attempts.failed)
                await self._routing.aanswered(plan, said, tail.response_id)
                yield tail.chunk(said)
                return

    @property
    def _llm_type(self) -> str:
        return "plano"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        """What tells this model's answers from another's, so that LangChain's cache does too."""
        options = {name: getattr(self, name) for name in ("temperature", "max_tokens", "stop")}
        return {"policy": self._routing.digest, "targets": self._targets.digest, **options}

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> Any:
        """Return how a trace names the model, which nobody knows yet: the answer's `response_metadata` does."""
        said = super()._get_ls_params(stop=stop or self.stop, **kwargs)
        return {**said, "ls_provider": "plano", "ls_model_name": kwargs.get("model") or "auto"}

    def _resolve_model_profile(self) -> Any:
        """Return what every model that may answer can do."""
        return common_profile(self._routing.catalog, self._instances) or None


def _with_neutral_tools(options: dict[str, Any]) -> dict[str, Any]:
    return {**options, "tools": [neutral_tool(tool) for tool in options.get("tools") or ()]}
