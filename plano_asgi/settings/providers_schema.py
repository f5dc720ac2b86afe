"""The settings of model providers, and of the other names that their models go by."""

from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import PlainSerializer, PlainValidator

from plano_asgi.providers import WeightedKey
from plano_asgi.settings.fields import (
    BaseUrl,
    DeclaredModel,
    Description,
    Flag,
    HeaderName,
    ModelReference,
    RouteName,
    SecretText,
    Text,
    UrlPart,
    fault,
    secret_of,
)
from plano_asgi.settings.forwarding_schema import CapabilitySettings
from plano_asgi.settings.section import Section
from plano_asgi.settings.tokens_schema import ChatOverheadSettings, TokenizerName

MOST_KEYS: Final = 100
MOST_WEIGHT: Final = 1_000


class KeyRing(tuple[WeightedKey, ...]):
    """A provider's keys, at least one; a class of its own, since one key is written as text."""

    __slots__ = ()


def _key_ring(value: object) -> KeyRing:
    """Return one key, or a list of keys and `{key, weight}`."""
    if not isinstance(value, list):
        return KeyRing([WeightedKey(key=secret_of(value))])
    if not 1 <= len(value) <= MOST_KEYS:
        raise fault(f"a list of keys has 1 to {MOST_KEYS} of them")
    return KeyRing(_weighted(entry) for entry in value)


def _weighted(entry: object) -> WeightedKey:
    if not isinstance(entry, dict):
        return WeightedKey(key=secret_of(entry))
    if entry.keys() - {"key", "weight"} or "key" not in entry:
        raise fault("an entry of the list is a key, or {key, weight}")
    weight = entry.get("weight", 1)
    if not isinstance(weight, int) or isinstance(weight, bool) or not 1 <= weight <= MOST_WEIGHT:
        raise fault(f"a key's weight is a whole number from 1 to {MOST_WEIGHT}")
    return WeightedKey(key=secret_of(entry["key"]), weight=weight)


AccessKeys = Annotated[KeyRing, PlainValidator(_key_ring, json_schema_input_type=str), PlainSerializer(repr)]


class NestedPreference(Section):
    """A routing preference written under the one model that serves it."""

    name: RouteName
    description: Description


class AwsSettings(Section):
    """What calls to Amazon Bedrock are signed with, where the standard AWS environment is not to be asked.

    Attributes:
        access_key_id: The key's public half.
        secret_access_key: Its secret half.
        session_token: What comes with temporary credentials.
    """

    access_key_id: SecretText | None = None
    secret_access_key: SecretText | None = None
    session_token: SecretText | None = None


class Provider(Section):
    """One model provider as written; the fields are Plano's, but for the last five."""

    model: DeclaredModel
    name: Text | None = None
    default: Flag = False
    base_url: BaseUrl | None = None
    access_key: AccessKeys | None = None
    passthrough_auth: Flag = False
    provider_interface: Text | None = None
    http_host: Text | None = None
    headers: Mapping[HeaderName, SecretText] = {}
    capabilities: CapabilitySettings = CapabilitySettings()
    routing_preferences: tuple[NestedPreference, ...] = ()
    region: UrlPart | None = None
    project: UrlPart | None = None
    aws: AwsSettings = AwsSettings()
    tokenizer: TokenizerName | None = None
    chat_overhead: ChatOverheadSettings = ChatOverheadSettings()


class AliasSettings(Section):
    """Another name of a model; `target` is a model that is declared, or another alias."""

    target: ModelReference
