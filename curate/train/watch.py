"""What accompanies a trainer: progress told rather than printed, early stopping, and quiet."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Iterator
from typing import Any

from transformers import EarlyStoppingCallback, PrinterCallback, TrainerCallback

from curate.train.pace import Listener, Pace

# Warnings about what TRL itself passes on, which nobody here can change.
_CHATTER = (
    ".*gradient_checkpointing.*is deprecated.*",
    ".*is_gradient_checkpointing.*",
    ".*use_reentrant.*",
    ".*pin_memory.*",
)


def watch(trainer: Any, listener: Listener | None, *, patience: int | None) -> None:
    """Tell `listener` of each log instead of printing it; stop where evaluations gain no more."""
    trainer.remove_callback(PrinterCallback)
    if listener is not None:
        trainer.add_callback(_Watch(listener))
    if patience is not None:
        trainer.add_callback(EarlyStoppingCallback(early_stopping_patience=patience))


class _Watch(TrainerCallback):
    """Tell how far training is, with its metrics."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._pace: Pace | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._pace = Pace(time.monotonic, state.global_step)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        # The last line sums a training up, and is not a step.
        if self._pace is not None and state.max_steps and logs and "train_runtime" not in logs:
            metrics = {k: v for k, v in logs.items() if isinstance(v, int | float)}
            tokens = metrics.get("num_tokens", 0.0)
            self._listener(self._pace.at(state.global_step, state.max_steps, tokens, metrics))


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Keep back what TRL and torch warn of by themselves, and nothing else."""
    with warnings.catch_warnings():
        for text in _CHATTER:
            warnings.filterwarnings("ignore", text)
        yield
