"""`Forwarder`: a call goes to its candidates, one after the other, until one answers."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from time import monotonic
from typing import Final, Self
from urllib.parse import urlsplit

import anyio

from plano_asgi.decisions import Attempt
from plano_asgi.errors import CallError, ForwardingError
from plano_asgi.providers import ModelProvider
from plano_asgi.upstream.access import Access, Sign
from plano_asgi.upstream.answers import ForwardedAnswer
from plano_asgi.upstream.asking import ask
from plano_asgi.upstream.attempts import Deadlines, OutboundCall, Outcome, UpstreamClient
from plano_asgi.upstream.breaker import Admission, Breakers
from plano_asgi.upstream.course import Candidate, Course, FailoverRules
from plano_asgi.upstream.failures import Failure, FailureKind
from plano_asgi.upstream.keys import Keys
from plano_asgi.upstream.requests import RawHeaders
from plano_asgi.upstream.resources import StoredResource, fetch
from plano_asgi.upstream.unanswered import nobody_answered, said_by

Admit = Callable[[str], Awaitable[CallError | None]]
ANSWERED: Final = "answered"
_REJECTIONS: Final = frozenset({FailureKind.KEY_REFUSED, FailureKind.RATE_LIMITED})  # another key may do better


class Forwarder:
    """Serves calls by asking model providers.

    Bounded by the connections of its clients, one client for each server, and by `deadlines`. To be used from any
    event loop; connections are each loop's own.
    """

    def __init__(  # noqa: PLR0913 - each is one part, named at the one place that assembles them
        self,
        clients: Mapping[str, UpstreamClient],
        *,
        deadlines: Deadlines,
        rules: FailoverRules,
        breakers: Breakers,
        names_models: bool = True,
        keys: Keys | None = None,
        sign: Sign | None = None,
    ) -> None:
        """Put the parts together; nothing is connected yet.

        Args:
            clients: What asks, by the server that is asked, as `server_of` names it.
            deadlines: How long an answer may take.
            rules: How often a call is tried again.
            breakers: What is known of models' health.
            names_models: Whether an error may name the models that were asked.
            keys: Which of a provider's keys is used when.
            sign: What signs the calls of providers that want that.
        """
        self._clients = clients
        self._deadlines = deadlines
        self._rules = rules
        self._breakers = breakers
        self._names_models = names_models
        self._keys = keys or Keys()
        self._sign = sign

    async def forward(
        self,
        call: OutboundCall,
        candidates: Sequence[Candidate],
        *,
        trail: list[Attempt],
        admit: Admit | None = None,
    ) -> ForwardedAnswer:
        """Return the first good answer, begun; or that of a provider that finds the call itself at fault.

        Args:
            call: The call.
            candidates: Who may serve it, in order.
            trail: Gets every attempt as it is over, also where nothing is returned.
            admit: Says of a qualified model, each time before it is asked, why it may not be; None where it may.

        Raises:
            ForwardingError: Nobody has answered.
            CallError: Nobody could be asked, since the call cannot be said in any of the providers' APIs, or may not.
        """
        until, models_asked, said = monotonic() + self._deadlines.total_s, 0, ""
        course = Course(candidates, rules=self._rules, breakers=self._breakers)
        failures, unsaid = list[Failure](), list[CallError]()
        while (step := course.next()) and monotonic() + step.wait_s < until:
            await anyio.sleep(step.wait_s)
            candidate, refused = step.candidate, await _refused(step.candidate.model, admit, trail)
            admission = None if refused else self._breakers.asked(candidate.model)
            if refused is None and admission is None and step.is_admitted:
                course.put_back(candidate)  # another call has become the probe meanwhile
                continue
            outcome = refused or await self._attempt(call, candidate, until, trail, admission)
            if outcome.failure is None and outcome.answer:
                return outcome.answer
            if outcome.error:
                unsaid.append(outcome.error)
                course.give_back()
                continue
            failures.append(failure := outcome.failure or Failure(kind=FailureKind.UNUSABLE))
            if outcome.has_other_key:
                course.at_once(candidate)
                continue
            course.note(candidate, failure)
            models_asked += 1
            if outcome.answer:
                if _is_final(failure, course, is_first=models_asked == 1):
                    return outcome.answer
                said = await said_by(outcome.answer) or said
        if unsaid and not failures:
            raise unsaid[0]
        raise self._nobody_answered(candidates, trail, failures, said)

    def _nobody_answered(
        self, candidates: Sequence[Candidate], trail: Sequence[Attempt], failures: Sequence[Failure], said: str
    ) -> ForwardingError:
        rest_s = min((self._breakers.rest_s(candidate.model) for candidate in candidates), default=0.0)
        return nobody_answered(trail, failures, said=said, rest_s=rest_s, names_models=self._names_models)

    async def fetch(
        self, provider: ModelProvider, resource: StoredResource, *, client_headers: RawHeaders
    ) -> ForwardedAnswer:
        """Return what a provider says of something that it keeps; it is asked once, and nobody else is.

        Raises:
            ForwardingError: It gives no answer.
        """
        return await fetch(
            self._clients[server_of(provider)],
            provider,
            resource,
            client_headers=client_headers,
            key=self._keys.next(provider),
            timeout_s=self._deadlines.answer_s,
        )

    def through(self, client: UpstreamClient) -> Self:
        """Return what serves calls in the same way, knows the same of models' health, and asks by this client only."""
        return type(self)(
            dict.fromkeys(self._clients, client),
            deadlines=self._deadlines,
            rules=self._rules,
            breakers=self._breakers,
            names_models=self._names_models,
            keys=self._keys,
            sign=self._sign,
        )

    def breaker_of(self, model: str) -> int:
        """Return the state of a model's breaker: 0 closed, 1 half open, 2 open."""
        return self._breakers.state_of(model)

    async def aclose(self) -> None:
        """Close this event loop's connections; the next call opens new ones."""
        for client in self._clients.values():
            await client.aclose()

    async def _attempt(
        self,
        call: OutboundCall,
        candidate: Candidate,
        until: float,
        trail: list[Attempt],
        admission: Admission | None,
    ) -> Outcome:
        """Return what one candidate says, having noted what that tells of its health."""
        provider, model, started = candidate.provider, candidate.model, monotonic()
        key = self._keys.next(provider)
        outcome: Outcome | None = None
        try:
            outcome = await ask(
                self._clients[server_of(provider)],
                provider,
                call,
                deadlines=self._deadlines,
                until=until,
                on_failure=partial(self._breakers.failed, model),
                access=Access(key=key, sign=self._sign),
            )
            if outcome.failure and outcome.failure.kind in _REJECTIONS:
                has_other = self._keys.rejected(provider, key, outcome.failure.retry_after_s)
                outcome = replace(outcome, has_other_key=has_other)
        finally:
            self._note_health(provider, outcome, admission)
            trail.append(_attempt_of(model, outcome, duration_ms=(monotonic() - started) * 1000))
        return outcome

    def _note_health(self, provider: ModelProvider, outcome: Outcome | None, admission: Admission | None) -> None:
        """Tell the breaker what an attempt says of the model."""
        model = provider.model
        failure = outcome.failure if outcome else None
        if outcome is None or outcome.error or outcome.has_other_key or _is_nobodys_fault(failure, provider):
            self._breakers.abandoned(model, admission)
        elif failure is None or failure.is_of_the_call:
            self._breakers.succeeded(model)
        elif failure.kind is FailureKind.RATE_LIMITED:
            self._breakers.limited(model, failure.retry_after_s)
        else:
            self._breakers.failed(model, failure.retry_after_s)


