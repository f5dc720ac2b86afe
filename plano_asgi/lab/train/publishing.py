"""A trained model as the files that serve: ONNX, the encoder in int8, calibrated, bound together by SHA-256."""

import hashlib
import json
import shutil
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from plano_asgi.classify.digests import sha256_of
from plano_asgi.classify.embedded.artifacts import FILE_NAMES, MANIFEST_NAME
from plano_asgi.lab.train.calibration import asked, choose_threshold, fit_temperature
from plano_asgi.lab.train.episodes import Draws
from plano_asgi.lab.train.model import Comparer, RouterModel

OPSET: Final = 17
CALIBRATION_SEED: Final = 1
BATCHES: Final = 12
CONVERSATIONS: Final = 48


def publish(
    model: RouterModel, tokenizer: Path, kept_back: Sequence[Draws], out: Path, *, batches: int = BATCHES
) -> Mapping[str, float]:
    """Write the files that serve; return temperature, threshold and accuracy on what was kept back.

    Args:
        model: The trained model.
        tokenizer: The encoder's tokenizer, a file.
        kept_back: What to calibrate with.
        out: Folder for the files.
        batches: How many to draw of each source that was kept back.
    """
    out.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(tokenizer, out / "tokenizer.json")
    write_encoder(model, out / "encoder.onnx")
    write_comparer(model.comparer, out / "comparer.onnx")
    rng = np.random.default_rng(CALIBRATION_SEED)
    found = asked(out, (draws.draw(CONVERSATIONS, rng) for draws in kept_back for _ in range(batches)))
    temperature = fit_temperature(found)
    threshold, accuracy = choose_threshold(found, temperature)
    write_manifest(out, name="embedded", threshold=threshold, temperature=temperature)
    return {"temperature": temperature, "threshold": threshold, "accuracy": accuracy, "n": len(found)}


class ServedEncoder(nn.Module):
    """The encoder as it serves: one text, nothing padded."""

    def __init__(self, model: RouterModel) -> None:
        """Take the encoder of a trained model."""
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor, kinds: Tensor) -> Tensor:
        """Return token states, `(1, t, 384)`."""
        return self.model.states_of(ids, kinds, torch.ones_like(ids, dtype=torch.bool))


class ServedComparer(nn.Module):
    """The comparer as it serves: one conversation, nothing padded."""

    def __init__(self, comparer: Comparer) -> None:
        """Take the comparer of a trained model."""
        super().__init__()
        self.comparer = comparer

    def forward(self, states: Tensor, kinds: Tensor, routes: Tensor) -> Tensor:
        """Return logits, `(1, r + 1)`."""
        is_token = torch.ones_like(kinds, dtype=torch.bool)
        is_route = torch.ones(routes.shape[:2], dtype=torch.bool)
        logits: Tensor = self.comparer(states, kinds, is_token, routes, is_route)
        return logits


def write_encoder(model: RouterModel, path: Path) -> None:
    """Write the encoder, its weights int8 per channel in seven bits.

    Eight-bit products saturate on CPUs without VNNI, and a route must not depend on the CPU.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic  # noqa: PLC0415 - the train extra's

    tokens = torch.ones(1, 8, dtype=torch.long)
    with tempfile.TemporaryDirectory() as scratch:
        exact = Path(scratch) / "encoder.onnx"
        _export(ServedEncoder(model), (tokens, torch.zeros_like(tokens)), ("ids", "kinds"), exact)
        quantize_dynamic(exact, path, weight_type=QuantType.QInt8, per_channel=True, reduce_range=True)


def write_exact_encoder(model: RouterModel, path: Path) -> None:
    """Write the encoder in float32, to compare with."""
    tokens = torch.ones(1, 8, dtype=torch.long)
    _export(ServedEncoder(model), (tokens, torch.zeros_like(tokens)), ("ids", "kinds"), path)


def write_comparer(comparer: Comparer, path: Path) -> None:
    """Write the comparer, float32; its weights keep their names, so that `plano-asgi train` can read them back."""
    kinds = torch.zeros(1, 8, dtype=torch.long)
    inputs = (torch.zeros(1, 8, 384), kinds, torch.zeros(1, 3, 384))
    _export(ServedComparer(comparer), inputs, ("states", "kinds", "routes"), path, keeps_names=True)


def write_manifest(folder: Path, *, name: str, threshold: float, temperature: float) -> None:
    """Write `router.json`, which names the files' digests and how their answers are read."""
    digests = {each: sha256_of(folder / each) for each in FILE_NAMES}
    whole = hashlib.sha256(json.dumps([digests, threshold, temperature]).encode()).hexdigest()
    said = {
        "revision": f"{name}-{whole[:12]}",
        "threshold": round(threshold, 3),
        "temperature": round(temperature, 4),
        "sha256": digests,
    }
    (folder / MANIFEST_NAME).write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")


def _export(
    module: nn.Module, inputs: tuple[Tensor, ...], names: Sequence[str], path: Path, *, keeps_names: bool = False
) -> None:
    """Write a module; every second dimension of its inputs may change."""
    path.parent.mkdir(parents=True, exist_ok=True)
    axes = {name: {1: "routes" if name == "routes" else "tokens"} for name in names}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own deprecation, and its remarks on shapes
        torch.onnx.export(
            module.eval(),
            inputs,
            str(path),
            dynamo=False,
            do_constant_folding=not keeps_names,
            opset_version=OPSET,
            input_names=list(names),
            output_names=["answer"],
            dynamic_axes=axes,
        )
