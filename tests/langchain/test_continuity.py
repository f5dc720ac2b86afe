"""What ties a call to those before it, where the history itself does not say who has answered."""

from collections.abc import Callable
from typing import Any, Final

import pytest
from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel, ModelProfile
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from plano_asgi import Settings, Source
from plano_asgi.assembly import build_router
from plano_asgi.conversation import Conversation
from plano_asgi.decisions import Scores
from plano_asgi.errors import CallError
from plano_asgi.preferences import RoutingPolicy
from plano_asgi.sessions import Lock
from plano_asgi.testing import FixedClassifier, routed_by
from plano_asgi_langchain import ChatPlano, PlanoRouterMiddleware, Route

CONFIGURATION = """
model_providers:
  - {model: openai/gpt-4o-mini, default: true}
  - {model: openai/o3}
  - {model: anthropic/claude-sonnet-4-6}
routing_preferences:
  - {name: code, description: writing code, models: [openai/gpt-4o-mini]}
  - {name: proofs, description: proofs, models: [openai/o3]}
  - {name: talk, description: small talk, models: [anthropic/claude-sonnet-4-6]}
"""
SEALED = {
    "thinking": {"content": [{"type": "thinking", "thinking": "hm", "signature": "c2ln"}]},
    "redacted": {"content": [{"type": "redacted_thinking", "data": "c2ln"}]},
    "redacted, standard": {
        "content": [{"type": "non_standard", "value": {"type": "redacted_thinking", "data": "c2ln"}}]
    },
    "standard": {"content": [{"type": "reasoning", "reasoning": "hm", "extras": {"signature": "c2ln"}}]},
    "bedrock": {"content": [{"type": "reasoning_content", "reasoning_content": {"text": "hm", "signature": "c2ln"}}]},
    "encrypted": {"content": [{"type": "reasoning", "encrypted_content": "c2ln"}]},
    "beside": {"content": "so", "additional_kwargs": {"reasoning": {"type": "reasoning", "encrypted_content": "c2ln"}}},
}


class ByName(FixedClassifier):
    """A classifier that finds routes by their names in what was said last; unlike a rule, it lets sessions be."""

    def classify(self, conversation: Conversation, policy: RoutingPolicy, **_: Any) -> Scores:
        """Find the route."""
        chances = {each.name: float(each.name in conversation[-1].text) for each in policy.preferences}
        return Scores(routes=chances, other=float(not any(chances.values())))


