"""Find personal data and secrets in a text: a wide pattern per kind, then a check that knows it.

Cards have the Luhn checksum and an issuer's prefix, IBANs their country's length and mod-97, IP
addresses must be public, reserved mail domains are nobody's. Phone numbers have no checksum: they
count with a country code, in the North American and British written forms, or beside a word such as
"phone" or "Tel".
"""

from __future__ import annotations

import functools
import ipaddress
import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

KINDS = ("key", "iban", "card", "email", "ip", "phone")


class Span(NamedTuple):
    """A piece of a text that is personal data of a kind."""

    start: int
    end: int
    kind: str


def find_personal(text: str, kinds: Iterable[str] = KINDS) -> list[Span]:
    """Return what is found, in order; where two kinds overlap, the one that is listed first."""
    spans: list[Span] = []
    for kind in KINDS:
        if kind in kinds:
            for start, end in _FINDERS[kind](text):
                if all(end <= s.start or start >= s.end for s in spans):
                    spans.append(Span(start, end, kind))
    return sorted(spans)


def mask_personal(text: str, spans: Iterable[Span]) -> str:
    """Return `text` with every span replaced by its kind, as in `[EMAIL]`."""
    pieces, at = [], 0
    for span in spans:
        pieces += [text[at : span.start], f"[{span.kind.upper()}]"]
        at = span.end
    return "".join([*pieces, text[at:]])


Places = Iterator[tuple[int, int]]

# -- mail -----------------------------------------------------------------------------------------

_LETTER = "A-Za-z0-9À-ɏ"
# A letter, mark or digit of any script, or a hyphen; and with the signs allowed before the @.
_NO_LETTER = (
    r"\s\x7f-¿\u2000-\u206f\u3000-\u3004\u3007-\u3030"
    r"\uff00-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65"
)
_LABEL = rf"[^\x00-,./:-@\[-`{{-\x7f{_NO_LETTER}]"
_SIGNED = rf"[^\x00-$&(-*,/:-@\[-^`{{-\x7f{_NO_LETTER}]"
# RFC 5321: at most 64 octets before the @, 63 in a label of the domain.
_LONGEST = 64
_RUN = re.compile(rf"{_SIGNED}+$")
_LATIN = re.compile(rf"[{_LETTER}_][{_LETTER}._%+'-]*$")
# Scripts written without spaces: what stands before or behind an address touches it.
_UNSPACED = "\u0e00-\u0eff\u3005-\u30ff\u3400-\u9fff\uac00-\ud7af"
_GLUED = re.compile(rf"[{_UNSPACED}](?=[^{_UNSPACED}]+$)")


@functools.cache
def _domain_pattern() -> re.Pattern[str]:
    """Return the pattern of domains; a top-level one beyond ASCII must be one of the root's.

    The file holds those of the Public Suffix List of 2025-04-07, as tldextract 5.4 ships it.
    """
    path = Path(__file__).with_name("idn_tlds.json")
    known: list[str] = sorted(json.loads(path.read_text("utf-8")), key=len, reverse=True)
    coded = "|".join(f"xn--{name.encode('punycode').decode('ascii')}" for name in known)
    return re.compile(
        rf"(?:{_LABEL}{{1,63}}\.)+"
        rf"(?:(?:{'|'.join(known)})(?:(?<=[{_UNSPACED}])(?![@{_LETTER}-])|(?![\w@-]))"
        rf"|(?:(?i:{coded})|[A-Za-z]{{2,24}})(?![{_LETTER}@-]))(?!:[A-Za-z~][\w.-]*/)"
    )


# RFC 2606 and RFC 6761 reserve these; the rest are files, as in logo@2x.png.
_NOBODYS = re.compile(
    r"@(?:[^@]*\.)?(?:example\.(?:com|org|net)|[^@]*\.(?:example|test|invalid|localhost|local"
    r"|png|jpe?g|gif|svg|webp))$",
    re.IGNORECASE,
)


