"""Model providers: where models are served, what is known of the well-known ones, and what a service declares."""

from plano_asgi.providers.catalog import ModelCatalog
from plano_asgi.providers.conventions import Convention
from plano_asgi.providers.formats import ProviderFormat
from plano_asgi.providers.model_provider import (
    AwsCredentials,
    Capabilities,
    ChatOverhead,
    ModelProvider,
    WeightedKey,
)
from plano_asgi.providers.names import (
    MAX_MODEL_CHARS,
    alias_fault,
    bare_model,
    declared_model_fault,
    is_wildcard,
    model_fault,
    reference_fault,
)
from plano_asgi.providers.table import CONVENTIONS, convention_of

__all__ = [
    "CONVENTIONS",
    "MAX_MODEL_CHARS",
    "AwsCredentials",
    "Capabilities",
    "ChatOverhead",
    "Convention",
    "ModelCatalog",
    "ModelProvider",
    "ProviderFormat",
    "WeightedKey",
    "alias_fault",
    "bare_model",
    "convention_of",
    "declared_model_fault",
    "is_wildcard",
    "model_fault",
    "reference_fault",
]
