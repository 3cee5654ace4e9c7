"""The constraints of IFBench that belong to one prompt each: its tables, lists and stories."""

from __future__ import annotations

import csv
import io
import itertools
import re
import string
import unicodedata

from curate.kernels.verifiers.constraints.registry import constraint
from curate.kernels.verifiers.constraints.texts import MARKS, plain_words, sentences, word_list

_DAYS = {2: 29, 4: 30, 6: 30, 9: 30, 11: 30}


@constraint("custom:multiples")
def _multiples(reply: str) -> bool:
    return re.findall(r"\d+", reply) == ["14", "21", "28", "35", "42", "49"]


@constraint("custom:mcq_count_length")
def _mcq_count_length(reply: str) -> bool:
    if not reply.startswith("Question"):
        return False
    lengths = []
    for question in re.split(r"\n*Question \d+[.|):;]?\s*", reply):
        if not question.strip():
            continue
        lines = [line.strip() for line in question.strip().split("\n")]
        options = [n for n, line in enumerate(lines) if re.match(r"[A-Ea-e][.|)]\s*\w", line)]
        if len(options) != 5:
            return False
        lengths.append(len(" ".join(lines[: options[0]]).strip()))
    return len(lengths) == 4 and all(one < other for one, other in itertools.pairwise(lengths))


@constraint("custom:reverse_newline")
def _reverse_newline(reply: str) -> bool:
    lines = [_ascii(found) for line in reply.split("\n") if (found := line.strip(MARKS))]
    first = next((n for n, line in enumerate(lines) if "Zimbabwe" in line), len(lines))
    countries = lines[first:]
    return len(countries) >= 52 and countries == sorted(countries, reverse=True)


@constraint("custom:word_reverse")
def _word_reverse(reply: str) -> bool:
    turned = " ".join(reversed(plain_words(reply)))
    return "bald eagle" in turned and sentences(turned) == [turned]


@constraint("custom:character_reverse")
def _character_reverse(reply: str) -> bool:
    return "elgae dlab" in reply.lower()


@constraint("custom:sentence_alphabet")
def _sentence_alphabet(reply: str) -> bool:
    first = [s.lstrip(string.punctuation + string.whitespace)[:1] for s in sentences(reply)]
    return "".join(first).lower() == string.ascii_lowercase


@constraint("custom:european_capitals_sort")
def _european_capitals_sort(reply: str) -> bool:
    named = [name.strip() for name in _ascii(reply).split(",") if name.strip()]
    return named == list(word_list("capitals_north_of_45"))


@constraint("custom:csv_city")
def _csv_city(reply: str) -> bool:
    rows = _table(reply, ",")
    return (
        len(rows) == 8
        and rows[0] == ["ID", "Country", "City", "Year", "Count"]
        and all(len(row) == 5 for row in rows)
    )


@constraint("custom:csv_special_character")
def _csv_special_character(reply: str) -> bool:
    rows = _quoted_table(reply, ",", ("ProductID", "Category", "Brand", "Price", "Stock"))
    if len(rows) != 15:
        return False
    for row in rows[1:]:
        if len(row) != 5:
            return False
        if any(re.match(r'".*[^\d\w\s].*"', field) for field in row):
            return True
    return False


@constraint("custom:csv_quotes")
def _csv_quotes(reply: str) -> bool:
    rows = _quoted_table(reply, "\t", ("StudentID", "Subject", "Grade", "Semester", "Score"))
    return len(rows) == 4 and all(
        len(row) == 5 and all(re.fullmatch(r'\s*".*"\s*', field, re.S) for field in row)
        for row in rows
    )


@constraint("custom:date_format_list")
def _date_format_list(reply: str) -> bool:
    for date in reply.strip().split(","):
        found = re.fullmatch(r"(\d{4})-(\d\d)-(\d\d)", date.strip())
        if found is None:
            return False
        year, month, day = map(int, found.groups())
        # Napoleon's years.
        if not 1769 <= year <= 1821 or month > 12 or day > _DAYS.get(month, 31):
            return False
    return True


def _quoted_table(reply: str, delimiter: str, columns: tuple[str, ...]) -> list[list[str]]:
    """Return the rows of a table with these columns, quotes kept; none without its header."""
    blank = r"[ \t]*" if delimiter == "," else " *"
    header = f"{delimiter}{blank}".join(f'(?:{name}|"{name}")' for name in columns)
    if not re.fullmatch(header, reply.split("\n")[0].strip()):
        return []
    return _table(reply.replace('"', '"""'), delimiter)


def _table(text: str, delimiter: str) -> list[list[str]]:
    """Return the rows of a table; none where it is not a table (a lone carriage return)."""
    try:
        return list(csv.reader(io.StringIO(text), delimiter=delimiter))
    except csv.Error:
        return []


def _ascii(text: str) -> str:
    """Return a text without accents, other letters left out."""
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
