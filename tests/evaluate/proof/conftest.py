"""Models of two layers are computed by one thread: several would wait for each other."""

from importlib.util import find_spec

if find_spec("torch") is not None:
    import torch

    torch.set_num_threads(1)
