"""The source model in transformers, and what it says of the prompts that its export is compared on."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from plano_asgi.classify.arch_router.completion_tree import AFTER_FORCED, CompletionTree
from plano_asgi.classify.arch_router.tokens import Tokens
from plano_asgi.classify.onnx_runtime import import_onnxruntime
from plano_asgi.errors import ExportError, MissingExtraError
from plano_asgi.lab.export.location import Location

TASK: Final = "text-generation"
MOST_NOISE: Final = 0.3  # of the head's own size; two quantisations of one table differ by 0.1, two tables by 1.4

Logits = npt.NDArray[np.float32]


def check_extra() -> None:
    """Guarantee that the export extra is installed, and onnxruntime, which comes with the extra cpu or gpu.

    Raises:
        MissingExtraError: One of them is not.
    """
    try:
        import gguf  # noqa: F401, PLC0415 - only whether it is there
        import onnx  # noqa: F401, PLC0415 - same
        import optimum  # noqa: F401, PLC0415 - same
        import torch  # noqa: F401, PLC0415 - same
        import transformers  # noqa: F401, PLC0415 - same
    except ImportError:
        raise MissingExtraError("export", needed_for="plano-asgi export") from None
    import_onnxruntime(needed_for="plano-asgi export")


def load_config(location: Location, *, revision: str) -> dict[str, Any]:
    """Return the model's configuration, and the tokens that end its texts as `eos`.

    Raises:
        ExportError: It cannot be read.
    """
    from transformers import AutoConfig, GenerationConfig  # noqa: PLC0415 - the export extra's

    with _explained(location, "configuration"):
        config: dict[str, Any] = AutoConfig.from_pretrained(location.at, **_how(location, revision)).to_dict()
    try:
        ends = GenerationConfig.from_pretrained(location.at, **_hub_revision(location, revision)).eos_token_id
    except OSError:  # a GGUF has none, and others need none
        ends = None
    ends = config.get("eos_token_id") if ends is None else ends
    return {**config, "eos": [] if ends is None else [ends] if isinstance(ends, int) else list(ends)}


def load_tokenizer(location: Location, *, revision: str) -> Any:  # noqa: ANN401 - transformers'
    """Return the fast tokenizer; for a GGUF that has `tokenizer.json` beside it, that one.

    Raises:
        ExportError: There is none, or only a slow one.
    """
    from transformers import AutoTokenizer  # noqa: PLC0415 - the export extra's

    how = _how(location, revision)
    if location.has("tokenizer.json"):
        how = {}
    with _explained(location, "tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(location.at, **how)
    if not tokenizer.is_fast:
        raise ExportError(f"{location.name} has no fast tokenizer (tokenizer.json)")
    return tokenizer


def load_model(location: Location, *, revision: str) -> Any:  # noqa: ANN401 - torch's
    """Return the model in float32, through optimum, its head tied to the embedding where both are the same table.

    Raises:
        ExportError: It cannot be loaded.
    """
    import torch  # noqa: PLC0415 - the export extra's
    from optimum.exporters.tasks import TasksManager  # noqa: PLC0415 - same

    how = _how(location, revision)
    with _explained(location, "model"):
        model = TasksManager.get_model_from_task(
            TASK, location.at, library_name="transformers", framework="pt", torch_dtype=torch.float32, **how
        )
    model.eval()
    tie_head(model, is_quantised=bool(location.gguf))
    return model


def tie_head(model: Any, *, is_quantised: bool) -> None:  # noqa: ANN401 - torch's
    """Make the head and the embedding one table where they are the same but for the noise of quantisation.

    GGUF files may hold both, the head in more bits; so the head is what is kept.
    """
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    if not model.config.tie_word_embeddings and embedding.weight is not head.weight:
        difference = (embedding.weight.detach() - head.weight.detach()).norm() / head.weight.detach().norm()
        if float(difference) > (MOST_NOISE if is_quantised else 0.0):
            return
        embedding.weight = head.weight
    model.config.tie_word_embeddings = True


class Continuing:
    """Reads on from a prefix in transformers, as often as wanted."""

    def __init__(self, model: Any, prefix: Tokens) -> None:  # noqa: ANN401 - torch's
        """Read the prefix."""
        from transformers import DynamicCache  # noqa: PLC0415 - the export extra's

        self._model = model
        self._cache = DynamicCache(config=model.config)
        self._length = 0
        self._read(prefix)
        self._length = len(prefix)

    def answered(self, rest: Tokens, tree: CompletionTree) -> tuple[Logits, npt.NDArray[np.float64]]:
        """Return the vocabulary's logits after the forced tokens, and the probability of each candidate."""
        trunk = (*rest, *tree.forced)
        first = self._read(trunk)
        start = self._length
        self._length += len(trunk)
        found = []
        for branch in tree.branches:
            logits = first if branch.after == AFTER_FORCED else self._read(_way_to(tree, branch.after))
            found.append(logits[list(branch.choices)])
            self._cache.crop(self._length)
        self._length = start
        self._cache.crop(start)
        return first, tree.scores(found, temperature=1.0)

    def _read(self, tokens: Sequence[int]) -> Logits:
        """Return the logits after the last of some more tokens."""
        import torch  # noqa: PLC0415 - the export extra's

        with torch.inference_mode():
            read = self._model(torch.tensor([list(tokens)]), past_key_values=self._cache, logits_to_keep=1)
        logits: Logits = read.logits[0, -1].float().numpy()
        return logits


def _way_to(tree: CompletionTree, index: int) -> list[int]:
    """Return the tokens on the way from the forced ones to one of the tree's, itself included."""
    way, depth = [], tree.depths[index]
    for at in range(index, -1, -1):
        if tree.depths[at] == depth:
            way.append(tree.tokens[at])
            depth -= 1
    return way[::-1]


def _how(location: Location, revision: str) -> dict[str, Any]:
    return {"gguf_file": location.gguf} if location.gguf else _hub_revision(location, revision)


def _hub_revision(location: Location, revision: str) -> dict[str, Any]:
    return {} if location.is_local else {"revision": revision}


@contextmanager
def _explained(location: Location, what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # transformers raises whatever comes from below
        first = str(error).strip().partition("\n")[0]
        raise ExportError(f"the {what} of {location.name} cannot be loaded: {type(error).__name__}: {first}") from error
