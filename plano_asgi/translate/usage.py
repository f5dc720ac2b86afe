"""Token counts as the formats write them.

OpenAI counts cached tokens among the prompt's, Anthropic and Bedrock beside them. A count that is no whole number of at
least 0 counts as 0: an answer is worth more than its bill.
"""

from collections.abc import Mapping

from plano_asgi.translate.answer import Usage
from plano_asgi.wire.fields import Fields


def read_openai(usage: object) -> Usage | None:
    """Return what Chat Completions or Responses counts, None where nothing is."""
    if not isinstance(usage, dict) or not usage:
        return None
    prompt = _object(usage, "prompt_tokens_details") or _object(usage, "input_tokens_details")
    answer = _object(usage, "completion_tokens_details") or _object(usage, "output_tokens_details")
    return Usage(
        input_tokens=_count(usage, "prompt_tokens") or _count(usage, "input_tokens"),
        output_tokens=_count(usage, "completion_tokens") or _count(usage, "output_tokens"),
        cached_tokens=_count(prompt, "cached_tokens"),
        cache_write_tokens=_count(prompt, "cache_write_tokens"),
        reasoning_tokens=_count(answer, "reasoning_tokens") if "reasoning_tokens" in answer else None,
    )


def read_anthropic(usage: object, *, before: Usage | None = None) -> Usage | None:
    """Return what Messages counts; counts that a later event of a stream leaves out are those of the one before."""
    if not isinstance(usage, dict) or not usage:
        return before
    known = before or Usage()
    cached = _count(usage, "cache_read_input_tokens", known.cached_tokens)
    written = _count(usage, "cache_creation_input_tokens", known.cache_write_tokens)
    details = _object(usage, "output_tokens_details")
    thought = _count(details, "thinking_tokens") if "thinking_tokens" in details else known.reasoning_tokens
    return Usage(
        input_tokens=_count(usage, "input_tokens", known.fresh_tokens) + cached + written,
        output_tokens=_count(usage, "output_tokens", known.output_tokens),
        cached_tokens=cached,
        cache_write_tokens=written,
        reasoning_tokens=thought,
    )


def read_bedrock(usage: object) -> Usage | None:
    """Return what Converse counts, None where nothing is."""
    if not isinstance(usage, dict) or not usage:
        return None
    cached, written = _count(usage, "cacheReadInputTokens"), _count(usage, "cacheWriteInputTokens")
    return Usage(
        input_tokens=_count(usage, "inputTokens") + cached + written,
        output_tokens=_count(usage, "outputTokens"),
        cached_tokens=cached,
        cache_write_tokens=written,
    )


def as_chat(usage: Usage) -> dict[str, object]:
    """Return the counts as Chat Completions writes them."""
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cached_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens or 0},
    }


def as_responses(usage: Usage) -> dict[str, object]:
    """Return the counts as Responses writes them."""
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cached_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens or 0},
        "total_tokens": usage.total_tokens,
    }


def as_messages(usage: Usage) -> dict[str, object]:
    """Return the counts as Messages writes them."""
    thought = usage.reasoning_tokens
    details = {} if thought is None else {"output_tokens_details": {"thinking_tokens": thought}}
    return {
        "input_tokens": usage.fresh_tokens,
        "cache_creation_input_tokens": usage.cache_write_tokens,
        "cache_read_input_tokens": usage.cached_tokens,
        "output_tokens": usage.output_tokens,
        **details,
    }


def _count(fields: Mapping[str, object], key: str, otherwise: int = 0) -> int:
    value = fields.get(key)
    if value is None:
        return otherwise
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0


def _object(fields: Fields, key: str) -> Fields:
    value = fields.get(key)
    return value if isinstance(value, dict) else {}
