"""Put a task to somebody: `python -m tests.agents [NAME FOLDER [-- COMMAND...]]`.

Without COMMAND a shell opens in the folder. When it ends, the checker says what it found.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.models.chaos import Server

from . import TASKS
from .place import Place, graded


def main(arguments: list[str]) -> int:
    """List the tasks, or put one; return 1 where the checker refuses what was done."""
    if len(arguments) < 2:
        print("\n".join(f"{task.name:<14}{' '.join(task.statement.split())}" for task in TASKS))
        return 0
    name, where, *rest = arguments
    (task,) = [task for task in TASKS if task.name == name]
    folder = Path(where).absolute()
    folder.mkdir(parents=True, exist_ok=False)
    os.chdir(folder)
    with Server(graded) as server:
        place = Place(folder, server)
        task.prepare(place)
        place.before = len(server.received)
        statement = task.text(place)
        print(statement)
        subprocess.run([*rest[1:], statement] if rest else [os.environ.get("SHELL", "sh")])
        wrong = task.check(place)
        print("\n".join(wrong) or "done")
        print(f"{len(place.asked)} requests reached the server")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
