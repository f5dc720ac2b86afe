"""A filter that is Python of another package, named by an entry point."""

from collections.abc import Awaitable, Callable
from functools import partial
from importlib.metadata import entry_points
from inspect import iscoroutinefunction
from typing import Final

from plano_asgi.guard.threads import OwnThreads
from plano_asgi.guard.verdicts import Subject, Verdict

ENTRY_POINTS: Final = "plano_asgi.filters"

Judge = Callable[[Subject], Verdict] | Callable[[Subject], Awaitable[Verdict]]


class PythonFilter:
    """Calls a function: a coroutine function in the event loop, any other on one of at most 8 threads of its own.

    A function on a thread that outlasts its deadline goes on there, and its verdict is not heard.
    """

    def __init__(self, name: str, judge: Judge) -> None:
        """Take the function."""
        self.name: Final = name
        self._judge: Final = judge
        self._is_async: Final = iscoroutinefunction(judge) or iscoroutinefunction(getattr(judge, "__call__", None))  # noqa: B004 - whether calling it gives a coroutine
        self._threads: Final = OwnThreads()

    async def judge(self, subject: Subject) -> Verdict:
        """Return what the function says.

        Raises:
            TypeError: That is no verdict.
        """
        if self._is_async:
            verdict = await self._judge(subject)  # type: ignore[misc]  # it is a coroutine function
        else:
            verdict = await self._threads.run(partial(self._judge, subject))
        if not isinstance(verdict, Verdict):
            raise TypeError("a filter returns a plano_asgi.guard.Verdict")
        return verdict

    async def aclose(self) -> None:
        """Do nothing."""


def python_filter(name: str, entry_point: str) -> PythonFilter:
    """Return the filter that an installed package has under that name in the group `plano_asgi.filters`.

    Raises:
        LookupError: No package has one.
        ImportError: It cannot be imported.
    """
    found = tuple(entry_points(group=ENTRY_POINTS, name=entry_point))
    if not found:
        raise LookupError
    return PythonFilter(name, found[0].load())
