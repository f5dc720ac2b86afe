"""What is remembered of calls that belong together: in memory and in Redis, by header and without."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from threading import Event as ThreadEvent
from threading import Thread
from typing import Any, Final

import anyio
import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from structlog.testing import capture_logs

from plano_asgi import events
from plano_asgi.assembly import build_router
from plano_asgi.conversation import ApiFormat, LLMCall, Message, Role
from plano_asgi.decisions import RoutingDecision, Source
from plano_asgi.errors import ClassificationError, ConfigurationError, NotAllowedError
from plano_asgi.policy import place_of, turn_of
from plano_asgi.router import MemorySessions, Router, SessionStore, SharedSessions
from plano_asgi.secret import Secret
from plano_asgi.sessions import MOST_PINS, Lock, Opening, Pin
from plano_asgi.settings import Settings
from plano_asgi.stores.redis_lists import RedisLists
from plano_asgi.stores.redis_server import RedisServer
from plano_asgi.testing import FixedClassifier, routed_by

SettingsOf = Callable[[str], Settings]
BASE: Final = """
model_providers:
  - {model: openai/gpt-4o-mini, default: true}
  - {model: openai/gpt-5}
  - {model: anthropic/claude-x}
routing_preferences:
  - {name: code, description: writing code, models: [anthropic/claude-x, openai/gpt-5]}
  - {name: chat, description: small talk, models: [openai/gpt-5]}
"""
SECRET: Final = b"s" * 32
prefixes = (f"test{number}:" for number in count())


class Swayed(FixedClassifier):
    """Finds code where the latest message says code, and else chat."""

    def classify(self, conversation: Any, policy: Any, **more: Any) -> Any:
        """Return certainty."""
        route = "code" if "code" in conversation[-1].text else "chat"
        self._chances = {route: 1.0}
        return super().classify(conversation, policy, **more)


@pytest.fixture
def router_with(settings_of: SettingsOf) -> Iterator[Callable[[str], Router]]:
    """Return what makes routers of settings beyond the base."""
    made: list[Router] = []

    def make(more: str = "") -> Router:
        """Make one."""
        made.append(build_router(settings_of(BASE + more), classifier=Swayed({})))
        return made[-1]

    yield make
    for router in made:
        router.close()


def user(text: str) -> Message:
    """Return a user's message."""
    return Message(role=Role.USER, text=text)


USE: Final = Message(role=Role.ASSISTANT, text="", tool_calls=("look",))
RESULT: Final = Message(role=Role.TOOL, text="it is done")
SYSTEM: Final = Message(role=Role.SYSTEM, text="You are an agent.")


def call_of(*messages: Message, **more: Any) -> LLMCall:
    """Return a call of an agent with one tool."""
    said: dict[str, Any] = {"api_format": ApiFormat.CHAT_COMPLETIONS, "tools": ("look",), **more}
    return LLMCall(conversation=(SYSTEM, *messages), **said)


def test_session_is_told_from_its_first_call_on(router_with: Callable[[str], Router]) -> None:
    """The first call makes a session known, the second finds it, and both tell one id of it."""
    router = router_with("")

    first = router.route(call_of(user("some code"))).session
    second = router.route(call_of(user("some code"), USE, RESULT)).session

    assert first
    assert second
    assert (first.is_pinned, second.is_pinned) == (False, True)
    assert first.id == second.id
    assert second.lock is Lock.TOOL_LOOP


def test_new_words_of_the_user_may_change_the_model_and_say_so(router_with: Callable[[str], Router]) -> None:
    """A turn that is decided otherwise than the one before is a switch; the next call of it is none."""
    router = router_with("")
    router.route(call_of(user("some code")))

    switched = router.route(call_of(user("some code"), USE, RESULT, user("thanks")))
    after = router.route(call_of(user("some code"), USE, RESULT, user("thanks"), USE, RESULT))

    assert (switched.would_use, switched.session and switched.session.is_switched) == ("openai/gpt-5", True)
    assert (after.would_use, after.source, after.session and after.session.is_switched) == (
        "openai/gpt-5",
        Source.SESSION,
        False,
    )


