"""One provider as a service declares it."""

from dataclasses import dataclass, field

from plano_asgi.conversation import ApiFormat
from plano_asgi.providers.conventions import Convention
from plano_asgi.providers.formats import ProviderFormat
from plano_asgi.providers.names import bare_model
from plano_asgi.providers.table import convention_of
from plano_asgi.secret import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a model can do; None where nobody knows, so that the provider is asked.

    Attributes:
        vision: Whether it reads images.
        tools: Whether it calls tools.
        audio: Whether it reads or gives audio.
        window: How many tokens it reads.
    """

    vision: bool | None = None
    tools: bool | None = None
    audio: bool | None = None
    window: int | None = None

    def or_else(self, known: "Capabilities") -> "Capabilities":
        """Return these capabilities, and the known ones where these say nothing."""
        return Capabilities(
            vision=known.vision if self.vision is None else self.vision,
            tools=known.tools if self.tools is None else self.tools,
            audio=known.audio if self.audio is None else self.audio,
            window=known.window if self.window is None else self.window,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightedKey:
    """One key of several, and how often it is used: twice the weight, twice as often."""

    key: Secret = field(repr=False)
    weight: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsCredentials:
    """What calls to AWS are signed with, where that is not what the environment has."""

    access_key_id: Secret = field(repr=False)
    secret_access_key: Secret = field(repr=False)
    session_token: Secret | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatOverhead:
    """Tokens that a model reads beside the texts of a call; the defaults are those of OpenAI's chat models.

    Source: https://cookbook.openai.com/examples/how_to_count_tokens_with_tiktoken

    Attributes:
        message: For each message, its role among them.
        call: For each call, such as those by which the answer begins.
    """

    message: int = 4
    call: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelProvider:
    """Where one model is served, or any model of one provider (`provider/*`).

    Attributes:
        model: Qualified model, `provider/model-name`.
        name: A name for people; the model where none was given.
        base_url: Where it is served, as the SDK of `api_format` takes it; None where nobody said and no convention
            tells, so that a call to it needs the setting `base_url`.
        access_key: The credential, or None; required only where we call the provider ourselves. The first of several.
        access_keys: All of the credentials, where there are several that take turns.
        is_default: Whether it serves calls that no route matches.
        interface: The API it speaks, as a provider's name, where the model's prefix does not tell.
        http_host: The `Host` header to send, where it is not the URL's.
        headers: Further headers to send with every call.
        is_auth_passed_through: Whether the client's own credential is sent on instead of `access_key`.
        capabilities: What the configuration says that the model can do.
        region: The region in which it is served, where calls are signed for one.
        aws: What such calls are signed with; None for what the environment has.
        tokenizer: By what its tokens are counted, as written: a `tokenizer.json`, an encoding, or `rule`; None where
            nobody said.
        chat_overhead: Tokens that it reads beside the texts of a call.
    """

    model: str
    name: str = ""
    base_url: str | None = None
    access_key: Secret | None = field(default=None, repr=False)
    access_keys: tuple[WeightedKey, ...] = field(default=(), repr=False)
    is_default: bool = False
    interface: str | None = None
    http_host: str | None = None
    headers: tuple[tuple[str, Secret], ...] = field(default=(), repr=False)
    is_auth_passed_through: bool = False
    capabilities: Capabilities = Capabilities()
    region: str | None = None
    aws: AwsCredentials | None = None
    tokenizer: str | None = None
    chat_overhead: ChatOverhead = ChatOverhead()

    @property
    def model_name(self) -> str:
        """The provider's own name of the model, as its SDK takes it."""
        return bare_model(self.model)

    @property
    def convention(self) -> Convention:
        """What is known of it by its name or its interface."""
        return convention_of(self.model, interface=self.interface)

    @property
    def is_elsewhere(self) -> bool:
        """Whether it has a URL, and another than the one that is known of it: a server of somebody's own."""
        return self.base_url is not None and not self.convention.is_known_url(self.base_url)

    @property
    def api_formats(self) -> frozenset[ApiFormat]:
        """The APIs of callers' that it serves natively."""
        return self.convention.api_formats

    @property
    def api_format(self) -> ApiFormat:
        """The API whose SDK takes `base_url`: `messages` means Anthropic's, `chat_completions` OpenAI's."""
        return self.convention.api_format

    @property
    def native_format(self) -> ProviderFormat:
        """The API in which it is asked where it does not speak the caller's."""
        return self.convention.native_format

    @property
    def keys(self) -> tuple[WeightedKey, ...]:
        """Its keys: several that take turns, one, or none."""
        return self.access_keys or ((WeightedKey(key=self.access_key),) if self.access_key else ())

    @property
    def is_signed(self) -> bool:
        """Whether its calls are signed with AWS credentials, since there is no key."""
        return self.convention.signed_for is not None and not self.keys and not self.is_auth_passed_through
