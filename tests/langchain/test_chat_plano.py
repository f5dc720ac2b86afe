"""`ChatPlano`: each call is answered by the model that its conversation is decided for."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import BaseChatModel
from langchain_core.load import dumps
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from structlog.testing import capture_logs

from plano_asgi import CallError, Reason, Source, events
from plano_asgi.testing import failing, routed_by
from plano_asgi_langchain import ChatPlano, Route

pytestmark = pytest.mark.usefixtures("by_rule")

Says = Callable[..., Any]
CODE = "Write Python"
PROOF = "Prove it"
OTHER = "Good morning"


@tool
def clock(zone: str) -> str:
    """Tell the time of a zone."""
    return f"noon in {zone}"


class Runs(BaseCallbackHandler):
    """Counts the runs of a trace."""

    def __init__(self) -> None:
        """Begin with none."""
        self.begun: list[dict[str, Any]] = []
        self.ended: list[uuid.UUID] = []

    def on_chat_model_start(self, *args: Any, **kwargs: Any) -> None:
        """Count one."""
        self.begun.append(kwargs)

    def on_llm_end(self, *args: Any, run_id: uuid.UUID, **kwargs: Any) -> None:
        """Count one that is over."""
        self.ended.append(run_id)


@pytest.fixture
def targets(says: Says) -> dict[str, Any]:
    """Return the models of the routes, by name."""
    return {name: says(model=name, calls=[]) for name in ("coder", "second", "thinker", "usual")}


@pytest.fixture
def llm(targets: dict[str, Any]) -> ChatPlano:
    """Return a model with two routes, one of them with two models."""
    return llm_of(targets)


def llm_of(targets: dict[str, Any], **fields: Any) -> ChatPlano:
    """Return a model with the usual routes over these targets."""
    routes = {
        "code_generation": Route("writing code", [targets["coder"], targets["second"]]),
        "complex_reasoning": Route("proofs", targets["thinker"]),
    }
    return ChatPlano(routes=routes, default=targets["usual"], **fields)


def told(message: Any) -> dict[str, Any]:
    """Return what an answer says of where it came from."""
    said: dict[str, Any] = message.response_metadata["plano"]
    return said


class TooMuch(Exception):  # noqa: N818 - an SDK's own name for it
    """What SDKs raise for an answer with a status."""

    def __init__(self, status_code: int, body: object = None) -> None:
        """Have the status where SDKs have it."""
        super().__init__(f"status {status_code}")
        self.status_code, self.body = status_code, body


@pytest.mark.parametrize(
    ("text", "said", "route"),
    [(CODE, "coder", "code_generation"), (PROOF, "thinker", "complex_reasoning"), (OTHER, "usual", None)],
)
async def test_call_goes_to_the_model_of_its_route(llm: ChatPlano, text: str, said: str, route: str | None) -> None:
    """Whichever way it is made, a call is answered by the model of its route, and the answer says so."""
    streamed = sum((chunk for chunk in list(llm.stream(text))[1:]), start=next(iter(llm.stream(text))))
    astreamed = None
    async for chunk in llm.astream(text):
        astreamed = chunk if astreamed is None else astreamed + chunk
    answers = [llm.invoke(text), await llm.ainvoke(text), *llm.batch([text]), *await llm.abatch([text]), streamed]

    for answer in [*answers, astreamed]:
        assert answer is not None
        assert (answer.content, answer.response_metadata["model_name"]) == (said, said)
        assert (told(answer)["route"], told(answer)["model"]) == (route, f"says/{said}")


def test_answer_tells_what_was_decided(llm: ChatPlano) -> None:
    """Route, model, provider, confidence, time, reason and source of the decision, and the target's own name."""
    answer = llm.invoke(CODE)

    said = told(answer)
    assert said.pop("latency_ms") >= 0
    assert said == {
        "route": "code_generation",
        "model": "says/coder",
        "provider": "says",
        "confidence": 1.0,
        "reason": "matched",
        "source": "classifier",
    }
    assert answer.response_metadata["model_name"] == "coder"
    assert answer.response_metadata["model_provider"] == "says"


