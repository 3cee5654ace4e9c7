"""A push whose process is killed: the next goes on, sends nothing twice, and ends with the card.

The process is a real one, killed by SIGKILL when its n-th request reaches the Hub: once after that
request was served, once as if it had been lost.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from curate.pipeline import Pipeline
from curate.publish import hub as hub_module
from curate.publish import push
from curate.steps import Split
from tests.publish.hub_server import TOKEN, Hub, hub_server
from tests.publish.test_dataset import loaded

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Use 'content=<...>':DeprecationWarning"),
]
NAME = "lab/data"
# One file a commit, so that there are many instants between commits.
CHILD = """
import sys
from pathlib import Path
from curate.publish import hub, push
hub.FILES_A_COMMIT = 1
push(Path(sys.argv[1]), sys.argv[2])
"""
SEEDS = range(8)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two kinds, both split: six files beside the recipe's."""
    folder = tmp_path_factory.mktemp("killed")
    rows = [{"instruction": f"Say {n}.", "output": f"It is {n}."} for n in range(60)]
    pairs = [{"prompt": f"Say {n}.", "chosen": f"{n}.", "rejected": "No."} for n in range(60)]
    paths = {}
    for name, records in {"rows": rows, "pairs": pairs}.items():
        paths[name] = str(folder / f"{name}.jsonl")
        Path(paths[name]).write_text("".join(json.dumps(r) + "\n" for r in records))
    pipeline = Pipeline([Split(share=0.5, similarity=None)], inputs=paths)
    pipeline.run(run=folder / "run", store=folder / "store")
    return folder / "run"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """An empty Hub, and a client in this process that asks it."""
    from huggingface_hub import constants

    with hub_server() as served:
        monkeypatch.setattr(constants, "ENDPOINT", served.url)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(
            "https://huggingface.co", served.url
        )
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(hub_module, "FILES_A_COMMIT", 1)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield served


def start(hub: Hub, run: Path, home: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(home), "HF_TOKEN": TOKEN}
    environment |= {"HF_HUB_DISABLE_XET": "1", "TMPDIR": str(home)}
    command = [sys.executable, "-c", CHILD, str(run), NAME]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)


def kill_at(hub: Hub, number: int, lost: bool, run: Path, home: Path) -> bool:
    """Kill a push at its request of this number; tell whether it came so far."""
    home.mkdir(exist_ok=True)
    child = start(hub, run, home)
    began = len(hub.requests)

    def arrives(count: int, line: str) -> bool:
        if count - began != number:
            return False
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        return lost

    hub.arrives = arrives
    _, said = child.communicate(timeout=120)
    hub.arrives = None
    assert child.returncode in (0, -signal.SIGKILL), said.decode()
    return child.returncode != 0


def check_order(hub: Hub) -> None:
    """No path is committed twice, no content uploaded twice, and the card is in the last commit."""
    committed = [path for _, paths in hub.repositories[NAME].commits for path in paths]
    assert len(committed) == len(set(committed))
    assert "README.md" in hub.repositories[NAME].commits[-1][1]
    assert sum("README.md" in paths for _, paths in hub.repositories[NAME].commits) == 1


@pytest.mark.parametrize("seed", SEEDS)
def test_a_killed_push_goes_on(seed: int, hub: Hub, run: Path, tmp_path: Path) -> None:
    chosen = random.Random(seed)
    number, lost = chosen.randrange(3, 26), chosen.random() < 0.5
    assert kill_at(hub, number, lost, run, tmp_path / "home")
    there = dict(hub.repositories[NAME].files) if NAME in hub.repositories else {}
    uploads = [line for line in hub.requests if line.startswith("PUT")]
    arrived = set(hub.blobs)
    assert "README.md" not in there or not lost

    pushed = push(run, NAME)
    # What had arrived is not sent again: neither as a file, nor as the content of one.
    assert not set(pushed.sent) & set(there)
    again = [line for line in hub.requests if line.startswith("PUT")][len(uploads) :]
    assert not {line.rpartition("/")[2] for line in again} & arrived
    check_order(hub)
    commits = list(hub.repositories[NAME].commits)
    assert push(run, NAME).sent == []
    assert hub.repositories[NAME].commits == commits
    assert sorted(path for path in hub.repositories[NAME].files if path.startswith("data/")) == [
        f"data/{kind}/{side}-00000-of-00001.parquet"
        for kind in ("preference", "sft")
        for side in ("test", "train")
    ]


def test_a_push_that_is_killed_again_and_again_ends(hub: Hub, run: Path, tmp_path: Path) -> None:
    """A process that dies after every few requests gets a little further each time."""
    for attempt in range(12):
        if not kill_at(hub, 11, attempt % 2 == 0, run, tmp_path / "home"):
            break
    else:
        pytest.fail("twelve pushes did not come to an end")
    assert attempt > 1
    check_order(hub)
    assert push(run, NAME).sent == []
    code = (
        f"names = datasets.get_dataset_config_names('{NAME}')\n"
        f"loaded = {{name: datasets.load_dataset('{NAME}', name) for name in names}}\n"
        "found = {n: {s: len(rows) for s, rows in sides.items()} for n, sides in loaded.items()}"
    )
    sides = {"train": 30, "test": 30}
    assert loaded(hub, tmp_path, code) == {"preference": sides, "sft": sides}
