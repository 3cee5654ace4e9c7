"""TRL's trainers as they are used here; they and `trl_config` know its names (`trl>=1.16,<2`).

Data comes in as tokens and labels of our own, so TRL prepares nothing. Its losses are used where it
has them; `p_chosen`, IPO by sums, SimPO, ORPO, RRHF, PRO, weights and the KL of SFT are ours, in
subclasses that change the collator's columns and `compute_loss`. TRL writes no model card: ours
comes last.
"""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

import torch
from datasets import Dataset
from torch import Tensor, nn
from trl import (
    DPOTrainer,
    GRPOTrainer,
    KTOTrainer,
    RewardTrainer,
    RLOOTrainer,
    SFTTrainer,
)

from curate.errors import UsageError
from curate.models.inprocess.chat import IGNORED, Chat
from curate.recipe.fields import plain
from curate.train import losses
from curate.train.collate import (
    ANSWER_COLUMNS,
    STEP_COLUMN,
    Answers,
    Marked,
    Sequences,
    Stepwise,
    dataset_of,
    dataset_of_steps,
)
from curate.train.examples import Example, check_together
from curate.train.interruptions import NotFinite
from curate.train.losses import LogRatios
from curate.train.memory_estimate import checkpoints
from curate.train.rewards import rewards_of
from curate.train.settings import Method, TrainingSettings
from curate.train.trl_config import config_of, values_of
from curate.train.weights import peft_config

LISTS = ("orpo", "simpo", "rrhf", "pro")


class TokenTrainer:
    """Datasets come as tokens, and the model card is written elsewhere."""

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        return dataset

    def _set_signature_columns_if_needed(self) -> None:
        self._signature_columns = [*ANSWER_COLUMNS, STEP_COLUMN]

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Write nothing."""

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        """Return the loss, and stop before weights are changed by one that is not a number."""
        parent: Any = super()
        loss: Tensor = parent.training_step(*args, **kwargs)
        if not torch.isfinite(loss):
            raise NotFinite(f"the loss is {loss.item()} at step {_step_of(self)}")
        return loss

    def _get_grad_norm(self, *args: Any, **kwargs: Any) -> Any:
        """Return the norm of the gradients, and stop before weights are changed by one like NaN.

        transformers asks for it before each step of the optimiser. A finite loss may have such
        gradients: that of a square root at 0, for example. In float16 an overflow is expected: the
        loss is scaled up, and the optimiser leaves out such a step and lowers the scale. DeepSpeed
        may know no norm.
        """
        parent: Any = super()
        norm, own = parent._get_grad_norm(*args, **kwargs), cast(Any, self).accelerator
        if norm is not None and own.mixed_precision != "fp16" and not math.isfinite(norm):
            raise NotFinite(f"the gradients' norm is {float(norm)} at step {_step_of(self)}")
        return norm


def _step_of(trainer: Any) -> int:
    """Return the number of the optimiser's step that is under way, from 1 on."""
    return int(trainer.state.global_step) + 1


class SupervisedTrainer(TokenTrainer, SFTTrainer):
    """SFT, with a weight per row and a KL to the model before training where they are asked for."""

    def __init__(
        self, *args: Any, kl: float = 0.0, reference: nn.Module | None = None, **kwargs: Any
    ) -> None:
        self._kl, self._reference = kl, reference
        super().__init__(*args, **kwargs)
        if reference is not None:
            reference.to(self.args.device).eval()

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        # Packing is TRL's; it does nothing else to tokens that have labels.
        packing = args[2]
        return SFTTrainer._prepare_dataset(self, dataset, *args, **kwargs) if packing else dataset

    def _set_signature_columns_if_needed(self) -> None:
        own = ["input_ids", "labels", "seq_lengths", "weight", "mask_past"]
        self._signature_columns = [*own, STEP_COLUMN]

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Return TRL's loss, or the weighted one, plus the mean KL over supervised positions."""
        weights = inputs.pop("weight", None)
        if weights is None:
            loss = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        else:
            outputs = model(**inputs, use_cache=False, fused_lm_head=True)
            tokens = outputs.label_mask.sum() if num_items_in_batch is None else num_items_in_batch
            loss = losses.weighted_nll(outputs.log_probs, weights, tokens)
            loss = loss * self._processes(num_items_in_batch)
            note(self, {}, int(inputs["attention_mask"].sum()))
        if self._kl:
            given = {name: inputs[name] for name in ("input_ids", "attention_mask")}
            mask = (inputs["labels"][:, 1:] != IGNORED).float()
            policy = model(**given, use_cache=False).logits[:, -mask.shape[1] - 1 : -1]
            with torch.no_grad(), self.before_training() as reference:
                before = reference(**given, use_cache=False).logits[:, -mask.shape[1] - 1 : -1]
            kl = (losses.token_kl(policy.float(), before.float()) * mask).sum()
            count = mask.sum() if num_items_in_batch is None else num_items_in_batch
            note(self, {"kl": (kl / mask.sum()).item()})
            loss = loss + self._kl * (kl / count) * self._processes(num_items_in_batch)
        return loss

    def _processes(self, num_items_in_batch: Any) -> int:
        # Tokens are counted over all processes, whose gradients are then averaged, as TRL's are.
        counted = num_items_in_batch is not None and self.args.average_tokens_across_devices
        return self.accelerator.num_processes if counted else 1

    @contextlib.contextmanager
    def before_training(self) -> Iterator[Any]:
        """Give the model before training: a copy, or the model itself with its adapter off."""
        if self._reference is not None:
            yield self._reference
            return
        own = self.accelerator.unwrap_model(self.model)
        mode = own.training
        with own.eval().disable_adapter():
            yield own
        own.train(mode)


