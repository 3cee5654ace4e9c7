"""How long a command takes before it does anything: whole processes, against bare typer.

python benchmarks/startup.py [--repeats N]
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from bench import Contender, Line, machine, print_goal, print_ratio, print_table, side_by_side

# A command that only shows something must load none of them.
HEAVY = (
    "numpy", "pyarrow", "pandas", "numba", "torch", "datasets", "transformers", "openai",
    "sentence_transformers", "sklearn", "faiss", "rich",
)  # fmt: skip
LOADED = f"""
import sys
from curate.cli.main import main
sys.argv[0] = "curate"
try:
    main()
except SystemExit as end:
    if end.code:
        raise
print("\\n" + " ".join(name for name in {HEAVY} if name in sys.modules))
"""


def heavy_modules(arguments: list[str]) -> list[str]:
    """Return the heavy packages that a fresh process has loaded behind `curate ARGUMENTS`."""
    command = [sys.executable, "-c", LOADED, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.rpartition("\n\n")[2].split()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--full", action="store_true", help="accepted; there is one size")
    options = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as name:
        compare(Path(name), options.repeats)


def compare(folder: Path, repeats: int) -> None:
    """Print the table and the goals."""
    source = folder / "ten.jsonl"
    rows = [{"instruction": f"Say {n}.", "input": "", "output": f"{n} it is."} for n in range(10)]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    out, run = str(folder / "out.jsonl"), str(folder / "run")
    commands = {
        "curate --help": ["--help"],
        "curate steps": ["steps"],
        "curate filter, 10 rows": [
            "filter", str(source), "length:min=1", "-o", out, "--run", run,
        ],
    }  # fmt: skip
    curate = str(Path(sys.executable).with_name("curate"))
    version = importlib.metadata.version("curate-align")
    contenders = [
        Contender(
            "python -c 'import typer'",
            importlib.metadata.version("typer"),
            [sys.executable, "-c", "import typer"],
        ),
        *(Contender(label, version, [curate, *rest]) for label, rest in commands.items()),
    ]
    found = side_by_side(contenders, repeats=repeats)
    heavy = {label: heavy_modules(rest) for label, rest in commands.items()}
    print_table(
        "Start-up, whole processes",
        [
            Line(one.name, one.version, 1, found[one.name], "-", _told(heavy.get(one.name)))
            for one in contenders
        ],
    )
    print()
    print_ratio("curate --help, x bare typer", found, "curate --help", contenders[0].name, most=3)
    print_goal("curate filter of 10 rows, seconds", found["curate filter, 10 rows"].seconds, most=1)
    for label in ("curate --help", "curate steps"):
        print_goal(f"heavy packages loaded by {label}", len(heavy[label]), most=0)


def _told(heavy: list[str] | None) -> str:
    return "" if heavy is None else f"heavy packages loaded: {', '.join(heavy) or 'none'}"


if __name__ == "__main__":
    main()
