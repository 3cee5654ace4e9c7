"""Closed-ended benchmarks by EleutherAI's lm-evaluation-harness, in this process.

The harness asks the model in its own way, and its results are those of its own command line (same
batch size, same device). Requests that were answered are kept in the evaluation's folder, so that
the same command goes on after a stop. A task whose data are not here is refused before the model is
loaded; nothing is downloaded unless that is asked for.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import xxhash

from curate.errors import UsageError
from curate.system.package_data import require_extra
from curate.system.posix import write_atomically

FILE = "tasks.json"
# What the package reads when it is imported, so as not to ask the network.
_OFFLINE = ("HF_DATASETS_OFFLINE", "HF_HUB_OFFLINE")
_OWN_TASKS: list[Any] = []
_WEIGHTS = ("*.safetensors", "*.bin", "*.json")


def run_tasks(
    model: str,
    tasks: Sequence[str],
    folder: Path,
    *,
    include: Path | None = None,
    download: bool = False,
    limit: int | None = None,
    run_code: bool = False,
) -> dict[str, Any]:
    """Evaluate a model of transformers on tasks of the harness.

    Args:
        model: a folder of a model, or a name on the Hugging Face Hub.
        tasks: names of the harness' tasks or groups (`python -m lm_eval ls tasks` lists them).
        folder: where the results go (`tasks.json`), and the replies that a stop leaves.
        include: a folder with tasks of one's own.
        download: let the harness fetch what it lacks.
        limit: take the first examples of each task only.
        run_code: let tasks such as HumanEval run, in this process, code that the model wrote.

    Returns:
        `results`: by task, its measures (`exact_match,strict-match` and the like) with standard
        errors, as the harness names them; `versions`, `examples`, and the harness' own version.

    Raises:
        MissingExtra: the package `lm_eval` is not installed.
        UsageError: a task is not known, its data are not here and may not be fetched, or it runs
            code and may not.
    """
    require_extra("eval", "closed-ended benchmarks", "lm_eval", "transformers", "torch")
    # A retrained model is another one, though its folder is called alike.
    files = sorted(path for pattern in _WEIGHTS for path in Path(model).glob(pattern))
    stamps = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    given = {
        "model": model,
        "fingerprint": xxhash.xxh3_64_hexdigest(repr(stamps).encode()),
        "tasks": list(tasks),
        "limit": limit,
    }
    with _quiet(), _network(download):
        import lm_eval

        # The harness reads thousands of files to know its own tasks; yours may be all there is.
        manager = _tasks_of(include, defaults=include is None)
        if any(name not in manager.all_tasks for name in tasks):
            manager = _tasks_of(include, defaults=True)
        if unknown := [name for name in tasks if name not in manager.all_tasks]:
            raise UsageError(
                f"the harness knows no task '{unknown[0]}' among its {len(manager.all_tasks):,}; "
                "`python -m lm_eval ls tasks` lists them, and --include DIR adds a folder of yours"
            )
        loaded = _load(manager, tasks, download)
        unsafe = [name for name, task in loaded if getattr(task, "UNSAFE_CODE", False)]
        if unsafe and not run_code:
            raise UsageError(
                f"the task '{unsafe[0]}' runs code that the model wrote, without a sandbox; in a "
                "container of its own, --run-code allows it"
            )
        folder.mkdir(parents=True, exist_ok=True)
        known = xxhash.xxh3_64_hexdigest(json.dumps(given, sort_keys=True).encode())
        answered = lm_eval.simple_evaluate(
            model=_open(model, download),
            tasks=list(tasks),
            confirm_run_unsafe_code=run_code,
            task_manager=manager,
            limit=limit,
            use_cache=str(folder / f"replies-{known}"),
            log_samples=False,
        )
    results = {
        name: {k: v for k, v in own.items() if isinstance(v, int | float) or k == "alias"}
        for name, own in answered["results"].items()
    }
    found = {
        "results": results,
        "versions": answered["versions"],
        "examples": {name: n["effective"] for name, n in answered.get("n-samples", {}).items()},
        "harness": lm_eval.__version__,
        "given": given,
    }
    write_atomically(folder / FILE, json.dumps(found, indent=1, default=str) + "\n")
    return found


def _tasks_of(include: Path | None, *, defaults: bool) -> Any:
    """Return the harness' index of tasks; its own are found once in a process (10 s)."""
    from lm_eval.tasks import TaskManager

    if include is None:
        if not _OWN_TASKS:
            _OWN_TASKS.append(TaskManager())
        return _OWN_TASKS[0]
    return TaskManager(include_path=str(include), include_defaults=defaults)


def _open(model: str, download: bool) -> Any:
    """Load a model of transformers for the harness.

    Raises:
        UsageError: it cannot be loaded.
    """
    import torch
    from lm_eval.models.huggingface import HFLM

    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return HFLM(pretrained=model, batch_size=1, device=device)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"'{model}' is not a model that transformers can load here"
            f"{'' if download else ' (nothing was downloaded; --download fetches it)'}: "
            f"{str(error).splitlines()[0]}"
        ) from error


def _load(manager: Any, tasks: Sequence[str], download: bool) -> list[tuple[str, Any]]:
    """Load every task with its data, so that what is missing is known before the model is loaded.

    Raises:
        UsageError: the data of one cannot be had.
    """
    import datasets

    loaded: list[tuple[str, Any]] = []
    for name in tasks:
        try:
            loaded += manager.load(name)["tasks"].items()
        except (
            ConnectionError,
            OSError,
            datasets.exceptions.DatasetsError,
        ) as error:
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            more = (
                "the download failed"
                if download
                else "nothing was downloaded; add --download where there is a network"
            )
            raise UsageError(
                f"the task '{name}' needs data that are not on this machine ({more}): {first}"
            ) from error
    return loaded


@contextmanager
def _network(download: bool) -> Iterator[None]:
    """Keep the packages of Hugging Face off the network, unless downloads are wanted."""
    import datasets
    import huggingface_hub.constants as hub

    before = {name: os.environ.get(name) for name in _OFFLINE}
    flags = datasets.config.HF_DATASETS_OFFLINE, datasets.config.HF_HUB_OFFLINE, hub.HF_HUB_OFFLINE
    if not download:
        os.environ.update(dict.fromkeys(_OFFLINE, "1"))
        datasets.config.HF_DATASETS_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
        hub.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        datasets.config.HF_DATASETS_OFFLINE, datasets.config.HF_HUB_OFFLINE = flags[:2]
        hub.HF_HUB_OFFLINE = flags[2]


@contextmanager
def _quiet() -> Iterator[None]:
    """Let the harness say warnings only: its progress is hundreds of lines."""
    logger = logging.getLogger("lm_eval")
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)


def task_rows(found: Mapping[str, Any]) -> list[tuple[str, str, float, float | None]]:
    """Return every measure of every task: task, measure, value, and standard error if known."""
    rows = []
    for task, own in found["results"].items():
        for name, value in own.items():
            metric, _, filter_ = name.partition(",")
            if isinstance(value, bool) or not isinstance(value, int | float):
                continue
            if metric.endswith("_stderr") or name == "sample_len":
                continue
            error = own.get(f"{metric}_stderr,{filter_}")
            measure = metric if filter_ in ("", "none") else f"{metric} ({filter_})"
            rows.append((task, measure, float(value), error if error != "N/A" else None))
    return rows