def note(trainer: Any, metrics: Mapping[str, float], tokens: int | None = None) -> None:
    """Record metrics of one batch, which TRL averages until it logs them, and count its tokens."""
    mode = "train" if trainer.model.training else "eval"
    for name, value in metrics.items():
        trainer._metrics[mode][name].append(value)
    if tokens is not None:
        if trainer.accelerator.num_processes > 1:
            own = torch.tensor(tokens, device=trainer.accelerator.device)
            tokens = int(trainer.accelerator.gather(own).sum())
        trainer._total_train_tokens += tokens if mode == "train" else 0
        trainer._metrics[mode]["num_tokens"] = [trainer._total_train_tokens]


def means_of(values: Mapping[str, Tensor]) -> dict[str, float]:
    """Return the mean of each tensor."""
    return {name: value.detach().float().mean().item() for name, value in values.items()}


class ListTrainer(TokenTrainer, SFTTrainer):
    """Losses over the answers to a prompt, without a reference: ORPO, SimPO, RRHF, PRO."""

    loss_is_scaled_for_ga = False

    def __init__(self, *args: Any, loss: Mapping[str, Any], **kwargs: Any) -> None:
        self._list_loss = dict(loss)
        super().__init__(*args, **kwargs)

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Return the mean loss over the prompts of a batch."""
        sums, tokens = answer_log_probs(model, inputs)
        means = sums / tokens
        groups = [
            (means[mask], inputs["score"][mask])
            for index in range(int(inputs["group"].max()) + 1)
            for mask in [inputs["group"] == index]
        ]
        best = torch.stack([m[s.argmax()] for m, s in groups])
        loss, each = self._list_loss, list[Tensor]()
        # The answers of a list come best first.
        for (mean, scores), top in zip(groups, best, strict=True):
            if loss["kind"] == "orpo":
                each.append(losses.orpo(mean[0], mean[1], weight=loss["weight"]))
            elif loss["kind"] == "simpo":
                each.append(losses.simpo(mean[0], mean[1], beta=loss["beta"], gamma=loss["gamma"]))
            elif loss["kind"] == "rrhf":
                each.append(losses.rrhf(mean, scores) - loss["imitate"] * top)
            else:
                weight = loss["imitate"] * (len(mean) - 1) ** 2
                each.append(losses.pro(mean, scores) - weight * top)
        gaps = best - torch.stack([m[s.argmin()] for m, s in groups])
        told = {"accuracy": (gaps > 0).float(), "margin": gaps, "logps/best": best}
        note(self, means_of(told), int(inputs["attention_mask"].sum()))
        return torch.stack(each).mean()


def answer_log_probs(model: Any, inputs: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
    """Return the summed log-probabilities of each sequence's labels, and how many there are."""
    labels = inputs["labels"]
    outputs = model(
        input_ids=inputs["input_ids"],
        attention_mask=inputs["attention_mask"],
        labels=labels,
        use_cache=False,
        fused_lm_head=True,
    )
    # Prompt tuning puts virtual tokens before the real ones.
    length = labels.shape[1] - 1
    return outputs.log_probs[:, -length:].sum(1), (labels[:, 1:] != IGNORED).sum(1)


