"""What the audit keeps of each pair: hashes, lengths and features, in arrays and mapped files."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import xxhash

from curate.evaluate.preference.pairs_of_row import LabelledPair, Turns, pairs_of_row
from curate.kernels.sets.shingles import shingle_set, word_hash
from curate.kernels.text.normalize import Ignored, normalise
from curate.kernels.text.phrase_lists import listed_search
from curate.kernels.text.style_features import (
    FEATURES,
    StyleCounts,
    style_counts,
    style_features,
)
from curate.kernels.text.words import compared_words
from curate.row import Message, Row

# Pairs that are sketched together; from the second batch on compiled kernels pay.
BATCH = 2048
SHINGLE = 3
# Zenker and Kyle 2021: lexical diversity (MTLD) needs 50 words.
MTLD_WORDS = 50
# Words of the label model share this many columns.
WORD_COLUMNS = 1 << 18
_SETS, _WORDS = pa.list_(pa.uint64()), pa.list_(pa.int32())
_SCHEMAS = (
    pa.schema([("texts", _SETS), ("prompts", _SETS)]),
    pa.schema([("chosen", _WORDS), ("rejected", _WORDS)]),
)
# The answers of a row, by its kind.
_SIDES: dict[str, Callable[[Row], list[Turns]]] = {
    "preference": lambda row: [row.chosen, row.rejected],
    "ranked": lambda row: [one.messages for one in row.candidates],
}
_CALL = re.compile(r"<tool_call>\s*(.*?)\s*</tool_call>", re.DOTALL)


class PairArrays(NamedTuple):
    """An entry for each pair; two columns are those of the chosen and of the rejected answer.

    `row` is the place of the pair's row, `places` those of its candidates (-1: a preference).
    `words` counts those between white space of the last turn, `features` are those of its style.
    `prompt` and `sides` are hashes of what is said, case and white space aside. `same`: both say
    the same; `same_calls`: and call the same tools, in other forms.
    """

    row: np.ndarray
    places: np.ndarray
    tie: np.ndarray
    prompt: np.ndarray
    sides: np.ndarray
    words: np.ndarray
    features: np.ndarray
    empty: np.ndarray
    refuses: np.ndarray
    same: np.ndarray
    same_calls: np.ndarray

    def of(self, where: Any) -> PairArrays:
        """Return the entries of some pairs."""
        return PairArrays(*(array[where] for array in self))


class Sketches(NamedTuple):
    """All pairs of a dataset.

    `ids` and `split` have an entry for each row with pairs; `groups` holds by kind and name the
    pairs of which a group has a view, and the view. `others` counts rows without a pair by kind.
    `texts` and `prompts` are sets of shingles of each row, `differing` the hashed words that only
    the chosen (first) or only the rejected answer of a pair has; all three lie in mapped files.
    """

    pairs: PairArrays
    ids: np.ndarray
    split: list[str | None]
    groups: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]]
    others: dict[str, int]
    texts: pa.ChunkedArray
    prompts: pa.ChunkedArray
    differing: tuple[pa.ChunkedArray, pa.ChunkedArray]


@contextmanager
def sketched(
    rows: Iterable[Row],
    folder: Path,
    *,
    split_of: Callable[[Row], str | None],
    by: str | None = None,
    annotators: Sequence[str] = (),
    listen: Callable[[int], None] = lambda rows: None,
) -> Iterator[Sketches]:
    """Sketch the pairs of `rows`, with mapped files in `folder` while the block lasts.

    `listen` is called with the number of rows read, now and then.
    """
    folder.mkdir(exist_ok=True)
    spilled = [folder / f"{name}.arrow" for name in ("rows", "pairs")]
    try:
        with ExitStack() as files:
            opened = [files.enter_context(pa.OSFile(str(path), "wb")) for path in spilled]
            writers = [
                files.enter_context(pa.ipc.new_file(file, schema))
                for file, schema in zip(opened, _SCHEMAS, strict=True)
            ]
            sketcher = _Sketcher(writers)
            for number, row in enumerate(rows, 1):
                found = list(pairs_of_row(row, by, annotators))
                if sketcher.add(row, found, split_of(row) if found else None):
                    listen(number)
            sketcher.flush()
        tables = [pa.ipc.open_file(pa.memory_map(str(path))).read_all() for path in spilled]
        yield sketcher.sketches(*tables)
    finally:
        for path in spilled:
            path.unlink(missing_ok=True)
        folder.rmdir()


class _Sketcher:
    """Collects the pairs of rows as they come, and sketches them batch by batch."""

    def __init__(self, files: Sequence[pa.RecordBatchFileWriter]) -> None:
        """Write to these files, of rows and of pairs."""
        self._files = files
        self._ids, self._splits = list[bytes](), list[str | None]()
        self._others: dict[str, int] = {}
        self._views: dict[str, dict[str, tuple[list[int], list[float]]]] = {}
        self._batch, self._first, self._pairs = list[LabelledPair](), 0, 0
        self._parts = list[PairArrays]()

    def add(self, row: Row, pairs: Sequence[LabelledPair], split: str | None) -> bool:
        """Take a row with its pairs; tell whether a batch was sketched."""
        if not pairs:
            self._others[row.kind] = self._others.get(row.kind, 0) + 1
            return False
        self._ids.append(bytes.fromhex(row.id))
        self._splits.append(split)
        for number, pair in enumerate(pairs, self._pairs):
            for kind, named in pair.views.items():
                for name, view in named.items():
                    places, said = self._views.setdefault(kind, {}).setdefault(name, ([], []))
                    places.append(number)
                    said.append(view)
        self._pairs += len(pairs)
        self._batch += pairs
        if len(self._batch) < BATCH:
            return False
        self.flush()
        return True

    def flush(self) -> None:
        """Sketch what has been added: arrays, shingles of rows, and words that differ."""
        large, pairs = bool(self._parts), self._batch
        numbers = {id_: place for place, id_ in enumerate(self._ids[self._first :], self._first)}
        lasts = [pair.side(number)[-1:] for pair in pairs for number in (0, 1)]
        texts = [turns[0].text if turns else "" for turns in lasts]
        shape, refusals = (len(pairs), 2), listed_search("refusal")
        forms = [[_form(pair.side(n)) for n in (0, 1)] for pair in pairs]
        silent = [not t or not (t[0].text.strip() or t[0].attached) for t in lasts]
        if large:
            from curate.kernels.text.style_compiled import count_style

            counts = count_style(pa.array(texts, pa.string())).counts
        else:
            counted = [style_counts(text) for text in texts]
            counts = np.array(counted).reshape(len(texts), len(StyleCounts._fields))
        self._parts.append(
            PairArrays(
                np.array([numbers[bytes.fromhex(pair.row.id)] for pair in pairs], np.int64),
                np.array([pair.places or (-1, -1) for pair in pairs], np.int32).reshape(shape),
                np.array([pair.tie for pair in pairs], bool),
                np.array([_form(pair.row.prompt).key for pair in pairs], np.uint64),
                np.array([[f.key for f in two] for two in forms], np.uint64).reshape(shape),
                np.array([len(text.split()) for text in texts], np.int64).reshape(shape),
                style_features(counts, MTLD_WORDS).reshape(*shape, len(FEATURES)),
                np.array(silent, bool).reshape(shape),
                np.array([refusals.count(text) > 0 for text in texts], bool).reshape(shape),
                np.array([one.key == two.key and one.raw == two.raw for one, two in forms], bool),
                np.array([one.key == two.key and one.raw != two.raw for one, two in forms], bool),
            )
        )
        rows = list({pair.row.id: pair.row for pair in pairs}.values())
        prompts = ["\n".join(turn.text for turn in row.prompt) for row in rows]
        wholes = [
            "\n".join([prompt, *(turn.text for side in _SIDES[row.kind](row) for turn in side)])
            for prompt, row in zip(prompts, rows, strict=True)
        ]
        sets = [{word_hash(word) % WORD_COLUMNS for word in compared_words(t)} for t in texts]
        two_sided = list(zip(sets[::2], sets[1::2], strict=True))
        differing = [[sorted(a - b) for a, b in two_sided], [sorted(b - a) for a, b in two_sided]]
        written = [_shingles(wholes, large), _shingles(prompts, large)], differing
        for file, schema, columns in zip(self._files, _SCHEMAS, written, strict=True):
            arrays = [pa.array(own, schema.field(n).type) for n, own in enumerate(columns)]
            file.write(pa.record_batch(arrays, schema))
        self._first = len(self._ids)
        self._batch = []

    def sketches(self, by_row: pa.Table, by_pair: pa.Table) -> Sketches:
        """Return the sketches of all pairs, with what was written of them."""
        groups = {
            kind: {name: (np.array(at), np.array(view)) for name, (at, view) in named.items()}
            for kind, named in self._views.items()
        }
        return Sketches(
            PairArrays(*map(np.concatenate, zip(*self._parts, strict=True))),
            np.array(self._ids, "V16") if self._ids else np.empty(0, "V16"),
            self._splits,
            groups,
            self._others,
            by_row.column("texts"),
            by_row.column("prompts"),
            (by_pair.column("chosen"), by_pair.column("rejected")),
        )


def _shingles(texts: Sequence[str], large: bool) -> pa.Array:
    if large:
        from curate.kernels.sets.shingles_compiled import shingle_column

        return shingle_column(pa.array(texts, pa.string()), SHINGLE)
    return pa.array([shingle_set(text, SHINGLE) for text in texts], pa.list_(pa.uint64()))


class _Form(NamedTuple):
    """What turns say and call, as a hash of `key`, and how their calls are written (`raw`)."""

    key: int
    raw: str


def _form(turns: Turns) -> _Form:
    said, raw = list[str](), list[str]()
    for turn in turns:
        text, calls = turn.content, [[name, _canonical(args)] for name, args in turn.calls]
        written = _CALL.findall(text)
        for one in written:
            try:
                called = {"tool_calls": [json.loads(one)]}
                said_so = Message("assistant", "", json.dumps(called)).calls
            except ValueError:
                said_so = (("", one),)
            calls += [[name, _canonical(args)] for name, args in said_so]
        raw += [turn.parts or "", *written] if calls else []
        text = normalise(_CALL.sub("", text), Ignored(case=True, space=True))
        said.append(json.dumps([turn.role, text, calls, turn.media], ensure_ascii=False))
    return _Form(xxhash.xxh3_64_intdigest("\x1f".join(said).encode(errors="surrogatepass")),
                 "\x1f".join(raw))  # fmt: skip


def _canonical(arguments: str) -> Any:
    """Return arguments so that 1 and 1.0 are equal; a text that is not JSON stays as it is."""
    try:
        return json.loads(arguments, parse_int=float)
    except ValueError:
        return arguments
