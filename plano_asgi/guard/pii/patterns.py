"""What each kind of personal data looks like; a check decides where its form is not enough.

Every pattern takes time in proportion to the text: no repetition stands beside another of the same signs. Most are
tried only around a sign of them that is found fast: an @, a word, or six digits that stand together. What is searched
for fastest begins with a letter or mark of its own, as written; so keywords are searched for in the text in lower case.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from plano_asgi.guard.pii.check_digits import NATIONAL_CHECKS, iban_length, is_card, is_iban
from plano_asgi.guard.pii.kinds import Kind

_NOT_DIGITS: Final = re.compile(r"\D+")
_SEPARATORS: Final = re.compile(r"[\s.\-/]+")
_LEAST_ADDRESS_CHARS: Final = 6
_LEAST_PHONE_DIGITS: Final = 7
_MOST_PHONE_DIGITS: Final = 15  # ITU-T E.164
LOOKED_BACK: Final = 40


@dataclass(frozen=True, slots=True, eq=False)
class Sign:
    """What is found in little time wherever findings of some patterns are.

    Attributes:
        forms: One of them is where a finding is, each after what its matches hold for sure; that is found faster still.
        reach: How many characters before and after that a finding is.
        in_lower_case: Whether it is searched for in the text in lower case.
    """

    forms: tuple[tuple[str, re.Pattern[str]], ...]
    reach: tuple[int, int] = (48, 48)
    in_lower_case: bool = False


@dataclass(frozen=True, slots=True)
class Pattern:
    """One form of one kind.

    Attributes:
        kind: Of what it finds.
        form: What it looks like; a group named `value` is the finding where that is less than the match.
        check: Whether what has the form is of the kind.
        sign: What is around a finding; None where the form itself is found as fast.
        before: What stands before a finding, within 40 characters; None where anything may.
        needs: One of these stands in lower case in a finding or within those 40 characters; empty where nothing has to.
        length: How much of what has the form is the finding; None for all of it.
    """

    kind: Kind
    form: re.Pattern[str]
    check: Callable[[str], bool] | None = None
    sign: Sign | None = None
    before: re.Pattern[str] | None = None
    needs: tuple[str, ...] = ()
    length: Callable[[str], int] | None = None

    def is_one(self, text: str, start: int, end: int) -> bool:
        """Return whether what has the form at `text[start:end]` is of the kind."""
        if self.before and not self.before.search(text, max(0, start - LOOKED_BACK), start):
            return False
        return self.check is None or self.check(text[start:end])


def _is_card(text: str) -> bool:
    return is_card(_NOT_DIGITS.sub("", text))


def _length_of_iban(text: str) -> int:
    """Return where an IBAN ends that a text begins with, which words may follow; 0 where there is none."""
    left = iban_length(text)
    for place, sign in enumerate(text):
        left -= sign.isalnum()
        if not left:
            following = text[place + 1 : place + 2]
            return 0 if following.isalnum() else place + 1
    return 0


def _is_iban(text: str) -> bool:
    return is_iban(_SEPARATORS.sub("", text).upper())


def _is_ip(text: str) -> bool:
    try:
        address = ip_address(text)
    except ValueError:
        return False
    is_own = address.is_loopback or address.is_unspecified
    return not is_own and len(text) >= _LEAST_ADDRESS_CHARS  # shorter ones are how code cuts lists


def _is_phone(text: str) -> bool:
    return _LEAST_PHONE_DIGITS <= len(_NOT_DIGITS.sub("", text)) <= _MOST_PHONE_DIGITS


def _is_mixed(text: str) -> bool:
    """Return whether a value looks drawn at random: it has letters and digits, and no sign often."""
    has_both = any(sign.isdigit() for sign in text) and any(sign.isalpha() for sign in text)
    return has_both and len(set(text)) >= min(8, len(text) // 2)


def _sign(*forms: tuple[str, str], reach: tuple[int, int] = (48, 48), in_lower_case: bool = False) -> Sign:
    return Sign(tuple((held, re.compile(form)) for held, form in forms), reach, in_lower_case)


def _national(
    country: str, form: str, *, needs: tuple[str, ...] = (), after: tuple[str, ...] = (), gap: str = ""
) -> Pattern:
    """Return a pattern of a country's numbers, which stand behind one of the words in `after`, if any, and a gap."""
    check = NATIONAL_CHECKS[country]
    return Pattern(
        Kind.NATIONAL_ID,
        re.compile(form),
        lambda text: check(_SEPARATORS.sub("", text)),
        sign=DIGITS,
        before=re.compile(f"(?:{'|'.join(after)}){gap}$", re.IGNORECASE) if after else None,
        needs=needs or tuple(word.removeprefix(r"\b") for word in after),
    )