def _emails(text: str) -> Places:
    at = text.find("@")
    while at >= 0:
        domain = _domain_pattern().match(text, at + 1)
        local = _name_before(text[max(0, at - _LONGEST - 1) : at], domain[0]) if domain else ""
        if domain and local and not _NOBODYS.search(f"@{domain[0]}"):
            yield at - len(local), domain.end()
        at = text.find("@", at + 1)


def _name_before(text: str, domain: str) -> str:
    """Return what of the text before an @ belongs to the address, or nothing.

    Names in other scripts than Latin belong to domains in them (RFC 6531 allows more, providers do
    not): otherwise they are the sentence that the address, or a mention, stands in.
    """
    international = not domain.isascii() or "xn--" in domain.lower()
    run = _RUN.search(text)
    if not run or len(run[0]) > _LONGEST:
        return ""
    if international and not _GLUED.search(run[0]):
        return run[0].lstrip(".%+'-")
    latin = _LATIN.search(run[0])
    return latin[0] if latin else ""


# -- addresses ------------------------------------------------------------------------------------

_IPV4 = re.compile(r"(?<![0-9A-Za-z_.-])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![0-9A-Za-z_])(?!\.[0-9])")
# Global unicast addresses begin with 2 or 3 (RFC 4291); shorter forms are rarely an address.
_IPV6 = re.compile(
    r"(?<![0-9A-Za-z_:.])[23][0-9A-Fa-f]{3}(?::[0-9A-Fa-f]{0,4}){2,7}(?![0-9A-Za-z_:])"
)
_NUMBERED = re.compile(
    r"(?:\b(?:version|ver|v|release|section|chapter|build|article|firmware|rev)|§)\.?[ ]?$", re.I
)


def _addresses(text: str) -> Places:
    for match in [*_IPV4.finditer(text), *_IPV6.finditer(text)]:
        try:
            found = ipaddress.ip_address(match[0])
        except ValueError:
            continue
        public = found.is_global and not found.is_multicast
        if public and not _NUMBERED.search(text, 0, match.start()):
            yield match.span()


# -- numbers with a checksum ----------------------------------------------------------------------

_CARD = re.compile(
    r"(?<![0-9A-Za-z_.])(?<![0-9][ -])(?:[0-9]{13,19}"
    r"|[0-9]{4}(?P<gap>[ -])[0-9]{4}(?P=gap)[0-9]{4}(?P=gap)[0-9]{4}(?:(?P=gap)[0-9]{1,3})?"
    r"|[0-9]{4}(?P<short>[ -])[0-9]{6}(?P=short)[0-9]{4,5})(?![ -]?[0-9])(?![A-Za-z_])"
)
# ISO/IEC 7812: issuers' prefixes and the lengths of their numbers.
_ISSUERS = (
    (re.compile("4"), (13, 16, 19)),
    (re.compile("5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720"), (16,)),
    (re.compile("3[47]"), (15,)),
    (re.compile("6011|64[4-9]|65"), (16, 19)),
    (re.compile("30[0-5]|3[689]"), (14,)),
    (re.compile("35(?:2[89]|[3-8])"), (16,)),
    (re.compile("62"), (16, 17, 18, 19)),
)


def _cards(text: str) -> Places:
    for match in _CARD.finditer(text):
        digits = re.sub("[ -]", "", match[0])
        known = any(p.match(digits) and len(digits) in lengths for p, lengths in _ISSUERS)
        if known and luhn(digits):
            yield match.span()


