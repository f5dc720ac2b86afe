"""The well-known providers, as data: hosts, paths, credentials and APIs, each with the page that says so.

It is Python and not YAML, so that the type checker reads every entry, and nothing is parsed or opened when it is used.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from plano_asgi.providers.conventions import Convention
from plano_asgi.providers.formats import ProviderFormat

_CHAT: Final = ProviderFormat.CHAT_COMPLETIONS
_MESSAGES: Final = ProviderFormat.MESSAGES
_RESPONSES: Final = ProviderFormat.RESPONSES
_CONVERSE: Final = ProviderFormat.BEDROCK_CONVERSE

# https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html
_BEDROCK: Final = Convention(
    base_url="https://bedrock-runtime.{region}.amazonaws.com",
    key_variables=("AWS_BEARER_TOKEN_BEDROCK",),
    signed_for="bedrock",
    speaks=frozenset({_CONVERSE}),
    region_variables=("AWS_REGION", "AWS_DEFAULT_REGION"),
)
# https://docs.digitalocean.com/products/inference-hub/how-to/si-endpoints/
_DIGITALOCEAN: Final = Convention(
    base_url="https://inference.do-ai.run/v1",
    key_variables=("DIGITALOCEAN_INFERENCE_KEY", "GRADIENT_MODEL_ACCESS_KEY"),
)
# https://ai.google.dev/gemini-api/docs/openai
_GEMINI: Final = Convention(
    base_url="https://generativelanguage.googleapis.com/v1beta/openai/",
    key_variables=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
)
# https://platform.moonshot.ai/docs/api/chat
_MOONSHOT: Final = Convention(base_url="https://api.moonshot.ai/v1", key_variables=("MOONSHOT_API_KEY",))
# https://docs.together.ai/docs/openai-api-compatibility
_TOGETHER: Final = Convention(base_url="https://api.together.xyz/v1", key_variables=("TOGETHER_API_KEY",))
# https://docs.cloud.google.com/vertex-ai/generative-ai/docs/migrate/openai/overview; a key is an OAuth access token
_VERTEX: Final = Convention(
    base_url="https://{region}-aiplatform.googleapis.com/v1/projects/{project}/locations/{region}/endpoints/openapi",
    region_variables=("GOOGLE_CLOUD_LOCATION", "GOOGLE_CLOUD_REGION"),
    project_variables=("GOOGLE_CLOUD_PROJECT",),
)

CONVENTIONS: Final[Mapping[str, Convention]] = MappingProxyType(
    {
        "amazon": _BEDROCK,
        "amazon_bedrock": _BEDROCK,
        # https://platform.claude.com/docs/en/api/messages
        "anthropic": Convention(
            base_url="https://api.anthropic.com",
            key_variables=("ANTHROPIC_API_KEY",),
            key_header="x-api-key",
            bearer_since="2026-10-21",
            speaks=frozenset({_MESSAGES}),
            paths={_MESSAGES: "/v1/messages"},
        ),
        # https://learn.microsoft.com/en-us/azure/ai-foundry/openai/reference
        "azure_openai": Convention(
            key_variables=("AZURE_OPENAI_API_KEY",),
            key_header="api-key",
            paths={_CHAT: "/openai/deployments/{model}/chat/completions?api-version=2024-10-21"},
        ),
        # what the Codex CLI asks with its own login: pass the client's on
        "chatgpt": Convention(base_url="https://chatgpt.com/backend-api/codex", speaks=frozenset({_RESPONSES})),
        # https://api-docs.deepseek.com
        "deepseek": Convention(base_url="https://api.deepseek.com", key_variables=("DEEPSEEK_API_KEY",)),
        "digitalocean": _DIGITALOCEAN,
        "do": _DIGITALOCEAN,
        "do_ai": _DIGITALOCEAN,
        # https://www.edenai.co/docs/v3/integrations/openai-sdk-python
        "edenai": Convention(base_url="https://api.edenai.run/v3", key_variables=("EDENAI_API_KEY",)),
        "gemini": _GEMINI,
        "google": _GEMINI,
        # https://console.groq.com/docs/openai
        "groq": Convention(base_url="https://api.groq.com/openai/v1", key_variables=("GROQ_API_KEY",)),
        # https://www.kimi.com/code/docs
        "kimi_code": Convention(base_url="https://api.kimi.com/coding/v1", key_variables=("KIMI_API_KEY",)),
        # https://docs.mistral.ai/api
        "mistral": Convention(base_url="https://api.mistral.ai/v1", key_variables=("MISTRAL_API_KEY",)),
        "moonshot": _MOONSHOT,
        "moonshotai": _MOONSHOT,
        # https://docs.ollama.com/api/openai-compatibility
        "ollama": Convention(needs_key=False),
        # https://platform.openai.com/docs/api-reference
        "openai": Convention(
            base_url="https://api.openai.com/v1",
            key_variables=("OPENAI_API_KEY",),
            speaks=frozenset({_CHAT, _RESPONSES}),
        ),
        # https://openrouter.ai/docs/api-reference/overview
        "openrouter": Convention(base_url="https://openrouter.ai/api/v1", key_variables=("OPENROUTER_API_KEY",)),
        # https://docs.perplexity.ai/guides/chat-completions-guide; without a version in the path
        "perplexity": Convention(base_url="https://api.perplexity.ai", key_variables=("PERPLEXITY_API_KEY",)),
        # https://www.alibabacloud.com/help/en/model-studio/compatibility-of-openai-with-dashscope; a URL a region
        "qwen": Convention(key_variables=("DASHSCOPE_API_KEY",)),
        "together": _TOGETHER,
        "together_ai": _TOGETHER,
        # https://vercel.com/docs/ai-gateway
        "vercel": Convention(
            base_url="https://ai-gateway.vercel.sh/v1",
            key_variables=("AI_GATEWAY_API_KEY",),
            speaks=frozenset({_CHAT, _MESSAGES, _RESPONSES}),
        ),
        "vertex": _VERTEX,
        "vertex_ai": _VERTEX,
        # https://docs.x.ai/docs/api-reference
        "xai": Convention(
            base_url="https://api.x.ai/v1", key_variables=("XAI_API_KEY",), speaks=frozenset({_CHAT, _RESPONSES})
        ),
        # https://platform.xiaomimimo.com
        "xiaomi": Convention(
            base_url="https://api.xiaomimimo.com/v1", key_variables=("XIAOMI_API_KEY", "XIAOMI_MIMO_API_KEY")
        ),
        # https://docs.bigmodel.cn/cn/guide/develop/openai/introduction
        "zhipu": Convention(
            base_url="https://open.bigmodel.cn/api/paas/v4", key_variables=("ZHIPUAI_API_KEY", "ZHIPU_API_KEY")
        ),
    }
)
_UNKNOWN: Final = Convention(needs_key=False)


def convention_of(model: str, *, interface: str | None = None) -> Convention:
    """Return what is known of a qualified model's provider, or of one that `interface` names instead."""
    return CONVENTIONS.get((interface or model.partition("/")[0]).lower(), _UNKNOWN)