DIGITS: Final = _sign(  # six that stand together, or those of a codice fiscale; most digits fail before the brackets
    (
        "",
        (
            r"\d(?=[\d .\-/()]{5}|\d[A-Za-z])(?:(?:[ .\-/()]{0,2}\d){5}"
            r"|\d[A-EHLMPR-Ta-ehlmpr-t]\d{2}[A-Za-z]\d{3}[A-Za-z])"
        ),
    )
)
_D: Final = r"\d(?<![\w.+\-/]\d)"  # a digit that begins a word
_L: Final = r"[A-Za-z](?<![\w.+-]\w)"  # a letter that does
_E: Final = r"(?!\w)"  # where a word ends

_PRIVATE_KEY: Final = "(?:[A-Z]{2,12} ){0,3}PRIVATE KEY-----"
_VALUE: Final = r"(?P<value>[^\s\"'<>,;(){}\[\]]{8,200})"

_FOLLOWED: Final = r"(?:[\"']?\s{0,3}[:=]|\s{1,3}(?:is|es|é|è)t?\s)"  # what tells that a value follows
_KEYWORDS: Final = _sign(
    ("pass", "pass(?:word|wort|wd|e)" + _FOLLOWED),
    *((word, word + _FOLLOWED) for word in ("pwd", "contraseña", "senha", "secret", "key", "token")),
    reach=(8, 204),
    in_lower_case=True,
)

