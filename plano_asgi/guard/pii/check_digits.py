"""Check digits: what tells a number of some kind from any other number of that length.

Sources: ISO/IEC 7812-1 (cards), ISO 13616 and ISO 7064 MOD 97-10 (IBAN), ISO 7064 MOD 11,10 (German tax number), and
the published rules of each national number, named below.
"""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

_CARDS: Final = re.compile(  # what card numbers of each network begin with, and how long they are
    r"4(?:\d{12}|\d{15}|\d{18})|5[0-8]\d{14}|2[2-7]\d{14}|3[47]\d{13}|3[0689]\d{12}|35\d{14}|6\d{15}|6\d{17,18}"
)
_MONTHS: Final = range(1, 13)
_DAYS: Final = range(1, 32)

_DNI_LETTERS: Final = "TRWAGMYFPDXBNJZSQVHLCKE"
_ODD_OF_CODICE: Final = dict(
    zip("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", (
        1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 1, 0, 5, 7, 9, 13, 15, 17, 19, 21,
        2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23,
    ), strict=True)
)  # fmt: skip
_IBAN_LENGTHS: Final[Mapping[str, int]] = MappingProxyType({
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BR": 29, "BY": 28,
    "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18,
    "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28, "HR": 21, "HU": 28, "IE": 22,
    "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20,
    "LU": 20, "LV": 21, "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MR": 27, "MT": 31, "MU": 30, "NL": 18, "NO": 15,
    "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22, "SA": 24, "SC": 31, "SE": 24, "SI": 19,
    "SK": 24, "SM": 27, "ST": 25, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20,
})  # fmt: skip


def is_card(digits: str) -> bool:
    """Return whether digits are a payment card's: those of a network, as many as it has, and Luhn's check digit."""
    return _CARDS.fullmatch(digits) is not None and len(set(digits)) > 1 and _luhn(digits)


def iban_length(text: str) -> int:
    """Return how many letters and digits an IBAN of the country has that a text begins with; 0 for no country."""
    return _IBAN_LENGTHS.get(text[:2].upper(), 0)


def is_iban(text: str) -> bool:
    """Return whether letters and digits without spaces are an IBAN of its country's length and check digits."""
    if _IBAN_LENGTHS.get(text[:2]) != len(text):
        return False
    return int("".join(str(int(sign, 36)) for sign in text[4:] + text[:4])) % 97 == 1


def is_us_ssn(digits: str) -> bool:
    """Return whether nine digits can be a US social security number: no area 000, 666 or 9xx, no group 00."""
    area, group, serial = digits[:3], digits[3:5], digits[5:]
    return area not in {"000", "666"} and area[0] != "9" and group != "00" and serial != "0000"


def is_german_tax_number(digits: str) -> bool:
    """Return whether eleven digits are a Steuer-Identifikationsnummer."""
    if digits[0] == "0" or len(set(digits[:10])) not in {8, 9}:
        return False
    product = 10
    for digit in digits[:10]:
        total = (int(digit) + product) % 10 or 10
        product = total * 2 % 11
    return (11 - product) % 10 == int(digits[10])


def is_french_nir(text: str) -> bool:
    """Return whether 15 signs are a French social security number: its key is 97 less the rest by 97."""
    number = text[:13].upper().replace("2A", "19").replace("2B", "18")
    return number.isdigit() and 97 - int(number) % 97 == int(text[13:])


def is_spanish_dni(text: str) -> bool:
    """Return whether eight digits, or X, Y or Z and seven, end with the letter of a DNI or NIE."""
    number = text[:-1].upper().translate(str.maketrans("XYZ", "012"))
    return _DNI_LETTERS[int(number) % 23] == text[-1].upper()


def is_italian_codice(text: str) -> bool:
    """Return whether 16 signs are a codice fiscale: odd and even places weigh differently."""
    text = text.upper()
    odd = sum(_ODD_OF_CODICE[sign] for sign in text[:15:2])
    even = sum(int(sign) if sign.isdigit() else ord(sign) - 65 for sign in text[1:15:2])
    return chr(65 + (odd + even) % 26) == text[15]


def is_dutch_bsn(digits: str) -> bool:
    """Return whether nine digits are a burgerservicenummer: the weighted sum is a multiple of eleven."""
    weights = (9, 8, 7, 6, 5, 4, 3, 2, -1)
    return len(set(digits)) > 1 and sum(w * int(d) for w, d in zip(weights, digits, strict=True)) % 11 == 0


def is_brazilian_cpf(digits: str) -> bool:
    """Return whether eleven digits are a CPF: each of the last two checks all before it."""
    if len(set(digits)) == 1:
        return False
    for length in (9, 10):
        total = sum(int(digit) * (length + 1 - place) for place, digit in enumerate(digits[:length]))
        if total * 10 % 11 % 10 != int(digits[length]):
            return False
    return True


def is_polish_pesel(digits: str) -> bool:
    """Return whether eleven digits are a PESEL with a date in it."""
    weights = (1, 3, 7, 9, 1, 3, 7, 9, 1, 3)
    total = sum(weight * int(digit) for weight, digit in zip(weights, digits, strict=False))
    is_date = int(digits[2:4]) % 20 in _MONTHS and int(digits[4:6]) in _DAYS
    return is_date and (10 - total % 10) % 10 == int(digits[10])


def is_uk_nino(text: str) -> bool:
    """Return whether two letters, six digits and a letter can be a national insurance number by their prefix."""
    first, second, prefix = text[0].upper(), text[1].upper(), text[:2].upper()
    return (
        first not in "DFIQUV" and second not in "DFIQUVO" and prefix not in {"BG", "GB", "NK", "KN", "TN", "NT", "ZZ"}
    )


NATIONAL_CHECKS: Final[Mapping[str, Callable[[str], bool]]] = MappingProxyType(
    {
        "us": is_us_ssn,
        "de": is_german_tax_number,
        "fr": is_french_nir,
        "es": is_spanish_dni,
        "it": is_italian_codice,
        "nl": is_dutch_bsn,
        "br": is_brazilian_cpf,
        "pl": is_polish_pesel,
        "uk": is_uk_nino,
    }
)


def _luhn(digits: str) -> bool:
    total = 0
    for place, digit in enumerate(reversed(digits)):
        total += sum(map(int, str(int(digit) * 2))) if place % 2 else int(digit)
    return total % 10 == 0
