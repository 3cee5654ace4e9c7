"""Vectors in a FAISS index: a folder that `curate export --as faiss` writes, or a team's own file.

A folder holds `index.faiss` (IndexFlatIP), `ids.txt` with the id of each row, a line each, and
`index.json` with the encoder that made the vectors. A bare `NAME.faiss` has its ids in
`NAME.ids.txt` beside it; without that file a row's id is its number, from 1. Only indexes that
hold vectors as they are can be compared: a compressed one gives other cosines.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from curate.errors import UsageError
from curate.system.package_data import require_extra

INDEX, IDS, ABOUT = "index.faiss", "ids.txt", "index.json"
# Vectors whose length is this close to 1 are written as they are, so that equal ones stay equal.
_UNIT = 1e-5


class VectorIndex(NamedTuple):
    """Vectors, a row each, their ids, and what is known of the encoder that made them.

    `about`: `encoder` (as a recipe names it), `identity` (its name in the store), and `on`.
    """

    vectors: np.ndarray
    ids: Sequence[str]
    about: dict[str, Any]


def is_index(path: str | Path) -> bool:
    """Tell whether a path names a FAISS index: a file `.faiss`, or a folder that holds one."""
    return str(path).endswith(".faiss") or (Path(path) / INDEX).is_file()


def index_files(path: str | Path) -> list[Path]:
    """Return the files of the index at `path` that are there, the index itself first."""
    path = Path(path)
    names = [path / INDEX, path / IDS, path / ABOUT]
    if path.suffix == ".faiss":
        names = [path, path.with_suffix(".ids.txt")]
    return [name for name in names if name.is_file()]


def write_index(folder: Path, index: VectorIndex) -> None:
    """Write an index into `folder`, which is made."""
    require_extra("vectors", "a FAISS index", "faiss")
    import faiss

    vectors = np.ascontiguousarray(index.vectors, np.float32)
    lengths = np.linalg.norm(vectors, axis=1)
    filled = lengths > 0
    if (np.abs(lengths[filled] - 1) > _UNIT).any():
        vectors = vectors.copy()
        vectors[filled] /= lengths[filled, None]
    flat = faiss.IndexFlatIP(vectors.shape[1])
    flat.add(vectors)
    folder.mkdir(parents=True, exist_ok=True)
    faiss.write_index(flat, str(folder / INDEX))
    (folder / IDS).write_text("".join(f"{one}\n" for one in index.ids), encoding="utf-8")
    about = {**index.about, "rows": len(vectors), "dimensions": vectors.shape[1]}
    (folder / ABOUT).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def read_index(path: str | Path) -> VectorIndex:
    """Read the index at `path`, a folder or a file.

    Raises:
        UsageError: it is missing, is not a FAISS index, is compressed, or has other ids than rows.
    """
    require_extra("vectors", "a FAISS index", "faiss")
    import faiss

    files = index_files(path)
    if not files:
        raise UsageError(f"{path} is not there; name a file .faiss, or a folder with {INDEX}")
    try:
        index = faiss.read_index(str(files[0]))
    except RuntimeError as error:
        raise UsageError(
            f"{files[0]} cannot be read as a FAISS index; write it with faiss.write_index"
        ) from error
    numbers = None
    if isinstance(index, faiss.IndexIDMap | faiss.IndexIDMap2):
        numbers = faiss.vector_to_array(index.id_map)
        index = faiss.downcast_index(index.index)
    plain = faiss.IndexFlat | faiss.IndexIVFFlat | faiss.IndexHNSWFlat
    if not isinstance(index, plain):
        raise UsageError(
            f"{files[0]} is a {type(index).__name__}, which does not store the original vectors; "
            "allowed are flat ones (IndexFlatIP, IndexFlatL2, IndexIVFFlat, IndexHNSWFlat)"
        )
    if isinstance(index, faiss.IndexIVFFlat):
        index.make_direct_map()
    vectors = index.reconstruct_n(0, index.ntotal) if index.ntotal else np.zeros((0, index.d))
    texts = {file.name: file.read_text(encoding="utf-8") for file in files[1:]}
    about = json.loads(texts.pop(ABOUT, "{}"))
    ids = [one for text in texts.values() for one in text.splitlines()]
    if not texts:
        ids = [str(n) for n in (np.arange(1, len(vectors) + 1) if numbers is None else numbers)]
    if len(ids) != len(vectors):
        raise UsageError(
            f"{files[0]} has {len(vectors):,} vectors, and {next(iter(texts))} {len(ids):,} ids; "
            "there must be an id for each, a line each"
        )
    return VectorIndex(np.ascontiguousarray(vectors, np.float32), ids, about)