SECRET: Final = (
    Pattern(
        Kind.SECRET,
        re.compile(
            r"(?<![\w-])(?:ya29\.[\w-]{20,400}|SG\.[\w-]{16,64}\.[\w-]{16,64}"
            r"|eyJ[\w-]{8,4096}\.eyJ[\w-]{8,8192}\.[\w-]{8,2048})"
        ),
        sign=_sign(
            ("ya29.", r"ya29\."),
            ("SG.", r"SG\.[\w-]{16}"),
            ("eyJ", r"eyJ[\w-]{8}"),
            reach=(0, 4096 + 8192 + 2048),
        ),
    ),
    Pattern(
        Kind.SECRET,
        re.compile(
            r"(?<![\w-])(?:sk-(?:ant-|proj-|or-)?[\w-]{16,200}|github_pat_\w{22,200}|xox[abeoprs]-[\w-]{10,200}"
            r"|(?:gh[pousr]|hf|npm|dop_v1|r8|rk_live|sk_live|sk_test|pk_live|whsec|shpat|gsk)_\w{16,200}"
            r"|(?:glpat|xai|pplx)-[\w-]{16,200}|(?:AKIA|ASIA)[A-Z0-9]{16}|AIza[\w-]{35})"
        ),
        sign=_sign(
            ("_", r"_\w{16}"),
            ("-", r"-(?<=[abekoprstix]-)[\w-]{10}"),
            ("AKIA", r"AKIA[A-Z0-9]{16}"),
            ("ASIA", r"ASIA[A-Z0-9]{16}"),
            ("AIza", "AIza"),
            reach=(12, 200),
        ),
    ),
    Pattern(
        Kind.SECRET,
        re.compile(
            rf"-----BEGIN {_PRIVATE_KEY}(?:"
            rf"(?:[^-]|-(?!----(?:BEGIN|END) {_PRIVATE_KEY})){{16,16384}}+-----END {_PRIVATE_KEY}"
            r"|(?:\s|\\[nr]){0,4}(?:[A-Za-z0-9+/=]{16,128}+(?:\s|\\[nr]){0,4}+){1,1024}+)"  # one that is cut off
        ),
    ),
    Pattern(
        Kind.SECRET,
        re.compile(
            r"(?i:\b(?:password|passwd|pwd|passwort|contraseña|mot de passe|senha|secret|api[_ -]?key|access[_ -]?key"
            r"|auth[_ -]?token|access[_ -]?token|client[_ -]?secret|token)\b[\"']?\s{0,3}[:=]\s{0,3}[\"']?)" + _VALUE
        ),
        _is_mixed,
        sign=_KEYWORDS,
    ),
    Pattern(
        Kind.SECRET,
        re.compile(
            r"(?i:\b(?:password|passwort|contraseña|mot de passe|senha|secret|key|token)\s{1,3}"
            r"(?:is|ist|es|é|est|è)\s{1,3}[\"']?)" + _VALUE
        ),
        _is_mixed,
        sign=_KEYWORDS,
    ),
    Pattern(Kind.SECRET, re.compile(r"://[^\s:/@]{1,64}:(?P<value>[^\s@/]{3,128})@")),
)
EMAIL: Final = Pattern(
    Kind.EMAIL,
    re.compile(r"(?<![\w.%+-])[\w.%+'-]{1,64}@(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,8}[^\W\d_]{2,24}(?![\w-])"),
    sign=_sign(("@", "@"), reach=(65, 320)),
)
IBAN: Final = Pattern(
    Kind.IBAN,
    re.compile(_L + r"[A-Za-z]\d{2}(?:[ -]?[A-Za-z0-9]{4}){2,7}(?:[ -]?[A-Za-z0-9]{1,3})?" + _E),
    _is_iban,
    length=_length_of_iban,
    sign=DIGITS,
)
CARD: Final = Pattern(Kind.CARD, re.compile(_D + r"(?:[ -]?\d){12,18}" + _E), _is_card, sign=DIGITS)
NATIONAL: Final = (
    _national("us", _D + r"\d{2}-\d{2}-\d{4}" + _E, needs=("-",)),
    _national("us", _D + r"\d{8}" + _E, after=(r"\bssn", r"\bsocial security"), gap=r"\D{0,20}"),
    _national("uk", _L + r"[A-Za-z] ?\d{2} ?\d{2} ?\d{2} ?[A-Da-d]" + _E),
    _national("fr", r"[12](?<![\w.+\-/]\d) ?\d{2} ?[01]\d ?(?:\d{2}|2[ABab]) ?\d{3} ?\d{3} ?\d{2}" + _E),
    _national("es", _D + r"\d{7}-?[A-Za-z]" + _E),
    _national("es", r"[XYZxyz](?<![\w.+-]\w)-?\d{7}-?[A-Za-z]" + _E),
    _national(
        "it",
        _L + r"[A-Za-z]{5}\d{2}[A-EHLMPR-Ta-ehlmpr-t]\d{2}[A-Za-z]\d{3}[A-Za-z]" + _E,
    ),
    _national("br", _D + r"\d{2}\.\d{3}\.\d{3}-\d{2}" + _E, needs=("-",)),
    _national("br", _D + r"\d{10}" + _E, after=(r"\bcpf",), gap=r"\D{0,20}"),
    _national("de", _D + r"\d \d{3} \d{3} \d{3}" + _E),
    _national("de", _D + r"\d{10}" + _E, after=("steuer", "idnr", "tax id"), gap=r"[^\d\n]{0,32}"),
    _national(
        "nl",
        _D + r"(?:\d{8}|\d{3}\.\d{2}\.\d{3})" + _E,
        after=(r"\bbsn", "burgerservice", "sofi"),
        gap=r"[^\d\n]{0,24}",
    ),
    _national("pl", _D + r"\d{10}" + _E, after=(r"\bpesel",), gap=r"[^\d\n]{0,24}"),
)
IP: Final = (
    Pattern(
        Kind.IP,
        re.compile(r"\d(?<![\w.]\d)\d{0,2}(?:\.\d{1,3}){3}(?!\w|\.\d)"),
        _is_ip,
        sign=_sign((".", r"\.\d{1,3}\."), reach=(4, 12)),
    ),
    Pattern(
        Kind.IP,
        re.compile(r"(?<![\w:.])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![\w:])"),
        _is_ip,
        sign=_sign((":", r":(?::|[0-9A-Fa-f]{1,4}:[0-9A-Fa-f]{1,4}:)")),
    ),
)
_PHONE_WORDS: Final = re.compile(
    r"\b(?:phone|tel|tél|tlf|tfno|telefon|telephone|téléphone|teléfono|telefono|telefone|telefonnummer|mobile|mobil"
    r"|móvil|movil|fijo|fixe|fisso|cell|cel|cellulare|handy|fax|whatsapp|call|ring|text|sms|celular|portable|rufnummer"
    r"|anrufen|ll[aá]m\w*|appel\w*|chiam\w*|dial|reach)\b[^\d\n+]{0,24}$",
    re.IGNORECASE,
)
_IN_GROUPS: Final = r"(?:[ .\-/]?(?:\d|\(\d{1,4}\)))"
_NO_DATE: Final = r"(?!\d[/.\-]\d{1,2}[/.\-]\d{4}(?!\d))"  # after its first digit, 0
PHONE: Final = (
    Pattern(
        Kind.PHONE,
        re.compile(r"\+(?<![\w+]\+)[1-9]" + _IN_GROUPS + "{6,14}" + _E),
        _is_phone,
        sign=DIGITS,
        needs=("+",),
    ),
    Pattern(
        Kind.PHONE,
        re.compile(r"00(?<![\w.+\-/]00)[1-9]" + _IN_GROUPS + "{8,13}" + _E),
        _is_phone,
        sign=DIGITS,
        needs=("00",),
    ),
    Pattern(
        Kind.PHONE,
        re.compile(r"\((?<![\w+(.-]\()\d{2,5}\)[ .\-/]?\d{2,5}(?:[ .\-/]?\d{2,5}){1,3}" + _E),
        _is_phone,
        sign=DIGITS,
        needs=("(",),
    ),
    Pattern(Kind.PHONE, re.compile(r"[2-9](?<![\w.+\-/]\d)\d{2}([.\-])[2-9]\d{2}\1\d{4}" + _E), sign=DIGITS),
    Pattern(Kind.PHONE, re.compile(r"0(?<![\w.+\-/]0)[1-9](?:([ .\-])\d{2})(?:\1\d{2}){3}" + _E), sign=DIGITS),
    Pattern(
        Kind.PHONE,
        re.compile(r"0(?<![\w.+\-/]0)(?<!\d 0)" + _NO_DATE + r"\d{1,4}[ \-/]\d{2,8}(?:[ \-/]\d{2,8}){0,4}" + _E),
        _is_phone,
        sign=DIGITS,
    ),
    Pattern(Kind.PHONE, re.compile(_D + r"(?:[ .\-/]?\d){6,13}" + _E), _is_phone, sign=DIGITS, before=_PHONE_WORDS),
)

PATTERNS: Final[tuple[Pattern, ...]] = (*SECRET, EMAIL, IBAN, CARD, *NATIONAL, *IP, *PHONE)
"""In order of precedence: where two findings overlap, the one of the earlier pattern holds."""