def luhn(digits: str) -> bool:
    """Tell whether a number ends in its Luhn check digit (ISO/IEC 7812-1)."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        doubled = int(digit) * (1 + place % 2)
        total += doubled - 9 * (doubled > 9)
    return total % 10 == 0


_IBAN = re.compile(r"(?<![0-9A-Za-z])[A-Z]{2}[0-9]{2}(?= ?[A-Z0-9]{4})")


@functools.cache
def _iban_patterns() -> dict[str, re.Pattern[str]]:
    """Return what follows the four leading characters, by country (SWIFT's IBAN registry)."""
    lengths = json.loads(Path(__file__).with_name("iban_lengths.json").read_text("ascii"))
    return {
        country: re.compile(rf"(?: ?[A-Z0-9]){{{length - 4}}}(?![A-Za-z0-9])")
        for country, length in lengths.items()
    }


def _ibans(text: str) -> Places:
    for match in _IBAN.finditer(text):
        pattern = _iban_patterns().get(match[0][:2])
        rest = pattern.match(text, match.end()) if pattern else None
        if rest and mod_97(match[0] + rest[0].replace(" ", "")) == 1:
            yield match.start(), rest.end()


def mod_97(iban: str) -> int:
    """Return the remainder that is 1 for a valid IBAN (ISO 13616)."""
    return int("".join(str(int(character, 36)) for character in iban[4:] + iban[:4])) % 97


# -- phones ---------------------------------------------------------------------------------------

_NUMBER = (
    r"(?:\+|\(\+?)?[0-9](?:[0-9]|(?:[ ()./-]{1,2}|,)(?=[0-9(])){5,80}"
    r"(?<=[0-9])(?:,? ?(?:ext\.?|x) ?[0-9]{1,5})?(?![0-9A-Za-z_])(?![.,-][0-9]| ?[=*<>])"
)
_PHONE = re.compile(rf"(?:(?<![0-9A-Za-z_+.,#/=-])(?<![0-9] )|(?<=[0-9][ ,;/])(?=\+)){_NUMBER}")
_AMERICAN = re.compile(
    r"(?:\+?1[-. ]?)?(?:\([2-9][0-9]{2}\) ?[0-9]{3}[-. ][0-9]{4}"
    r"|[2-9][0-9]{2}([-.])[0-9]{3}\1[0-9]{4})(?:,? ?(?:ext\.?|x) ?[0-9]{1,5})?"
)
_BRITISH = re.compile(r"\(?0[1-9][0-9]{1,3}\)? [0-9]{3,4} [0-9]{3,4}")
_NAMED = re.compile(
    r"(?:\b(?:tele)?(?:phones?|fon|fono)|\b(?:tel|te?lf|cell|call|mobile|mob|fax|whatsapp|sms|text"
    r"|dial|ring|hotline|handy|appelez|llama|reach \w+ (?:at|on))\b|\bT(?=:)|手机|手機|电话|電話"
    r"|\bтел|điện thoại|contact number)[^0-9\n+]{0,20}$",
    re.IGNORECASE,
)
_YEARS = re.compile("(?:19|20)[0-9]{2}(?:[-/ ](?:19|20)[0-9]{2})+")
_BEFORE = 48
# What stands between numbers of one list: the word before the first names all of them.
_BETWEEN = re.compile(
    r" ?(?:[,;/|、\uff0c\uff1b]| (?:or|and|oder|und|ou|et|o|y|или|и|hoặc|và|或|和) ) ?|[或和]"
)
# Numbers that follow each other, written alike: digits as zeros.
_ALIKE = re.compile(r"([+(]{0,2}0.{5,}?)(?:([ ,/]{1,2})\1)(?:\2\1)*")


def _phones(text: str) -> Places:
    named, last = False, 0
    for match in _PHONE.finditer(text):
        before = text[max(0, match.start() - _BEFORE) : match.start()]
        listed = named and _BETWEEN.fullmatch(text, last, match.start())
        named, last = bool(listed or _NAMED.search(before)), match.end()
        run = match[0]
        if run[0] == "(" and run.count("(") != run.count(")"):
            run = run[1:]  # the bracket is the sentence's
        # Several numbers may follow each other, parted by a space, a comma or a slash.
        alike = _ALIKE.fullmatch(re.sub("[0-9]", "0", run))
        size = alike.end(1) if alike else len(run)
        step = size + len(alike[2]) if alike else size
        for start in range(0, len(run), step):
            if _is_phone(run[start : start + size], named=named):
                yield last - len(run) + start, last - len(run) + start + size


def _is_phone(number: str, *, named: bool) -> bool:
    digits = sum(character.isdigit() for character in number)
    if not 7 <= digits <= 18 or number.count("(") != number.count(")"):
        return False
    if re.search(r"[0-9],[0-9]", number) or _YEARS.fullmatch(number):
        return False
    if named or (number.lstrip("(")[0] == "+" and digits >= 8):
        return True
    return bool(_AMERICAN.fullmatch(number) or _BRITISH.fullmatch(number))


# -- keys -----------------------------------------------------------------------------------------

_TOKEN = re.compile(
    r"(?<![0-9A-Za-z_-])(?:sk-(?:proj-|ant-)?[0-9A-Za-z_-]{32,}|gh[pousr]_[0-9A-Za-z]{36,}"
    r"|github_pat_[0-9A-Za-z_]{50,}|A[KS]IA[0-9A-Z]{16}|xox[abeoprs]-[0-9A-Za-z-]{20,}"
    r"|AIza[0-9A-Za-z_-]{33,39}|[rs]k_(?:live|test)_[0-9A-Za-z]{20,}|hf_[0-9A-Za-z]{30,}"
    r"|glpat-[0-9A-Za-z_-]{20,}|npm_[0-9A-Za-z]{36}|SG\.[\w-]{16,}\.[\w-]{30,}"
    r"|eyJ[0-9A-Za-z_-]{10,}\.eyJ[0-9A-Za-z_-]{8,}\.[0-9A-Za-z_-]{16,}"
    r"|[0-9]{8,10}:AA[0-9A-Za-z_-]{32,34})(?![0-9A-Za-z_-])",
    re.ASCII,
)
_PRIVATE_KEY = re.compile(
    r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----.*?(?:-----END (?:[A-Z]+ )*PRIVATE KEY-----|\Z)", re.S
)
_ASSIGNED = re.compile(
    r"""(?:api|access|auth|secret|client|private|token)[_-]?(?:[a-z]+[_-]?){0,2}["']?[ \t]{0,4}"""
    r"""[:=][ \t]{0,4}["']?([0-9A-Za-z_/+.=-]{24,})(?![0-9A-Za-z(])""",
    re.IGNORECASE | re.ASCII,
)


def _keys(text: str) -> Places:
    for match in [*_PRIVATE_KEY.finditer(text), *_TOKEN.finditer(text)]:
        if not match[0].endswith("EXAMPLE"):
            yield match.span()
    for match in _ASSIGNED.finditer(text):
        value = match[1]
        # A secret differs from a name by digits among letters, and many different characters.
        digits = sum(character.isdigit() for character in value)
        mixed = value.lower() != value != value.upper()
        if len(set(value)) >= 10 and value.upper() != value.lower() and digits >= 3 - 2 * mixed:
            yield match.span(1)


_FINDERS: dict[str, Callable[[str], Places]] = {
    "key": _keys,
    "iban": _ibans,
    "card": _cards,
    "email": _emails,
    "ip": _addresses,
    "phone": _phones,
}
# For RE2: what a text must hold for a kind to be found in it. Cheap, and never too narrow.
SCREENS = {
    "key": r"PRIVATE KEY|sk-|gh[pousr]_|github_pat_|A[KS]IA|xox|AIza|[rs]k_|hf_|glpat-|npm_|SG\."
    r"|eyJ|:AA|(?i:api|access|auth|secret|client|private|token)[A-Za-z_-]*[\"']?[ \t]*[:=]",
    "iban": r"[A-Z]{2}[0-9]{2} ?[A-Z0-9]{4}",
    "card": r"[0-9]{4}[ -]?[0-9]{4}",
    "email": "@",
    "ip": r"[0-9]\.[0-9]{1,3}\.[0-9]|[0-9A-Fa-f]{4}:[0-9A-Fa-f]{0,4}:",
    "phone": r"[0-9](?:[ ()./-]{0,2}[0-9]){6}",
}
