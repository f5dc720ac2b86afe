"""What keeps the decision log: the same in memory, in SQLite and in Redis, bounded, and survived by calls."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from time import monotonic, sleep
from typing import Any
from uuid import uuid4

import orjson
import pytest
from structlog.testing import capture_logs

from plano_asgi.conversation import ApiFormat, LLMCall, Message, Role
from plano_asgi.decisions import PolicySource, Reason, RoutingDecision, Source
from plano_asgi.errors import StoreError
from plano_asgi.observe.decision_stores import DecisionStore, Entry, MemoryDecisions
from plano_asgi.observe.journal import DecisionJournal
from plano_asgi.observe.redis_decisions import RedisDecisions
from plano_asgi.observe.sqlite_decisions import SqliteDecisions
from plano_asgi.observe.writing import MOST_WAITING, BackgroundWriter
from plano_asgi.secret import Secret
from plano_asgi.stores.redis_server import RedisServer

ROOT = Path(__file__).parents[2]
DAY_S = 86_400.0
DECISION = RoutingDecision(
    route=None, models=(), would_use=None, reason=Reason.NO_MATCH, source=Source.NONE, policy=PolicySource.CONFIG
)

Make = Callable[..., DecisionStore]


@pytest.fixture(params=["memory", "sqlite", "redis"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    """Return what makes a store of each kind; all that a test makes share their file or key."""
    servers: list[RedisServer] = []
    prefix = f"{uuid4()}:"

    def new(*, size: int = 100, ttl_s: float = DAY_S) -> DecisionStore:
        if request.param == "memory":
            return MemoryDecisions(size=size, ttl_s=ttl_s)
        if request.param == "sqlite":
            return SqliteDecisions(tmp_path / "log.sqlite", size=size, ttl_s=ttl_s)
        servers.append(RedisServer(Secret(request.getfixturevalue("redis_url")), timeout_s=5))
        return RedisDecisions(servers[-1], prefix=prefix, size=size, ttl_s=ttl_s)

    yield new
    for server in servers:
        server.close()


def entry(number: int, **more: object) -> Entry:
    """Return an entry."""
    return {"at": datetime.now(UTC).isoformat(timespec="milliseconds"), "number": number, **more}


def numbers(store: DecisionStore, **asked: Any) -> list[object]:
    """Return the numbers of the newest entries."""
    return [kept.entry["number"] for kept in store.newest(**asked)]


def test_entries_come_back_newest_first(make: Make) -> None:
    """What was put in is given back as it was, the newest first, and from any entry on."""
    store = make()
    store.put([entry(number, text="日本語") for number in range(5)])

    kept = list(store.newest())
    assert [one.entry["number"] for one in kept] == [4, 3, 2, 1, 0]
    assert kept[0].entry["text"] == "日本語"
    assert numbers(store, before=kept[1].id) == [2, 1, 0]
    assert [one.entry["number"] for one in store.newer(kept[3].id, limit=2)] == [2, 3]
    assert [one.entry["number"] for one in store.newer("0", limit=9)] == [0, 1, 2, 3, 4]


def test_more_entries_than_are_read_at_once_come_in_order(make: Make) -> None:
    """A log that is longer than one question's answer is read to its end."""
    store = make(size=1_000)
    store.put([entry(number) for number in range(450)])

    assert numbers(store) == list(range(449, -1, -1))


def test_log_is_bounded(make: Make) -> None:
    """The oldest entries make room; Redis may keep a block of a hundred more, as its streams do."""
    store = make(size=10)
    for start in range(0, 400, 40):
        store.put([entry(number) for number in range(start, start + 40)])

    found = numbers(store)
    assert found[:10] == list(range(399, 389, -1))
    assert len(found) <= (10 if store.kind != "redis" else 110)


