"""The precision is chosen by what the processor multiplies natively, without loading torch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from curate.encoders import precision
from curate.encoders.precision import cpu_flags, native_dtype


@pytest.fixture(autouse=True)
def nothing_remembered() -> Iterator[None]:
    cpu_flags.cache_clear()
    yield
    cpu_flags.cache_clear()


def a_machine(
    folder: Path, monkeypatch: pytest.MonkeyPatch, info: str | None, *, gpu: bool = False
) -> None:
    file = folder / "cpuinfo"
    if info is not None:
        file.write_text(info)
    monkeypatch.setattr(precision, "CPU_INFO", file)
    monkeypatch.setattr(precision, "has_gpu", lambda: gpu)


@pytest.mark.parametrize(
    ("info", "dtype"),
    [
        ("processor: 0\nflags\t\t: fpu avx512f avx512_bf16 sse\n", "bfloat16"),
        ("flags\t\t: amx_tile amx_bf16\n", "bfloat16"),
        ("flags\t\t: fpu avx512f avx2 not_avx512_bf16\n", "float32"),
        ("model name: avx512_bf16\nflags: fpu\n", "float32"),
        ("", "float32"),
        (None, "float32"),
    ],
)
def test_a_processor(
    info: str | None, dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_machine(tmp_path, monkeypatch, info)
    assert native_dtype() == native_dtype("cpu") == dtype
    assert native_dtype("cuda:1") == "bfloat16"


def test_a_gpu_counts_unless_another_device_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_machine(tmp_path, monkeypatch, "flags: fpu\n", gpu=True)
    assert native_dtype() == "bfloat16"
    assert native_dtype("cpu") == "float32"


def test_a_hidden_gpu_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert not precision.has_gpu()
