"""How hosts log: each way is set up as theirs, and writes into a file."""

import json
import logging
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, TextIO

import structlog


def json_lines(file: TextIO) -> None:
    """Log one JSON line an event, as many hosts that use structlog do."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(file),
        cache_logger_on_first_use=True,
    )


def standard_json_lines(file: TextIO) -> None:
    """Log one JSON line an event by the standard library, structlog being unknown to the host."""

    class JsonFormatter(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            return json.dumps(vars(record), default=str)

    handler = logging.StreamHandler(file)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)


def warnings_only(file: TextIO) -> None:
    """Log warnings and worse; there are none here."""
    logging.basicConfig(stream=file, level=logging.WARNING, force=True)


LOGS: Final[Mapping[str, Callable[[TextIO], None]]] = {
    "structlog INFO": json_lines,
    "logging INFO": standard_json_lines,
    "WARNING": warnings_only,
}


@contextmanager
def logging_as(logs: str) -> Iterator[None]:
    """Set up the log by its key in `LOGS`, and take it back."""
    with tempfile.TemporaryFile("w", encoding="utf-8") as file:
        LOGS[logs](file)
        yield
        structlog.reset_defaults()
        warnings_only(sys.stderr)
