"""Find personal data in the labelled cases: precision and recall by kind, beside two peers.

The cases are those of the step's own test: written before its patterns, half of them negatives.
A find counts as right when it overlaps a labelled piece of its kind, so that nobody loses for a
bracket more or less. Presidio runs with its pattern recognisers alone (names and places, which it
also finds with a language model, are not a kind of ours); scrubadub with its default detectors.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import logging
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from bench import Contender, Line, machine, peers, print_goal, print_table, side_by_side

ROOT = Path(__file__).resolve().parent.parent
PEERS = {"presidio": "presidio-analyzer==2.2.366", "scrubadub": "scrubadub==2.0.1"}
KINDS = ("email", "phone", "ip", "card", "iban", "key")
Found = list[tuple[int, int, str]]
Find = Callable[[str], Found]
Case = tuple[str, Found]


def by_curate() -> Find:
    from curate.kernels.text.pii import find_personal

    return lambda text: [tuple(span) for span in find_personal(text)]


def by_presidio() -> Find:
    # Its mail check looks for a list of suffixes on the net first, and has its own beside it.
    logging.disable(logging.CRITICAL)
    from presidio_analyzer import predefined_recognizers as own

    regions = ("US", "GB", "DE", "FR", "IT", "ES", "IN", "CN", "VN")
    recognizers = {
        "email": own.EmailRecognizer(),
        "phone": own.PhoneRecognizer(supported_regions=regions),
        "ip": own.IpRecognizer(),
        "card": own.CreditCardRecognizer(),
        "iban": own.IbanRecognizer(),
    }

    def find(text: str) -> Found:
        return [
            (one.start, one.end, kind)
            for kind, recognizer in recognizers.items()
            for one in recognizer.analyze(text, recognizer.supported_entities, None)
        ]

    return find


def by_scrubadub() -> Find:
    import scrubadub

    names = {"email": "email", "phone": "phone", "credit_card": "card", "credential": "key"}
    scrubber = scrubadub.Scrubber()

    def find(text: str) -> Found:
        found = [(one.beg, one.end, names.get(one.type)) for one in scrubber.iter_filth(text)]
        return [(start, end, kind) for start, end, kind in found if kind]

    return find


CONTENDERS = {"curate": by_curate, "presidio": by_presidio, "scrubadub": by_scrubadub}


def counts(cases: list[Case], find: Find) -> dict[str, list[int]]:
    """Return for each kind how many labels were found, missed, and found where there is none."""
    hits, missed, wrong = Counter[str](), Counter[str](), Counter[str]()
    for text, labels in cases:
        found = find(text)
        for label in labels:
            (hits if any(overlap(label, one) for one in found) else missed)[label[2]] += 1
        for one in found:
            wrong[one[2]] += not any(overlap(label, one) for label in labels)
    return {kind: [hits[kind], missed[kind], wrong[kind]] for kind in KINDS}


def overlap(one: tuple[int, int, str], other: tuple[int, int, str]) -> bool:
    return one[2] == other[2] and one[0] < other[1] and other[0] < one[1]


def labelled() -> list[Case]:
    """Return the texts of the test's cases with the labelled places."""
    sys.path.insert(0, str(ROOT))
    from tests.steps.generate.test_pii import CASES

    out = []
    for text, labels in CASES:
        places, at = [], 0
        for kind, value in labels:
            start = text.index(value, at)
            at = start + len(value)
            places.append((start, at, kind))
        out.append((text, places))
    return out


def child(name: str, path: Path) -> None:
    cases = [(text, [tuple(p) for p in places]) for text, places in json.loads(path.read_text())]
    find = CONTENDERS[name]()
    find("warm")
    began = time.perf_counter()
    result = counts(cases, find)
    print(json.dumps({"seconds": time.perf_counter() - began, "counts": result}))


def share(part: int, rest: int) -> str:
    return f"{part / (part + rest):.1%}" if part + rest else "-"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="the same: one size is enough")
    parser.add_argument("--repeats", type=int)
    parser.add_argument("--child", nargs=2)
    options = parser.parse_args()
    if options.child:
        child(options.child[0], Path(options.child[1]))
        return
    print(machine())
    cases, folder_of = labelled(), {n: peers(r) for n, r in PEERS.items()}
    versions = {"curate": importlib.metadata.version("curate-align")}
    versions |= {n: r.partition("==")[2] for n, r in PEERS.items() if folder_of[n] is not None}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "cases.json")
        file.write_text(json.dumps(cases))
        contenders = [
            Contender(
                name,
                version,
                [sys.executable, __file__, "--child", name, str(file)],
                {"PYTHONPATH": str(folder_of[name])} if name in PEERS else {},
                is_peer=name in PEERS,
            )
            for name, version in versions.items()
        ]
        measured = side_by_side(contenders, repeats=options.repeats)
    contenders = [one for one in contenders if one.name in measured]
    found, versions = list(measured.values()), {one.name: one.version for one in contenders}
    print(f"\n### Personal data, {len(cases)} labelled cases (recall / precision)\n")
    print("| kind | labels | " + " | ".join(versions) + " |")
    print("|---|--:|" + "--:|" * len(versions))
    for kind in KINDS:
        rows = [one.result["counts"][kind] for one in found]
        cells = [f"{share(h, m)} / {share(h, w)}" for h, m, w in rows]
        print(f"| {kind} | {sum(rows[0][:2])} | " + " | ".join(cells) + " |")
    print_table(
        "Speed over the cases",
        [
            Line(one.name, one.version, len(cases), m, "see above")
            for one, m in zip(contenders, found, strict=True)
        ],
    )
    print()
    ours = found[0].result["counts"].values()
    recall = min(hits / (hits + missed) for hits, missed, _ in ours)
    precision = min(hits / (hits + wrong) for hits, _, wrong in ours)
    print_goal("lowest recall of a kind", recall, least=0.95)
    print_goal("lowest precision of a kind", precision, least=0.95)


if __name__ == "__main__":
    main()
