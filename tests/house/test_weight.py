"""Starting up costs little: `import curate` and `curate --help` load no heavy package."""

import json
import subprocess
import sys

import pytest

HEAVY = (
    "numpy", "pyarrow", "pandas", "numba", "torch", "datasets", "transformers", "openai",
    "sentence_transformers", "sklearn", "faiss", "pydantic", "rich", "ray", "huggingface_hub",
)  # fmt: skip
# What a command line does first, run in a fresh process that then names what it has loaded.
STARTS = {
    "import": "import curate",
    "every name offered by `import curate` is known": "import curate; dir(curate)",
    "help": "run(['--help'])",
    "help of a command": "run(['run', '--help'])",
    "version": "run(['--version'])",
    "list of steps": "run(['steps'])",
}
PRELUDE = """
import json, sys
def run(arguments):
    sys.argv = ['curate', *arguments]
    from curate.cli.main import main
    try:
        main()
    except SystemExit as stop:
        assert not stop.code, stop.code
"""


def loaded(code: str) -> set[str]:
    """Return the packages that a fresh process has loaded after `code`."""
    report = "\nprint('\\n' + json.dumps(sorted({m.split('.')[0] for m in sys.modules})))"
    command = [sys.executable, "-c", PRELUDE + code + report]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


# What typer itself loads to check the values of a command's options.
OF_TYPER = {"help of a command": {"pydantic"}, "list of steps": {"pydantic"}}


@pytest.mark.parametrize("start", STARTS, ids=lambda s: s.replace("`", ""))
def test_starting_loads_nothing_heavy(start: str) -> None:
    assert loaded(STARTS[start]) & set(HEAVY) <= OF_TYPER.get(start, set())


def test_a_heavy_import_is_found() -> None:
    assert loaded("import numpy") & set(HEAVY) == {"numpy"}
