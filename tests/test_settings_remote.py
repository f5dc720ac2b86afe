"""Settings of a classifier that is served elsewhere: where they come from, what belongs together, what stays secret."""

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from plano_asgi.assembly import build_classifier, build_router
from plano_asgi.classify.cores import usable_cores
from plano_asgi.classify.remote import RemoteClassifier
from plano_asgi.errors import ConfigurationError
from plano_asgi.settings import Settings, load_settings

KEY: Final = "sk-very-secret"
PROVIDERS: Final = {"PLANO_MODEL_PROVIDERS": '[{"model": "openai/gpt-4o-mini", "default": true}]'}
REMOTE: Final = {"PLANO_CLASSIFIER__KIND": "remote", "PLANO_CLASSIFIER__BASE_URL": "http://localhost:8000/v1"}


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run where there is no configuration file."""
    monkeypatch.chdir(tmp_path)


def settings_with(**classifier: object) -> Settings:
    """Return settings with these of the classifier."""
    return load_settings(environ=PROVIDERS, overrides={"classifier": classifier})


def test_environment_alone_describes_a_remote_classifier() -> None:
    """Kind, URL, key and model can all be variables; the key is a secret."""
    more = {"PLANO_CLASSIFIER__ACCESS_KEY": KEY, "PLANO_CLASSIFIER__MODEL": "My-Router"}

    classifier = load_settings(environ=PROVIDERS | REMOTE | more).classifier

    assert (classifier.kind, classifier.base_url, classifier.model) == (
        "remote",
        "http://localhost:8000/v1",
        "My-Router",
    )
    assert classifier.access_key
    assert classifier.access_key.reveal() == KEY
    assert KEY not in f"{classifier!r} {classifier}"


@pytest.mark.parametrize("reference", ["$ROUTER_KEY", "${ROUTER_KEY}"])
def test_key_can_refer_to_a_variable(reference: str) -> None:
    """`$NAME` is read from the environment, as for providers."""
    environ = PROVIDERS | REMOTE | {"PLANO_CLASSIFIER__ACCESS_KEY": reference, "ROUTER_KEY": KEY}

    access_key = load_settings(environ=environ).classifier.access_key

    assert access_key
    assert access_key.reveal() == KEY


def test_key_can_be_a_mounted_file(tmp_path: Path) -> None:
    """`PLANO_CLASSIFIER__ACCESS_KEY_FILE` names a file with the key."""
    (tmp_path / "key").write_text(KEY + "\n")

    access_key = load_settings(
        environ=PROVIDERS | REMOTE | {"PLANO_CLASSIFIER__ACCESS_KEY_FILE": str(tmp_path / "key")}
    ).classifier.access_key

    assert access_key
    assert access_key.reveal() == KEY


@pytest.mark.parametrize(
    ("classifier", "where", "what"),
    [
        ({"kind": "remote"}, "classifier.base_url", "is required where classifier.kind is remote"),
        ({"base_url": "http://localhost/v1"}, "classifier.base_url", "is read only where classifier.kind is remote"),
        ({"kind": "embedded", "model": "x"}, "classifier.model", "is read only where classifier.kind is remote"),
        ({"kind": "embedded", "access_key": KEY}, "classifier.access_key", "is read only where classifier.kind is"),
        ({"kind": "remote", "base_url": "localhost:8000"}, "classifier.base_url", "expected a URL such as https"),
        ({"kind": "remote", "base_url": f"http://u:{KEY}@h/v1"}, "classifier.base_url", "put the key in access_key"),
        ({"kind": "remote", "base_url": f"http://h/v1?key={KEY}"}, "classifier.base_url", "has no query"),
        (
            {"kind": "remote", "base_url": "http://h/v1", "access_key": "$ABSENT_KEY"},
            "classifier.access_key",
            "the environment variable ABSENT_KEY is not set",
        ),
        (
            {"kind": "remote", "base_url": "http://h/v1", "access_key": f"{KEY}\nx"},
            "classifier.access_key",
            "has a line break",
        ),
    ],
    ids=["no-url", "url", "model", "key", "no-scheme", "password", "query", "absent", "line-break"],
)
def test_what_does_not_belong_together_is_one_fault(classifier: dict[str, object], where: str, what: str) -> None:
    """A missing URL, a setting that another classifier does not read, or a URL that holds a key is told at start-up."""
    with pytest.raises(ConfigurationError) as caught:
        settings_with(**classifier)

    (fault,) = caught.value.faults
    assert fault.where == where
    assert what in fault.what
    assert KEY not in str(caught.value)


def test_remote_classifier_is_built_without_asking_anybody() -> None:
    """Building needs no server, and takes threads, deadline and threshold from the classifier unless they are set."""
    router = build_router(settings_with(kind="remote", base_url="http://127.0.0.1:1/v1"))

    assert isinstance(router.classifier, RemoteClassifier)
    assert (router.deadline_ms, router.rules.threshold, router.classifier.parallelism) == (2_000, 0.5, 32)
    assert not router.is_ready
    router.close()


def test_revision_differs_where_another_answer_is_to_be_expected() -> None:
    """Server, model and prompt form are in the revision, and so in cache keys; the key is not."""
    base: dict[str, object] = {"kind": "remote", "base_url": "http://a/v1"}
    others: list[dict[str, object]] = [{"base_url": "http://b/v1"}, {"model": "m"}, {"prompt_form": "card"}]

    revisions = [build_classifier(settings_with(**base | other)).revision for other in ({}, *others)]
    same = [build_classifier(settings_with(**base | {"access_key": key})).revision for key in ("a", "b")]

    assert len(set(revisions)) == 4
    assert set(same) == {revisions[0]}


def test_router_without_a_server_elsewhere_brings_no_http_client() -> None:
    """Whoever does not ask for a remote classifier does not import what it needs."""
    code = "import sys; from plano_asgi.assembly import build_router; print('httpx' in sys.modules)"

    ran = subprocess.run([sys.executable, "-Ic", code], capture_output=True, text=True, check=True)

    assert ran.stdout == "False\n"


def test_side_by_side_is_what_suits_the_classifier() -> None:
    """The embedded classifier is run on every core; one that waits for the network, on more threads than that."""
    embedded = build_classifier(load_settings(environ=PROVIDERS))

    assert embedded.parallelism == usable_cores()
    assert build_classifier(load_settings(environ=PROVIDERS | REMOTE)).parallelism == 32


def test_key_cannot_leave_by_pickle() -> None:
    """Settings that hold a key are not pickled with it."""
    settings = settings_with(kind="remote", base_url="http://a/v1", access_key=KEY)

    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(settings.classifier)