class Keeps(BaseChatModel):
    """A chat model whose provider keeps what it answers, under an id."""

    model: str
    fails: bool = False

    @property
    def _llm_type(self) -> str:
        """Say what it is."""
        return "keeps"

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> Any:
        """Say whose model it is, which is what it is known by."""
        provider, _, name = self.model.partition("/")
        return {"ls_provider": provider, "ls_model_name": name}

    def _generate(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        """Answer, or be away."""
        if self.fails:
            raise ConnectionError(f"{self.model} is away")
        message = AIMessage(self.model, response_metadata={"id": f"resp_of_{self.model}"})
        return ChatResult(generations=[ChatGeneration(message=message)])


@pytest.fixture
def decide(settings_of: Callable[[str], Settings]) -> Callable[..., Any]:
    """Return what decides calls of conversations whose answers do not say who gave them."""
    return ChatPlano(router=build_router(settings_of(CONFIGURATION), classifier=ByName({}))).decide


@pytest.mark.parametrize("thought", SEALED.values(), ids=SEALED)
def test_sealed_thoughts_stay_with_their_provider(decide: Callable[..., Any], thought: dict[str, Any]) -> None:
    """In whichever form LangChain has them: no other provider is asked, but another model of the same may be."""
    begun = [HumanMessage("code, please")]
    first = decide(begun)
    others, same = ([*begun, AIMessage(**thought), HumanMessage(text)] for text in ("now talk", "now proofs"))

    kept, moved = decide(others), decide(same)

    assert first.would_use == "openai/gpt-4o-mini"
    assert (kept.would_use, kept.source, kept.session.lock) == (first.would_use, Source.SESSION, Lock.THINKING)
    assert (moved.would_use, moved.session.lock) == ("openai/o3", None)


@pytest.mark.parametrize(
    "content",
    ["so", [{"type": "reasoning", "reasoning": "hm"}], [{"type": "image", "data": "c2ln"}], [{"signature": 3}]],
    ids=["text", "unsigned", "another's data", "odd"],
)
def test_thoughts_that_anybody_may_read_hold_nothing(decide: Callable[..., Any], content: Any) -> None:
    """Without a signature the conversation goes where it is decided."""
    begun = [HumanMessage("code, please")]
    decide(begun)

    assert decide([*begun, AIMessage(content), HumanMessage("now talk")]).would_use == "anthropic/claude-sonnet-4-6"


@pytest.mark.parametrize("id_of", [lambda id_: id_, lambda id_: {"id": id_}], ids=["id", "object"])
def test_conversation_that_a_provider_keeps_is_a_session(decide: Callable[..., Any], id_of: Any) -> None:
    """Calls of one `conversation` belong together, though none of them says what was said before."""
    first = decide("code, please", conversation=id_of("conv_1"))
    result = [AIMessage("", tool_calls=[{"name": "f", "args": {}, "id": "1"}]), ToolMessage("talk", tool_call_id="1")]

    inside, elsewhere = (decide(result, conversation=id_of(name)) for name in ("conv_1", "conv_2"))

    assert (inside.would_use, inside.session.lock) == (first.would_use, Lock.TOOL_LOOP)
    assert elsewhere.source is not Source.SESSION


def llm_of(coders: list[BaseChatModel], usual: BaseChatModel, **fields: Any) -> ChatPlano:
    """Return a model with a route for code, and one for proofs that another provider serves."""
    routes = {"code_generation": Route("writing code", coders), "complex_reasoning": Route("proofs", usual)}
    return ChatPlano(routes=routes, default=usual, **fields)


async def answers(llm: ChatPlano, messages: Any, **options: Any) -> list[AIMessage]:
    """Return what comes of a call in each way that it can be made."""
    streamed = list(llm.stream(messages, **options))
    astreamed = [chunk async for chunk in llm.astream(messages, **options)]
    whole = [sum(rest, start=first) for first, *rest in (streamed, astreamed)]
    return [llm.invoke(messages, **options), await llm.ainvoke(messages, **options), *whole]


@pytest.mark.usefixtures("by_rule")
class TestKeptResponses:
    """A call goes on with a response, `previous_response_id`, and says nothing of what was said before."""

    @pytest.fixture
    def llm(self) -> ChatPlano:
        """Return a model of two providers that keep what they answer."""
        return llm_of([Keeps(model="a/coder"), Keeps(model="a/second")], Keeps(model="b/usual"))

    async def test_who_has_given_a_response_goes_on_with_it(self, llm: ChatPlano) -> None:
        """However it was asked for and is gone on from, it goes to the model that has given it."""
        for first in await answers(llm, "Write Python"):
            kept = {"previous_response_id": first.response_metadata["id"]}

            for answer in await answers(llm, "Now prove it", **kept):
                said = answer.response_metadata["plano"]
                assert (said["model"], said["source"], said["route"]) == ("a/coder", "session", "code_generation")

    def test_agent_goes_on_with_its_response(self, llm: ChatPlano) -> None:
        """What the agent's middleware was answered is known as well as what the model itself was."""
        agent = create_agent(Keeps(model="c/own"), [], middleware=[PlanoRouterMiddleware(llm)])
        (_, answer) = agent.invoke({"messages": [HumanMessage("Write Python")]})["messages"]

        decision = llm.decide("Now prove it", previous_response_id=answer.response_metadata["id"])

        assert (decision.would_use, decision.source) == ("a/coder", Source.SESSION)

    def test_response_of_nobody_known_is_decided(self, llm: ChatPlano) -> None:
        """An id that was never seen holds nothing."""
        assert llm.decide("Now prove it", previous_response_id="resp_of_nobody").would_use == "b/usual"

    @pytest.mark.parametrize("previous", [{}, {"previous_response_id": "resp_of_a/coder"}], ids=["new", "going on"])
    def test_nobody_else_is_asked_to_go_on(self, previous: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
        """While the model is away, a call that goes on with its response fails, and a new one is another's."""
        monkeypatch.setenv("PLANO_FAILOVER__TO_DEFAULT", "true")
        coder = Keeps(model="a/coder")
        llm = llm_of([coder], Keeps(model="b/usual"))
        llm.invoke("Write Python")
        coder.fails = True

        if previous:
            with pytest.raises(ConnectionError, match="a/coder is away"):
                llm.invoke("Python, again", **previous)
        else:
            assert llm.invoke("Python, again").text == "b/usual"


IMAGE = {"type": "image", "url": "https://example.org/a.png"}
BLIND: Final[ModelProfile] = {"image_inputs": False}
SHORT: Final[ModelProfile] = {"max_input_tokens": 500}
SIGNED = {"type": "thinking", "thinking": "hm", "signature": "c2ln"}


@pytest.mark.usefixtures("by_rule")
class TestHolderThatCannot:
    """Who has the conversation lacks what this call needs, and the default has it."""

    @pytest.mark.parametrize(("profile", "asked"), [(BLIND, [IMAGE]), (SHORT, ["x " * 4_000])], ids=["image", "window"])
    @pytest.mark.parametrize("tie", ["response", "thought"])
    def test_nobody_else_is_asked_to_go_on(self, tie: str, profile: ModelProfile, asked: list[Any]) -> None:
        """The call is refused: nobody else has the response or reads the thoughts; without either it is another's."""
        llm = llm_of([Keeps(model="a/coder", profile=profile)], Keeps(model="b/usual"))
        first = llm.invoke("Write Python")
        called = HumanMessage(["Python, again", *asked])
        history = [HumanMessage("Write Python"), first.model_copy(update={"content": [SIGNED]}), called]
        messages, kept = [called], {"previous_response_id": first.response_metadata["id"]}

        with pytest.raises(CallError) as raised:
            llm.invoke(history) if tie == "thought" else llm.invoke(messages, **kept)

        assert (raised.value.code, raised.value.status) == ("no_capable_model", 422)
        assert llm.invoke(messages).text == "b/usual"

    def test_default_of_the_same_maker_reads_its_thoughts(self) -> None:
        """Another model of the provider that has signed them goes on."""
        llm = llm_of([Keeps(model="a/coder", profile=BLIND)], Keeps(model="a/usual"))
        first = llm.invoke("Write Python").model_copy(update={"content": [SIGNED]})

        answer = llm.invoke([HumanMessage("Write Python"), first, HumanMessage(["Python, again", IMAGE])])

        assert answer.text == "a/usual"


@pytest.mark.parametrize(("seal", "said"), [({}, "b/usual"), ({"signature": "c2ln"}, None)], ids=["unsigned", "signed"])
def test_nobody_else_is_asked_to_read_sealed_thoughts(
    seal: dict[str, str], said: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the model is away, its tool loop is another provider's where nothing in it is signed, and nobody's else."""
    monkeypatch.setenv("PLANO_FAILOVER__TO_DEFAULT", "true")
    coder = Keeps(model="a/coder")
    llm = llm_of([coder], Keeps(model="b/usual"))
    with routed_by({"python": "code_generation"}):
        metadata = llm.invoke("Write Python").response_metadata
        coder.fails = True
        thought = {"type": "thinking", "thinking": "hm", **seal}
        history = [
            HumanMessage("Write Python"),
            AIMessage([thought], response_metadata=metadata),
            ToolMessage("1", tool_call_id="1"),
        ]
        if said:
            assert llm.invoke(history).text == said
        else:
            with pytest.raises(ConnectionError, match="a/coder is away"):
                llm.invoke(history)


async def test_session_goes_on_with_who_has_answered() -> None:
    """Where a model was away, the tool loop that the next one has begun stays with that one, sync and async."""
    llm = llm_of([Keeps(model="a/coder", fails=True), Keeps(model="a/second")], Keeps(model="b/usual"))

    for text in ("Write a Python function that sorts", "Write a Python function that searches"):
        answer = llm.invoke(text) if "sorts" in text else await llm.ainvoke(text)
        history = [HumanMessage(text), AIMessage(""), ToolMessage("prove it", tool_call_id="1")]

        decision = llm.decide(history)

        assert (answer.text, decision.would_use, decision.source) == ("a/second", "a/second", Source.SESSION)
