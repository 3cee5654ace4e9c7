"""The precision in which an encoder computes where nobody chose one, known without loading it.

bfloat16 halves what is moved and, where the processor multiplies it, computes two to three times
as fast as float32; vectors keep a cosine of 0.9999 to those of float32 (docs/log.md). A store that
moves to a machine without it goes on with float32, under a name of its own.
"""

from __future__ import annotations

import functools
import os
from importlib.util import find_spec
from pathlib import Path

CPU_INFO = Path("/proc/cpuinfo")
# Instructions that multiply bfloat16; without them it is emulated, and slower than float32.
_NATIVE = {"avx512_bf16", "amx_bf16"}


def native_dtype(device: str | None = None) -> str:
    """Return `bfloat16` where `device` computes in it natively, else `float32`."""
    on_gpu = has_gpu() if device is None else device.startswith("cuda")
    return "bfloat16" if on_gpu or _NATIVE & cpu_flags() else "float32"


def has_gpu() -> bool:
    """Tell whether torch will find a GPU, without importing it."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    torch = find_spec("torch")
    if hidden or torch is None or torch.origin is None:
        return False
    built = (Path(torch.origin).parent / "lib" / "libtorch_cuda.so").exists()
    return built and Path("/dev/nvidiactl").exists()


@functools.cache
def cpu_flags() -> frozenset[str]:
    """Return the instruction sets of this machine's processor, none where it does not say."""
    try:
        lines = CPU_INFO.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return frozenset()
    flags = next((line for line in lines if line.startswith("flags")), "")
    return frozenset(flags.partition(":")[2].split())
