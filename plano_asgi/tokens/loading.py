"""Where tokenizers come from: a `tokenizer.json`, or an encoding of tiktoken's. Home of tiktoken."""

import os
import tempfile
from hashlib import sha1
from pathlib import Path
from types import MappingProxyType
from typing import Final

from plano_asgi.errors import ArtifactIntegrityError
from plano_asgi.tokens.text_counter import Tokenize

# The file that each encoding of tiktoken's is loaded from
_ENCODING_FILES: Final = MappingProxyType(
    {
        "o200k_base": "o200k_base",
        "o200k_harmony": "o200k_base",
        "cl100k_base": "cl100k_base",
        "p50k_base": "p50k_base",
        "r50k_base": "r50k_base",
    }
)
ENCODINGS: Final = frozenset(_ENCODING_FILES)
_PUBLISHED: Final = "https://openaipublic.blob.core.windows.net/encodings/{}.tiktoken"


def load_file(path: Path) -> Tokenize:
    """Return what counts tokens as the tokenizer in a `tokenizer.json` does.

    Words that it has as one special token count as the text that they are, since a provider may read them so.

    Raises:
        ArtifactIntegrityError: The file is no tokenizer.
    """
    from tokenizers import Tokenizer  # noqa: PLC0415 - slow to import

    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises nothing narrower
        raise ArtifactIntegrityError(path, problem="it cannot be loaded as a tokenizer") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.encode_special_tokens = True
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False))


def load_encoding(name: str) -> Tokenize:
    """Return what counts tokens by one of tiktoken's encodings, which it downloads where it is not on this machine.

    Blocks without a deadline of its own; any exception of tiktoken's and requests' may come of it.
    """
    from tiktoken import get_encoding  # noqa: PLC0415 - of an extra

    encoding = get_encoding(name)
    return lambda text: len(encoding.encode_ordinary(text))


def has_tiktoken() -> bool:
    """Return whether the extra is installed."""
    try:
        import tiktoken  # noqa: F401, PLC0415 - of an extra
    except ImportError:
        return False
    return True


def encoding_of(model_name: str) -> str | None:
    """Return the encoding of one of OpenAI's models, None where tiktoken is not installed or knows no such model."""
    if not has_tiktoken():
        return None
    from tiktoken import encoding_name_for_model  # noqa: PLC0415 - of an extra

    try:
        return encoding_name_for_model(model_name)
    except KeyError:
        return None


def is_on_this_machine(encoding: str) -> bool:
    """Return whether an encoding can be loaded without a download: whether its file is where tiktoken keeps it."""
    if encoding not in _ENCODING_FILES:
        return False
    environ = os.environ
    folder = environ.get("TIKTOKEN_CACHE_DIR", environ.get("DATA_GYM_CACHE_DIR"))
    kept = Path(tempfile.gettempdir(), "data-gym-cache") if folder is None else Path(folder)
    url = _PUBLISHED.format(_ENCODING_FILES[encoding])
    return folder != "" and (kept / sha1(url.encode()).hexdigest()).is_file()  # noqa: S324 - a name, as tiktoken gives it
