"""What the playground needs."""

from plano_asgi.settings.draft import Draft


def check_playground(draft: Draft) -> None:
    """Record a fault where the page would have nobody to ask."""
    if draft.at("playground", "enabled") is True and draft.at("endpoints") is False:
        what = "asks the decision endpoints, and endpoints: false leaves them out; switch one of the two"
        draft.fault(("playground", "enabled"), what)
