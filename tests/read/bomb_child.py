"""Reads files in processes of their own, and says what they gave and what they took.

`python bomb_child.py` answers each line of input, a path, with a line of JSON. A file is read by a
process forked from this one, which has imported all that reading needs: an interpreter for each
file would take longer than most files.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time

from curate.errors import CurateError
from curate.read import open_inputs, read_part
from curate.system.posix import peak_memory_mb


def measured(path: str) -> dict[str, object]:
    """Return rows, failures and error of a file, with the peak of memory and the time it took."""
    rows, lines, failed, said = 0, 0, [], None
    try:
        for part in open_inputs(path).parts():
            read = read_part(part)
            rows += len(read.table)
            failed += [[u.line + lines, u.error, len(u.raw)] for u in read.unreadable]
            lines += read.lines
            del read, part
    except CurateError as error:
        said = [str(error), error.exit_code]
    used = peak_memory_mb(), time.process_time()
    return {"rows": rows, "failed": failed, "said": said, "used": used}


def main() -> None:
    """Answer until there is no more input."""
    for line in sys.stdin:
        with tempfile.TemporaryFile() as answer, tempfile.TemporaryFile() as complaints:
            child = os.fork()
            if child == 0:
                os.dup2(complaints.fileno(), 2)
                code = 1
                try:
                    answer.write(json.dumps(measured(json.loads(line))).encode())
                    answer.flush()
                    code = 0
                finally:
                    sys.stderr.flush()
                    if code:
                        import traceback

                        traceback.print_exc()
                    os._exit(code)
            _, status = os.waitpid(child, 0)
            found = []
            for file in (answer, complaints):
                file.seek(0)
                found.append(file.read().decode())
        print(json.dumps([os.waitstatus_to_exitcode(status), *found]), flush=True)


if __name__ == "__main__":
    main()