def test_last_chunk_alone_tells_what_was_decided(llm: ChatPlano) -> None:
    """A stream's pieces come as the target sends them; the last chunk, without text, says where they came from."""
    *pieces, last = llm.stream(CODE)

    assert [piece.content for piece in pieces] == ["co", "der"]
    assert not [piece for piece in pieces if "plano" in piece.response_metadata or piece.chunk_position]
    assert (last.content, last.chunk_position, told(last)["model"]) == ("", "last", "says/coder")


@pytest.mark.parametrize("way", ["invoke", "stream"])
def test_call_is_one_run_of_a_trace(llm: ChatPlano, way: str) -> None:
    """A trace has one run for a call, named plano's, not another of the target beside it."""
    runs = Runs()

    if way == "invoke":
        llm.invoke(CODE, {"callbacks": [runs]})
    else:
        list(llm.stream(CODE, {"callbacks": [runs]}))

    assert (len(runs.begun), len(runs.ended)) == (1, 1)
    assert runs.begun[0]["metadata"]["ls_provider"] == "plano"


async def test_decision_alone_calls_no_model(llm: ChatPlano, targets: dict[str, Any]) -> None:
    """`decide` and `adecide` say where a call would go, and nobody is asked."""
    decisions = [llm.decide(CODE), await llm.adecide([HumanMessage(CODE)])]

    assert [decision.route for decision in decisions] == ["code_generation"] * 2
    assert decisions[0].models == ("says/coder", "says/second")
    assert not any(target.calls for target in targets.values())


def test_named_model_skips_the_router(llm: ChatPlano) -> None:
    """A call that names a declared model gets it, by its bare, its qualified or LangChain's name; no words are read."""
    with routed_by(failing) as decisions:
        answers = [llm.invoke(CODE, model=name) for name in ("thinker", "says/thinker", "says:thinker")]

    assert [answer.content for answer in answers] == ["thinker"] * 3
    assert told(answers[0])["reason"] == Reason.BYPASSED
    assert [decision.reason for decision in decisions] == [Reason.BYPASSED] * 3


@pytest.mark.parametrize("name", ["openrouter:deepseek/r1:free", "openrouter/deepseek/r1:free", "deepseek/r1:free"])
def test_model_is_named_in_either_form(name: str) -> None:
    """A name may have further colons and slashes; the first of them ends the provider."""
    llm = ChatPlano(default="openrouter:deepseek/r1:free")

    assert llm.decide(CODE, model=name).would_use == "openrouter/deepseek/r1:free"


def test_unknown_model_is_refused_by_name_of_the_known(llm: ChatPlano) -> None:
    """A model that nobody has declared is an error that lists those that are."""
    with pytest.raises(CallError, match=r"no such model is declared; name one of says/coder, says/second"):
        llm.invoke(CODE, model="gpt-9")


def test_call_may_bring_a_policy_of_its_own(llm: ChatPlano, targets: dict[str, Any]) -> None:
    """An inline policy replaces the configured one for that call, and the target does not see it."""
    policy = [{"name": "greetings", "description": "saying hello", "models": ["says/thinker"]}]

    with routed_by({"morning": "greetings"}):
        answer = llm.invoke(OTHER, routing_preferences=policy)

    assert (answer.content, told(answer)["route"]) == ("thinker", "greetings")
    assert targets["thinker"].calls[-1].keys() == {"messages", "stop"}


@pytest.mark.parametrize("policy", ["x", [{"name": "a"}]], ids=["no list", "no models"])
def test_malformed_policy_is_refused(llm: ChatPlano, policy: Any) -> None:
    """A policy that cannot be read is an error, never ignored."""
    with pytest.raises(CallError, match="routing_preferences"):
        llm.invoke(OTHER, routing_preferences=policy)


def test_broken_classifier_costs_no_call(llm: ChatPlano) -> None:
    """Where the classifier fails, the default model answers."""
    with routed_by(failing):
        answer = llm.invoke(CODE)

    assert (answer.content, told(answer)["reason"]) == ("usual", "error")


