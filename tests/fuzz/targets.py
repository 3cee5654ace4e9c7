"""What is fuzzed: how a mutant of each reader's input is made, and what reads it."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from curate import Pipeline
from curate.prompts import collection, prompt
from curate.read import open_inputs, read_part
from curate.read.decisions import read_decisions
from tests.fuzz import seeds
from tests.fuzz.mutations import VALUES, bytes_changed, data_changed, json_of, table_changed
from tests.fuzz.readers import PACKINGS, Finding, Target, read_file

# One mutant of so many is put through a whole run, whose counts must add up.
WHOLE_RUNS = 50
_RECIPES = ("quickstart", "clean_sft", "judge", "self_instruct", "flan", "document_qa", "rlaif")


def _named(name: str, data: bytes, rng: random.Random) -> tuple[str, bytes, bool]:
    return name, data, rng.randrange(WHOLE_RUNS) == 0


def _lines(rng: random.Random) -> tuple[str, bytes, bool]:
    """Return JSON lines, changed as data (most often) or as bytes."""
    records = rng.choice(seeds.record_lists())
    changed = [data_changed(one, rng) if rng.random() < 0.5 else one for one in records]
    data = b"".join(json_of(one) + b"\n" for one in changed)
    if rng.random() < 0.4:
        data = bytes_changed(data, rng, seeds.files(".jsonl"))
    return _named("rows.jsonl", data, rng)


def _document(rng: random.Random) -> tuple[str, bytes, bool]:
    own = seeds.files(".json")
    if rng.random() < 0.5:
        data = json_of(data_changed(rng.choice(seeds.record_lists()), rng))
    else:
        data = rng.choice(own)
    if rng.random() < 0.6:
        data = bytes_changed(data, rng, own)
    return _named("rows.json", data, rng)


def _table(ending: str, delimiter: str) -> Callable[[random.Random], tuple[str, bytes, bool]]:
    def make(rng: random.Random) -> tuple[str, bytes, bool]:
        own = seeds.files(ending)
        if own and rng.random() < 0.5:
            data = rng.choice(own)
        else:
            records = rng.choice(seeds.record_lists())
            names = list(records[0])
            cells = [[r.get(name, "") for name in names] for r in records]
            changed = data_changed(cells, rng) if rng.random() < 0.5 else cells
            rows = [names, *(changed if isinstance(changed, list) else cells)]
            data = "\n".join(_row(row, delimiter) for row in rows).encode("utf-8", "replace")
        if rng.random() < 0.7:
            data = bytes_changed(data, rng, [data, b'"a","b"\n'])
        return _named(f"rows{ending}", data, rng)

    return make


def _row(row: Any, delimiter: str) -> str:
    if not isinstance(row, list):
        return str(row)[:4000]
    texts = (cell if isinstance(cell, str) else json.dumps(cell)[:4000] for cell in row)
    return delimiter.join('"' + text.replace('"', '""') + '"' for text in texts)


def _packed(rng: random.Random) -> tuple[str, bytes, bool]:
    """Return a packed file that is broken inside, outside, or in both."""
    packing = rng.choice(list(PACKINGS))
    name, data, whole = rng.choice((_lines, _document, _table(".csv", ",")))(rng)
    packed = PACKINGS[packing](data)
    if rng.random() < 0.2:
        packed += PACKINGS[rng.choice(list(PACKINGS))](data)
    if rng.random() < 0.7:
        packed = bytes_changed(packed, rng, [packed, data])
    return name + packing, packed, whole


def _xml(rng: random.Random) -> tuple[str, bytes, bool]:
    return _named(
        "Posts.xml", bytes_changed(rng.choice(seeds.files(".xml")), rng, [b"<row/>"]), rng
    )


def _parquet(rng: random.Random) -> tuple[str, bytes, bool]:
    table = rng.choice(seeds.tables())
    try:
        data = seeds.parquet(table_changed(table, rng), rng.choice(["zstd", "none", "snappy"]))
    except (pa.ArrowException, ValueError, TypeError, OverflowError):
        data = seeds.parquet(table)
    if rng.random() < 0.3:
        data = bytes_changed(data, rng, [data])
    return _named("rows.parquet", data, rng)


def _arrow(rng: random.Random) -> tuple[str, bytes, bool]:
    table, is_file = rng.choice(seeds.tables()), rng.random() < 0.5
    try:
        data = seeds.arrow(table_changed(table, rng), is_file)
    except (pa.ArrowException, ValueError, TypeError, OverflowError):
        data = seeds.arrow(table, is_file)
    if rng.random() < 0.3:
        data = bytes_changed(data, rng, [data])
    return _named("rows.arrow", data, rng)


_PAGE = (
    b"<!doctype html><html><head><meta charset=utf-8><title>A &amp; B</title></head><body><h1>Bees"
    b"</h1><pre>a = 1\n</pre><table><tr><td>x<td>1</table><svg><title>s</title></svg></body></html>"
)


def _prose(rng: random.Random) -> tuple[str, bytes, bool]:
    ending, data = rng.choice(
        [(".md", b"# The guide #\r\n\r\nFirst words.\n"), (".txt", b"Words.\n"), (".html", _PAGE)]
    )
    return _named(f"page{ending}", bytes_changed(data, rng, [_PAGE]), rng)


def _pdf(rng: random.Random) -> tuple[str, bytes, bool]:
    data = seeds.pdf("Bees see ultraviolet light.")
    return _named("page.pdf", bytes_changed(data, rng, [data]), rng)


# -- what is not a file of rows --------------------------------------------------------------------


def _read_memory(records: Any, folder: Path) -> str:
    read = 0
    for part in open_inputs(records).parts():
        read += read_part(part).records
    return "read"


def _memory(rng: random.Random) -> Any:
    records = rng.choice(seeds.record_lists())
    odd = (*VALUES, 10**4400, b"\xff", float("nan"), object(), {1: 2}, (1, 2), {3}, range(2), 1j)
    return [data_changed(one, rng, odd) for one in records]


def _run_folder(rng: random.Random) -> dict[str, bytes]:
    found = dict(seeds.finished_run())
    for name in rng.sample(sorted(found), rng.choice((1, 1, 2))):
        if rng.random() < 0.15:
            del found[name]
        elif name.endswith(".parquet") and rng.random() < 0.6:
            table = pq.read_table(pa.BufferReader(found[name]))
            try:
                found[name] = seeds.parquet(table_changed(table, rng))
            except (pa.ArrowException, ValueError, TypeError, OverflowError):
                continue
        elif name.endswith(".json") and rng.random() < 0.5:
            found[name] = json_of(data_changed(json.loads(found[name]), rng))
        elif name.endswith(".yaml") and rng.random() < 0.5:
            found[name] = yaml.safe_dump(
                data_changed(yaml.safe_load(found[name]), rng, _PLAIN)
            ).encode()
        else:
            found[name] = bytes_changed(found[name], rng, [b"x: 1\n"])
    return found


def _read_run(files: dict[str, bytes], folder: Path) -> str:
    run = folder / "finished"
    shutil.rmtree(run, ignore_errors=True)
    for name, data in files.items():
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_bytes(data)
    for part in open_inputs(str(run)).parts():
        rows = read_part(part)
        if len(rows.ordinals) + len(rows.unreadable) != rows.records:
            raise Finding(f"{rows.records} records, {len(rows.ordinals)} rows")
    return "read"


_PLAIN = tuple(v for v in VALUES if not (isinstance(v, str) and "\ud800" in v))


def _yaml_mutant(data: bytes, rng: random.Random) -> str:
    """Return YAML changed as data, or as bytes."""
    if rng.random() < 0.6:
        changed = data_changed(yaml.safe_load(data), rng, _PLAIN)
        return yaml.safe_dump(changed, sort_keys=False, allow_unicode=rng.random() < 0.5)
    return bytes_changed(data, rng, [data]).decode("utf-8", "surrogateescape")


def _recipe(rng: random.Random) -> str:
    name = rng.choice(_RECIPES)
    return _yaml_mutant((seeds.ROOT / "pipelines" / f"{name}.yaml").read_bytes(), rng)


def _read_recipe(text: str, folder: Path) -> str:
    path = folder / "recipe.yaml"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    made = Pipeline.from_yaml(path)
    made.resolved().check(None)
    again = type(made).from_yaml(made.to_yaml())
    if again != made:
        raise Finding("the recipe is another one after it was written and read")
    return "read"


def _prompt(rng: random.Random) -> str:
    data = rng.choice(sorted((seeds.ROOT / "prompts").glob("*.md"))).read_bytes()
    if rng.random() < 0.5:
        return bytes_changed(data, rng, [data]).decode("utf-8", "replace")
    _, head, body = data.decode().split("---\n", 2)
    if rng.random() < 0.5:
        body = body.replace(
            "{{", rng.choice(["{% for a in b %}{{", "{{ 'x' * 9999 ~", "{{ a.b.c |"]), 1
        )
    head = yaml.safe_dump(data_changed(yaml.safe_load(head), rng, _PLAIN))
    return f"---\n{head}---\n{body}"


def _read_prompt(text: str, folder: Path) -> str:
    made = prompt.parse(text, folder / "prompt.md")
    made.render(**dict.fromkeys(made.variables, "{{ x }} \x00 |||"))
    return "read"


def _collection(rng: random.Random) -> str:
    data = rng.choice(sorted((seeds.ROOT / "prompts" / "collections").rglob("*.yaml"))).read_bytes()
    return bytes_changed(data, rng, [data]).decode("utf-8", "replace")


def _read_collection(text: str, folder: Path) -> str:
    path = folder / "templates.yaml"
    path.write_text(text, encoding="utf-8")
    collection.load(str(path))
    return "read"


def _decisions(rng: random.Random) -> bytes:
    record = {"row": "0" * 32, "annotator": "ann", "decision": "rating", "value": 3, "time": 1.5}
    other = {**record, "decision": "keep", "value": None, "time": "2026-11-29T10:00:00Z"}
    data = seeds.lines_of([data_changed(record, rng), other, data_changed(other, rng)])
    return bytes_changed(data, rng, [data]) if rng.random() < 0.3 else data


def _read_decisions(data: bytes, folder: Path) -> str:
    path = folder / "decisions.jsonl"
    path.write_bytes(data)
    read_decisions(str(path), (hash(data),))
    return "read"


TARGETS = {
    "jsonl": Target(_lines, read_file),
    "json": Target(_document, read_file),
    "csv": Target(_table(".csv", ","), read_file),
    "tsv": Target(_table(".tsv", "\t"), read_file),
    "packed": Target(_packed, read_file),
    "xml": Target(_xml, read_file),
    "parquet": Target(_parquet, read_file),
    "arrow": Target(_arrow, read_file),
    "prose": Target(_prose, read_file),
    "pdf": Target(_pdf, read_file),
    "memory": Target(_memory, _read_memory),
    "run": Target(_run_folder, _read_run),
    "recipe": Target(_recipe, _read_recipe),
    "prompt": Target(_prompt, _read_prompt),
    "collection": Target(_collection, _read_collection),
    "decisions": Target(_decisions, _read_decisions),
}
