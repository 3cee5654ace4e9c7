"""What cannot run on a cluster is refused in words, before anything is done."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from curate import Pipeline
from curate.engine.options import RunOptions
from curate.engine.ray.joining import join
from curate.errors import MissingExtra, UsageError
from curate.steps import Length
from curate.system import package_data
from tests.engine.contract_steps import numbered


def test_without_ray_the_command_that_installs_it_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(package_data, "find_spec", lambda _: None)
    with pytest.raises(MissingExtra, match=r"--engine ray needs ray.*pip install .*\[ray\]"):
        Pipeline([Length(min=1)]).run(numbered(3), engine="ray", run=str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_options_name_what_they_allow() -> None:
    with pytest.raises(UsageError, match=r"'rey'.*ray"):
        RunOptions(engine="rey")
    with pytest.raises(UsageError, match="add --engine ray"):
        RunOptions(address="10.0.0.1:6379")


@pytest.mark.parametrize("address", ["ray://10.0.0.1:10001", "10.0.0.1", "host:port", ":1", ""])
def test_an_address_that_is_none_is_refused(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(UsageError, match="the address is"):
        join(address)


def test_the_address_of_a_job_is_checked_likewise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "ray://10.0.0.1:10001")
    with pytest.raises(UsageError, match="the address is ray://"):
        join(None)


def test_nobody_at_the_address() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    with pytest.raises(UsageError, match=f"nobody answers at the address 127.0.0.1:{port}"):
        join(f"127.0.0.1:{port}")
