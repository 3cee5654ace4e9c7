"""Where the checkout's own files are, for tests that read them."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "curate"
TESTS = ROOT / "tests"


def write_tree(root: Path, files: dict[str, str]) -> Path:
    """Write a small package `curate` under `root`, to show that a check can fail."""
    for name, text in files.items():
        path = root / "curate" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root / "curate"
