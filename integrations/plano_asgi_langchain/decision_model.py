"""`PlanoDecisionModel`: LangChain's typed questions, answered by the router's classifier."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage, UsageMetadata
from pydantic import ConfigDict, Field, PrivateAttr

from plano_asgi.assembly import build_router
from plano_asgi.conversation import LLMCall
from plano_asgi.decisions import RoutingDecision, Scores
from plano_asgi.errors import ClassificationError
from plano_asgi.preferences import (
    MAX_DESCRIPTION_CHARS,
    MAX_ROUTES,
    NO_ROUTE_NAME,
    RoutingPolicy,
    RoutingPreference,
    name_fault,
)
from plano_asgi.router import Router
from plano_asgi.settings import load_settings
from plano_asgi_langchain.conversation import call_of
from plano_asgi_langchain.faults import named_faults
from plano_asgi_langchain.routing import Routing

try:
    from langchain_core.decisions import BaseDecisionModel, Choice, ChoiceAnswer, ClassifierResponse
except ImportError as error:
    what = "PlanoDecisionModel needs langchain-core 1.8 or newer: pip install 'langchain-core>=1.8'"
    raise ImportError(what) from error

_NOBODY: Final = "plano/nobody"  # no model is chosen here; a policy has to name one
_NO_TOKENS: Final = UsageMetadata(input_tokens=0, output_tokens=0, total_tokens=0)


class PlanoDecisionModel(BaseDecisionModel):
    """Answers `Choice` questions, in milliseconds and in this process, with calibrated probabilities.

    A label and its criterion are a route and its description; a label `other` stands for "none of these". The
    probabilities are those of the labels given that one of them fits; `confidence` is the probability that the chosen
    one does, which is low where none fits. The classifier is the configured one (`classifier.*`).

    Attributes:
        model: What traces name it.
        config: The YAML file that configures the classifier.
        router: A router whose classifier is shared, in place of one of its own.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True, hide_input_in_errors=True)

    model: str = "plano"
    config: Path | None = None
    router: Router | None = Field(default=None, repr=False, exclude=True)

    _routing: Routing = PrivateAttr()

    def __init__(self, **fields: Any) -> None:
        """Read the configuration; nothing is loaded yet.

        Raises:
            ConfigurationError: The configuration cannot be used; every fault is named.
        """
        with named_faults():
            super().__init__(**fields)

    def model_post_init(self, context: Any, /) -> None:
        """Put together what the fields describe."""
        super().model_post_init(context)
        self._routing = Routing(self.router or _router(self.config))

    @property
    def _provider(self) -> str:
        return "plano"

    def _classify(self, state: Any, questions: dict[str, Any]) -> ClassifierResponse:
        calls = {name: _call(state, question, self._model_of_policies) for name, question in questions.items()}
        self._routing.start()
        return self._response(questions, {name: self._routing.router.route(call) for name, call in calls.items()})

    async def _aclassify(self, state: Any, questions: dict[str, Any]) -> ClassifierResponse:
        calls = {name: _call(state, question, self._model_of_policies) for name, question in questions.items()}
        await self._routing.astart()
        return self._response(
            questions, {name: await self._routing.router.aroute(call) for name, call in calls.items()}
        )

    @property
    def _model_of_policies(self) -> str:
        return min(self._routing.catalog.models)

    def _response(self, questions: Mapping[str, Any], decisions: Mapping[str, RoutingDecision]) -> ClassifierResponse:
        answers = {name: _answer(decision.scores, questions[name].criteria) for name, decision in decisions.items()}
        return ClassifierResponse(model=self._routing.router.classifier.kind, answers=answers, usage=_NO_TOKENS)


def _router(config: Path | None) -> Router:
    """Return a router of the configured classifier, which takes the policy of any call."""
    providers = [{"model": _NOBODY, "default": True}]
    settings = load_settings(config, overrides={"model_providers": providers, "routing_preferences": []})
    routing = settings.routing.model_copy(update={"inline": "allow"})
    return build_router(replace(settings, routing=routing))


def _call(state: Any, question: Any, model: str) -> LLMCall:
    """Return a question about a state as a call with a policy of its own.

    Raises:
        ValueError: It is no `Choice`, or a label cannot be a route's name.
    """
    if not isinstance(question, Choice):
        kinds = "Noul, Score and Box are not supported"
        raise ValueError(f"PlanoDecisionModel answers Choice; {kinds}, and a {type(question).__name__} was asked")  # noqa: TRY004 - what LangChain's own raise
    labels = {label: criterion for label, criterion in question.criteria.items() if label != NO_ROUTE_NAME}
    if len(labels) > MAX_ROUTES:
        raise ValueError(f"a Choice has at most {MAX_ROUTES} labels here")
    if fault := next((fault for label in labels if (fault := name_fault(label))), None):
        raise ValueError(f"a label of a Choice is a route's name here: {fault}")
    preferences = tuple(
        RoutingPreference(name=label, description=_text(criterion or label)[:MAX_DESCRIPTION_CHARS], models=(model,))
        for label, criterion in labels.items()
    )
    instructions = SystemMessage(_text(question.instructions))
    call = call_of([instructions, *_messages(state)], {})
    return replace(call, inline_policy=RoutingPolicy(preferences=preferences))


def _answer(scores: Scores | None, labels: Collection[str]) -> ChoiceAnswer:
    if scores is None:
        raise ClassificationError("the classifier has no answer to this question now; its log line says why")
    chances = {label: scores.routes.get(label, scores.other) for label in labels}  # `other` is no route
    choice = max(chances, key=lambda label: chances[label])
    total = sum(chances.values())
    shares = {label: chance / total if total else 1 / len(chances) for label, chance in chances.items()}
    return ChoiceAnswer(type="choice", choice=choice, probabilities=shares, confidence=min(1.0, chances[choice]))


def _messages(state: Any) -> list[BaseMessage]:
    """Return what a state says as a conversation: its messages where it is made of them, else its text."""
    if isinstance(state, BaseMessage):
        return [state]
    if isinstance(state, Mapping) and "messages" in state:
        return _messages(state["messages"])
    if isinstance(state, Sequence) and not isinstance(state, str) and any(isinstance(s, BaseMessage) for s in state):
        return [message for part in state for message in _messages(part)]
    return [HumanMessage(_text(state))]


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=lambda other: getattr(other, "text", str(other)))
