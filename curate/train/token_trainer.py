"""What all of TRL's trainers have in common here: their rows are tokens, and no number is lost."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from curate.train.collate import ANSWER_COLUMNS, STEP_COLUMN
from curate.train.interruptions import NotFinite


class TokenTrainer:
    """Datasets come as tokens, and the model card is written elsewhere."""

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        return dataset

    def _set_signature_columns_if_needed(self) -> None:
        self._signature_columns = [*ANSWER_COLUMNS, STEP_COLUMN]

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Write nothing."""

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        """Return the loss, and stop before weights are changed by one that is no number."""
        parent: Any = super()
        loss: Tensor = parent.training_step(*args, **kwargs)
        if not torch.isfinite(loss):
            raise NotFinite(f"the loss is {loss.item()} at step {_step_of(self)}")
        return loss

    def _get_grad_norm(self, *args: Any, **kwargs: Any) -> Any:
        """Return the norm of the gradients, and stop before weights are changed by one like NaN.

        transformers asks for it before each step of the optimiser. A finite loss may have such
        gradients: that of a square root at 0, for example.
        """
        parent: Any = super()
        norm = parent._get_grad_norm(*args, **kwargs)
        if not math.isfinite(norm):
            raise NotFinite(f"the gradients' norm is {float(norm)} at step {_step_of(self)}")
        return norm


def _step_of(trainer: Any) -> int:
    """Return the number of the optimiser's step that is under way, from 1 on."""
    return int(trainer.state.global_step) + 1
