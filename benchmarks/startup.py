"""How long a command takes before it does anything: whole processes, against bare typer.

python benchmarks/startup.py [--repeats N]
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import sys
import tempfile
from pathlib import Path

from bench import Line, machine, measure, print_table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--full", action="store_true", help="accepted; there is one size")
    options = parser.parse_args()
    curate = str(Path(sys.executable).with_name("curate"))
    print(machine())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = [
            {"instruction": f"Say {n}.", "input": "", "output": f"{n} it is."} for n in range(10)
        ]
        source = folder / "ten.jsonl"
        source.write_text("".join(json.dumps(row) + "\n" for row in rows))
        out, run = str(folder / "out.jsonl"), str(folder / "run")
        commands = {
            "python -c 'import typer'": [sys.executable, "-c", "import typer"],
            "curate --help": [curate, "--help"],
            "curate steps": [curate, "steps"],
            "curate filter, 10 rows": [
                curate, "filter", str(source), "length:min=1", "-o", out, "--run", run,
            ],
        }  # fmt: skip
        lines = []
        for label, command in commands.items():
            measured = measure(command, repeats=options.repeats)
            package = "typer" if "typer" in label else "curate-align"
            version = importlib.metadata.version(package)
            lines.append(Line(label, version, 1, measured, "-"))
    print_table("Start-up, whole processes", lines)


if __name__ == "__main__":
    main()
