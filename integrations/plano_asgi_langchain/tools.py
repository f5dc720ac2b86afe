"""Tools and output schemas: neutral while nobody knows which model is called, native as soon as one is."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import RunnableBinding, RunnableParallel, RunnableSequence
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool

from plano_asgi.decisions import Reason, RoutingDecision
from plano_asgi.providers import ModelCatalog
from plano_asgi.wire.inline_policy import INLINE_KEYS

Tool = dict[str, Any] | type | Callable[..., Any] | BaseTool

STRUCTURE_KEY: Final = "plano_structure"
_OURS: Final = frozenset({"model", STRUCTURE_KEY, *INLINE_KEYS})
_BOUND_WITH_TOOLS: Final = ("tool_choice", "strict", "parallel_tool_calls")
_OPENAI_TOOLS: Final = frozenset(
    {
        "apply_patch",
        "code_interpreter",
        "computer_use_preview",
        "file_search",
        "image_generation",
        "local_shell",
        "mcp",
        "shell",
        "tool_search",
        "web_search",
        "web_search_preview",
    }
)
_GOOGLE_TOOLS: Final = frozenset({"code_execution", "google_maps", "google_search", "url_context"})
_ANTHROPIC_TOOL: Final = re.compile(r"[a-z_]+_20\d{6}")
_MAKERS: Final[Mapping[str, frozenset[str]]] = {
    "openai": frozenset({"openai", "azure_openai"}),
    "anthropic": frozenset({"anthropic"}),
    "google": frozenset({"google", "gemini", "google_genai", "google_vertexai"}),
}


def neutral_tool(tool: Tool) -> dict[str, Any]:
    """Return a tool by OpenAI's schema, which every integration converts; one that a provider runs stays as it is."""
    if isinstance(tool, dict) and _maker_of(tool):
        return tool
    return convert_to_openai_tool(tool)


def fit_tools(decision: RoutingDecision, tools: Sequence[Any], *, catalog: ModelCatalog) -> RoutingDecision:
    """Return the decision with only the models of those who run the call's own tools of theirs, as web search.

    A route left with none falls to the default model with the reason `capability`, and that, where it is another's too,
    to None. A model that the caller has chosen itself is left alone.
    """
    makers = {maker for tool in tools if isinstance(tool, dict) and (maker := _maker_of(tool))}
    if not makers or decision.would_use is None or decision.reason is Reason.BYPASSED:
        return decision
    models = tuple(model for model in decision.models if _is_made_by(model, makers))
    if models:
        return replace(decision, models=models, would_use=models[0])
    if not decision.models and _is_made_by(decision.would_use, makers):
        return decision
    default = catalog.default_model
    would_use = default if default and _is_made_by(default, makers) else None
    return replace(decision, route=None, models=(), would_use=would_use, reason=Reason.CAPABILITY)


def native_options(target: BaseChatModel, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a target is called with: tools and schema in its own form, nothing that is the router's."""
    native = {key: value for key, value in options.items() if key not in _OURS}
    if native.get("tools"):
        tools, wanted = native.pop("tools"), [key for key in _BOUND_WITH_TOOLS if key in native]
        with_tools = {key: native.pop(key) for key in wanted}
        bound = target.bind_tools(tools, **{key: value for key, value in with_tools.items() if value is not None})
        native |= _bound_options(bound)
    if structure := options.get(STRUCTURE_KEY):
        native |= _bound_options(target.with_structured_output(include_raw=True, **structure))
    return native


def _bound_options(runnable: object) -> dict[str, Any]:
    """Return what is bound to the model that a runnable begins with."""
    if isinstance(runnable, RunnableSequence):
        return _bound_options(runnable.first)
    if isinstance(runnable, RunnableParallel):
        return _bound_options(runnable.steps__["raw"])
    options = dict(runnable.kwargs) if isinstance(runnable, RunnableBinding) else {}
    options.pop("ls_structured_output_format", None)  # what it is traced by is said once, where the call begins
    return options


def _is_made_by(model: str, makers: Collection[str]) -> bool:
    return all(model.partition("/")[0] in _MAKERS[maker] for maker in makers)


def _maker_of(tool: Mapping[str, Any]) -> str | None:
    """Return who runs a tool itself; None where the app does."""
    kind = tool.get("type")
    if isinstance(kind, str) and kind in _OPENAI_TOOLS:
        return "openai"
    if isinstance(kind, str) and _ANTHROPIC_TOOL.fullmatch(kind):
        return "anthropic"
    return "google" if kind is None and tool.keys() & _GOOGLE_TOOLS and len(tool) == 1 else None