class TestToolLoops:
    """A model that has called a tool gets the tool's result."""

    def test_model_stays_inside_a_tool_loop(self, llm: ChatPlano) -> None:
        """The latest message is a tool's result: whoever asked for it goes on, though the words fit another route."""
        first = llm.invoke(CODE)
        result = ToolMessage("Prove it", tool_call_id="1")

        again = llm.invoke([HumanMessage(CODE), first, result, HumanMessage(PROOF)][:3])
        after = llm.invoke([HumanMessage(CODE), first, result, HumanMessage(PROOF)])

        assert (again.content, told(again)["source"], told(again)["route"]) == ("coder", "session", "code_generation")
        assert (after.content, told(after)["source"]) == ("thinker", "classifier")

    def test_chain_of_tool_calls_stays_with_its_model(self, llm: ChatPlano) -> None:
        """What holds for the second call of a loop holds for the third."""
        history: list[Any] = [HumanMessage(CODE)]
        for number in range(3):
            history += [llm.invoke(history), ToolMessage("prove", tool_call_id=str(number))]

        assert [told(message)["model"] for message in history[1::2]] == ["says/coder"] * 3

    @pytest.mark.parametrize(
        "content",
        [
            [{"type": "thinking", "thinking": "hm", "signature": "c2ln"}],
            [{"type": "redacted_thinking", "data": "c2ln"}],
            [{"type": "reasoning", "reasoning": "hm", "extras": {"signature": "c2ln"}}],
            [{"type": "reasoning", "encrypted_content": "c2ln"}],
        ],
        ids=["thinking", "redacted", "standard", "encrypted"],
    )
    def test_sealed_thoughts_stay_with_their_maker(self, llm: ChatPlano, content: list[Any]) -> None:
        """Thoughts that only their maker takes back keep the conversation with that model."""
        thought = AIMessage(content=content, response_metadata=llm.invoke(CODE).response_metadata)

        decision = llm.decide([HumanMessage(CODE), thought, HumanMessage(PROOF)])

        assert (decision.would_use, decision.source) == ("says/coder", Source.SESSION)

    @pytest.mark.parametrize("metadata", [{}, {"plano": {"model": "says/gone"}}, {"plano": "x"}], ids=str)
    def test_history_of_others_is_decided(self, llm: ChatPlano, metadata: dict[str, Any]) -> None:
        """A tool loop that another model has begun, or one that is no longer declared, is decided as any call."""
        history = [HumanMessage(CODE), AIMessage("", response_metadata=metadata), ToolMessage("1", tool_call_id="1")]

        assert llm.decide(history).source is not Source.SESSION


class TestDecisionsOfTheHistory:
    """What the router need not be asked is known of as any decision of its own."""

    @pytest.fixture
    def call(self, request: pytest.FixtureRequest, llm: ChatPlano) -> tuple[list[Any], dict[str, Any]]:
        """Return messages and options of a call that the router need not be asked about."""
        if request.param == "named":
            return [HumanMessage(CODE)], {"model": "says/thinker"}
        return [HumanMessage(CODE), llm.invoke(CODE), ToolMessage("1", tool_call_id="1")], {}

    @pytest.mark.parametrize(
        ("call", "model", "reason", "source"),
        [("loop", "says/coder", "matched", "session"), ("named", "says/thinker", "bypassed", "none")],
        indirect=["call"],
        ids=["tool loop", "named model"],
    )
    async def test_call_is_logged_and_counted_once(
        self, llm: ChatPlano, call: tuple[list[Any], dict[str, Any]], model: str, reason: str, source: str
    ) -> None:
        """Either way of calling writes one line, and `routed_by` lists the decision."""
        messages, options = call

        with capture_logs() as logged, routed_by({}) as decisions:
            llm.invoke(messages, **options)
            await llm.ainvoke(messages, **options)

        lines = [line for line in logged if line["event"] == events.CALL_ROUTED]
        assert [(line["model"], line["reason"], line["source"]) for line in lines] == [(model, reason, source)] * 2
        assert [decision.would_use for decision in decisions] == [model] * 2