def test_kept_call_still_has_its_route_and_who_stands_by(router_with: Callable[[str], Router]) -> None:
    """A decision of a session names the route and its reason, and the route's other models follow."""
    router = router_with("")
    first = router.route(call_of(user("some code")))
    kept = router.route(call_of(user("some code"), USE, RESULT))

    told = ("route", "models", "would_use", "reason", "confidence")
    assert [getattr(kept, name) for name in told] == [getattr(first, name) for name in told]


@pytest.mark.parametrize(
    "other",
    [{"tenant": "b"}, {"affinity": "b"}, {"tenant": "b", "affinity": None}, {"stored_conversation": "conv_1"}],
    ids=["tenant", "affinity", "tenant-alone", "kept-by-the-provider"],
)
def test_calls_of_others_never_belong_together(other: dict[str, Any], router_with: Callable[[str], Router]) -> None:
    """Two tenants, two ids, or two conversations that a provider keeps, share no session, whatever they say."""
    router = router_with("")
    router.route(call_of(user("some code"), tenant="a"))

    second = router.route(call_of(user("some code"), **{"tenant": "a", **other})).session

    assert second
    assert not second.is_pinned


def test_clients_id_holds_calls_together_that_begin_unlike(router_with: Callable[[str], Router]) -> None:
    """With `X-Model-Affinity`, a conversation whose beginning was cut off keeps its model within a loop."""
    router = router_with("")
    router.route(call_of(user("some code"), affinity="work-1"))

    after = router.route(call_of(user("a summary"), USE, RESULT, affinity="work-1"))

    assert (after.would_use, after.source) == ("anthropic/claude-x", Source.SESSION)
    assert after.session
    assert after.session.id == "work-1"


@pytest.mark.parametrize(
    "drifted",
    [
        replace(
            call_of(user("some code"), USE, RESULT),
            conversation=(replace(SYSTEM, text="You are an agent. It is noon."), user("some code"), USE, RESULT),
        ),
        call_of(user("some code"), USE, RESULT, tools=("look", "run")),
    ],
    ids=["instructions", "tools"],
)
def test_prefix_may_drift(drifted: LLMCall, router_with: Callable[[str], Router]) -> None:
    """Instructions that tell the time, or a tool that is new, do not part a call from its session."""
    router = router_with("")
    router.route(call_of(user("some code")))

    assert router.route(drifted).source is Source.SESSION


def test_side_call_with_the_same_words_has_no_say(router_with: Callable[[str], Router]) -> None:
    """A title that is asked for with the user's words, by other instructions, leaves the work's model alone."""
    router = router_with("")
    aside = (Message(role=Role.SYSTEM, text="Title?"), user("some code"), user("a title"))
    router.route(call_of(user("some code")))
    aside_of = router.route(replace(call_of(), tools=(), conversation=aside)).session

    assert aside_of
    assert (aside_of.is_pinned, aside_of.is_switched) == (False, False)
    assert router.route(call_of(user("some code"), USE, RESULT)).would_use == "anthropic/claude-x"


def test_thoughts_hold_the_provider(router_with: Callable[[str], Router]) -> None:
    """Where thoughts are signed, the user's next words are decided, and the model still stays, with the reason."""
    router = router_with("")
    router.route(call_of(user("some code")))

    held = router.route(call_of(user("some code"), USE, RESULT, user("thanks"), latest_signature="0123"))

    assert held.session
    assert (held.would_use, held.source, held.session.lock) == ("anthropic/claude-x", Source.SESSION, Lock.THINKING)
    assert held.scores
    assert held.scores.routes["chat"] == 1.0


def test_response_that_the_provider_keeps_holds_the_model(router_with: Callable[[str], Router]) -> None:
    """A call with a `previous_response_id` and a known session stays, whatever its user says."""
    router = router_with("")
    router.route(call_of(user("some code"), affinity="a"))

    held = router.route(call_of(user("thanks"), affinity="a", previous_response="resp_1"))

    assert held.session
    assert (held.would_use, held.session.lock) == ("anthropic/claude-x", Lock.PREVIOUS_RESPONSE)


