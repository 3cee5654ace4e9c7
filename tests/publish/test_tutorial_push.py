"""The last command of the tutorial, against a Hub on this machine: it prints what the page says."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.blocks import blocks
from tests.house.places import ROOT
from tests.publish.hub_server import TOKEN, hub_server

PAGE = ROOT / "docs" / "tutorial.md"


@pytest.mark.slow
def test_the_tutorial_ends_on_the_hub(tmp_path: Path) -> None:
    shown = blocks(PAGE)
    place = next(k for k, one in enumerate(shown) if "curate push" in one.text)
    push = next(line for line in shown[place].text.splitlines() if line.startswith("curate push"))
    run = next(line for line in shown[place - 1].text.splitlines() if "curate run" in line)
    with hub_server() as hub:
        own = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "HF_TOKEN": TOKEN}
        environment = {**os.environ, **own, "HF_HUB_DISABLE_XET": "1"}
        for line in (run, push):
            words = [sys.executable, "-m", *shlex.split(line)]
            done = subprocess.run(
                words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr
        [(name, repository)] = hub.repositories.items()
        url = hub.url
    assert done.stdout.replace(url, "https://huggingface.co") == shown[place + 1].text
    assert repository.private and name == "ann/quickstart"
    assert {"README.md", "croissant.json", "recipe.yaml"} <= repository.files.keys()
