"""The kinds of personal data that are told apart."""

from enum import StrEnum


class Kind(StrEnum):
    """What a finding is; the value is what configurations say."""

    EMAIL = "email"
    PHONE = "phone"
    CARD = "card"
    IBAN = "iban"
    NATIONAL_ID = "national_id"
    IP = "ip"
    SECRET = "secret"  # noqa: S105 - the name of a kind


def label_of(kind: str) -> str:
    """Return what placeholders of a kind begin with, ours or another's."""
    return kind.upper()