class RankedRewardTrainer(TokenTrainer, RewardTrainer):
    """A reward model of pairs and rankings: 1 / C(K, 2) per prompt, margins and soft labels."""

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Return the mean loss over the prompts of a batch."""
        given = {name: inputs[name] for name in ("input_ids", "attention_mask")}
        rewards = model(**given, use_cache=False).logits.squeeze(-1).float()
        found, right, gaps = [], [], []
        for index in range(len(inputs["p_chosen"])):
            own = inputs["group"] == index
            mine, scores = rewards[own], inputs["score"][own]
            labels = {"margin": inputs["margin"][index], "p_chosen": inputs["p_chosen"][index]}
            found.append(losses.ranked_reward(mine, scores, **labels))
            better, worse = torch.nonzero(scores[:, None] > scores[None, :], as_tuple=True)
            right.append((mine[better] > mine[worse]).float().mean())
            gaps.append((mine[better] - mine[worse]).mean())
        told = {"accuracy": torch.stack(right), "margin": torch.stack(gaps), "mean_reward": rewards}
        note(self, means_of(told), int(inputs["attention_mask"].sum()))
        loss = torch.stack(found).mean()
        return (loss, {"rewards": rewards}) if return_outputs else loss


class PairTrainer(TokenTrainer, DPOTrainer):
    """DPO and its variants: TRL's losses, and ours for soft labels, cDPO and IPO by sums."""

    def __init__(
        self, *args: Any, own: str | None = None, noise: float = 0.0, **kwargs: Any
    ) -> None:
        self._own, self._noise = own, noise
        super().__init__(*args, **kwargs)

    def _compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool) -> Any:
        given = {name: inputs[name] for name in ("input_ids", "attention_mask")}
        given["completion_mask"] = (inputs["labels"] != IGNORED).long()
        if self._own is None:
            return super()._compute_loss(model, given, return_outputs)
        sums, tokens = answer_log_probs(model, inputs)
        chosen, rejected = sums.chunk(2)
        before = self.compute_ref_log_probs(self.ref_model or model, given)
        pairs = LogRatios(chosen - before[0], rejected - before[1], *tokens.chunk(2))
        labels = inputs["p_chosen"].to(sums)
        if self._noise:
            # A wrong label with probability e: cDPO, on top of what the row itself says.
            labels = labels * (1 - self._noise) + (1 - labels) * self._noise
        loss = losses.pair_loss(self._own, pairs, beta=self.beta, p_chosen=labels).mean()
        rewards = [self.beta * side.detach() for side in pairs[:2]]
        told = {
            "rewards/chosen": rewards[0],
            "rewards/rejected": rewards[1],
            "rewards/margins": rewards[0] - rewards[1],
            "rewards/accuracies": (rewards[0] > rewards[1]).float(),
            "logps/chosen": chosen,
            "logps/rejected": rejected,
        }
        note(self, means_of(told), int(inputs["attention_mask"].sum()))
        return loss


class MarkedTrainer(TokenTrainer, KTOTrainer):
    """KTO over answers that are marked as wanted or not."""


class _Asking(TokenTrainer):
    """Prompts are examples, named by their places: a table would fill their tools with nulls.

    TRL renders all prompts with the tools of its trainer, which it calls itself; here each prompt
    is rendered with the schemas and template options of its own row.
    """

    def __init__(self, *args: Any, chat: Chat, asked: Sequence[Example], **kwargs: Any) -> None:
        self._chat, self._asked, self._batch = chat, asked, list[Example]()
        super().__init__(*args, **kwargs)

    def _set_signature_columns_if_needed(self) -> None:
        self._signature_columns = ["prompt", "place"]

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> Any:
        parent: Any = super()
        self._batch = [self._asked[one["place"]] for one in inputs]
        prompts = [[dict(turn) for turn in example.turns] for example in self._batch]
        given = [one | {"prompt": p} for one, p in zip(inputs, prompts, strict=True)]
        return parent._generate_and_score_completions(given)

    def _tokenize_prompts(self, prompts: list[Any]) -> tuple[list[list[int]], None, dict[str, Any]]:
        return [self._chat.asked(e.turns, **e.options) for e in self._batch], None, {}


class GroupTrainer(_Asking, GRPOTrainer):
    """GRPO over examples."""


class LeaveOneOutTrainer(_Asking, RLOOTrainer):
    """RLOO over examples."""


class TrainerInputs(NamedTuple):
    """What a trainer is built from.

    With `steps` (of SFT and of pairs) training is these batches, in this order, instead of epochs
    over the examples: `accumulate` of them make a step of the optimiser.
    """

    model: Any
    chat: Chat
    method: Method
    settings: TrainingSettings
    examples: Sequence[Example]
    held_out: Sequence[Example]
    device: str
    steps: Sequence[Sequence[Example]] | None = None


