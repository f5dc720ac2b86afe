"""Structured output: the schema is said in neutral form, and the answer is parsed as the method has it."""

from collections.abc import Callable
from operator import itemgetter
from typing import Any, Final, Literal

from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage
from langchain_core.output_parsers import BaseOutputParser, JsonOutputParser, PydanticOutputParser
from langchain_core.output_parsers.openai_tools import JsonOutputKeyToolsParser, PydanticToolsParser
from langchain_core.runnables import Runnable, RunnableMap, RunnablePassthrough
from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_tool
from langchain_core.utils.pydantic import is_basemodel_subclass

Method = Literal["function_calling", "json_schema", "json_mode"]
Schema = dict[str, Any] | type
Model = Runnable[LanguageModelInput, AIMessage]
Parsed = Runnable[LanguageModelInput, Any]

METHODS: Final = ("function_calling", "json_schema", "json_mode")


def structure_of(schema: Schema, *, method: Method, strict: bool | None) -> dict[str, Any]:
    """Return what a target's own `with_structured_output` is asked for."""
    asked: dict[str, Any] = {"schema": convert_to_json_schema(schema), "method": method}
    return asked if strict is None else {**asked, "strict": strict}


def parser_of(schema: Schema, *, method: Method) -> BaseOutputParser[Any]:
    """Return what reads the answer: the tool's arguments, or the text."""
    is_pydantic = isinstance(schema, type) and is_basemodel_subclass(schema)
    if method == "function_calling":
        if is_pydantic:
            return PydanticToolsParser(tools=[schema], first_tool_only=True)  # type: ignore[list-item]  # it is one
        name = convert_to_openai_tool(schema)["function"]["name"]
        return JsonOutputKeyToolsParser(key_name=name, first_tool_only=True)
    if is_pydantic:
        return PydanticOutputParser(pydantic_object=schema)  # type: ignore[arg-type]  # same
    return JsonOutputParser()


def parsed(model: Model, parser: BaseOutputParser[Any], *, include_raw: bool) -> Parsed:
    """Return the model with its answers parsed; with `include_raw` beside the message and what kept it from that."""
    if not include_raw:
        return model | parser
    nothing: Callable[[object], None] = lambda _: None  # noqa: E731
    read = RunnablePassthrough.assign(parsed=itemgetter("raw") | parser, parsing_error=nothing)
    unread = RunnablePassthrough.assign(parsed=nothing)
    return RunnableMap(raw=model) | read.with_fallbacks([unread], exception_key="parsing_error")
