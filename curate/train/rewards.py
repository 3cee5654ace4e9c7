"""Rewards for reinforcement: a trained reward model, or a function of a Python file.

A function comes from the command line only, never from a settings file: those are data. It is
called as TRL calls its own, with `prompts` and `completions` (lists of messages), and returns a
number for each.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from curate.errors import UsageError
from curate.train.chat import Chat
from curate.train.weights import load_trained, where_is

Turns = Sequence[Mapping[str, Any]]
Reward = Callable[..., list[float]]


class RewardModel:
    """A trained reward model, which reads conversations just as it did when it was trained."""

    def __init__(self, folder: str, device: str = "cpu", batch_size: int = 16) -> None:
        self._model, tokenizer = load_trained(folder, reward=True)
        self._model = self._model.to(device)
        self._chat, self._batch_size = Chat(tokenizer), batch_size
        self.__name__ = "reward_model"

    def __call__(
        self, prompts: Sequence[Turns], completions: Sequence[Turns], **columns: Any
    ) -> list[float]:
        """Return the reward of each conversation."""
        import torch

        from curate.train.collate import padded

        tokens = [
            self._chat.encode([*prompt, *completion], len(prompt))
            for prompt, completion in zip(prompts, completions, strict=True)
        ]
        found: list[float] = []
        pad = self._chat.tokenizer.pad_token_id
        for start in range(0, len(tokens), self._batch_size):
            part = tokens[start : start + self._batch_size]
            batch = padded([t.ids for t in part], [t.labels for t in part], pad)
            given = {k: batch[k].to(self._model.device) for k in ("input_ids", "attention_mask")}
            with torch.inference_mode():
                found += self._model(**given).logits[:, 0].float().tolist()
        return found


def reward_called(given: str, device: str) -> Reward:
    """Return the reward that `--reward` names: a model's folder, or FILE.py:FUNCTION.

    Raises:
        UsageError: there is no such file or function.
    """
    file, colon, name = given.rpartition(":")
    if not colon or not file.endswith(".py"):
        return RewardModel(where_is(given), device)
    path = Path(file)
    if not path.is_file():
        raise UsageError(f"there is no file {file}; write --reward FILE.py:FUNCTION or a folder")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{file} cannot be read as Python")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    function = getattr(module, name, None)
    if not callable(function):
        raise UsageError(f"{file} has no function '{name}'")
    found: Reward = function
    return found
