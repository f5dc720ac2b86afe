"""Temperature and threshold: probabilities that mean what they say, of a router that is about to ship."""

import numpy as np
import pytest

from plano_asgi.classify.embedded import EmbeddedClassifier
from plano_asgi.classify.embedded.artifacts import SHIPPED_FOLDER
from plano_asgi.conversation import Message, Role
from plano_asgi.lab.corpus_files import said
from plano_asgi.lab.train.calibration import Asked, asked, choose_threshold, fit_temperature, log_loss
from plano_asgi.lab.train.episodes import Batch
from plano_asgi.preferences import RoutingPolicy, RoutingPreference


def answers(stretch: float, *, count: int = 800) -> list[Asked]:
    """Return answers whose right places are drawn by their probabilities, before the logits are stretched."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(count):
        logits = rng.normal(scale=2, size=int(rng.integers(2, 8)))
        chances = np.exp(logits) / np.exp(logits).sum()
        found.append(Asked((stretch * logits).astype(np.float32), int(rng.choice(len(logits), p=chances))))
    return found


@pytest.mark.parametrize("stretch", [0.7, 1.0, 2.5], ids=["timid", "honest", "cocksure"])
def test_calibration_takes_back_what_stretched_the_logits(stretch: float) -> None:
    """The fitted temperature is about the factor by which logits are too large, and makes the log loss no worse."""
    found = answers(stretch)

    temperature = fit_temperature(found)

    assert temperature == pytest.approx(stretch, rel=0.2)
    assert log_loss(found, temperature) <= log_loss(found, 1.0) + 1e-3


def test_calibration_improves_the_log_loss_of_a_cocksure_router() -> None:
    """Where probabilities are far too sure, the loss falls by far."""
    found = answers(4.0)

    assert log_loss(found, fit_temperature(found)) < 0.8 * log_loss(found, 1.0)


def test_threshold_is_the_one_that_decides_best() -> None:
    """A route that is right has 0.6 and one that is wrong 0.4: the threshold lies between, and all is right."""
    right, wrong = (
        [Asked(np.log(np.array([chance, 1 - chance], np.float32)), answer) for _ in range(20)]
        for chance, answer in ((0.6, 0), (0.4, 1))
    )

    threshold, accuracy = choose_threshold([*right, *wrong], 1.0)

    assert 0.4 < threshold <= 0.6
    assert accuracy == 1


def test_what_is_kept_back_is_asked_as_the_service_asks() -> None:
    """The logits that are calibrated are those of the files that serve, on the routes of the first episode."""
    call = (*said("Write a loop"), Message(role=Role.ASSISTANT, text="done"), Message(role=Role.USER, text="now in Go"))
    batch = Batch(
        source="small",
        conversations=[call, said(" ")],
        routes=["code: writing code", "talk: small talk", "food: recipes"],
        members=np.array([[[2, 0, -1], [0, 1, 2]]]),
        answer=np.array([[1, 3]]),
        label=np.array([0, -1]),
    )
    routes = {"food": "recipes", "code": "writing code"}
    preferences = (RoutingPreference(name=n, description=d, models=("a/b",)) for n, d in routes.items())

    (found,) = asked(SHIPPED_FOLDER, [batch])
    classifier = EmbeddedClassifier()
    scores = classifier.classify(call, RoutingPolicy(preferences=tuple(preferences)))

    said_by_it = np.log([*scores.routes.values(), scores.other])
    gaps = found.logits - found.logits[-1], said_by_it - said_by_it[-1]
    assert found.right == 1
    assert gaps[0][:-1] / gaps[1][:-1] == pytest.approx(np.full(2, gaps[0][0] / gaps[1][0]), rel=1e-3)