def test_model_that_is_no_longer_declared_holds_nothing(settings_of: SettingsOf) -> None:
    """A session whose model has left the configuration is decided anew."""
    store = MemorySessions(size=10, ttl_s=60)
    first = build_router(settings_of(BASE), classifier=Swayed({}))
    second = build_router(settings_of(BASE.replace("anthropic/claude-x", "anthropic/claude-y")), classifier=Swayed({}))
    for router in (first, second):
        assert router._following.sessions  # noqa: SLF001 - two configurations, one store
        router._following.sessions.store, router._following.sessions.secret = store, SECRET  # noqa: SLF001
    first.route(call_of(user("some code")))

    after = second.route(call_of(user("some code"), USE, RESULT))

    assert (after.would_use, after.source) == ("anthropic/claude-y", Source.CLASSIFIER)
    first.close()
    second.close()


def test_rules_of_tests_are_not_remembered(router_with: Callable[[str], Router]) -> None:
    """What stands in for the classifier decides every call of a test, and leaves nothing behind."""
    router = router_with("")
    with routed_by({"code": "chat"}):
        router.route(call_of(user("some code")))

    after = router.route(call_of(user("some code"), USE, RESULT))

    assert (after.would_use, after.source) == ("anthropic/claude-x", Source.CLASSIFIER)


def test_bypassed_call_leaves_its_session_alone(router_with: Callable[[str], Router]) -> None:
    """A call that is not to be routed keeps its own model and tells of no session."""
    router = router_with("")
    router.route(call_of(user("some code")))

    bypassed = router.route(call_of(user("some code"), USE, RESULT, model="openai/gpt-5"), bypass=True)

    assert (bypassed.would_use, bypassed.session) == ("openai/gpt-5", None)


pins = st.builds(
    Pin,
    system=st.sampled_from("ab"),
    tools=st.sampled_from(["", "t"]),
    turn=st.sampled_from("123"),
    model=st.sampled_from(["a/b", "c/d"]),
    route=st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=3),
    reason=st.just("matched"),
    confidence=st.none() | st.floats(0, 1),
    foreign=st.none() | st.just("f"),
    spent_usd=st.floats(0, 9),
    baseline_usd=st.floats(0, 9),
)


@pytest.fixture(scope="module")
def redis(redis_url: str) -> Iterator[RedisServer]:
    """Return a Redis server."""
    server = RedisServer(Secret(redis_url), timeout_s=5)
    yield server
    server.close()


def shared(server: RedisServer) -> SharedSessions:
    """Return sessions of the test's own on a server."""
    return SharedSessions(RedisLists(server, prefix=next(prefixes), most=MOST_PINS, ttl_s=60))


@settings(deadline=None, max_examples=40)
@given(told=st.lists(st.tuples(st.sampled_from("xyz"), pins), max_size=24))
def test_memory_and_redis_keep_the_same(told: list[tuple[str, Pin]], redis: RedisServer) -> None:
    """Whatever is kept in whatever order, both stores tell the same of a session: its latest pins, the last first."""
    stores: tuple[SessionStore, ...] = (MemorySessions(size=100, ttl_s=60), shared(redis))
    for store in stores:
        for key, pin in told:
            store.push(key, pin)

    for key in "xyz":
        memory, server = (store.read(key) for store in stores)
        assert memory == server == tuple(pin for its, pin in reversed(told) if its == key)[:MOST_PINS]


openings = st.builds(Opening, pin=pins, is_signed=st.booleans())


@settings(deadline=None, max_examples=40)
@given(told=st.lists(st.tuples(st.sampled_from("xy"), openings), max_size=24))
def test_memory_and_redis_open_the_same(told: list[tuple[str, Opening]], redis: RedisServer) -> None:
    """Both stores tell the same of a session as a turn begins, and keep the same of what begins, or do not."""
    memory, server = MemorySessions(size=100, ttl_s=60), shared(redis)

    assert [memory.open(*one) for one in told] == [server.open(*one) for one in told]
    assert [memory.read(key) for key in "xy"] == [server.read(key) for key in "xy"]