def server_of(provider: ModelProvider) -> str:
    """Return what a provider's client is kept under: the server that its URL names."""
    return "{0.scheme}://{0.netloc}".format(urlsplit(provider.base_url or ""))


def _is_nobodys_fault(failure: Failure | None, provider: ModelProvider) -> bool:
    """Return whether a failure says nothing of the model: our own pool is used up, or the caller's own key limited."""
    if failure is None:
        return False
    is_of_the_key = provider.is_auth_passed_through and failure.kind is FailureKind.RATE_LIMITED
    return is_of_the_key or failure.kind is FailureKind.SATURATED


async def _refused(model: str, admit: Admit | None, trail: list[Attempt]) -> Outcome | None:
    """Return what comes of an attempt that is not allowed; None where it is."""
    refusal = await admit(model) if admit else None
    if refusal is None:
        return None
    trail.append(Attempt(model=model, outcome=FailureKind.OVER_LIMIT.value))
    return Outcome(failure=Failure(kind=FailureKind.OVER_LIMIT), error=refusal)


def _is_final(failure: Failure, course: Course, *, is_first: bool) -> bool:
    """Return whether the caller is told what the provider says against the call, and nobody else is asked.

    What a filter has stopped is not offered to others. What is too long is, to models that read more. What the first
    model rejects is the caller's to mend; where a later one does, it may be that model's own limits.
    """
    if failure.kind is FailureKind.TOO_LONG:
        return course.is_over
    return failure.kind is FailureKind.FILTERED or is_first


def _attempt_of(model: str, outcome: Outcome | None, *, duration_ms: float) -> Attempt:
    if outcome is None:
        return Attempt(model=model, outcome="abandoned", duration_ms=duration_ms)
    word = outcome.failure.kind.value if outcome.failure else ANSWERED
    return Attempt(model=model, outcome=word, status=outcome.status, duration_ms=duration_ms)
