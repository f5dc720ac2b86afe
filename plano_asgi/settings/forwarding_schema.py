"""The settings of `mode: forward`: how providers are called, and what happens when one fails."""

from typing import Annotated

from pydantic import Field, Strict

from plano_asgi.settings.fields import Flag, Seconds
from plano_asgi.settings.section import Section

Count = Annotated[int, Strict(), Field(ge=1, le=100_000)]


class ForwardSettings(Section):
    """How providers are called: seconds of patience, and connections.

    Attributes:
        connect_s: Until there is a connection.
        first_byte_s: Until a stream begins.
        answer_s: Until an answer that is not streamed is complete.
        stall_s: Between two pieces of a stream.
        total_s: For a whole call, all attempts and the whole answer included.
        max_connections: Most connections to one server at a time, in one process.
        http2: Whether HTTP/2 is spoken with servers that offer it.
        list_models: Whether `GET /v1/models` is answered.
    """

    connect_s: Seconds = 5.0
    first_byte_s: Seconds = 60.0
    answer_s: Seconds = 300.0
    stall_s: Seconds = 60.0
    total_s: Seconds = 600.0
    max_connections: Count = 1_000
    http2: Flag = False
    list_models: Flag = True


class FailoverSettings(Section):
    """What happens when a model fails.

    Attributes:
        attempts: Most attempts of one call, over all its models.
        to_default: Whether the default model is asked when all models of the route have failed.
        backoff_s: Seconds before a model is tried a second time; doubled before each further time, and jittered.
        backoff_max_s: Most seconds to wait between two attempts, for whatever reason.
        breaker_failures: Failures among a model's latest 10 answers that open its breaker.
        breaker_open_s: Seconds for which it is open; longer after each probe that fails.
        key_rest_s: Seconds for which a key that was rejected is left alone, where its provider has another.
    """

    attempts: Annotated[int, Strict(), Field(ge=1, le=100)] = 3
    to_default: Flag = False
    backoff_s: Seconds = 0.5
    backoff_max_s: Seconds = 8.0
    breaker_failures: Annotated[int, Strict(), Field(ge=1, le=10)] = 5
    breaker_open_s: Seconds = 10.0
    key_rest_s: Seconds = 60.0


class TranslationSettings(Section):
    """What happens where a provider does not speak the call's API.

    Attributes:
        strict: Whether a model is passed over that cannot be told all of a call, and a call refused where none can.
    """

    strict: Flag = False


class CapabilitySettings(Section):
    """What a provider's model can do, where that is not known of its name, or not so.

    Attributes:
        vision: Whether it reads images.
        tools: Whether it calls tools.
        audio: Whether it reads or gives audio.
        window: How many tokens it reads.
    """

    vision: Flag | None = None
    tools: Flag | None = None
    audio: Flag | None = None
    window: Annotated[int, Strict(), Field(ge=1, le=1_000_000_000)] | None = None
