"""Judgement of texts, small ones at once and large ones on a thread, so that nothing blocks the event loop."""

from functools import partial
from time import monotonic
from typing import Protocol

import anyio.to_thread

from plano_asgi.guard.threads import OwnThreads
from plano_asgi.guard.verdicts import Subject, Verdict
from plano_asgi.off_the_loop import LARGE_TO_JUDGE_BYTES


class JudgesTexts(Protocol):
    """What judges a body by computing alone."""

    def judged(self, subject: Subject, *, until: float) -> Verdict:
        """Return the verdict; gives up with TimeoutError soon after `until`, by `time.monotonic`."""


async def judge_texts(
    texts: JudgesTexts, subject: Subject, *, deadline_s: float, threads: OwnThreads | None = None
) -> Verdict:
    """Return the verdict on a body.

    Args:
        texts: What judges.
        subject: The body.
        deadline_s: Seconds that it may take.
        threads: Where bodies of any length are judged; None where small ones take less time than handing over.

    Raises:
        TimeoutError: It took too long.
    """
    judge = partial(texts.judged, subject, until=monotonic() + deadline_s)
    if threads:
        return await threads.run(judge)
    if len(subject.body) < LARGE_TO_JUDGE_BYTES:
        return judge()
    return await anyio.to_thread.run_sync(judge, abandon_on_cancel=True)
