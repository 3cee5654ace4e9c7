"""What a training is given, and what is known of it before it begins."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

from curate.models.inprocess.chat import Chat
from curate.step import Filter
from curate.train.data import TrainingData
from curate.train.preflight import Checked
from curate.train.settings import Method, RankerSettings, TrainingSettings


@dataclass(frozen=True)
class Job:
    """What is trained on what, and where it goes."""

    method: Method
    settings: TrainingSettings
    data: str
    model: str
    out: Path
    # A reward model, a function, or a step that scores.
    reward: str | Filter | None = None
    shape: str | None = None
    merge: bool = False
    replace: bool = False

    # What also helps where memory or disk is short.
    lighter: ClassVar[str] = "an adapter (`adapter: lora`)"


@dataclass(frozen=True)
class RankerJob:
    """A style ranker that is trained on triples."""

    settings: RankerSettings
    data: str
    model: str
    out: Path
    shape: str | None = None
    replace: bool = False

    lighter: ClassVar[str] = "the heads only (`freeze: true`)"


class Prepared(NamedTuple):
    """A job that was looked at: its rows, its template, and what the check found."""

    data: TrainingData
    chat: Chat
    checked: Checked
    where: str
    device: str
