"""PPO, the last of InstructGPT's steps: clipped objective, value head, GAE, KL penalty, whitening.

TRL dropped its PPO, and this is the algorithm of the chain SFT, reward, RL; so it is written out
here, small and on one device. Each step samples an answer to every prompt of a batch, and then
passes over them a few times. The reward of an answer comes with its last token; each token pays for
leaving the reference (Ouyang et al. 2022, arXiv 2203.02155).
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from curate.models.inprocess.chat import Chat
from curate.models.inprocess.tokens import ends_of_answers
from curate.row import seed_of
from curate.train import losses
from curate.train.examples import Example
from curate.train.interruptions import NotFinite, last_checkpoint
from curate.train.job import Job, Prepared
from curate.train.pace import Listener, Pace
from curate.train.rewards import Reward, reward_called, rewards_of
from curate.train.settings import TrainingSettings
from curate.train.weights import load_model, stop_at_turns, with_adapter

_CLIP_NORM = 1.0


class Rollout(NamedTuple):
    """Sampled answers: prompts padded on the left, answers on the right; all are (rows, length).

    `mask` marks the answers' tokens, `old` are their log-probabilities when they were sampled.
    """

    ids: Tensor
    attention: Tensor
    mask: Tensor
    old: Tensor
    values: Tensor
    advantages: Tensor
    returns: Tensor

    def rows(self, places: Tensor) -> Rollout:
        """Return some of the rows."""
        return Rollout(*(tensor[places] for tensor in self))


class Policy(nn.Module):
    """A language model with a value for each token, read off its last hidden states."""

    def __init__(self, model: Any, reference: Any | None, temperature: float = 1.0) -> None:
        """Take the `temperature` of sampling: the policy is the distribution that is drawn from."""
        super().__init__()
        self.model, self._temperature = model, temperature
        # Not a child module: it is neither trained nor saved.
        self._reference = [reference]
        hidden = model.config.get_text_config().hidden_size
        self.value = nn.Linear(hidden, 1)
        # Values begin at 0: a random one would be an advantage of its own.
        nn.init.zeros_(self.value.weight)
        nn.init.zeros_(self.value.bias)

    def forward(self, ids: Tensor, attention: Tensor, length: int) -> tuple[Tensor, Tensor]:
        """Return log-probabilities and values of the last `length` tokens."""
        outputs = self.model(
            input_ids=ids,
            attention_mask=attention,
            position_ids=positions(attention),
            use_cache=False,
            output_hidden_states=True,
        )
        states = outputs.hidden_states[-1][:, -length - 1 : -1]
        values = self.value(states.to(self.value.weight.dtype)).squeeze(-1)
        return token_log_probs(outputs.logits / self._temperature, ids, length), values

    @torch.no_grad()
    def reference(self, ids: Tensor, attention: Tensor, length: int) -> Tensor:
        """Return the reference's log-probabilities of the last `length` tokens."""
        given = {"input_ids": ids, "attention_mask": attention, "use_cache": False}
        (copied,) = self._reference
        if copied is not None:
            logits = copied(position_ids=positions(attention), **given).logits
        else:
            with self.model.disable_adapter():
                logits = self.model(position_ids=positions(attention), **given).logits
        return token_log_probs(logits / self._temperature, ids, length)


def positions(attention: Tensor) -> Tensor:
    """Return each token's position, counted from its row's first real token."""
    return (attention.cumsum(-1) - 1).clamp(min=0)


def token_log_probs(logits: Tensor, ids: Tensor, length: int) -> Tensor:
    """Return the log-probability of each of the last `length` tokens."""
    scores = logits[:, -length - 1 : -1].float().log_softmax(-1)
    return scores.gather(-1, ids[:, -length:, None]).squeeze(-1)


