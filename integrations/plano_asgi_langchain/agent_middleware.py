"""`PlanoRouterMiddleware`: each model call of an agent goes to the model that the policy has for it."""

from collections.abc import Awaitable, Callable, Mapping
from importlib.util import find_spec
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage

from plano_asgi.errors import CallError, MissingExtraError, RoutingUnavailableError
from plano_asgi.wire.inline_policy import INLINE_KEYS
from plano_asgi_langchain import telling
from plano_asgi_langchain.chat_model import ChatPlano
from plano_asgi_langchain.routing import NO_MODEL
from plano_asgi_langchain.tools import neutral_tool

if find_spec("langchain") is None:
    raise MissingExtraError("langchain", needed_for="PlanoRouterMiddleware")

from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse

Request = ModelRequest[Any]
Response = ModelResponse[Any]


class PlanoRouterMiddleware(AgentMiddleware[Any, Any, Any]):
    """Decides each model call of an agent, by its whole conversation, and puts the chosen model in its place.

    The agent's own model serves where the router has nothing to say: no route matches and no default is declared, or
    the classifier has no answer and `routing.on_error` is `reject`. A policy of the call's own is `routing_policy` or
    `routing_preferences` of the runtime context. Inside a tool loop the model stays the same; when one fails, the
    route's further models are asked. What was decided is in `response_metadata["plano"]` of the answer.
    """

    def __init__(self, llm: ChatPlano | None = None) -> None:
        """Take the chat model whose routes and models are used; without one, `ChatPlano()`."""
        super().__init__()
        self.llm = llm or ChatPlano()

    def wrap_model_call(self, request: Request, handler: Callable[[Request], Response]) -> Response:
        """Return the answer of the first of the chosen models that has one."""
        try:
            plan = self.llm.routing.plan(_conversation(request), _options(request))
        except CallError as error:
            _refuse_unless_served_otherwise(error)
            return handler(request)
        attempts = self.llm.attempts(plan)
        for model in attempts:
            with attempts.trying(model):
                response = handler(request.override(model=self.llm.target(model)))
                said = telling.told(plan.decision, model, attempts.failed)
                self.llm.routing.answered(plan, said, _mark(response, said))
                return response
        raise AssertionError("the last attempt returns or raises")

    async def awrap_model_call(self, request: Request, handler: Callable[[Request], Awaitable[Response]]) -> Response:
        """Return the answer of the first of the chosen models that has one, without blocking the event loop."""
        try:
            plan = await self.llm.routing.aplan(_conversation(request), _options(request))
        except CallError as error:
            _refuse_unless_served_otherwise(error)
            return await handler(request)
        attempts = self.llm.attempts(plan)
        for model in attempts:
            with attempts.trying(model):
                response = await handler(request.override(model=await self.llm.atarget(model)))
                said = telling.told(plan.decision, model, attempts.failed)
                await self.llm.routing.aanswered(plan, said, _mark(response, said))
                return response
        raise AssertionError("the last attempt returns or raises")


def _refuse_unless_served_otherwise(error: CallError) -> None:
    """Raise what is the call's own fault; where the router merely has no model, the agent's own serves."""
    if not isinstance(error, RoutingUnavailableError) and error.code != NO_MODEL:
        raise error


def _conversation(request: Request) -> list[BaseMessage]:
    instructions = [request.system_message] if request.system_message else []
    return [*instructions, *request.messages]


def _options(request: Request) -> dict[str, Any]:
    """Return what of a request the choice of a model depends on besides its conversation."""
    context = getattr(request.runtime, "context", None)
    told = context if isinstance(context, Mapping) else {key: getattr(context, key, None) for key in INLINE_KEYS}
    brought = {key: told[key] for key in INLINE_KEYS if told.get(key) is not None}
    return {"tools": [neutral_tool(tool) for tool in request.tools], **brought}


def _mark(response: Response, said: Mapping[str, Any]) -> str | None:
    """Let a response say where it came from, and return under which id its provider may keep it."""
    answers = [message for message in response.result if isinstance(message, AIMessage)]
    for answer in answers:
        telling.mark(answer, said)
    return telling.response_id_of(answers[-1]) if answers else None
