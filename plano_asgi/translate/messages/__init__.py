"""Anthropic Messages, read and written: requests, answers and streams."""

from plano_asgi.translate.messages.answers import read_answer, write_answer
from plano_asgi.translate.messages.reading_requests import read_request
from plano_asgi.translate.messages.reading_streams import StreamReader
from plano_asgi.translate.messages.writing_requests import write_request
from plano_asgi.translate.messages.writing_streams import StreamWriter

__all__ = ["StreamReader", "StreamWriter", "read_answer", "read_request", "write_answer", "write_request"]
