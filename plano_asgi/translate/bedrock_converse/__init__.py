"""Bedrock Converse, which providers alone serve: requests written, answers and streams read."""

from plano_asgi.translate.bedrock_converse.answers import read_answer
from plano_asgi.translate.bedrock_converse.reading_streams import StreamReader
from plano_asgi.translate.bedrock_converse.writing_requests import write_request

__all__ = ["StreamReader", "read_answer", "write_request"]
