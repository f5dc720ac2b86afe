"""The APIs in which providers are asked."""

from enum import StrEnum

from plano_asgi.conversation import ApiFormat


class ProviderFormat(StrEnum):
    """The API whose shape a provider is called in: one that callers use too, or one that only providers serve."""

    CHAT_COMPLETIONS = ApiFormat.CHAT_COMPLETIONS.value
    MESSAGES = ApiFormat.MESSAGES.value
    RESPONSES = ApiFormat.RESPONSES.value
    BEDROCK_CONVERSE = "bedrock_converse"
