"""The kinds of value a setting can have, and what makes each valid; no message repeats a value."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, PlainValidator, Strict
from pydantic_core import PydanticCustomError

from plano_asgi import preferences, providers
from plano_asgi.secret import Secret

FAULT_TYPE: Final = "plano"  # pydantic's error type for a sentence of ours, which `explain` passes on as it is

LANGUAGE_CODE: Final = re.compile(r"[a-z]{2,3}")
LANGUAGE_FAULT: Final = "expected the code of a language by ISO 639, in lower case: en, de, pt"

_MAX_TEXT_CHARS: Final = 512
_ENTITY_NAME = re.compile(r"[A-Z][A-Z0-9_]{0,31}")
_DEVICE = re.compile(r"auto|cpu|cuda(:\d{1,2})?")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
_QUOTA_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_URL_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9.:-]{0,62}")  # a region, or a project
_URL_CHARS = re.compile(r"[\x21-\x7e]{1,2048}")


def fault(what: str) -> PydanticCustomError:
    """Return the error by which a validator says a sentence of ours."""
    return PydanticCustomError(FAULT_TYPE, "{what}", {"what": what})


def _checked(find: Callable[[str], str | None]) -> AfterValidator:
    """Return a validator that refuses text in which `find` finds something wrong."""

    def check(text: str) -> str:
        if what := find(text):
            raise fault(what)
        return text

    return AfterValidator(check)


def _text_fault(text: str) -> str | None:
    """Return what is wrong with plain text, or None."""
    if not text.strip() or len(text) > _MAX_TEXT_CHARS or not text.isprintable():
        return f"expected 1 to {_MAX_TEXT_CHARS} printable characters"
    return None


def _device_fault(text: str) -> str | None:
    """Return what is wrong with a device, or None."""
    return None if _DEVICE.fullmatch(text) else "expected auto, cpu, cuda or cuda:N"


def _language_fault(text: str) -> str | None:
    """Return what is wrong with a language's code, or None."""
    return None if LANGUAGE_CODE.fullmatch(text) else LANGUAGE_FAULT


def _entity_fault(text: str) -> str | None:
    """Return what is wrong with the name of an entity of Presidio's, or None."""
    return None if _ENTITY_NAME.fullmatch(text) else "expected an entity of Presidio's, e.g. PERSON or US_SSN"


def _path_fault(text: str) -> str | None:
    """Return what is wrong with the end of a URL path, or None."""
    if _text_fault(text) or not text.startswith("/") or any(char in " ?#" for char in text):
        return "expected the end of a URL path: a slash first, no spaces, no query"
    return None


def _header_name_fault(text: str) -> str | None:
    """Return what is wrong with a header's name, or None (RFC 9110, section 5.6.2)."""
    return None if _HEADER_NAME.fullmatch(text) else "a header name has letters, digits and hyphens only"


def _quota_name_fault(text: str) -> str | None:
    """Return what is wrong with the name of a limit or a budget, or None; headers bear it."""
    what = "expected 1 to 64 letters, digits, dots, hyphens or underscores, a letter or digit first"
    return None if _QUOTA_NAME.fullmatch(text) else what


def _url_part_fault(text: str) -> str | None:
    """Return what is wrong with a region or a project, or None."""
    return None if _URL_PART.fullmatch(text) else "expected 1 to 63 letters, digits and hyphens, e.g. eu-central-1"


def _url_fault(text: str) -> str | None:
    """Return what is wrong with a provider's URL, or None."""
    expected = "expected a URL such as https://api.example.com/v1"
    if not _URL_CHARS.fullmatch(text):
        return expected
    try:
        parts = urlsplit(text)
        has_host = bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets or a port that cannot be read
        return expected
    if parts.scheme not in {"http", "https"} or not has_host:
        return expected
    if "@" in parts.netloc:
        return "a URL holds no user or password; put the key in access_key"
    if parts.query or parts.fragment:
        return "a base URL has no query and no fragment; put a key in access_key, the rest in headers"
    return None


def secret_of(value: object) -> Secret:
    """Return the value as a secret that an HTTP header can carry."""
    if not isinstance(value, Secret | str):
        raise fault("expected text; put it in quotes")
    text = value if isinstance(value, str) else value.reveal()
    if not text:
        raise fault("is empty; leave it out or give it a value")
    if not (text.isascii() and text.isprintable()) or text != text.strip():
        raise fault("has a line break, a space at an end, or a character that no HTTP header can carry")
    return Secret(text)


def _path(value: object) -> object:
    """Return a path as it is, and text only where it can be one."""
    if isinstance(value, str) and (what := _text_fault(value)):
        raise fault(what)
    return value


def _empty_is_none(value: object) -> object:
    """Return `none` for the empty text, which Plano reads so."""
    return preferences.SelectionPolicy.NONE if value == "" else value


Flag = Annotated[bool, Strict()]
Text = Annotated[str, Strict(), _checked(_text_fault)]
Device = Annotated[str, Strict(), _checked(_device_fault)]
PathEnd = Annotated[str, Strict(), _checked(_path_fault)]
Model = Annotated[str, Strict(), _checked(providers.model_fault)]
ModelReference = Annotated[str, Strict(), _checked(providers.reference_fault)]
DeclaredModel = Annotated[str, Strict(), _checked(providers.declared_model_fault)]
Alias = Annotated[str, Strict(), _checked(providers.alias_fault)]
UrlPart = Annotated[str, Strict(), _checked(_url_part_fault)]
RouteName = Annotated[str, Strict(), _checked(preferences.name_fault)]
LanguageCode = Annotated[str, Strict(), _checked(_language_fault)]
EntityName = Annotated[str, Strict(), _checked(_entity_fault)]
Description = Annotated[str, Strict(), _checked(preferences.description_fault)]
Folder = Annotated[Path, BeforeValidator(_path)]
File = Annotated[Path, BeforeValidator(_path)]
BaseUrl = Annotated[str, Strict(), _checked(_url_fault)]
HeaderName = Annotated[str, Strict(), _checked(_header_name_fault)]
QuotaName = Annotated[str, Strict(), _checked(_quota_name_fault)]
Prefer = Annotated[preferences.SelectionPolicy, BeforeValidator(_empty_is_none)]
SecretText = Annotated[Secret, PlainValidator(secret_of, json_schema_input_type=str), PlainSerializer(str)]
Share = Annotated[float, Strict(), Field(ge=0, le=1, allow_inf_nan=False)]
Percentage = Annotated[float, Strict(), Field(ge=0, le=100, allow_inf_nan=False)]
Milliseconds = Annotated[float, Strict(), Field(gt=0, le=600_000, allow_inf_nan=False)]
Seconds = Annotated[float, Strict(), Field(gt=0, le=31_536_000, allow_inf_nan=False)]
