"""The Arch-Router classifier and its process: a fork of it serves and ends in order, and its memory has a bound."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

BOUND_BYTES = 512  # a call; to keep one call's keys and values would be fifty times as much
BEGINNING = """
import gc, os, sys, threading
from pathlib import Path
from plano_asgi.classify.arch_router import ArchRouterClassifier
from plano_asgi.classify.prompts import PromptForm
from plano_asgi.conversation import Message, Role
from plano_asgi.errors import ClassificationError
from plano_asgi.preferences import RoutingPolicy, RoutingPreference

def policy_of(*names):
    return RoutingPolicy(preferences=tuple(RoutingPreference(name=n, description=n, models=()) for n in names))

def ask(text, policy=policy_of("code", "code_review", "chat")):
    return classifier.classify((Message(role=Role.USER, text=text),), policy)

def end_of(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

classifier = ArchRouterClassifier(
    Path(sys.argv[1]), device="cpu", threads=int(sys.argv[2]), form=PromptForm.INSTRUCTIONS_FIRST
)
classifier.prepare(policy_of("code", "code_review", "chat"))
"""
FORKS = {
    "the child classifies": """
before = ask("hello")
child = os.fork()
if not child:
    assert ask("hello") == before
    sys.exit(0)
assert end_of(child) == 0
assert ask("hello") == before
""",
    "the child does nothing": """
child = os.fork()
if not child:
    sys.exit(0)
assert end_of(child) == 0
ask("hello")
""",
    "the child closes and has a child": """
child = os.fork()
if not child:
    classifier.close()
    ask("hello")
    grandchild = os.fork()
    if not grandchild:
        ask("hello")
        sys.exit(0)
    assert end_of(grandchild) == 0
    classifier.close()
    sys.exit(0)
assert end_of(child) == 0
ask("hello")
""",
    "the classifier is gone in the child": """
child = os.fork()
if not child:
    del classifier
    gc.collect()
    sys.exit(0)
assert end_of(child) == 0
ask("hello")
""",
    "an error outlives a closed model": """
try:
    ask("hello", policy_of(*(f"{number} is one name of too many" for number in range(100))))
except ClassificationError as error:
    kept = error  # and its traceback, and what that refers to
classifier.close()
child = os.fork()
if not child:
    del kept
    gc.collect()
    ask("hello")
    sys.exit(0)
assert end_of(child) == 0
ask("hello")
""",
    "other threads are at work": """
is_over = threading.Event()
def work():
    while not is_over.is_set():
        ask("hello")
threads = [threading.Thread(target=work) for _ in range(3)]
for thread in threads:
    thread.start()
for number in range(3):
    child = os.fork()
    if not child:
        ask("hello")
        sys.exit(0)
    assert end_of(child) == 0
is_over.set()
for thread in threads:
    thread.join()
""",
    "another thread is loading": """
classifier.close()
thread = threading.Thread(target=ask, args=("hello",))
thread.start()
child = os.fork()
if not child:
    ask("hello")
    sys.exit(0)
assert end_of(child) == 0
thread.join()
ask("hello")
""",
}
MEMORY = """
import psutil

def resident():
    gc.collect()
    return psutil.Process().memory_info().rss

def work(calls, start):
    for number in range(start, start + calls):
        policy = policy_of("code", f"route {number % 100}") if number % 10 == 0 else policy_of("code", "chat")
        ask("word " * (number % 20) + f"{number % 100}", policy)

work(300, 0)
before = resident()
work(2000, 300)
print((resident() - before) / 2000)
"""

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(tiny_bundle: Path) -> Run:
    """Return what runs a program that has loaded the tiny bundle."""

    def ended(program: str, *, threads: int = 2) -> "subprocess.CompletedProcess[str]":
        """Run it to its end."""
        words = ["-W", "ignore::DeprecationWarning", "-c", BEGINNING + program, str(tiny_bundle), str(threads)]
        command = [sys.executable, *words]  # newer Pythons warn of forks
        return subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, timeout=60, check=False)

    return ended


@pytest.mark.parametrize("program", FORKS.values(), ids=FORKS)
def test_a_forked_process_serves_and_ends_in_order(run: Run, program: str) -> None:
    """A child that is forked after loading has answers of its own and ends, and the parent goes on as before."""
    ended = run(program)

    assert (ended.returncode, ended.stderr) == (0, "")


def test_memory_does_not_grow_with_calls(run: Run) -> None:
    """Over 2,000 calls of many lengths, a tenth with policies of their own, memory grows by less than 512 bytes."""
    ended = run(MEMORY, threads=1)

    assert ended.stderr == ""
    sys.stdout.write(f"memory growth: {float(ended.stdout):.0f} bytes a call\n")
    assert float(ended.stdout) < BOUND_BYTES
