"""OpenAI Chat Completions, read and written: requests, answers and streams."""

from plano_asgi.translate.chat_completions.answers import read_answer, write_answer
from plano_asgi.translate.chat_completions.reading_requests import read_request
from plano_asgi.translate.chat_completions.reading_streams import StreamReader
from plano_asgi.translate.chat_completions.writing_requests import write_request
from plano_asgi.translate.chat_completions.writing_streams import StreamWriter

__all__ = ["StreamReader", "StreamWriter", "read_answer", "read_request", "write_answer", "write_request"]