def test_old_entries_are_forgotten(make: Make) -> None:
    """An entry is shown for no longer than its time."""
    store = make(ttl_s=0.2)
    store.put([entry(1)])
    assert numbers(store) == [1]

    sleep(0.25)
    assert numbers(store) == []
    assert list(store.newer("0", limit=9)) == []


@pytest.mark.parametrize("wrong", ["x", "1-x", ""], ids=["letters", "half", "empty"])
def test_id_that_is_none_is_refused(wrong: str, make: Make) -> None:
    """Whatever is no id of a log is a ValueError, whichever its store."""
    with pytest.raises(ValueError, match=r".+"):
        list(make().newest(before=wrong))


@pytest.mark.parametrize("make", ["sqlite", "redis"], indirect=True)
def test_workers_share_the_log(make: Make) -> None:
    """What one process writes another reads, and a restart loses nothing."""
    first, second = make(), make()
    first.put([entry(1)])
    second.put([entry(2)])

    assert numbers(first) == numbers(second) == [2, 1]
    assert first.is_shared


def test_sqlite_that_cannot_be_used_says_what_to_do(tmp_path: Path) -> None:
    """A path that is a folder, or a file that is no database, is a StoreError that names the setting, not the entry."""
    (tmp_path / "no.sqlite").write_bytes(b"nothing of the kind, and long enough to be looked at" * 9)
    for path in (tmp_path, tmp_path / "no.sqlite"):
        with pytest.raises(StoreError, match=r"decision_log\.path") as raised:
            SqliteDecisions(path, size=9, ttl_s=9).put([entry(1, conversation="canary")])
        assert "canary" not in str(raised.value)


def test_sqlite_is_shared_by_processes_that_write_at_once(tmp_path: Path) -> None:
    """Four processes write into one file, and no entry is lost."""
    program = f"""
import sys
from pathlib import Path
from plano_asgi.observe.sqlite_decisions import SqliteDecisions
store = SqliteDecisions(Path({str(tmp_path / "log.sqlite")!r}), size=1000, ttl_s=1e6)
for number in range(20):
    store.put([{{"at": "2999", "number": number}}])
"""
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    running = [subprocess.Popen([sys.executable, "-c", program], env=environ) for _ in range(4)]

    assert [process.wait(60) for process in running] == [0, 0, 0, 0]
    with sqlite3.connect(tmp_path / "log.sqlite") as file:
        assert file.execute("SELECT count(*) FROM decisions").fetchone() == (80,)
    file.close()


def test_calls_do_not_wait_for_the_log() -> None:
    """Entries wait in a bounded queue while the store hangs; those beyond it are lost, and the log says so."""
    written: list[Entry] = []
    goes_on = Event()

    def write(entries: Any) -> None:
        assert goes_on.wait(20)
        written.extend(entries)

    writer = BackgroundWriter(write)
    started = monotonic()
    with capture_logs() as logs:
        for number in range(MOST_WAITING + 500):
            writer.put(entry(number))
    assert monotonic() - started < 10
    goes_on.set()
    writer.flush()

    assert MOST_WAITING <= len(written) < MOST_WAITING + 200
    assert [one["number"] for one in written] == sorted(one["number"] for one in written)  # type: ignore[type-var]
    assert {line["event"] for line in logs} == {"plano.decision_log_failed"}


@pytest.mark.parametrize("error", [StoreError("away"), TypeError("no JSON")], ids=lambda error: type(error).__name__)
def test_a_store_that_fails_costs_entries_and_no_call(error: Exception) -> None:
    """Whatever a store raises is a warning with the number of entries lost; those that come later are written."""
    written: list[Entry] = []

    def write(entries: Any) -> None:
        """Fail the first time."""
        if not written:
            written.append({})
            raise error
        written.extend(entries)

    writer = BackgroundWriter(write)
    with capture_logs() as logs:
        writer.put(entry(1))
        writer.flush()
        writer.put(entry(2))
        writer.flush()

    assert [one["number"] for one in written[1:]] == [2]
    warned = [(line["event"], line["error"], line["lost"]) for line in logs]
    assert warned == [("plano.decision_log_failed", type(error).__name__, 1)]


