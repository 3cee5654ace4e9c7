"""Where the checkout's own files are, for tests that read them."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "curate"
TESTS = ROOT / "tests"


def read_once(look: Callable[[Path], T]) -> Callable[[Path], T]:
    """Return `look`, which parses every file of a package, so that it does so once a state of it.

    What it returns is shared by those who ask, and not to be changed.
    """

    @functools.lru_cache(maxsize=4)
    def found(package: Path, state: tuple[tuple[Path, int, int], ...]) -> T:
        return look(package)

    @functools.wraps(look)
    def asked(package: Path) -> T:
        files = [(path, path.stat()) for path in sorted(package.rglob("*.py"))]
        return found(package, tuple((path, s.st_mtime_ns, s.st_size) for path, s in files))

    return asked


def write_tree(root: Path, files: dict[str, str]) -> Path:
    """Write a small package `curate` under `root`, to show that a check can fail."""
    for name, text in files.items():
        path = root / "curate" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root / "curate"