@pytest.mark.parametrize("kind", ["memory", "redis"])
def test_one_of_many_has_a_turn_first(kind: str, redis: RedisServer) -> None:
    """Of calls that would have one turn at the same time, one is kept, and all others know of it."""
    store: SessionStore = MemorySessions(size=10, ttl_s=60) if kind == "memory" else shared(redis)
    pin = Pin(system="s", tools="", turn="1", model="a/b", route=None, reason="no_match")
    told: list[tuple[Pin, ...]] = []

    def open_one(number: int) -> None:
        """Begin the turn."""
        told.append(store.open("x", Opening(pin=pin._replace(model=f"a/{number}"))))

    threads = [Thread(target=open_one, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    (kept,) = store.read("x")
    assert sorted(told, key=len) == [(), *[(kept,)] * 7]


@pytest.mark.parametrize("kind", ["memory", "redis"])
def test_session_keeps_its_latest_turns_alone(kind: str, redis: RedisServer) -> None:
    """Of however many turns, the latest eight are known."""
    store: SessionStore = MemorySessions(size=10, ttl_s=60) if kind == "memory" else shared(redis)
    for number in range(20):
        store.push("x", Pin(system="s", tools="", turn=str(number), model="a/b", route=None, reason="no_match"))

    assert [pin.turn for pin in store.read("x")] == ["19", "18", "17", "16", "15", "14", "13", "12"]


def test_async_and_blocking_ways_are_one(redis: RedisServer) -> None:
    """What is kept on an event loop is read without one, and the other way round."""
    store = shared(redis)
    pin = Pin(system="s", tools="", turn="1", model="a/b", route=None, reason="no_match")
    store.push("x", pin)

    async def both() -> tuple[Pin, ...]:
        """Keep another, and read."""
        await store.apush("x", pin._replace(turn="2"))
        return await store.aread("x")

    assert anyio.run(both) == store.read("x") == (pin._replace(turn="2"), pin)


def test_workers_share_sessions_by_redis(redis_url: str, router_with: Callable[[str], Router]) -> None:
    """What one worker decided, another keeps to; and both call the session the same."""
    more = f'sessions: {{store: redis}}\nredis: {{url: "{redis_url}", prefix: "{next(prefixes)}", timeout_ms: 5000}}\n'
    one, other = router_with(more), router_with(more)
    first = one.route(call_of(user("some code")))

    after = anyio.run(other.aroute, call_of(user("some code"), USE, RESULT))

    assert after.source is Source.SESSION
    assert after.session
    assert first.session
    assert after.session.id == first.session.id


@pytest.mark.parametrize("damage", [b"{", b'{"unknown": 1}', b"[]", b'{"system": "s"}'], ids=str)
def test_sessions_of_another_version_are_no_reason_to_fail(
    damage: bytes, redis: RedisServer, router_with: Callable[[str], Router]
) -> None:
    """What cannot be read is as good as not known, and the log says so."""
    router = router_with("")
    lists = RedisLists(redis, prefix=next(prefixes), most=8, ttl_s=60)
    sessions = router._following.sessions  # noqa: SLF001 - a store with damage in it
    assert sessions
    sessions.store = SharedSessions(lists)
    call = call_of(user("some code"), USE, RESULT)
    place = sessions.place_of(call, turn_of(call.conversation))
    assert place
    lists.push(place.key, damage)

    with capture_logs() as logged:
        decision = router.route(call)

    assert (decision.would_use, decision.source) == ("anthropic/claude-x", Source.CLASSIFIER)
    assert events.SESSIONS_FAILED in {entry["event"] for entry in logged}


def test_redis_that_is_gone_costs_one_call_a_moment(redis_server: Any, router_with: Callable[[str], Router]) -> None:
    """Calls are decided as if nothing were known, alike within a turn; the server is left alone for a while."""
    more = f'sessions: {{store: redis}}\nredis: {{url: "{redis_server.url}", timeout_ms: 200}}\n'
    router = router_with(more)
    router.route(call_of(user("some code")))
    redis_server.stop()

    with capture_logs() as logged:
        decisions = [router.route(call_of(user("some code"), *[USE, RESULT] * times)) for times in (1, 2, 3)]

    assert {decision.would_use for decision in decisions} == {"anthropic/claude-x"}
    assert [entry["event"] for entry in logged].count(events.SESSIONS_FAILED) == 1


def test_memory_is_bounded(router_with: Callable[[str], Router]) -> None:
    """No more sessions are kept than `sessions.size`, whatever comes."""
    router = router_with("sessions: {size: 3}\n")
    for number in range(9):
        router.route(call_of(user(f"code {number}")))

    sessions = router._following.sessions  # noqa: SLF001 - how many it keeps
    assert sessions
    assert isinstance(sessions.store, MemorySessions)
    assert len(sessions.store) == 3


def test_session_is_kept_for_a_while_after_its_latest_call() -> None:
    """Its time begins again with every call, and when it is over nothing is known."""
    now = [0.0]
    store = MemorySessions(size=10, ttl_s=10, clock=lambda: now[0])
    pin = Pin(system="s", tools="", turn="0", model="a/b", route=None, reason="no_match")
    store.push("x", pin)
    seen = []
    for wait_s in (9, 9, 10):
        now[0] += wait_s
        seen.append(store.read("x"))

    assert seen == [(pin,), (pin,), ()]


def test_threads_lose_no_pin_of_one_session() -> None:
    """Pins that threads keep at the same time are all there afterwards."""
    store = MemorySessions(size=10, ttl_s=60)
    pin = Pin(system="s", tools="", turn="0", model="a/b", route=None, reason="no_match")
    threads = [Thread(target=store.push, args=("x", pin._replace(turn=str(n)))) for n in range(MOST_PINS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {kept.turn for kept in store.read("x")} == set("01234567")


def test_digests_need_the_secret() -> None:
    """Without what they are keyed with, nobody can tell whether a session's id belongs to some words."""
    call = call_of(user("some code"))
    turn = turn_of(call.conversation)

    one, other = (place_of(call, turn, secret=secret) for secret in (SECRET, b"t" * 32))

    assert one
    assert other
    assert one.key != other.key
    assert one.turn != other.turn


@pytest.mark.parametrize("header", ["", "x" * 257, "caf\xe9"], ids=["empty", "long", "not-ascii"])
def test_odd_header_of_a_client_is_as_good_as_none(
    header: str, app_of: Callable[..., Starlette], ask: Callable[..., httpx.Response]
) -> None:
    """An id that no header should hold is passed over, and the call's words tell what it belongs to."""
    answer = ask(
        app_of(BASE, Swayed({})),
        "POST",
        "/routing/v1/chat/completions",
        json={"messages": [{"role": "user", "content": "code"}]},
        headers={b"x-model-affinity": header.encode("latin-1")},
    )

    assert answer.json()["session_id"].startswith("implicit:")


def test_endpoints_know_sessions_as_planos_clients_do(
    app_of: Callable[..., Starlette], ask: Callable[..., httpx.Response]
) -> None:
    """`X-Model-Affinity` names the session; `pinned` and `switched` say what it did; a tenant's header parts them."""
    app = app_of(BASE + "sessions: {tenant_header: x-team}\n", Swayed({}))

    def decided(text: str, team: str) -> dict[str, Any]:
        """Return a decision."""
        said: dict[str, Any] = ask(
            app,
            "POST",
            "/routing/v1/chat/completions",
            json={"messages": [{"role": "user", "content": text}]},
            headers={"x-model-affinity": "s-1", "x-team": team},
        ).json()
        return {key: said[key] for key in ("session_id", "pinned", "switched")}

    assert decided("code", "a") == {"session_id": "s-1", "pinned": False, "switched": False}
    assert decided("hello", "a") == {"session_id": "s-1", "pinned": True, "switched": True}
    assert decided("hello", "b") == {"session_id": "s-1", "pinned": False, "switched": False}


@pytest.mark.parametrize(
    ("more", "header"),
    [
        ("", "authorization"),
        ("", "x-api-key"),
        ("allow_lists: [{selector: {key: X-Tenant, value: a}}, {}]\n", "x-tenant"),
        ("allow_lists: [{selector: {key: x-tenant, value: a}}, {}]\nsessions: {tenant_header: x-team}\n", "x-tenant"),
    ],
    ids=["bearer", "key", "allow-list", "allow-list-beside-a-header"],
)
def test_callers_with_other_credentials_share_no_session(
    app_of: Callable[..., Starlette], ask: Callable[..., httpx.Response], more: str, header: str
) -> None:
    """Who has another key, or another allow-list, has sessions of its own, though it says the same."""
    app = app_of(BASE + more, Swayed({}))
    body = {"messages": [{"role": "user", "content": "code"}]}
    senders = [{header: "a"}, {header: "b"}, {header: "a"}, {}]
    told = [ask(app, "POST", "/routing/v1/chat/completions", json=body, headers=sender).json() for sender in senders]

    assert [answer["pinned"] for answer in told] == [False, False, True, False]
    assert len({answer["session_id"] for answer in told}) == 3


def test_a_tenants_header_takes_the_place_of_keys(
    app_of: Callable[..., Starlette], ask: Callable[..., httpx.Response]
) -> None:
    """Where a header says who is who, a key may change within a session."""
    app = app_of(BASE + "sessions: {tenant_header: X-Team}\n", Swayed({}))
    body = {"messages": [{"role": "user", "content": "code"}]}
    senders = [{"x-team": "a", "authorization": key} for key in ("Bearer 1", "Bearer 2")]
    told = [ask(app, "POST", "/routing/v1/chat/completions", json=body, headers=sender).json() for sender in senders]

    assert [answer["pinned"] for answer in told] == [False, True]


def test_shared_sessions_need_a_server(settings_of: SettingsOf) -> None:
    """`sessions.store: redis` without `redis.url` is a fault at start-up."""
    with pytest.raises(ConfigurationError, match=r"sessions\.store.*redis\.url"):
        settings_of(BASE + "sessions: {store: redis}\n")


def decided_in(router: Router, calls: list[LLMCall]) -> list[RoutingDecision]:
    """Return the decisions on an event loop."""

    async def decide() -> list[RoutingDecision]:
        """Make them in turn."""
        return [await router.aroute(call) for call in calls]

    return anyio.run(decide)


def test_both_ways_to_route_decide_alike(router_with: Callable[[str], Router]) -> None:
    """`route` and `aroute` tell the same of a session, call by call."""
    said = [user("some code"), USE, RESULT, user("thanks"), USE, RESULT, user("more code")]
    calls = [call_of(*said[:end], affinity="a") for end in (1, 3, 4, 6, 7)]

    blocking, waiting = router_with(""), router_with("")

    def told(decision: RoutingDecision) -> tuple[object, ...]:
        """Return what two routers with other secrets have in common."""
        session = decision.session
        assert session
        return (decision.would_use, decision.source, session.is_pinned, session.is_switched, session.lock)

    assert [told(blocking.route(call)) for call in calls] == [told(one) for one in decided_in(waiting, calls)]


def scripts_run(server: RedisServer) -> int:
    """Return how many scripts the server has run so far."""
    told = server.ask("INFO", "commandstats")
    stats = [told.get(f"cmdstat_{name}", {}) for name in ("evalsha", "eval")]
    return sum(int(of.get("calls", 0)) - int(of.get("failed_calls", 0)) for of in stats)  # a script is unknown once


TALK: Final = (user("some code"), USE, RESULT, user("more code"), USE, RESULT, user("code again"))


@pytest.mark.parametrize(
    ("changes", "call", "trips"),
    [
        ({}, call_of(*TALK[:1]), 1),
        ({}, call_of(*TALK[:3]), 1),
        ({}, call_of(*TALK[:4]), 1),
        ({"latest_signature": "0123"}, call_of(*TALK[:4]), 1),
        ({}, call_of(*TALK[:3], user("thanks")), 1),
        ({"latest_signature": "0123"}, call_of(*TALK[:3], user("thanks")), 2),
        ({"switch_budget_pct": 20.0}, call_of(*TALK[:4]), 2),
    ],
    ids=["again", "within-a-turn", "a-turn", "a-signed-turn", "a-switch", "a-signed-switch", "a-budget"],
)
@pytest.mark.parametrize("way", ["blocking", "async"])
def test_call_takes_one_round_trip(  # noqa: PLR0913, PLR0917 - a router, a server, and what is asked
    way: str,
    changes: dict[str, Any],
    call: LLMCall,
    trips: int,
    redis_url: str,
    redis: RedisServer,
    router_with: Callable[[str], Router],
) -> None:
    """A shared session is asked once for each call; twice where signatures or prices have a say in a new turn."""
    prices = "prices: {anthropic/claude-x: {input: 1, output: 2}, openai/gpt-5: {input: 1, output: 2}}\n"
    place = f'redis: {{url: "{redis_url}", prefix: "{next(prefixes)}", timeout_ms: 5000}}\n'
    router = router_with(f"sessions: {{store: redis}}\n{place}{prices}")
    router.route(call_of(*TALK[:1]))
    call, before = replace(call, **changes), scripts_run(redis)

    decision = router.route(call) if way == "blocking" else decided_in(router, [call])[0]

    assert scripts_run(redis) - before == trips
    assert decision.session
    assert decision.session.is_pinned


class Slow(Swayed):
    """Has an answer once it is told to."""

    def __init__(self) -> None:
        """Wait."""
        super().__init__({})
        self.may_answer = ThreadEvent()

    def classify(self, conversation: Any, policy: Any, **more: Any) -> Any:
        """Return certainty, late."""
        self.may_answer.wait(10)
        return super().classify(conversation, policy, **more)


@pytest.mark.parametrize("store", ["memory", "redis"])
def test_two_calls_of_one_turn_at_once_stay_together(store: str, redis_url: str, settings_of: SettingsOf) -> None:
    """Where two workers would order a route otherwise, the call that comes second goes where the first one went."""
    place = f'redis: {{url: "{redis_url}", prefix: "{next(prefixes)}", timeout_ms: 5000}}\n'
    more = f"sessions: {{store: {store}}}\n{place}"
    slow, fast = Slow(), Swayed({})
    told = settings_of(BASE.replace("openai/gpt-5]}", "openai/gpt-5], selection_policy: {prefer: fastest}}") + more)
    one, other = build_router(told, classifier=slow), build_router(told, classifier=fast)
    if store == "memory":
        other._following = one._following  # noqa: SLF001 - two workers' speeds, one memory
    assert other.selecting
    other.selecting.speeds.note("openai/gpt-5", first_token_s=0.1, token_s=0.01)
    call = call_of(user("some code"), affinity="a")

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(one.route, call)
        first = other.route(call)
        slow.may_answer.set()
        second = waiting.result(10)

    assert first.would_use == second.would_use == "openai/gpt-5"
    assert other.route(call_of(user("some code"), USE, RESULT, affinity="a")).would_use == "openai/gpt-5"
    one.close()
    other.close()


def test_turn_that_cannot_be_decided_stays_where_it_was_decided(settings_of: SettingsOf) -> None:
    """Of two calls of one turn, one that the classifier has no answer for goes where the other one went."""
    classifier = Failing()
    router = build_router(settings_of(BASE + "cache: {size: 0}\n"), classifier=classifier)
    call = call_of(user("some code"), affinity="a")
    first = router.route(call)
    classifier.fails = True

    assert router.route(call).would_use == first.would_use == "anthropic/claude-x"
    assert router.route(replace(call, affinity="b")).would_use == "openai/gpt-4o-mini"
    router.close()


class Failing(Swayed):
    """Has no answer as soon as it is told so."""

    def __init__(self) -> None:
        """Answer."""
        super().__init__({})
        self.fails = False

    def classify(self, conversation: Any, policy: Any, **more: Any) -> Any:
        """Return certainty, or fail."""
        if self.fails:
            raise ClassificationError("no answer")
        return super().classify(conversation, policy, **more)


def test_refused_turn_is_not_remembered(router_with: Callable[[str], Router]) -> None:
    """A caller who may not have what is decided leaves nothing behind in its session."""
    router = router_with("")
    router.route(call_of(user("some code")))

    def refuse(decision: RoutingDecision) -> RoutingDecision:
        """Refuse one model."""
        if decision.would_use == "openai/gpt-5":
            raise NotAllowedError("not for you", code="model_not_allowed")
        return decision

    with pytest.raises(NotAllowedError):
        router.route(call_of(user("some code"), USE, RESULT, user("thanks")), fit=refuse)
    after = router.route(call_of(user("some code"), USE, RESULT, user("thanks"), USE, RESULT), fit=refuse)

    assert after.would_use == "anthropic/claude-x"
