"""`plano-asgi doctor`: what is installed, where the model is, a timed decision, and what is needed of others."""

import json
import platform
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from plano_asgi.assembly import build_classifier, build_router
from plano_asgi.classify.cores import usable_cores
from plano_asgi.classify.embedded.artifacts import SHIPPED_FOLDER
from plano_asgi.cli.examining_surroundings import examine_surroundings
from plano_asgi.cli.findings import Finding, attempted
from plano_asgi.errors import PlanoError
from plano_asgi.settings import STARTING_FILE, Settings, load_settings

PACKAGES: Final = ("onnxruntime", "onnxruntime-gpu", "tokenizers", "starlette", "numpy")


def print_examination(config: Path | None, *, is_online: bool = False, as_json: bool) -> bool:
    """Print what was found; return whether nothing is wrong."""
    findings = list(_examine(config, is_online=is_online))
    if as_json:
        sys.stdout.write(json.dumps([asdict(finding) for finding in findings]) + "\n")
    else:
        table = Table("", "what", Column("found", overflow="fold"))
        for finding in findings:
            mark = {True: "[green]ok[/green]", False: "[red]wrong[/red]", None: ""}[finding.ok]
            table.add_row(mark, finding.subject, escape(finding.finding))
        Console().print(table)
    return all(finding.ok is not False for finding in findings)


def _examine(config: Path | None, *, is_online: bool) -> Iterator[Finding]:
    yield Finding("python", f"{platform.python_version()} on {platform.machine()}, {usable_cores()} usable cores")
    yield Finding("plano-asgi", version("plano-asgi"))
    yield from (Finding(package, _installed(package)) for package in PACKAGES)
    is_configured = True
    try:
        settings = load_settings(config)
        yield Finding("configuration", f"{len(settings.policy.preferences)} routes", ok=True)
    except PlanoError as error:
        yield Finding("configuration", f"{error}\n(examining the rest with a starting configuration)", ok=False)
        settings, is_configured = _starting_settings(), False
    yield attempted("device", lambda: _device(settings))
    yield attempted("model files", lambda: _model_files(settings))
    yield attempted("timed decision", lambda: _timed(settings))
    if settings.classifier.kind == "cascade":
        yield attempted("second classifier", lambda: _timed(_second_alone(settings)))
    if is_configured:
        yield from examine_surroundings(settings, is_online=is_online)


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _starting_settings() -> Settings:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "plano.yaml"
        path.write_text(STARTING_FILE, encoding="utf-8")
        return load_settings(path, environ={})


def _device(settings: Settings) -> str:
    classifier = build_classifier(settings)  # refuses a device that it cannot use
    if settings.classifier.kind == "cascade":
        classifier = build_classifier(_second_alone(settings))
    where = getattr(classifier, "device", "cpu")
    return f"{where} (classifier.device: {settings.classifier.device})"


def _model_files(settings: Settings) -> str:
    revision = build_classifier(settings).revision
    place = settings.classifier.base_url or settings.classifier.model_path or SHIPPED_FOLDER
    first = f"{SHIPPED_FOLDER}, then " if settings.classifier.kind == "cascade" else ""
    return f"{first}{place}, revision {revision}"


def _second_alone(settings: Settings) -> Settings:
    """Return the settings of a cascade with its second classifier for the only one."""
    kind = "remote" if settings.classifier.base_url else "arch_router"
    alone = settings.classifier.model_copy(update={"kind": kind, "calibration": None})
    return replace(settings, classifier=alone)


def _timed(settings: Settings) -> str:
    router = build_router(settings)
    try:
        elapsed_ms = router.start()
        if router.problem is not None:
            raise router.problem
    finally:
        router.close()
    return f"{elapsed_ms:.1f} ms of {router.deadline_ms:.0f} ms allowed"