class Sampler:
    """Sample answers to prompts, and score them."""

    def __init__(self, chat: Chat, reward: Reward, settings: TrainingSettings, device: str) -> None:
        self._chat, self._reward, self._settings, self._device = chat, reward, settings, device

    def roll_out(
        self, policy: Policy, examples: Sequence[Example]
    ) -> tuple[Rollout, dict[str, float]]:
        """Return sampled answers with their advantages, and what they were like."""
        loss, tokenizer = self._settings.loss, self._chat.tokenizer
        texts = [self._chat.render(e.turns, ask=True, **e.options) for e in examples]
        given = tokenizer(
            texts,
            add_special_tokens=False,
            return_tensors="pt",
            padding=True,
            padding_side="left",
        ).to(self._device)
        width = given["input_ids"].shape[1]
        ids = self._sampled(policy, given)
        answers = ids[:, width:]
        # Each answer's tokens up to its end of turn, which counts.
        ends = torch.isin(answers, answers.new_tensor(ends_of_answers(policy.model, tokenizer)))
        mask = ends.long().cumsum(1) - ends.long() == 0
        attention = torch.cat([given["attention_mask"], mask.long()], 1)
        length = answers.shape[1]
        with torch.no_grad():
            old, values = policy(ids, attention, length)
        kl = (old - policy.reference(ids, attention, length)) * mask
        completions = [
            tokenizer.decode(row[keep], skip_special_tokens=True)
            for row, keep in zip(answers, mask, strict=True)
        ]
        answered = [[{"role": "assistant", "content": text}] for text in completions]
        found_scores = rewards_of(self._reward, examples, answered)
        scores = torch.tensor(found_scores, dtype=torch.float32, device=self._device)
        rewards = -float(loss["kl"]) * kl
        last = mask.long().sum(1) - 1
        rewards[torch.arange(len(last)), last] += scores
        found, returns = losses.advantages(
            rewards, values, mask, gamma=loss["gamma"], lam=loss["lam"]
        )
        rollout = Rollout(ids, attention, mask, old, values, losses.whiten(found, mask), returns)
        return rollout, {
            "reward": scores.mean().item(),
            "reward_std": scores.std(unbiased=False).item(),
            "kl": kl.sum(1).mean().item(),
            "length": mask.sum(1).float().mean().item(),
            "num_tokens": float(attention.sum()),
        }

    @torch.no_grad()
    def _sampled(self, policy: Policy, given: Any) -> Tensor:
        generation, tokenizer = self._settings.generation, self._chat.tokenizer
        policy.model.eval()
        found: Tensor = policy.model.generate(
            **given,
            do_sample=True,
            temperature=generation.temperature,
            top_p=generation.top_p,
            top_k=0,
            max_new_tokens=generation.max_tokens,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=ends_of_answers(policy.model, tokenizer),
        )
        return found


def passes(
    policy: Policy, rollout: Rollout, settings: TrainingSettings, optimizer: Any, seed: int
) -> dict[str, float]:
    """Pass over sampled answers in small batches, and return the mean losses."""
    loss, length = settings.loss, rollout.mask.shape[1]
    draw = torch.Generator().manual_seed(seed)
    told: dict[str, list[float]] = {"loss": [], "value_loss": [], "clip_fraction": []}
    for _ in range(int(loss["passes"])):
        order = torch.randperm(len(rollout.ids), generator=draw).tolist()
        for start in range(0, len(order), settings.batch_size):
            places = torch.tensor(order[start : start + settings.batch_size])
            part = rollout.rows(places.to(rollout.ids.device))
            now, values = policy(part.ids, part.attention, length)
            mask = part.mask.float()
            objective = losses.ppo_policy(now, part.old, part.advantages, mask, clip=loss["clip"])
            value = losses.ppo_value(values, part.values, part.returns, mask, clip=loss["clip"])
            total: Any = objective + float(loss["value"]) * value
            if not torch.isfinite(total):
                raise NotFinite(f"the loss is {total.item()}")
            optimizer.zero_grad()
            total.backward()
            norm = nn.utils.clip_grad_norm_(policy.parameters(), _CLIP_NORM)
            if not torch.isfinite(norm):
                raise NotFinite(f"the gradients' norm is {norm.item()}")
            optimizer.step()
            moved = ((now - part.old).exp() - 1).abs() > loss["clip"]
            told["loss"].append(objective.item())
            told["value_loss"].append(value.item())
            told["clip_fraction"].append(losses.masked_mean(moved.float(), mask).item())
    return {name: sum(values) / len(values) for name, values in told.items()}


def batches(
    examples: Sequence[Example], size: int, steps: int, seed: int
) -> Iterator[list[Example]]:
    """Yield `steps` batches of prompts, shuffled anew for each pass over them."""
    places: list[int] = []
    epoch = 0
    for _ in range(steps):
        while len(places) < size:
            draw = torch.Generator().manual_seed(seed + epoch)
            places += torch.randperm(len(examples), generator=draw).tolist()
            epoch += 1
        yield [examples[place] for place in places[:size]]
        places = places[size:]


def rate_at(step: int, steps: int, settings: TrainingSettings) -> float:
    """Return the learning rate of a step, from 1 on: a warm-up from a tenth of it, then the same.

    So InstructGPT did (Ouyang et al. 2022, arXiv 2203.02155). A `warmup` below 1 is a share of all
    steps.
    """
    warmup = settings.warmup
    first = math.ceil(steps * warmup) if warmup < 1 else int(warmup)
    share = min(1.0, 0.1 + 0.9 * (step - 1) / first) if first else 1.0
    return settings.learning_rate * share


