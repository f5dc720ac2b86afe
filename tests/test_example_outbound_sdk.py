"""examples/outbound_sdk: its README's commands start it, and it says what the README shows."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

EXAMPLE = Path(__file__).parents[1] / "examples" / "outbound_sdk"
README = (EXAMPLE / "README.md").read_text(encoding="utf-8")
PROVIDERS, PROGRAM = re.findall(r"```sh\n(.*?)\n```", README, re.DOTALL)
SHOWN = re.findall(r"```text\n(.*?)```", README, re.DOTALL)[0]


def test_program_says_what_the_readme_shows(launch: Callable[..., Any]) -> None:
    """Both SDKs, blocking and async, plain and streamed, are answered by the models that the README names."""
    providers = launch(PROVIDERS.replace("9000", "{port}").split(), folder=EXAMPLE, environ={}).url
    settings = yaml.safe_load((EXAMPLE / "plano.yaml").read_text(encoding="utf-8"))
    urls = [
        declared["base_url"].replace("http://127.0.0.1:9000", providers) for declared in settings["model_providers"]
    ]
    environ = {f"PLANO_MODEL_PROVIDERS__{number}__BASE_URL": url for number, url in enumerate(urls)}
    environ |= {"PLANO_CLASSIFIER__DEADLINE_MS": "20000", "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    program, script = PROGRAM.split()

    ran = subprocess.run(
        [sys.executable, "-W", "error", script],
        cwd=EXAMPLE,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert program == "python"
    assert ran.stderr == ""
    assert ran.stdout == SHOWN
