"""Models before and after training: what can be trained, where answers end, what memory is held."""

from __future__ import annotations

import gc
import json
import weakref
from pathlib import Path
from typing import Any

import pytest
from transformers import GenerationConfig

from curate.errors import UsageError
from curate.train import job as jobs
from curate.train import weights
from curate.train.settings import method_called, settings_for
from curate.train.training import prepare, train
from tests.train import tiny

pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning")
# As in a base model, whose texts end with another token than its turns.
BASE = ("<|pad|>", "<|im_start|>", "<|im_end|>", "<|endoftext|>")


def base_model(path: Path) -> Path:
    tiny.model().save_pretrained(path)
    tiny.tokenizer(special=BASE, eos="<|endoftext|>").save_pretrained(path)
    return path


def job_of(tmp_path: Path, out: str, **changes: Any) -> jobs.Job:
    row = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}
    rows = [json.dumps({**row, "n": n}) for n in range(4)]
    (tmp_path / "talks.jsonl").write_text("\n".join(rows))
    way = method_called("sft")
    settings = settings_for(way, None, max_steps=1, **changes)
    where = str(base_model(tmp_path / "model"))
    return jobs.Job(
        way, settings, str(tmp_path / "talks.jsonl"), where, tmp_path / out,
        merge=settings.adapter.kind == "lora",
    )  # fmt: skip


def test_answers_of_a_trained_base_model_end_with_the_turn(tmp_path: Path) -> None:
    full, lora = job_of(tmp_path, "full"), job_of(tmp_path, "lora", adapter="lora")
    for job in (full, lora):
        train(job, prepare(job))
    tokenizer = weights.load_tokenizer(str(full.out))
    turn = tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert turn != tokenizer.eos_token_id
    for folder in (full.out, lora.out / "merged"):
        assert turn in GenerationConfig.from_pretrained(folder).eos_token_id
    adapted, _ = weights.load_trained(lora.out)
    assert turn in adapted.generation_config.eos_token_id


def test_a_template_without_an_end_of_turn_adds_no_end() -> None:
    model = tiny.model()
    before = model.generation_config.eos_token_id
    for template in (None, "{% for m in messages %}{{ m.content }}\n{% endfor %}", tiny.CHATML):
        weights.stop_at_turns(model, tiny.tokenizer(template))
    # In ChatML's tokenizer both are one.
    assert model.generation_config.eos_token_id == before


def test_an_adapter_alone_is_no_model_to_train(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(UsageError, match=r"train it again with --merge, and name .*/merged"):
        weights.base_model(str(tmp_path))
    (tmp_path / "merged").mkdir()
    with pytest.raises(UsageError, match=r"no model to train: name .*/merged"):
        weights.base_model(str(tmp_path))


def test_the_trained_model_is_let_go_before_the_saved_one_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load, again, alive = weights.load_model, weights.load_trained, list[Any]()

    def loaded(*args: Any, **kwargs: Any) -> Any:
        model = load(*args, **kwargs)
        alive.append(weakref.ref(model))
        return model

    def reloaded(*args: Any, **kwargs: Any) -> Any:
        assert [one() for one in alive] == [None]
        return again(*args, **kwargs)

    monkeypatch.setattr("curate.train.training.load_model", loaded)
    monkeypatch.setattr(weights, "load_trained", reloaded)
    job = job_of(tmp_path, "out")
    prepared = prepare(job)
    gc.disable()
    try:
        assert train(job, prepared)["sample"]["answer"] is not None
    finally:
        gc.enable()
