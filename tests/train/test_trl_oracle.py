"""The reference values of the papers through trainers: ours, and TRL's where it has the loss."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from curate.errors import RecipeError
from curate.models.inprocess.chat import Chat
from curate.train import losses
from curate.train.examples import class_weights
from curate.train.settings import limits, method_called, settings_for
from curate.train.trainers import TrainerInputs, config_for
from curate.train.watch import quietly
from tests.train import tiny

LN2 = math.log(2)
pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning")


class Stub(nn.Module):
    """A model whose answers have the log-probabilities that it is told, call by call."""

    def __init__(self, *totals: Sequence[float]) -> None:
        super().__init__()
        self.totals = list(totals)

    def forward(self, labels: Tensor, **kwargs: Any) -> SimpleNamespace:
        mask = (labels[:, 1:] != -100).double()
        total = torch.tensor(self.totals.pop(0), dtype=torch.float64)
        none = torch.zeros_like(mask)
        return SimpleNamespace(
            log_probs=mask * (total / mask.sum(1))[:, None],
            entropy=none,
            mean_logits=none,
            is_top1=none.bool(),
            label_mask=mask.bool(),
        )


def batch(*lengths: int, prompt: int = 3) -> dict[str, Tensor]:
    """Return answers of these lengths behind a prompt."""
    longest = prompt + max(lengths)
    labels = torch.full((len(lengths), longest), -100)
    for place, length in enumerate(lengths):
        labels[place, prompt : prompt + length] = 7
    return {
        "input_ids": torch.full((len(lengths), longest), 7),
        "attention_mask": torch.ones(len(lengths), longest, dtype=torch.long),
        "labels": labels,
        "p_chosen": torch.ones(len(lengths) // 2, dtype=torch.float64),
        "margin": torch.zeros(len(lengths) // 2),
        "group": torch.zeros(len(lengths), dtype=torch.long),
        "score": torch.tensor([1.0, 0.0]),
    }


def pair_value(path: Path, loss: dict[str, Any], *, own: str | None = None) -> float:
    """Return the loss of policy -10 and -14, reference -11 and -12, 5 and 4 tokens."""
    made = tiny.trainer("dpo", path, loss=loss)
    if own is not None:
        made._own = own
    made.ref_model = Stub([-11, -12])
    found = made._compute_loss(Stub([-10, -14]), batch(5, 4), False)
    return float(found)


@pytest.mark.parametrize(
    ("kind", "noise", "expected"),
    [
        ("sigmoid", 0.0, 0.5543552445),
        ("robust", 0.1, 0.5168552445),
        ("ipo", 0.0, 18.49),
        ("hinge", 0.0, 0.7),
        ("sigmoid_norm", 0.0, 0.6587595555),
        # What TRL lacks.
        ("cdpo", 0.1, 0.5843552445),
        ("ipo_sum", 0.0, 4.0),
    ],
)
def test_pairs(kind: str, noise: float, expected: float, tmp_path: Path) -> None:
    found = pair_value(tmp_path, {"kind": kind, "noise": noise, "beta": 0.1})
    assert found == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("kind", ["sigmoid", "ipo", "hinge", "sigmoid_norm"])
def test_labels_of_one_are_trls_own_loss(kind: str, tmp_path: Path) -> None:
    of_trl = pair_value(tmp_path, {"kind": kind})
    assert pair_value(tmp_path, {"kind": kind}, own=kind) == pytest.approx(of_trl, abs=1e-12)


def test_trl_ignores_label_smoothing_where_ours_is_cdpo(tmp_path: Path) -> None:
    made = tiny.trainer("dpo", tmp_path)
    made.label_smoothing = 0.1
    made.ref_model = Stub([-11, -12])
    found = made._compute_loss(Stub([-10, -14]), batch(5, 4), False)
    assert float(found) == pytest.approx(0.5543552445, abs=1e-9)
    # So it is refused here, not trained without.
    with pytest.raises(RecipeError, match=r"noise plays no part in sigmoid; it does in cdpo"):
        tiny.trainer("dpo", tmp_path, loss={"kind": "sigmoid", "noise": 0.1})


@pytest.mark.parametrize(
    ("z", "good", "bad"), [(0.0, 0.4750208125, 0.4501660027), (0.5, 0.4875026035, 0.4378234991)]
)
def test_kto(z: float, good: float, bad: float, tmp_path: Path) -> None:
    made = tiny.trainer("kto", tmp_path, loss={"wanted": 1, "unwanted": 1})
    # Each model is asked for the mismatched answers first.
    made.ref_model = Stub([0, 0], [-11, -12])
    own = batch(5, 4)
    mask = (own["labels"] != -100).long()
    inputs = {"label": torch.tensor([True, False])}
    for prefix in ("", "KL_"):
        inputs[f"{prefix}input_ids"] = own["input_ids"]
        inputs[f"{prefix}attention_mask"] = own["attention_mask"]
        inputs[f"{prefix}completion_mask"] = mask
    found = made._compute_loss(Stub([z, z], [-10, -14]), inputs, False)
    assert float(found) == pytest.approx((good + bad) / 2, abs=1e-9)


def test_kto_learns_every_row_and_each_prompt_with_the_answer_before_it(tmp_path: Path) -> None:
    made = tiny.trainer("kto", tmp_path, count=9, batch_size=4)
    for batches in (made.get_train_dataloader(), made.get_eval_dataloader()):
        assert [len(one["label"]) for one in batches] == [4, 4, 1]
    tokenizer, rows = tiny.tokenizer(), made.train_dataset
    for number, (*_, last) in enumerate(zip(rows["ids"], rows["kl_ids"], strict=True)):
        own, other = (tokenizer.decode(rows["ids"][n][0]) for n in (number, number - 1))
        answer = other.partition("assistant\n")[2]
        assert tokenizer.decode(last) == own.partition("assistant\n")[0] + "assistant\n" + answer


@pytest.mark.parametrize("kind", limits()["kinds"]["grpo"])
def test_the_average_of_grpo_is_the_one_that_is_asked_for(kind: str, tmp_path: Path) -> None:
    way = method_called("grpo")
    settings = settings_for(way, None, loss={"kind": kind})
    inputs = TrainerInputs(None, Chat(tiny.tokenizer()), way, settings, [], [], "cpu")
    assert config_for(inputs, str(tmp_path)).loss_type == kind


@pytest.mark.parametrize(
    ("method", "loss", "expected"),
    [("simpo", {"beta": 2.0, "gamma": 1.0}, 0.1269280110), ("orpo", {"weight": 0.1}, 2.0181438043)],
)
def test_lists(method: str, loss: dict[str, Any], expected: float, tmp_path: Path) -> None:
    made = tiny.trainer(method, tmp_path, loss=loss)
    found = made.compute_loss(Stub([-10, -14]), batch(5, 4))
    assert float(found) == pytest.approx(expected, abs=1e-9)


def test_trls_experimental_trainers_say_the_same_of_their_parts(monkeypatch: Any) -> None:
    monkeypatch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")
    from trl.experimental.cpo import CPOTrainer
    from trl.experimental.orpo import ORPOTrainer

    chosen = torch.tensor([-2.0], dtype=torch.float64)
    rejected = torch.tensor([-3.5], dtype=torch.float64)
    device = SimpleNamespace(device="cpu")
    simpo = SimpleNamespace(
        beta=2.0,
        simpo_gamma=1.0,
        loss_type="simpo",
        label_smoothing=0.0,
        alpha=0.0,
        accelerator=device,
    )
    found, *_ = CPOTrainer.cpo_loss(simpo, chosen, rejected)
    assert found.item() == pytest.approx(0.1269280110, abs=1e-9)
    orpo = SimpleNamespace(beta=0.1, accelerator=device)
    odds = ORPOTrainer.odds_ratio_loss(orpo, chosen, rejected)[0]
    # Its part of the loss; its NLL covers the prompt, too, and ours does not.
    assert odds.item() == pytest.approx(2 - 2.0181438043, abs=1e-9)


def test_rrhf_on_the_swapped_list(tmp_path: Path) -> None:
    made = tiny.trainer("rrhf", tmp_path, loss={"imitate": 0.0})
    inputs = batch(2, 2, 2) | {"score": torch.tensor([3.0, 2.0, 1.0])}
    assert float(made.compute_loss(Stub([-3.0, -2.0, -4.0]), inputs)) == pytest.approx(0.5)


@pytest.mark.parametrize("adapter", ["full", "lora"])
@pytest.mark.parametrize(
    ("method", "kind", "expected"),
    [
        ("dpo", "sigmoid", LN2),
        ("dpo", "robust", LN2),
        ("dpo", "sigmoid_norm", LN2),
        ("dpo", "cdpo", LN2),
        ("dpo", "ipo", 25.0),
        ("dpo", "ipo_sum", 25.0),
        ("dpo", "hinge", 1.0),
        ("kto", "kto", 0.5),
    ],
)
def test_before_the_first_step(
    method: str, kind: str, expected: float, adapter: str, tmp_path: Path
) -> None:
    loss = {"kind": kind, "noise": 0.1} if kind in ("robust", "cdpo") else {"kind": kind}
    made = tiny.trainer(method, tmp_path, adapter=adapter, loss=loss)
    with quietly():
        assert made.evaluate()["eval_loss"] == pytest.approx(expected, abs=1e-5)


def test_a_model_object_is_its_own_reference(tmp_path: Path) -> None:
    model = tiny.model()
    with torch.no_grad():
        model.lm_head.weight.add_(torch.randn_like(model.lm_head.weight))
    made = tiny.trainer("dpo", tmp_path, given=model)
    assert made.evaluate()["eval_loss"] == pytest.approx(LN2, abs=1e-6)


def trained_loss(path: Path, loss: dict[str, Any], *, p_chosen: float | None) -> tuple[float, Any]:
    made = tiny.trainer("dpo", path, loss=loss, max_steps=4, fields={"p_chosen": p_chosen})
    with quietly():
        made.train()
        return made.evaluate()["eval_loss"], made


def test_labels_of_nine_tenths_are_cdpo(tmp_path: Path) -> None:
    soft, _ = trained_loss(tmp_path, {"kind": "sigmoid"}, p_chosen=0.9)
    noisy, _ = trained_loss(tmp_path, {"kind": "cdpo", "noise": 0.1}, p_chosen=None)
    plain, _ = trained_loss(tmp_path, {"kind": "sigmoid"}, p_chosen=None)
    assert soft == pytest.approx(noisy, abs=1e-6)
    assert abs(soft - plain) > 1e-3


def test_labels_of_one_train_as_trl_does(tmp_path: Path) -> None:
    of_trl, one = trained_loss(tmp_path, {"kind": "sigmoid"}, p_chosen=1.0)
    assert one._own is None
    made = tiny.trainer("dpo", tmp_path, max_steps=4)
    made._own = "sigmoid"
    with quietly():
        made.train()
        assert made.evaluate()["eval_loss"] == pytest.approx(of_trl, abs=1e-6)


def test_labels_of_one_half_move_nothing(tmp_path: Path) -> None:
    _, made = trained_loss(tmp_path, {"kind": "sigmoid"}, p_chosen=0.5)
    before = tiny.model().state_dict()
    for name, after in made.model.state_dict().items():
        assert torch.allclose(after, before[name], atol=1e-6), name


def test_soft_labels_are_refused_where_a_loss_has_no_form_for_them(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="'apo_zero' has no form for soft labels"):
        tiny.trainer("dpo", tmp_path, loss={"kind": "apo_zero"}, fields={"p_chosen": 0.7})


def test_losses_can_be_mixed(tmp_path: Path) -> None:
    loss = {"kind": ["sigmoid", "hinge"], "weights": [1.0, 0.5]}
    made = tiny.trainer("dpo", tmp_path, loss=loss)
    assert made.evaluate()["eval_loss"] == pytest.approx(LN2 + 0.5, abs=1e-6)


def test_the_rarer_class_counts_as_much_as_the_other() -> None:
    examples = [SimpleNamespace(label=n == 0) for n in range(4)]
    none = {"wanted": None, "unwanted": None}
    assert class_weights(examples, none) == (3.0, 1.0)
    assert class_weights(examples, {**none, "wanted": 2}) == (2.0, 1.0)


@pytest.mark.parametrize("processes", [1, 2])
def test_weights_of_one_are_trls_loss_on_several_devices_too(
    processes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tiny.trainer("sft", tmp_path, fields={"extra": '{"weight": 0.5}'}, loss={"kl": 0.1})
    inputs = made.data_collator([made.train_dataset[n] for n in range(4)])
    count = (inputs["labels"][:, 1:] != -100).sum() * processes
    plain = dict(inputs)
    weights = plain.pop("weight")
    monkeypatch.setattr(type(made.accelerator), "num_processes", processes)
    one = made.compute_loss(made.model, dict(plain), num_items_in_batch=count)
    other = made.compute_loss(
        made.model, {**plain, "weight": weights * 2}, num_items_in_batch=count
    )
    assert other.item() == pytest.approx(one.item(), rel=1e-6)
    made._kl = 0.0
    alone = made.compute_loss(made.model, dict(plain), num_items_in_batch=count).item()
    with torch.no_grad():
        made._reference.lm_head.weight.mul_(3)
    made._kl = 1.0
    drawn = made.compute_loss(made.model, dict(plain), num_items_in_batch=count).item() - alone
    # A share of the tokens of all devices here, and the mean over devices afterwards.
    assert drawn == pytest.approx(tiny_kl(made, plain), rel=1e-4)


def tiny_kl(made: Any, inputs: Any) -> float:
    given = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    mask = inputs["labels"][:, 1:] != -100
    with torch.no_grad():
        policy, before = (m(**given).logits[:, :-1] for m in (made.model, made._reference))
    return float(losses.token_kl(policy, before)[mask].mean())


def test_a_reward_of_pairs_is_trls(tmp_path: Path) -> None:
    from trl import RewardTrainer

    made = tiny.trainer("reward", tmp_path)
    collated = made.data_collator([made.train_dataset[n] for n in range(4)])
    ours = made.compute_loss(made.model, dict(collated))
    order = torch.argsort(collated["group"] + 10 * (collated["score"] < 1))
    given = {k: collated[k][order] for k in ("input_ids", "attention_mask")}
    assert ours.item() == pytest.approx(
        RewardTrainer.compute_loss(made, made.model, given).item(), abs=1e-6
    )
