"""What holds when it gets rough: hung and abandoned work, floods of new routes, forks, huge conversations."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import anyio
import pytest

from plano_asgi.classify.embedded import EmbeddedClassifier
from plano_asgi.conversation import ApiFormat, LLMCall, Message, Role
from plano_asgi.decisions import Reason, RoutingDecision
from plano_asgi.errors import ArtifactIntegrityError, ClassifierTimeoutError
from plano_asgi.policy import Rules
from plano_asgi.preferences import RoutingPolicy, RoutingPreference
from plano_asgi.providers import ModelCatalog, ModelProvider
from plano_asgi.router import Router
from plano_asgi.stores import MemoryStore
from plano_asgi.testing import FixedClassifier

CALL = LLMCall.from_text("write a parser")


def policy_of(*names: str) -> RoutingPolicy:
    """Return a policy of routes by name."""
    routes = (
        RoutingPreference(name=name, description=f"all about {name}", models=("openai/gpt-4o",)) for name in names
    )
    return RoutingPolicy(preferences=tuple(routes))


def router_of(classifier: FixedClassifier, *, deadline_ms: float = 5_000) -> Router:
    """Return a router over one route, `code`."""
    return Router(
        classifier=classifier,
        policy=policy_of("code"),
        catalog=ModelCatalog(providers=(ModelProvider(model="openai/gpt-4o-mini", is_default=True),)),
        rules=Rules(threshold=0.5, default_model="openai/gpt-4o-mini"),
        cache=MemoryStore(size=10),
        deadline_ms=deadline_ms,
    )


@pytest.fixture
def hung() -> Iterator[Router]:
    """Yield a router whose classifier hangs until the test is over."""
    over = threading.Event()
    router = router_of(FixedClassifier({"code": 0.9}, before=lambda: over.wait(10)), deadline_ms=100)
    yield router
    over.set()
    router.close()


def test_hung_classification_gathers_no_more_callers(hung: Router) -> None:
    """A classification that has run past the deadline is not joined: later callers are answered at once."""
    assert hung.route(CALL).reason is Reason.ERROR
    time.sleep(0.05)

    started = time.perf_counter()
    decisions = [hung.route(CALL) for _ in range(50)]

    assert {decision.reason for decision in decisions} == {Reason.ERROR}
    assert time.perf_counter() - started < 50 * 0.1


def test_reading_new_routes_ends_when_nobody_waits() -> None:
    """A flood of new routes is given up with the last caller; what was read so far makes the next try shorter."""
    classifier, policy = EmbeddedClassifier(), policy_of(*(f"subject {n}" for n in range(20)))
    asked = count()

    with pytest.raises(ClassifierTimeoutError):
        classifier.classify(CALL.conversation, policy, is_awaited=lambda: next(asked) < 5)
    scores = classifier.classify(CALL.conversation, policy)

    assert next(asked) == 6
    assert len(scores.routes) == 20


def test_callers_routes_do_not_push_out_the_prepared_ones() -> None:
    """The routes of the configured policy are read once, however many routes callers bring along."""
    classifier, configured = EmbeddedClassifier(), policy_of("code", "letters")
    classifier.prepare(configured)
    before = classifier.classify(CALL.conversation, configured)
    classifier._routes = MemoryStore(size=1)  # noqa: SLF001 - the smallest store stands for a flood of thousands

    classifier.classify(CALL.conversation, policy_of("one", "two", "three"))

    assert classifier.classify(CALL.conversation, configured) == before
    assert len(classifier._routes) == 1  # noqa: SLF001 - and the prepared ones are not in it


def test_damaged_model_is_examined_once(tmp_path: Path) -> None:
    """A model that could not be loaded is not read again by every call; each still hears why."""
    for file in (Path(sys.modules[EmbeddedClassifier.__module__].__file__ or "").with_name("model")).iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "comparer.onnx").write_bytes(b"damaged")
    classifier = EmbeddedClassifier(tmp_path)

    with pytest.raises(ArtifactIntegrityError, match="SHA-256"):
        classifier.prepare(policy_of("code"))
    for file in tmp_path.iterdir():
        file.unlink()

    with pytest.raises(ArtifactIntegrityError, match="SHA-256"):
        classifier.classify(CALL.conversation, policy_of("code"))


def test_huge_conversation_leaves_the_event_loop_free() -> None:
    """While a conversation of 200,000 messages is routed, the event loop keeps its turns."""
    router = router_of(FixedClassifier({"code": 0.9}))
    turns = tuple(Message(role=Role.USER, text=str(n)) for n in range(200_000))
    call = LLMCall(api_format=ApiFormat.CHAT_COMPLETIONS, conversation=turns)
    decisions: list[RoutingDecision] = []
    turns_taken = 0

    async def main() -> None:
        """Count the turns until there is a decision."""
        nonlocal turns_taken
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(decide)
            while not decisions:
                turns_taken += 1
                await anyio.sleep(0.005)

    async def decide() -> None:
        """Decide."""
        decisions.append(await router.aroute(call))

    anyio.run(main)
    router.close()

    assert decisions[0].route == "code"
    assert turns_taken > 3


FORKED = """
import os, sys
from plano_asgi import LLMCall, load_router
router = load_router()
first = router.route(LLMCall.from_text("write a parser in C")).route
child = os.fork()
if child == 0:
    decision = router.route(LLMCall.from_text("write a parser in Ada"))
    os._exit(0 if (decision.route, decision.source.value) == ("code", "classifier") else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) or first != "code")
"""


def test_forked_process_classifies_for_itself(tmp_path: Path) -> None:
    """A process forked after the first decision, as by a preloading server, decides as its parent did."""
    (tmp_path / "plano.yaml").write_text(
        "model_providers:\n"
        "  - {model: openai/gpt-4o-mini, default: true}\n"
        "  - model: openai/gpt-4o\n"
        "    routing_preferences: [{name: code, description: writing new code}]\n",
        encoding="utf-8",
    )

    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKED]  # newer Pythons warn of such forks
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=60, check=False)

    assert (done.returncode, done.stderr) == (0, b"")


def test_model_that_a_client_keeps_is_named_in_full() -> None:
    """A decision names a declared model in full, also where the client named it by its bare name."""
    router = router_of(FixedClassifier({}))
    call = LLMCall(api_format=ApiFormat.CHAT_COMPLETIONS, conversation=CALL.conversation, model="gpt-4o-mini")

    kept = router.route(call, bypass=True)

    router.close()
    assert kept.would_use == "openai/gpt-4o-mini"
