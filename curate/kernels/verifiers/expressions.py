"""Read mathematical answers into SymPy and compare them, as math-verify does.

Imported by the processes of a `KillablePool` only: the library takes half a second to load, and an
expression can take for ever. Words it reads as products of letters (`Paris`), and of a sentence it
takes a number; an answer that is marked, or stands alone, is therefore handed to it as one
expression or not at all.
"""

from __future__ import annotations

import logging
import re
from typing import Any

from math_verify import parse, verify
from sympy import nan, zoo

from curate.kernels.text.final_answers import final_answer, without_bold

# Every job would be told that the limits of time are its caller's.
logging.getLogger("math_verify").setLevel(logging.ERROR)
_NUMBER = r"(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+)?(?<=\d)"
# A number with its currency or unit, and a mixed number (`2 1/2`).
_QUANTITY = re.compile(
    rf"[~≈=]?\s?(?P<sign>-?)(?:\\?[$€£]\s?)?(?P<also>-?)(?P<number>{_NUMBER})"
    r"(?:[eE](?P<exponent>[-+]?\d{1,3}))?(?P<percent>\s?\\?%)?"
    # Two letters and one are products of variables, but for these.
    r"(?:\s+\(?(?P<unit>(?:[A-Za-z]{3,}|[ckm]m|[km]g|m[lL]|k[mW]|h|ft|lbs?|oz|in|[ap]m)\b"
    r"[A-Za-z /.]*)\)?)?\.?"
)
_MIXED = re.compile(r"(-?\d+)\s+(\d+)\s?/\s?(\d+)")
# TeX of its own; a single dollar sign is a currency.
_DOLLARS = re.compile(r"\$([^$]+)\$")
_DISPLAY = re.compile(r"\\\(|\\\[|\\boxed")
_TEX_TEXT = re.compile(r"\\(?:text|math|mbox|operatorname)[a-z]*\s*\{[^{}]*\}")
_COMMAND = re.compile(r"\\[A-Za-z]+")
_WORD = re.compile(
    r"[^\W\d_]{3,}|(?<![\w^])(?:a[mnst]|b[ey]|cm|h[ae]|i[fnst]|k[gm]|m[my]|no|o[fknr]|so|to|up|we)"
    r"(?!\w)"
    # What begins a sentence: `So 5`, `No, 7`; `At`, `At + 5` and `AB 5` are products.
    r"|\A(?:A[hmnst]|B[ey]|Do|Go|H[aem]|I[fnst]|My|No|O[fhknr]|OK|So|To|U[mp]|We)"
    r"(?=[,:.!]?\s+-?[\w$(])|\A(?:No|OK|Ok|So)(?=\W*\Z)"
)
# Names that TeX writes with a backslash and people without.
_NAMED = re.compile(
    r"(?<![A-Za-z\\])(?:arc(?:sin|cos|tan)|sinh?|cosh?|tanh?|cot|sec|csc|log|ln|exp|pi|theta|alpha|"
    r"beta)(?![a-z])"
)
# Powers of powers without braces: TeX refuses them, and readers differ.
_TOWER = re.compile(r"\^\s*(?:\w|\{[^{}]*\})\s*\^")
_ROOT = re.compile(r"(?<![A-Za-z\\])sqrt\s?\(([^()]*)\)")
# The last power of a chain: of `2**3**2` it is 3**2, which is the exponent of 2.
_POWER = re.compile(r"(.*)\*\*\s*(-?(?:\w+|\([^()]*\))(?:\^\{(?:[^{}]|\{[^{}]*\})*\})?)(.*)", re.S)


def compare(job: dict[str, Any]) -> dict[str, Any]:
    """Read and compare, inside a child process; `job` holds `reply` and `golds`."""
    read = []
    for side, text in [("reply", job["reply"]), *(("gold", one) for one in job["golds"])]:
        expressions = [one for one in expressions_in(text) if not _undefined(one)]
        if not expressions:
            message = f"the {side} holds no mathematical answer: {text[-80:]!r}"
            return {"unreadable": side, "message": message}
        read.append(expressions)
    equal = any(verify(one, read[0], timeout_seconds=None, raise_on_error=True) for one in read[1:])
    found, *golds = (str(one[0])[:200] for one in read)
    return {"equal": bool(equal), "found": found, "golds": golds}


def _undefined(expression: Any) -> bool:
    """Return whether a division by zero, or of infinities, is in an expression."""
    return bool(getattr(expression, "has", lambda *_: False)(nan, zoo))


def expressions_in(text: str) -> list[Any]:
    r"""Return the marked answer of a text as SymPy reads it, or else the last one in the text.

    An empty list: there is none. Several entries are readings of one answer.
    """
    marked = final_answer(text)
    answer = (without_bold(text) if marked is None else marked).replace("−", "-").strip()
    if not answer:
        return []
    # `$5 and $6` are prices, and no mark of TeX.
    dollars = any(not _has_words(one) for one in _DOLLARS.findall(answer))
    has_tex = dollars or bool(_DISPLAY.search(answer))
    # A text of several words without a mark: what is last in it.
    if not has_tex and (marked is not None or len(answer.split()) < 8):
        bare = as_tex(answer)
        if bare is None and (marked is not None or len(answer.split()) == 1):
            return []
        answer = answer if bare is None else f"${bare}$"
    read = parse(answer, fallback_mode="no_fallback", parsing_timeout=None, raise_on_error=True)
    return list(read)


def _has_words(tex: str) -> bool:
    return bool(_WORD.search(_COMMAND.sub(" ", _TEX_TEXT.sub(" ", tex))))


def as_tex(answer: str) -> str | None:
    """Return an answer without dollar signs as TeX for one expression; `None`: it holds words."""
    if mixed := _MIXED.fullmatch(answer):
        whole, above, below = mixed.groups()
        return rf"{whole}\frac{{{above}}}{{{below}}}"
    quantity = _QUANTITY.fullmatch(answer)
    if quantity and not _NAMED.search(quantity["unit"] or ""):
        ten = rf" \cdot 10^{{{quantity['exponent']}}}" if quantity["exponent"] else ""
        percent = r"\%" if quantity["percent"] else ""
        sign = quantity["sign"] or quantity["also"]
        return sign + quantity["number"].replace(",", "") + ten + percent
    tex = _NAMED.sub(r"\\\g<0>", _ROOT.sub(r"\\sqrt{\1}", answer))
    while power := _POWER.fullmatch(tex):
        tex = f"{power[1]}^{{{power[2]}}}{power[3]}"
    told = _TEX_TEXT.sub(" ", tex)
    if _TOWER.search(told) or not re.search(r"\w", told) or _has_words(tex):
        return None
    return tex.rstrip(".")
