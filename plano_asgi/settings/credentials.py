"""Credentials: `$NAME` references, and the variable each provider's key is conventionally kept in."""

import re
from collections.abc import Mapping
from typing import Final

from plano_asgi.secret import Secret
from plano_asgi.settings.draft import Draft, Keys

_REFERENCE = re.compile(r"\$(?:([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)\})")
_PLAIN_NAME = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+")  # what a variable is named like, and no key is
_CONVENTIONAL: Final[Mapping[str, tuple[str, ...]]] = {
    "amazon_bedrock": ("AWS_BEARER_TOKEN_BEDROCK",),
    "anthropic": ("ANTHROPIC_API_KEY",),
    "azure_openai": ("AZURE_OPENAI_API_KEY",),
    "deepseek": ("DEEPSEEK_API_KEY",),
    "gemini": ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    "google": ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    "groq": ("GROQ_API_KEY",),
    "mistral": ("MISTRAL_API_KEY",),
    "moonshot": ("MOONSHOT_API_KEY",),
    "moonshotai": ("MOONSHOT_API_KEY",),
    "openai": ("OPENAI_API_KEY",),
    "openrouter": ("OPENROUTER_API_KEY",),
    "qwen": ("DASHSCOPE_API_KEY",),
    "together": ("TOGETHER_API_KEY",),
    "together_ai": ("TOGETHER_API_KEY",),
    "vercel": ("AI_GATEWAY_API_KEY",),
    "xai": ("XAI_API_KEY",),
}


def conventional_key(model: str, environ: Mapping[str, str]) -> Secret | None:
    """Return the key in the conventional variable of a qualified model's provider, or None."""
    for name in _CONVENTIONAL.get(model.partition("/")[0].lower(), ()):
        if text := environ.get(name, "").strip():
            return Secret(text)
    return None


def seal_credentials(draft: Draft, environ: Mapping[str, str]) -> None:
    """Turn every credential in the tree into a `Secret`, references resolved, so that nothing later can show one."""
    for keys, provider in draft.mappings("model_providers"):
        _seal(draft, provider, (*keys, "access_key"), environ)
        headers = provider.get("headers")
        if isinstance(headers, dict):
            for name in headers:
                _seal(draft, headers, (*keys, "headers", name), environ)
    admin = draft.at("admin")
    if isinstance(admin, dict):
        _seal(draft, admin, ("admin", "token"), environ)


def _seal(draft: Draft, container: dict[str, object], keys: Keys, environ: Mapping[str, str]) -> None:
    """Replace one credential by a secret; anything but text is left for validation to refuse."""
    name = str(keys[-1])
    written = container.get(name)
    if not isinstance(written, str):
        return
    reference = _REFERENCE.fullmatch(written)
    if reference is None:
        container[name] = Secret(written)
        return
    variable = reference.group(1) or reference.group(2)
    found = environ.get(variable)
    container[name] = Secret(found) if found else None
    if not found:
        shown = variable if _PLAIN_NAME.fullmatch(variable) else "which it refers to"
        what = (
            f"the environment variable {shown} is {'not set' if found is None else 'empty'}; set it, or write the key"
        )
        draft.fault(keys, what)