class TestFailover:
    """A route's further models are asked when one fails."""

    @pytest.mark.parametrize(
        ("error", "outcome"),
        [
            (TooMuch(429), "rate_limited"),
            (TooMuch(503), "server_error"),
            (TooMuch(401), "key_refused"),
            (ConnectionError("gone"), "no_connection"),
            (TimeoutError("late"), "timeout"),
        ],
        ids=str,
    )
    async def test_next_model_of_the_route_answers(
        self, says: Says, targets: dict[str, Any], error: Exception, outcome: str
    ) -> None:
        """Limits, outages, refused keys, connections and deadlines: the next one is asked, whichever way."""
        llm = llm_of({**targets, "coder": says(model="coder", error=error)})
        chunks = [chunk async for chunk in llm.astream(CODE)]

        answers = [llm.invoke(CODE), await llm.ainvoke(CODE), list(llm.stream(CODE))[-1], chunks[-1]]

        for answer in answers:
            assert told(answer)["model"] == "says/second"
            assert told(answer)["failed"] == {"says/coder": outcome}
        assert [answer.content for answer in answers[:2]] == ["second"] * 2

    @pytest.mark.parametrize("error", [TooMuch(400), TooMuch(422), ValueError("a fault of the app's")], ids=str)
    def test_fault_of_the_call_is_the_callers(self, says: Says, targets: dict[str, Any], error: Exception) -> None:
        """What every model would refuse is raised as it is, and nobody else is asked."""
        llm = llm_of({**targets, "coder": says(model="coder", error=error)})

        with pytest.raises(type(error), match=str(error)):
            llm.invoke(CODE)

        assert targets["second"].calls == []

    def test_last_failure_is_the_callers(self, says: Says, targets: dict[str, Any]) -> None:
        """Where every model of the route fails, the last one's own exception is raised."""
        failing_ones = {
            name: says(model=name, error=TooMuch(status)) for name, status in (("coder", 429), ("second", 503))
        }

        with pytest.raises(TooMuch, match="status 503"):
            llm_of({**targets, **failing_ones}).invoke(CODE)

    def test_nothing_of_another_model_follows_what_is_out(self, says: Says, targets: dict[str, Any]) -> None:
        """A stream that breaks off after its first piece ends with the exception."""
        llm = llm_of({**targets, "coder": says(model="coder", error=TooMuch(503), fails_after=1)})
        stream = llm.stream(CODE)

        assert next(stream).content == "co"
        with pytest.raises(TooMuch):
            next(stream)

    def test_failing_over_can_be_left_to_the_app(self, says: Says, targets: dict[str, Any]) -> None:
        """With `failover=False` the first failure goes to the app, and to the fallbacks that it has chosen."""
        llm = llm_of({**targets, "coder": says(model="coder", error=TooMuch(503))}, failover=False)

        with pytest.raises(TooMuch):
            llm.invoke(CODE)
        assert llm.with_fallbacks([targets["thinker"]]).invoke(CODE).content == "thinker"
        assert targets["second"].calls == []


class TestTools:
    """Tools are neutral until a model is chosen."""

    def test_chosen_model_gets_tools_in_its_own_form(self, llm: ChatPlano, targets: dict[str, Any]) -> None:
        """Whichever model is chosen is given the tools as its own `bind_tools` has them."""
        bound = llm.bind_tools([clock], tool_choice="any")

        bound.invoke(CODE)
        list(bound.stream(PROOF))

        for name in ("coder", "thinker"):
            (call,) = targets[name].calls
            assert (call["native_tools"], call["tool_choice"]) == (["clock"], "any")
            assert "tools" not in call

    def test_model_that_takes_no_tools_gets_no_call_with_tools(self, says: Says, targets: dict[str, Any]) -> None:
        """A route whose only model cannot call tools leaves such a call to the default."""

        class Plain(says):  # type: ignore[misc,valid-type]
            """A model without tools."""

            bind_tools = BaseChatModel.bind_tools

        llm = llm_of({**targets, "thinker": Plain(model="thinker")})

        answer = llm.bind_tools([clock]).invoke(PROOF)

        assert llm.invoke(PROOF).content == "thinker"
        assert (answer.content, told(answer)["reason"]) == ("usual", "capability")

    def test_image_goes_to_a_model_that_reads_it(self, says: Says, targets: dict[str, Any]) -> None:
        """A model whose profile says that it does not read images gets none."""
        llm = llm_of({**targets, "coder": says(model="coder", profile={"image_inputs": False})})
        image = {"type": "image", "url": "https://example.org/a.png"}

        answer = llm.invoke([HumanMessage([CODE, image])])

        assert (answer.content, llm.invoke(CODE).content) == ("second", "coder")

    def test_call_that_nobody_takes_is_refused(self, says: Says, targets: dict[str, Any]) -> None:
        """Where neither the route nor the default can, the error says so."""
        blind = {name: says(model=name, profile={"image_inputs": False}) for name in targets}
        image = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}

        with pytest.raises(CallError, match="no model of the route takes") as raised:
            llm_of(blind).invoke([HumanMessage([CODE, image])])
        assert raised.value.code == "no_capable_model"

    @pytest.mark.parametrize(
        ("native", "model"),
        [
            ({"type": "web_search_20250305", "name": "web_search"}, "anthropic/claude-sonnet-4-6"),
            ({"type": "web_search_preview"}, "openai/gpt-4o"),
            ({"google_search": {}}, "google_genai/gemini-2.5-pro"),
        ],
        ids=["Anthropic", "OpenAI", "Google"],
    )
    def test_tool_that_a_provider_runs_goes_to_that_provider(self, native: dict[str, Any], model: str) -> None:
        """A route's models of other providers are passed over for a call with such a tool."""
        models = ["anthropic:claude-sonnet-4-6", "openai:gpt-4o", "google_genai:gemini-2.5-pro"]
        llm = ChatPlano(routes={"code_generation": Route("code", models)}, default="openai:gpt-4o-mini")

        assert llm.decide(CODE, tools=[native, clock]).models == (model,)


