"""The encoder that training starts from: all-MiniLM-L6-v2 (Apache-2.0), with its tokenizer."""

from pathlib import Path
from typing import Final

import torch

from plano_asgi.classify.digests import sha256_of
from plano_asgi.errors import ArtifactIntegrityError, ArtifactNotFoundError
from plano_asgi.lab.train.model import RouterModel, Shape

SHA256: Final = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}


def untrained(folder: Path, task_types: int, *, seed: int) -> RouterModel:
    """Return the encoder in the folder with a comparer that knows nothing yet.

    Args:
        folder: Where the encoder's files are.
        task_types: How many labels the auxiliary task has.
        seed: Of the comparer's first weights.

    Raises:
        ArtifactNotFoundError: A file is missing.
        ArtifactIntegrityError: A file is not the published one.
    """
    from transformers import BertModel  # noqa: PLC0415 - the train extra's

    for name, expected in SHA256.items():
        if not (folder / name).is_file():
            raise ArtifactNotFoundError(folder / name)
        if sha256_of(folder / name) != expected:
            raise ArtifactIntegrityError(folder / name, problem="its SHA-256 is not the expected one")
    torch.manual_seed(seed)
    encoder = BertModel.from_pretrained(folder, add_pooling_layer=False)
    return RouterModel(encoder, Shape(), task_types)
