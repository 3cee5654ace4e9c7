"""Give steps what they compare rows with: another dataset's sketches, or the vectors of texts.

Rows of another dataset are read as inputs are and sketched as rows are, but they are not rows of
the run: nothing is decided on them, and a line of them that cannot be read stops the run, for a row
that equals it would be kept unseen.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from curate.chunk import ORIGIN, one_array
from curate.engine.encode_texts import encoder_identity
from curate.engine.kinds.sketch import arrow_type, read_remarks, sketch
from curate.engine.partition import Partition, describe_error
from curate.engine.reading import Reading
from curate.engine.state import IN_MEMORY_BYTES, Held, Settings, Workspace, load
from curate.errors import StoppedShort, UsageError
from curate.read import Inputs, open_inputs
from curate.read.remote import is_remote
from curate.step import EMBEDDING, Filter, Step, Whole
from curate.store.faiss_index import index_files, is_index, read_index
from curate.system.package_data import shipped

if TYPE_CHECKING:
    from curate.engine.accounts import Accounts
    from curate.requests.driver import Driver


# What each file is, by content.
Fingerprint = list[dict[str, Any]]


def dataset_against(step: Step) -> Inputs | None:
    """Open the dataset that `step` compares with, if it names one."""
    path = step.compares_with() if isinstance(step, Whole) else None
    return None if path is None else open_inputs(shipped(path))


def fingerprint_against(step: Step) -> Fingerprint | None:
    """Return what `step` compares rows with, by content, if it names something.

    Raises:
        UsageError: it is not there, or cannot be read.
    """
    path = step.compares_with() if isinstance(step, Whole) else None
    if path is None or not is_index(path):
        opened = dataset_against(step)
        return None if opened is None else opened.fingerprint()
    if not step.embeds():
        raise UsageError(
            f"step '{step.title}': against names a FAISS index ({path}), and the step compares no "
            "vectors; `semantic` does, or name the rows themselves"
        )
    read_index(path)
    return [
        {"file": str(file), "digest": hashlib.blake2b(file.read_bytes()).hexdigest()[:32]}
        for file in index_files(path)
    ]


def sketches_against(
    step: Whole,
    settings: Settings,
    driver: Driver | None,
    workspace: Workspace | None = None,
    known: Fingerprint | None = None,
) -> list[Held]:
    """Return the sketches of the rows that `step` compares with, in parts, and the origin of each.

    Those of a FAISS index hold vectors, where those of rows hold places of vectors in the store.
    Those of a large dataset lie in the workspace, if there is one.

    Raises:
        StoppedShort: what is at an address is no longer what was `known` of it.
    """
    path = step.compares_with()
    if path is not None and is_index(path):
        assert driver is not None, "a step that embeds asks"
        return [_indexed(step, path, driver)]
    opened = dataset_against(step)
    if opened is None:
        return []
    # It is fetched again, hours later perhaps.
    if known is not None and is_remote(path or "") and opened.fingerprint() != known:
        raise StoppedShort(
            f"{path}: was replaced since the run began, which compares rows with it; put it back "
            "and run the same command again, or take what is there now: with another run folder, "
            "or with --replace"
        )
    names = [file.name for file in opened.files]
    if opened.total_bytes <= IN_MEMORY_BYTES:
        workspace = None
    held: list[Held] = []
    for sketched, seqs in _sketched(step, opened, settings, driver):
        # `file:record` for every row, counted from 1.
        numbers = seqs.flatten()
        files = numbers.take(pa.array(range(1, len(numbers), 3), pa.int64()))
        records = numbers.take(pa.array(range(2, len(numbers), 3), pa.int64()))
        counted = pc.cast(pc.add(records, 1), pa.string())
        origins = pc.binary_join_element_wise(pa.array(names).take(files), counted, ":")
        table = sketched.append_column(ORIGIN, origins)
        held.append(table if workspace is None else workspace.spill(table))
    return held


def with_vectors(
    steps: Sequence[Step], accounts: Accounts
) -> tuple[tuple[Step, ...], dict[str, tuple[str, ...]]]:
    """Return steps that have the vectors of the texts that they compare rows with.

    There are remarks on texts that the encoder cut, and on those that it cannot read.
    """
    from curate.store.vectors import MISSING, is_cut

    found_steps, remarks = [], {}
    for step in steps:
        if isinstance(step, Filter) and (texts := step.compared_texts()):
            driver, store = accounts.driver, accounts.store
            assert driver is not None and store is not None, "a step that embeds asks"
            found = driver.embed(getattr(step, "encoder", None), texts, step.title)
            if found.errors:
                number, error = min(found.errors.items())
                raise StoppedShort(
                    f"step '{step.title}': {len(found.errors)} texts of against have no vector "
                    f"(text {number + 1}: {describe_error(error)}); fix them, or the encoder, and "
                    "run the same command again"
                )
            vectors = store.vectors.read(found.places)
            unread = int((~vectors.any(axis=1) & (found.places > MISSING)).sum())
            cut = int(is_cut(found.places).sum())
            remarks[step.title] = read_remarks(cut, unread, len(texts), "texts of against")
            step = step.with_vectors(vectors, store.vectors.tokens_read(found.places))
        found_steps.append(step)
    return tuple(found_steps), remarks


def _indexed(step: Whole, path: str, driver: Driver) -> pa.Table:
    """Return the vectors of a FAISS index as sketches; other columns are empty."""
    index = read_index(path)
    named = getattr(step, "encoder", None) or next(iter(driver.models))
    identity = encoder_identity(driver.models[named].info)
    made_by = index.about.get("identity", identity)
    if made_by != identity:
        raise UsageError(
            f"step '{step.title}': the vectors of {path} are of the encoder {made_by}, those "
            f"of the step of {identity}; name the same encoder, or index with this one"
        )
    flat = pa.array(index.vectors.ravel())
    vectors = pa.FixedSizeListArray.from_arrays(flat, index.vectors.shape[1])
    columns = {
        name: vectors if text == EMBEDDING else pa.nulls(len(index.ids), arrow_type(text))
        for name, text in step.sketch_types().items()
    }
    origins = pa.array([f"{path}:{one}" for one in index.ids], pa.string())
    return pa.table({**columns, ORIGIN: origins})


def _sketched(
    step: Whole, opened: Inputs, settings: Settings, driver: Driver | None
) -> Iterator[tuple[pa.Table, pa.ListArray]]:
    """Yield the sketches of each part of the rows of `against`, and where they come from."""
    reading = Reading(opened, None)
    # `only` says which rows of the run the step sees, and these are no rows of the run.
    step = dataclasses.replace(step, only=())
    with ThreadPoolExecutor(2) as pool:
        for state in reading.states(pool, 2):
            if reading.unreadable:
                first = reading.unreadable[0]
                raise StoppedShort(
                    f"step '{step.title}': {first['file']}:{first['line']} of against cannot be "
                    f"read ({first['error']}); fix or delete the line and run the same command "
                    "again"
                )
            part = Partition(
                load(state.rows),
                run_seed=settings.run_seed,
                large=settings.large,
                chunk_rows=settings.chunk_rows,
            )
            seqs = one_array(part.table.column("seq"))
            found = sketch(part, step, driver)
            if found.num_rows != len(seqs):
                reason = part.ledger[step.title][0].column("reason")[0].as_py()
                raise StoppedShort(
                    f"step '{step.title}': {len(seqs) - found.num_rows} rows of against cannot be "
                    f"compared ({reason}); fix them, or the encoder, and run the same command "
                    "again"
                )
            yield found, seqs