class TestCaches:
    """LangChain's cache never gives an answer that another policy would not have had."""

    def test_same_call_of_the_same_policy_is_cached(self, targets: dict[str, Any]) -> None:
        """The second call is answered from the cache, and says what the first one's answer said."""
        cache = InMemoryCache()
        llm = llm_of(targets, cache=cache)

        first, second = llm.invoke(CODE), llm_of(targets, cache=cache).invoke(CODE)

        assert told(first) == told(second)
        assert len(targets["coder"].calls) == 1

    def test_other_policy_is_another_call(self, targets: dict[str, Any]) -> None:
        """Routes, their models and the default are part of the key, and so is an inline policy."""
        cache = InMemoryCache()
        llm = llm_of(targets, cache=cache)
        swapped = llm_of({**targets, "coder": targets["second"], "second": targets["coder"]}, cache=cache)
        inline = [{"name": "code_generation", "description": "code", "models": ["says/thinker"]}]

        said = [llm.invoke(CODE), swapped.invoke(CODE), llm.invoke(CODE, routing_preferences=inline)]

        assert [answer.content for answer in said] == ["coder", "second", "thinker"]


def test_profile_is_what_all_models_can_do(says: Says) -> None:
    """A flag holds where it holds for every model, the window is the smallest, and what is not known is not said."""
    profiles = {
        "coder": {"image_inputs": True, "tool_calling": True, "max_input_tokens": 9_000, "pdf_inputs": True},
        "second": {"image_inputs": False, "tool_calling": True, "max_input_tokens": 8_000},
        "thinker": {"image_inputs": True, "tool_calling": True, "max_input_tokens": 7_000},
        "usual": {"image_inputs": True, "tool_calling": True, "max_input_tokens": 100_000},
    }
    llm = llm_of({name: says(model=name, profile=profile) for name, profile in profiles.items()})

    assert llm.profile == {"image_inputs": False, "tool_calling": True, "max_input_tokens": 7_000}


def test_unknown_field_is_refused() -> None:
    """A misspelt argument is an error, not a model without routes."""
    with pytest.raises(ValueError, match="rutes"):
        ChatPlano(rutes={}, default="openai:gpt-4o")


def test_no_key_is_shown() -> None:
    """Neither `repr` nor LangChain's dumps nor its traces hold what models are made with."""
    secret = "sk-canary-1234567890"  # noqa: S105 - not one
    llm = ChatPlano(default="openai:gpt-4o", target_options={"api_key": secret})
    llm.target("openai/gpt-4o")

    as_dict = getattr(llm, "asdict", None) or llm.dict  # as langchain-core has called it before

    shown = [repr(llm), str(llm), dumps(llm), str(as_dict()), llm._get_llm_string(), str(llm.model_dump())]  # noqa: SLF001 - what the cache stores

    assert not [text for text in shown if secret in text]
