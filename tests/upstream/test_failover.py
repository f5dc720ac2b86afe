"""What one call's failure means for the next: rests, breakers, and who stands in."""

from collections.abc import Callable
from time import monotonic, sleep
from typing import Any

import anyio
import httpx


def test_limited_model_is_left_alone_as_long_as_it_asked(service: Callable[..., Any], provider: Any) -> None:
    """F01: for a second nobody asks it; then it is asked again."""
    running = service("limited", "fine")

    anyio.run(running.aask, 3, {})
    asked = [heard.call["model"] for heard in provider.heard]
    provider.heard.clear()
    anyio.run(running.aask, 2, {}, 1.1)

    assert asked == ["limited", "fine", "fine", "fine"]
    assert "limited" in [heard.call["model"] for heard in provider.heard]


def test_breaker_spares_later_calls_and_closes_again(service: Callable[..., Any], provider: Any) -> None:
    """F04: after two failures later calls do not ask the model; once it is well again, a probe lets all of them."""
    running = service("recovering", "fine", more="failover: {breaker_failures: 2, breaker_open_s: 1}")

    running.ask(5)
    asked_while_down = provider.counts["recovering"]
    provider.is_down = False
    sleep(1)
    running.ask(4)

    assert asked_while_down == 2
    assert provider.counts["recovering"] == 2 + 4


def test_one_call_alone_is_the_probe(service: Callable[..., Any], provider: Any) -> None:
    """Of calls that come at once when a breaker is half open, one asks the model, and the others do not wait for it."""
    running = service("recovering", "fine", more="failover: {breaker_failures: 2, breaker_open_s: 0.1}")
    answers: list[httpx.Response] = []

    async def ask_at_once() -> None:
        """Open the breaker, wait until it is half open, and make six calls."""
        await running.aask(2, {})
        await anyio.sleep(0.11)
        async with (
            httpx.AsyncClient(transport=httpx.ASGITransport(running.app), base_url="http://plano.test") as client,
            anyio.create_task_group() as calls,
        ):

            async def ask() -> None:
                """Make one."""
                answers.append(await client.post(running.api.path, json=running.api.body()))

            for _ in range(6):
                calls.start_soon(ask)

    anyio.run(ask_at_once)

    assert {answer.status_code for answer in answers} == {200}
    assert provider.counts["recovering"] == 2 + 1


def test_flapping_model_fails_no_call(service: Callable[..., Any], provider: Any) -> None:
    """F15: every call is answered, and the breaker opens."""
    running = service("flaps", "fine", more="failover: {breaker_failures: 3}")

    answers = running.ask(12)

    assert {answer.status_code for answer in answers} == {200}
    assert provider.counts["flaps"] < 12


def test_open_breaker_is_no_reason_to_fail_a_call(service: Callable[..., Any]) -> None:
    """A model that nobody can stand in for is asked, whatever its breaker says."""
    running = service("flaps", more="failover: {breaker_failures: 1, breaker_open_s: 60, backoff_s: 0.01}")

    answers = running.ask(4)

    assert {answer.status_code for answer in answers} == {200}


def test_default_is_asked_last_where_that_is_set(service: Callable[..., Any], api: Any) -> None:
    """`failover.to_default` adds the default model to the route's own; without it, it is no fallback."""
    (answer,) = service("down", more="failover: {to_default: true}").ask()
    (error,) = service("down", more="failover: {attempts: 1}").ask()

    assert answer.headers["x-plano-model"] == f"{api.maker}/default"
    assert error.status_code == 502


def test_whole_call_has_a_deadline(service: Callable[..., Any], provider: Any) -> None:
    """However many models could be tried, and however slow each is, the call ends in time."""
    settings = "failover: {attempts: 100, backoff_s: 0.01}"
    running = service("silent", "late", more=settings, forward="{total_s: 0.9, answer_s: 0.6}")
    started = monotonic()

    (answer,) = running.ask()

    assert answer.status_code == 504
    assert monotonic() - started < 10
    assert len(provider.heard) == 2


def test_stream_has_a_deadline_too(service: Callable[..., Any]) -> None:
    """A stream that goes on for ever ends with an error event when the time for the call is over."""
    (answer,) = service("endless", forward="{total_s: 0.4}").ask(stream=True)

    assert "Guten" in answer.text
    assert "error" in answer.text[-400:]
    assert "[DONE]" not in answer.text


def test_own_lack_of_connections_is_not_held_against_a_model(service: Callable[..., Any], provider: Any) -> None:
    """Where all connections are in use a call fails as `saturated`, and no breaker opens for it."""
    bounds = "{max_connections: 1, connect_s: 0.2, answer_s: 1.5, first_byte_s: 1.5}"
    running = service("silent", forward=bounds, more="failover: {attempts: 1, breaker_failures: 1}")
    outcomes: list[str] = []

    async def ask(client: httpx.AsyncClient, wait_s: float) -> None:
        """Make a call, a little later."""
        await anyio.sleep(wait_s)
        answer = await client.post(running.api.path, json=running.api.body(), timeout=20)
        outcomes.append(answer.headers["x-plano-attempts"].split(";")[1])

    async def main() -> None:
        """Make two calls at once."""
        async with (
            running.app.router.lifespan_context(running.app),
            httpx.AsyncClient(transport=httpx.ASGITransport(running.app), base_url="http://plano.test") as client,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(ask, client, 0)
            tasks.start_soon(ask, client, 0.3)

    anyio.run(main)

    assert outcomes == ["outcome=saturated", "outcome=timeout"]
    assert len(provider.heard) == 1
