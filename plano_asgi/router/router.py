"""`Router`: a call's session, a decision within a deadline, one event."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from logging import INFO
from time import perf_counter

from plano_asgi.classify import Classifier
from plano_asgi.classify.readings import Reading
from plano_asgi.classify.trusting import trusted
from plano_asgi.classify.warming import WARM_UP
from plano_asgi.conversation import LLMCall
from plano_asgi.decisions import RoutingDecision, Scores, Trial
from plano_asgi.errors import CallError, ClassificationError, ClassifierTimeoutError, ClassifierUnavailableError
from plano_asgi.events import CLASSIFIER_READY, CLASSIFIER_SLOW, get_logger, is_heard
from plano_asgi.observer import UNOBSERVED
from plano_asgi.policy import Rules, fit_format
from plano_asgi.preferences import RoutingPolicy
from plano_asgi.providers import ModelCatalog
from plano_asgi.router.classifications import Classifications
from plano_asgi.router.deciding import Case, Deciding, OnError, Pending
from plano_asgi.router.experimenting import Arm, Experiment, Experiments
from plano_asgi.router.fitting import Fit, all_of_it
from plano_asgi.router.following import Following, told_of_switch
from plano_asgi.router.logging_decisions import log_routed
from plano_asgi.router.reading import is_long, read
from plano_asgi.router.repeated_start import RepeatedStart
from plano_asgi.router.selecting import Selecting
from plano_asgi.router.sessions import Sessions
from plano_asgi.router.stand_in import stand_in
from plano_asgi.router.waiting import wait_async, wait_blocking
from plano_asgi.sessions import SessionStanding
from plano_asgi.stores import Store


class Router:
    """Decides where calls go. Thread-safe; `route` and `aroute` decide alike.

    Memory is bounded by the cache it is given and by `queue`; a classification is waited for `deadline_ms` at the most.
    """

    def __init__(  # noqa: PLR0913 - each is one seam, named at the one place that assembles them
        self,
        *,
        classifier: Classifier,
        policy: RoutingPolicy,
        catalog: ModelCatalog,
        rules: Rules,
        cache: Store[bytes, Scores],
        on_error: OnError = OnError.DEFAULT,
        allow_inline: bool = True,
        is_enabled: bool = True,
        deadline_ms: float,
        workers: int = 1,
        queue: int = 256,
        sessions: Sessions | None = None,
        selecting: Selecting | None = None,
        experiments: Sequence[Experiment] = (),
    ) -> None:
        """Put the parts together; nothing is loaded before `start` or the first call.

        Without `sessions` each call is decided for itself; without `selecting` models keep their written order.
        """
        self.classifier = classifier
        self.policy = policy
        self.catalog = catalog
        self.rules = rules
        self.deadline_ms = deadline_ms
        self.observer = UNOBSERVED
        self._classifications = Classifications(workers=workers, queue=queue)
        self._deciding = Deciding(
            classifier=classifier,
            policy=policy,
            catalog=catalog,
            rules=rules,
            cache=cache,
            on_error=on_error,
            allow_inline=allow_inline,
            is_enabled=is_enabled,
            deadline_ms=deadline_ms,
            classifications=self._classifications,
            selecting=selecting,
        )
        self._experiments = Experiments(experiments, usual=self._deciding, queue=queue)
        self.selecting = selecting
        self._following = Following(sessions=sessions, catalog=catalog, selecting=selecting)
        self._is_ready = False
        self._problem: ClassificationError | None = None
        self._repeated_start = RepeatedStart(self._warm_up)

    @property
    def is_ready(self) -> bool:
        """Whether the model is loaded and warm, and the router not closed since."""
        return (self._is_ready or stand_in() is not None) and not self._classifications.is_closed

    @property
    def problem(self) -> ClassificationError | None:
        """Why a router that was started is not ready: its classifier is elsewhere and cannot be asked."""
        return self._problem

    def start(self) -> float:
        """Load the model, prepare the configured policy, and return the milliseconds of one timed classification.

        A router that was closed is open again. A classifier that is elsewhere and cannot be asked now is no reason not
        to start: it is asked again at growing intervals, and calls are decided by `on_error` until it answers.

        Raises:
            ArtifactError: A model file is missing or not the published one.
            ClassificationError: The classifier cannot answer.
        """
        self._classifications.reopen()
        self._experiments.reopen()
        if stand_in():
            return 0.0
        if self.selecting:
            self.selecting.start()
        stopped = self._repeated_start.renew()  # before the first attempt: `close` may come while that is made
        started = perf_counter()
        try:
            return self._warm_up()
        except (ClassifierUnavailableError, ClassifierTimeoutError):
            self._repeated_start.begin(stopped)
            return _milliseconds_since(started)

    def _warm_up(self) -> float:
        self.classifier.prepare(self.policy)
        started = perf_counter()
        try:
            if self.policy.preferences:
                trusted(self.classifier.classify(WARM_UP, self.policy), self.policy)
        except ClassificationError as error:
            self._problem = error
            self._deciding.log_failure(error)
            raise
        elapsed_ms = _milliseconds_since(started)
        self._experiments.warm_up()
        self._is_ready, self._problem = True, None
        report = {
            "classifier": self.classifier.kind,
            "classify_ms": round(elapsed_ms, 1),
            "deadline_ms": self.deadline_ms,
        }
        get_logger().info(CLASSIFIER_READY, **report)
        if elapsed_ms > self.deadline_ms / 2:
            get_logger().warning(
                CLASSIFIER_SLOW, advice="raise classifier.deadline_ms or use a faster device", **report
            )
        return elapsed_ms

    def close(self) -> None:
        """Drop the calls that wait for a classification; later calls are decided by `on_error`."""
        self._repeated_start.stop()
        if self.selecting:
            self.selecting.stop()
        self._classifications.close()
        self._experiments.close()
        self.classifier.close()

    def route(
        self, call: LLMCall, *, bypass: bool = False, is_translated: bool = True, fit: Fit = all_of_it
    ) -> RoutingDecision:
        """Return where the call goes; blocks while it is classified.

        Args:
            call: The call.
            bypass: Whether the caller asked not to be routed.
            is_translated: Whether a model of another API can serve the call, since somebody translates.
            fit: Returns the decision with only what the caller may use, or raises what it is refused with; the session
                remembers that, and what is refused is logged and observed, but remembered by no session.

        Raises:
            CallError: `fit` refuses the call.
            PolicyRefusedError: The call's inline policy is not allowed here.
            RoutingUnavailableError: `on_error` is `reject`, and the classifier has no answer.
        """
        started = perf_counter()
        speaking = all_of_it if is_translated else self._speaking(call)
        fitted = partial(self._fitted, speaking=speaking, fit=fit)
        reported = partial(self._reported, call=call, started=started)
        case = self._deciding.case_of(call, bypass=bypass)
        if isinstance(case, RoutingDecision):
            return reported(fitted(case, reported))
        arm = self._arm_of(case)
        followed, deciding = arm.followed, arm.deciding
        standing = self._following.recalled(followed)
        begun = self._following.held(followed, standing) or deciding.begin(followed.case, followed.conversation)
        if isinstance(begun, Pending):
            begun = deciding.conclude(begun, wait_blocking(begun.scores, deciding.deadline_ms / 1000))
        fresh = self._qualified(begun)
        standing = standing or self._following.opened(followed, self._following.opening(followed, speaking(fresh), fit))
        settled, session = self._following.settled(fresh, followed, standing)
        reported = partial(reported, session=session, trial=arm.trial)
        decision = fitted(settled, reported)
        self._following.remember(decision, session, standing)
        return self._tried(reported(decision), arm, begun)

    async def aroute(
        self, call: LLMCall, *, bypass: bool = False, is_translated: bool = True, fit: Fit = all_of_it
    ) -> RoutingDecision:
        """Return where the call goes, without blocking the event loop; the same as `route` in everything else."""
        started = perf_counter()
        speaking = all_of_it if is_translated else self._speaking(call)
        fitted = partial(self._fitted, speaking=speaking, fit=fit)
        reported = partial(self._reported, call=call, started=started)
        case, on_thread = self._deciding.case_of(call, bypass=bypass), is_long(call)
        if isinstance(case, RoutingDecision):
            return await read(partial(reported, fitted(case, reported)), on_thread=on_thread)
        arm = await read(partial(self._arm_of, case), on_thread=on_thread)
        followed, deciding = arm.followed, arm.deciding
        standing = await self._following.arecalled(followed)
        begun: RoutingDecision | Pending | None = self._following.held(followed, standing)
        if begun is None:
            begun = await read(partial(deciding.begin, followed.case, followed.conversation), on_thread=on_thread)
        if isinstance(begun, Pending):
            begun = deciding.conclude(begun, await wait_async(begun.scores, deciding.deadline_ms / 1000))
        fresh = self._qualified(begun)
        if standing is None:
            standing = await self._following.aopened(followed, self._following.opening(followed, speaking(fresh), fit))
        settled, session = await self._following.asettled(fresh, followed, standing)
        reported = partial(reported, session=session, trial=arm.trial)
        decision = fitted(settled, reported)
        await self._following.aremember(decision, session, standing)
        return self._tried(await read(partial(reported, decision), on_thread=on_thread), arm, begun)

    def made_elsewhere(self, call: LLMCall, decision: RoutingDecision) -> RoutingDecision:
        """Return a decision that whoever makes the call knew without asking, logged and counted as one of this router.

        Args:
            call: The call.
            decision: Where it goes: to the model that its history names, its caller has chosen, or its first try had.
        """
        return self._reported(decision, call, perf_counter())

    def readings(self, call: LLMCall) -> tuple[Reading, ...]:
        """Return what the classifier that decides a call reads of it, nothing where none does; blocks."""
        case = self._deciding.case_of(call, bypass=False)
        if isinstance(case, RoutingDecision):
            return ()
        arm = self._arm_of(case)
        return arm.deciding.readings(arm.followed.case, arm.followed.conversation)

    def served(self, decision: RoutingDecision, *, by: str) -> None:
        """Take note of who has answered, by its qualified model: its session goes on with that one."""
        self._following.move(decision, to=by)

    async def aserved(self, decision: RoutingDecision, *, by: str) -> None:
        """Do the same as `served`, without blocking the event loop."""
        await self._following.amove(decision, to=by)

    def _arm_of(self, case: Case) -> Arm:
        return self._experiments.arm_of(self._following.followed(case))

    def _tried(self, decision: RoutingDecision, arm: Arm, decided: RoutingDecision) -> RoutingDecision:
        """Return the decision, having begun what an experiment does beside it."""
        self._experiments.begin_shadow(arm, decided)
        return decision

    def _qualified(self, decision: RoutingDecision) -> RoutingDecision:
        would_use = decision.would_use and self.catalog.qualified(decision.would_use)
        return decision if would_use == decision.would_use else replace(decision, would_use=would_use)

    def _speaking(self, call: LLMCall) -> Fit:
        return partial(fit_format, call=call, rules=self.rules, catalog=self.catalog)

    def _fitted(self, decision: RoutingDecision, reported: Fit, *, speaking: Fit, fit: Fit) -> RoutingDecision:
        """Return the decision qualified, of models that can serve the call; one that is refused is reported."""
        decision = speaking(self._qualified(decision))
        try:
            return fit(decision)
        except CallError:
            return fit(reported(decision))  # refused again, by somebody who knows all that is told of it

    def _reported(
        self,
        decision: RoutingDecision,
        call: LLMCall,
        started: float,
        session: SessionStanding | None = None,
        trial: Trial | None = None,
    ) -> RoutingDecision:
        """Return the decision timed and with all that belongs to it, having logged the one line that tells of it."""
        session, latency_ms = told_of_switch(session, decision.would_use), _milliseconds_since(started)
        decision = replace(decision, latency_ms=latency_ms, session=session, trial=trial)
        self.observer.decided(call, decision, waiting=self._classifications.waiting)
        if is_heard(INFO):
            log_routed(decision, call, classifier=decision.decided_by(self.classifier.kind))
        if listener := stand_in():
            listener.hear(decision)
        return decision


def _milliseconds_since(started: float) -> float:
    return (perf_counter() - started) * 1000