def test_halves_of_characters_are_logged(make: Make) -> None:
    """A host's own call may hold a lone surrogate, which no JSON can carry; its entry has a question mark there."""
    store = make()
    journal = DecisionJournal(store, classifier="fixed", hash_key=b"k", keeps_conversations=True)
    text = "what \udc80"
    message = Message(role=Role.ASSISTANT, text=text, tool_calls=(text,))
    with capture_logs() as logs:
        journal.decided(
            LLMCall(api_format=ApiFormat.CHAT_COMPLETIONS, model=text, conversation=(message,)), DECISION, None
        )
        journal.close()

    (found,) = journal.newest(limit=9).entries
    assert orjson.loads(orjson.dumps(found)) == found
    turn = {"role": "assistant", "text": "what ?", "tool_calls": ["what ?"], "has_image": False}
    assert (found["requested_model"], found["conversation"], logs) == ("what ?", [turn], [])


def test_redis_that_is_away_is_survived(redis_server: Any) -> None:
    """While Redis is away decisions are made and their entries lost; afterwards the log goes on."""
    server = RedisServer(Secret(redis_server.url), timeout_s=1)
    store = RedisDecisions(server, prefix="p:", size=9, ttl_s=DAY_S)
    journal = DecisionJournal(store, classifier="fixed", hash_key=b"k", keeps_conversations=False)
    redis_server.stop()
    with capture_logs() as logs:
        journal.decided(LLMCall.from_text("one"), DECISION, None)
        journal.close()
    redis_server.start()
    journal.decided(LLMCall.from_text("two"), DECISION, None)
    journal.close()

    assert [line["event"] for line in logs] == ["plano.decision_log_failed"]
    assert len(journal.newest(limit=9).entries) == 1
    server.close()


def test_forked_workers_write_for_themselves(tmp_path: Path) -> None:
    """A process that is forked off while the parent writes has a writer of its own, and neither loses an entry."""
    program = f"""
import os
from pathlib import Path
from plano_asgi.observe.sqlite_decisions import SqliteDecisions
from plano_asgi.observe.writing import BackgroundWriter
store = SqliteDecisions(Path({str(tmp_path / "log.sqlite")!r}), size=1000, ttl_s=1e6)
writer = BackgroundWriter(store.put)
writer.put({{"at": "2999", "by": "parent"}})
child = os.fork()
writer.put({{"at": "2999", "by": "child" if not child else "parent"}})
writer.flush()
if not child:
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
print(sorted(kept.entry["by"] for kept in store.newest()))
"""
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=True)

    assert ran.stdout.strip() == "['child', 'parent', 'parent']"


def test_threads_of_a_forked_worker_share_one_writer() -> None:
    """Entries that many threads of a child put at once are written by one thread, and none is lost."""
    program = """
import os, sys, threading
from plano_asgi.observe.writing import BackgroundWriter
sys.setswitchinterval(1e-6)
written = []
writer = BackgroundWriter(written.extend)
writer.put({"by": "parent"})
writer.flush()
for _ in range(30):
    child = os.fork()
    if child:
        assert os.waitpid(child, 0)[1] == 0
        continue
    written.clear()
    gate = threading.Barrier(8)
    threads = [threading.Thread(target=lambda: (gate.wait(), writer.put({"by": "child"}))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.flush()
    writers = [thread.name for thread in threading.enumerate()].count("plano-decision-log")
    os._exit(0 if (len(written), writers) == (8, 1) else 1)
"""
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], env=environ, check=True)


def test_entries_of_the_future_are_no_trouble(make: Make) -> None:
    """Clocks that differ between machines do not hide an entry."""
    store = make()
    store.put([{**entry(1), "at": (datetime.now(UTC) + timedelta(hours=1)).isoformat(timespec="milliseconds")}])

    assert numbers(store) == [1]
