"""What makes experiments fit together, and each of them fit the rest."""

from typing import Final

from plano_asgi.preferences import MAX_ROUTES
from plano_asgi.settings.draft import Draft, Keys
from plano_asgi.settings.validation import check_classifier, check_preference, check_unique

EXPERIMENTS: Final = "experiments"
_CHANGES: Final = ("threshold", "routing_preferences", "classifier", "calibration")
_ROUNDING: Final = 1e-9  # of shares such as 0.1, which add up to a little more or less than is written


def check_experiments(draft: Draft) -> None:
    """Record every fault of experiments: together they have at most all sessions, and each changes something."""
    found = draft.mappings(EXPERIMENTS)
    check_unique(draft, [(*keys, "name") for keys, _ in found], "the same name as")
    total = 0.0
    for keys, experiment in found:
        share = experiment.get("share")
        total += share if isinstance(share, int | float) and not isinstance(share, bool) else 0.0
        if total > 1 + _ROUNDING:
            draft.fault((*keys, "share"), "with those before it, more than all sessions; a session has one experiment")
            total = 0.0
        if not any(experiment.get(name) not in (None, []) for name in _CHANGES):
            draft.fault(keys, f"changes nothing; give it one of {', '.join(_CHANGES)}")
        _check_policy(draft, (*keys, "routing_preferences"))
        classifier = experiment.get("classifier")
        if isinstance(classifier, dict):
            check_classifier(draft, (*keys, "classifier"))
            if experiment.get("calibration") and classifier.get("calibration"):
                draft.fault((*keys, "calibration"), "the experiment's classifier names one as well; keep one")


def _check_policy(draft: Draft, place: Keys) -> None:
    preferences = [keys for keys, _ in draft.mappings(*place)]
    check_unique(draft, [(*keys, "name") for keys in preferences], "the same route name as")
    if len(preferences) > MAX_ROUTES:
        what = f"a policy has at most {MAX_ROUTES} routes; there are {len(preferences)}"
        draft.fault(preferences[MAX_ROUTES], what)
    for keys in preferences:
        check_preference(draft, keys)
