"""`LateTokenizer`: one that is loaded beside the calls."""

from collections.abc import Callable
from time import perf_counter

from plano_asgi.events import TOKENIZER_FAILED, TOKENIZER_READY, get_logger
from plano_asgi.tokens.text_counter import TextCounter, Tokenize


class LateTokenizer:
    """A tokenizer by its name, and what counts by it once it is loaded; whoever has several threads loads it on one.

    Attributes:
        name: What logs and people are told.
        counter: What counts; None until it is loaded, and where it cannot be.
        problem: Why it could not be loaded; empty where nothing has gone wrong.
    """

    def __init__(self, name: str, load: Callable[[], Tokenize], *, size: int) -> None:
        """Load nothing yet; the counts of `size` texts will be kept."""
        self.name = name
        self.counter: TextCounter | None = None
        self.problem = ""
        self._load = load
        self._size = size

    def load(self) -> None:
        """Load it, unless it is; blocks, never raises, and says in the log what has come of it."""
        if self.counter:
            return
        started = perf_counter()
        try:
            self.counter = TextCounter(self._load(), size=self._size)
        except Exception as error:  # noqa: BLE001 - a file or a download may fail in any way, and calls go on
            self.problem = f"{type(error).__name__}: {error}"
            advice = "tokens are counted by the rule instead; see docs/governance.md"
            get_logger().warning(TOKENIZER_FAILED, tokenizer=self.name, detail=self.problem, advice=advice)
            return
        self.problem = ""
        took_ms = round((perf_counter() - started) * 1000, 1)
        get_logger().info(TOKENIZER_READY, tokenizer=self.name, load_ms=took_ms)