def measured(
    sampler: Sampler, policy: Policy, examples: Sequence[Example], settings: TrainingSettings
) -> dict[str, float]:
    """Return the mean reward of an answer to each held-out prompt, and its KL to the reference."""
    sums = {"reward": 0.0, "kl": 0.0}
    size = settings.batch_size * settings.accumulate
    for start in range(0, len(examples), size):
        part = examples[start : start + size]
        torch.manual_seed(seed_of("ppo held out", settings.seed, start) % 2**63)
        _, told = sampler.roll_out(policy, part)
        sums = {name: value + told[name] * len(part) for name, value in sums.items()}
    return {name: value / len(examples) for name, value in sums.items()} if examples else {}


def train_ppo(job: Job, prepared: Prepared, listener: Listener | None) -> dict[str, Any]:
    """Train a policy by PPO, save it with its value head, and return its figures."""
    settings, device = job.settings, prepared.device
    model = load_model(prepared.where, job.method, settings, device).to(device)
    stop_at_turns(model, prepared.chat.tokenizer)
    full = settings.adapter.kind == "full"
    reference = copy.deepcopy(model).eval() if full else None
    adapted = with_adapter(model, settings.adapter, job.method)
    policy = Policy(adapted, reference, settings.generation.temperature).to(device)
    trained = [parameter for parameter in policy.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=settings.learning_rate, weight_decay=0.0)
    assert job.reward is not None
    sampler = Sampler(prepared.chat, reward_called(job.reward, device), settings, device)
    examples, size = prepared.checked.examples, settings.batch_size * settings.accumulate
    held_out = prepared.checked.held_out
    steps = settings.max_steps or max(1, round(settings.epochs * len(examples) / size))
    folder = job.out / "checkpoints"
    before = measured(sampler, policy, held_out, settings)
    done, history = _take_up(policy, optimizer, folder)
    resumed, pace, tokens = done, Pace(time.monotonic, done), 0.0
    for step, batch in enumerate(batches(examples, size, steps, settings.seed), 1):
        if step <= done:
            continue
        torch.manual_seed(seed_of("ppo", settings.seed, step) % 2**63)
        for group in optimizer.param_groups:
            group["lr"] = rate_at(step, steps, settings)
        rollout, told = sampler.roll_out(policy, batch)
        try:
            told |= passes(policy, rollout, settings, optimizer, settings.seed + step)
        except NotFinite as broken:
            raise NotFinite(f"{broken} at step {step}") from broken
        tokens += told["num_tokens"]
        history.append({"step": step, **told})
        if listener is not None:
            listener(pace.at(step, steps, tokens, told))
        if step % settings.every == 0 and step < steps:
            _keep(policy, optimizer, history, folder / f"checkpoint-{step}")
    after = measured(sampler, policy, held_out, settings)
    save(policy, prepared.chat.tokenizer, job.out)
    return {
        "steps": steps,
        "resumed": f"checkpoint-{resumed}" if resumed else None,
        "history": history,
        "before": before,
        "after": after,
    }


def save(policy: Policy, tokenizer: Any, folder: Path) -> None:
    """Write the policy as any model, and its value head beside it."""
    from safetensors.torch import save_file

    policy.model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    save_file(dict(policy.value.state_dict()), folder / "value_head.safetensors")


def _keep(policy: Policy, optimizer: Any, history: list[dict[str, float]], folder: Path) -> None:
    """Write a checkpoint, its state last."""
    import json

    folder.mkdir(parents=True, exist_ok=True)
    torch.save(policy.state_dict(), folder / "policy.pt")
    torch.save(optimizer.state_dict(), folder / "optimizer.pt")
    state = json.dumps({"global_step": history[-1]["step"], "log_history": history})
    (folder / "trainer_state.json").write_text(state, encoding="utf-8")


def _take_up(policy: Policy, optimizer: Any, folder: Path) -> tuple[int, list[dict[str, float]]]:
    """Load the last whole checkpoint, and return its step and history."""
    import json

    last = last_checkpoint(folder)
    if last is None:
        return 0, []
    policy.load_state_dict(torch.load(last / "policy.pt", weights_only=True))
    optimizer.load_state_dict(torch.load(last / "optimizer.pt", weights_only=True))
    state = json.loads((last / "trainer_state.json").read_text(encoding="utf-8"))
    return int(state["global_step"]), list(state["log_history"])
