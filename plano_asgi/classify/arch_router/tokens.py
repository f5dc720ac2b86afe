"""The bundle's tokenizer."""

from pathlib import Path

from plano_asgi.classify.arch_router.bundle import TOKENIZER_NAME, Bundle
from plano_asgi.errors import ArtifactIntegrityError, ClassificationError

Tokens = tuple[int, ...]


class BundleTokenizer:
    """Tokens of texts; thread-safe.

    Attributes:
        special_words: Words that become one token of their own wherever they stand, such as `<|im_end|>`.
    """

    def __init__(self, bundle: Bundle) -> None:
        """Load `tokenizer.json`.

        Raises:
            ArtifactIntegrityError: It is no tokenizer, or has more tokens than the model.
        """
        from tokenizers import Tokenizer  # noqa: PLC0415 - slow to import

        path: Path = bundle.folder / TOKENIZER_NAME
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # tokenizers raises nothing narrower
            raise ArtifactIntegrityError(path, problem="it cannot be loaded as a tokenizer") from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        if max([*self._tokenizer.get_vocab().values(), *bundle.end_tokens]) >= bundle.vocabulary:
            raise ArtifactIntegrityError(path, problem="it has tokens that the model does not have")
        self.special_words = frozenset(
            token.content for token in self._tokenizer.get_added_tokens_decoder().values() if token.content.strip()
        )

    def encode(self, text: str) -> Tokens:
        """Return the tokens of a text, special words included and none added; lone surrogates become `?`."""
        return tuple(self._tokenizer.encode(text.encode("utf-8", "replace").decode(), add_special_tokens=False).ids)

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Return where each token of a text begins and ends in it, by characters."""
        encoded = self._tokenizer.encode(text.encode("utf-8", "replace").decode(), add_special_tokens=False)
        offsets: list[tuple[int, int]] = encoded.offsets
        return offsets

    def count(self, text: str) -> int:
        """Return how many tokens a text has."""
        return len(self.encode(text))

    def decode(self, tokens: Tokens) -> str:
        """Return the text of tokens, special words left out."""
        text: str = self._tokenizer.decode(list(tokens), skip_special_tokens=True)
        return text


def check_length(tokens: int, *, context: int) -> None:
    """Guarantee that the model can read so many tokens.

    Raises:
        ClassificationError: It reads fewer.
    """
    if tokens > context:
        problem = f"the prompt has {tokens} tokens, and the model reads {context}; use fewer routes or shorter ones"
        raise ClassificationError(problem)
