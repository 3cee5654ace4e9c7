"""`echo:NAME`: a model that says what it read, in a process that can be told to die."""

from __future__ import annotations

import os
import platform
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from curate.ask import Ask, Embed, Reply, Request
from curate.errors import PermanentFault, TemporaryFault


class Echo:
    """Answer after a moment, and write process and text into the file `log`.

    A text that holds `fatal` kills the process. So does everything where the file `deadly` exists.
    """

    forms, options = ("ask", "embed"), ("log", "seconds", "fatal", "deadly")
    version, batch_size, gpus = "1", 4, 1

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        if name == "broken":
            raise OSError("no such weights")
        self.options = options

    def answer(self, requests: Sequence[Request]) -> list[Reply | Exception]:
        return [self._answer(request) for request in requests]

    def _answer(self, request: Request) -> Reply | Exception:
        texts = [m.content for m in request.chat] if isinstance(request, Ask) else request.texts
        text = "\n".join(texts)
        if log := self.options.get("log"):
            with Path(log).open("a") as file:
                file.write(f"{os.getpid()} {platform.node()} {text!r}\n")
        fatal, deadly = self.options.get("fatal"), self.options.get("deadly")
        if (fatal and fatal in text) or (deadly and Path(deadly).exists()):
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(self.options.get("seconds", 0.0))
        if "refused" in text:
            return PermanentFault("refused, as it said", for_all="everybody" in text)
        if "busy" in text:
            return TemporaryFault("come back", cause="rate_limit", retry_after=0.25)
        if isinstance(request, Embed):
            return Reply(values=tuple((float(len(t)), 1.0) for t in texts), input_tokens=len(text))
        return Reply(text=f"You said {text}", input_tokens=len(text), output_tokens=2)