def config_for(given: TrainerInputs, folder: str) -> Any:
    """Return TRL's configuration; `trl:` of the settings comes last, and wins."""
    settings, method = given.settings, given.method
    values: dict[str, Any] = {
        "output_dir": folder,
        "learning_rate": settings.learning_rate,
        "num_train_epochs": settings.epochs,
        "max_steps": settings.max_steps or -1,
        "per_device_train_batch_size": settings.batch_size,
        "per_device_eval_batch_size": settings.batch_size,
        "gradient_accumulation_steps": settings.accumulate,
        "warmup_steps": settings.warmup,
        "lr_scheduler_type": "cosine",
        "logging_steps": 1 if given.device == "cpu" else 10,
        # A loss that is not a number is said, not replaced by the one before it.
        "logging_nan_inf_filter": False,
        "save_strategy": "steps",
        "save_steps": settings.every,
        "save_total_limit": 2,
        "seed": settings.seed,
        "use_cpu": given.device == "cpu",
        "bf16": given.device != "cpu" and settings.dtype != "float32",
        "activation_checkpointing": checkpoints(settings, given.device),
        "report_to": settings.report_to or "none",
        "disable_tqdm": True,
    }
    if given.held_out:
        values |= {"eval_strategy": "steps", "eval_steps": settings.every}
    if settings.patience is not None:
        # The loss of reinforcement says nothing of how good the answers are. Which side of a metric
        # is better follows from its name, so that of `trl:` may be another one.
        best = "eval_reward" if method.online else "eval_loss"
        values |= {"load_best_model_at_end": True, "metric_for_best_model": best}
    if given.steps is not None:
        values |= {
            "num_train_epochs": 1,
            "max_steps": -1,
            "per_device_train_batch_size": 1,
            "train_sampling_strategy": "sequential",
        }
    values |= values_of(method, settings, given.examples)
    try:
        return config_of(method)(**{**values, **plain(settings.trl)})
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"TRL does not take these settings ({error}); look at `trl:` in the file of --config"
        ) from error


def trainer_for(
    given: TrainerInputs, folder: str, *, reward: Any = None, callbacks: Any = ()
) -> Any:
    """Return the trainer of a method, ready to train."""
    method, settings = given.method, given.settings
    pad = given.chat.tokenizer.pad_token_id
    adapter = peft_config(settings.adapter, method)
    shared: dict[str, Any] = {
        "model": given.model,
        "args": config_for(given, folder),
        "processing_class": given.chat.tokenizer,
        "peft_config": adapter,
        "callbacks": list(callbacks),
    }
    if method.online:
        asked, count = [*given.examples, *given.held_out], len(given.examples)
        places = [{"prompt": "", "place": place} for place in range(len(asked))]
        shared["train_dataset"] = Dataset.from_list(places[:count])
        shared["eval_dataset"] = Dataset.from_list(places[count:]) if given.held_out else None

        def rewarded(prompts: Any, completions: Any, place: list[int], **trl: Any) -> list[float]:
            return rewards_of(reward, [asked[n] for n in place], completions)

        rewarded.__name__ = getattr(reward, "__name__", "reward")
        trainer = GroupTrainer if method.name == "grpo" else LeaveOneOutTrainer
        return trainer(chat=given.chat, asked=asked, reward_funcs=rewarded, **shared)
    flat = method.name in ("sft", "coh", "cloning")
    check_together([*given.examples, *given.held_out], method, settings)
    weighted = flat and any(example.weight != 1 for example in given.examples)
    mask_past = float(settings.loss.get("mask_past", 0.0))
    form: dict[str, Any] = {
        "flat": flat, "weighted": weighted, "neighbours": method.name == "kto"
    }  # fmt: skip
    if given.steps is None:
        shared["train_dataset"] = dataset_of(given.examples, mask_past=mask_past, **form)
    else:
        shared["train_dataset"] = dataset_of_steps(given.steps, flat=flat, weighted=weighted)
    if given.held_out:
        shared["eval_dataset"] = dataset_of(given.held_out, **form)
    if flat:
        if settings.packing == "none":
            collate = Sequences(pad)
            shared["data_collator"] = collate if given.steps is None else Stepwise(collate)
        kl = float(settings.loss.get("kl", 0.0))
        copied = copy.deepcopy(given.model) if kl and adapter is None else None
        return SupervisedTrainer(kl=kl, reference=copied, **shared)
    if method.name in LISTS:
        return ListTrainer(loss=settings.loss, data_collator=Answers(pad), **shared)
    if method.name == "reward":
        return RankedRewardTrainer(data_collator=Answers(pad), **shared)
    # A copy, not the files: the reference is the model as it is now, whoever changed it.
    shared["ref_model"] = copy.deepcopy(given.model) if adapter is None else None
    if method.name == "kto":
        return MarkedTrainer(data_collator=Marked(pad), **shared)
    soft = any(e.p_chosen not in (None, 1.0) for e in (*given.examples, *given.held_out))
    own, noise = losses.own_pair_loss(settings.loss, soft=soft)
    pairs = Answers(pad, pairs=True)
    shared["data_collator"] = pairs if given.steps is None else Stepwise(pairs)
    return PairTrainer(own=own, noise=noise, **shared)
