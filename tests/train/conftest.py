"""Models of two layers are computed by one thread: several would wait for each other."""

import torch

torch.set_num_threads(1)
