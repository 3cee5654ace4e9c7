"""A causal language model or a classifier of transformers: how requests become tensors and back.

Prompts of a batch are padded on the left, with positions counted from each prompt's own first
token, so that a row computes what it would compute alone.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import transformers

from curate.ask import Ask, Choose, Likelihood, Reply, Reward, TurnLikelihood
from curate.errors import PermanentFault, StoppedShort
from curate.models.choice import choice_reply
from curate.models.inprocess.chat import Chat
from curate.models.inprocess.chat_rendering import check_template_files
from curate.models.inprocess.sampling import Draft, Drafting, Ended
from curate.models.inprocess.tokens import (
    Variants,
    answer_tokens,
    ends_of_answers,
    prompt_tokens,
    rendered,
    token_named,
    turn_tokens,
    with_turn_ends,
)
from curate.models.inprocess.worker import Backend, Waiting
from curate.models.turns import check_rendered, template_turns

# What a batch may hold together, padding included: its attention grows with it.
BATCH_TOKENS = 32_768
# How many logits of weighed texts there may be together: 1 GB in float32. Whole turns need those
# from the first answer on, which are most of a conversation's; one with more is weighed alone.
BATCH_LOGITS = 1 << 28
_GenerationConfig: Any = transformers.GenerationConfig
_ONLY = "it reads safetensors only, and runs no code of a model's repository"


def load_transformer(where: str, options: Mapping[str, Any]) -> Backend:
    """Return the back end for the model at `where`: by its configuration, writer or classifier.

    `options` name the device and the dtype.
    """
    prepare_torch(options)
    given: dict[str, Any] = {"trust_remote_code": False, "revision": options.get("revision")}
    check_template_files(where)
    try:
        config = transformers.AutoConfig.from_pretrained(where, **given)
        tokenizer = transformers.AutoTokenizer.from_pretrained(where, **given)
        scores = any(str(a).endswith("SequenceClassification") for a in config.architectures or ())
        auto = "AutoModelForSequenceClassification" if scores else "AutoModelForCausalLM"
        dtype = getattr(torch, options["dtype"])
        model = getattr(transformers, auto).from_pretrained(
            where, use_safetensors=True, dtype=dtype, **given
        )
    except (OSError, ValueError) as error:
        said = " ".join(str(error).split())[:300]
        raise StoppedShort(f"hf:{where} cannot be loaded ({_ONLY}): {said}") from None
    model = model.to(options["device"]).eval()
    return Classifier(model, tokenizer) if scores else Writer(model, tokenizer)


def prepare_torch(options: Mapping[str, Any]) -> None:
    """Set how many threads compute, and keep transformers silent."""
    usable = getattr(os, "sched_getaffinity", None)
    cores = len(usable(0)) if usable else os.cpu_count() or 1
    torch.set_num_threads(int(options.get("threads", cores)))
    quiet()


def quiet() -> None:
    """Keep transformers from writing over our own output."""
    logging: Any = transformers.utils.logging
    logging.set_verbosity_error()
    logging.disable_progress_bar()


def device_of(options: Mapping[str, Any]) -> str:
    """Return the device that is asked for, else a GPU where there is one."""
    if "device" in options:
        return str(options["device"])
    return "cuda" if torch.cuda.is_available() else "cpu"


def padded(
    rows: Sequence[Sequence[int]], fill: int, device: Any, *, left: bool = True
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return token ids and attention mask of rows of different lengths."""
    width = max(map(len, rows))
    ids = torch.full((len(rows), width), fill, dtype=torch.long)
    mask = torch.zeros((len(rows), width), dtype=torch.long)
    for number, row in enumerate(rows):
        place = slice(width - len(row), width) if left else slice(0, len(row))
        ids[number, place] = torch.tensor(row, dtype=torch.long)
        mask[number, place] = 1
    return ids.to(device), mask.to(device)


def _kept(one: Waiting) -> int:
    """Return how many of a row's last logits are read: from the one before what is weighed."""
    return len(one.tokens) - one.weighed[0] + 1 if one.weighed else 1


class Writer:
    """A causal language model: it writes, and says how likely a text is."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.model, self.tokenizer, self._chat = model, tokenizer, Chat(tokenizer)
        self._ends = set(ends_of_answers(model, tokenizer))
        self._fill = tokenizer.pad_token_id
        if self._fill is None:
            self._fill = min(self._ends, default=0)
        self._context = getattr(model.config, "max_position_embeddings", None) or 1 << 30
        self._variants_known: Variants | None = None
        self._parameters = inspect.signature(model.forward).parameters
        # Kept aside: transformers would add a model's own penalties to what a request asks for.
        self._defaults, model.generation_config = model.generation_config, _GenerationConfig()

    def measure(self, waiting: Waiting) -> None:
        """Tokenise the request; refuse what the model cannot do.

        A schema is left to whoever asked, who checks the reply in any case.
        """
        request = waiting.request
        if isinstance(request, Ask):
            request = waiting.request = with_turn_ends(self.tokenizer, request)
        if isinstance(request, Ask | Choose):
            tokens = prompt_tokens(self.tokenizer, request)
            more = (request.max_tokens or 0) if isinstance(request, Ask) else 1
            if isinstance(request, Choose):
                waiting.variants = self._variants.of(request.options)
            else:
                for name in request.stop_tokens:
                    token_named(self.tokenizer, name)
        elif isinstance(request, Likelihood):
            tokens, waiting.weighed = answer_tokens(self.tokenizer, request)
            more = 0
        elif isinstance(request, TurnLikelihood):
            tokens, waiting.weighed = turn_tokens(self._chat, request)
            more = 0
        else:
            raise PermanentFault("a language model gives no reward; name a sequence classifier")
        if not tokens:
            raise PermanentFault("the prompt is empty: there is nothing to go on from")
        if len(tokens) > self._context - isinstance(request, Ask | Choose):
            raise PermanentFault(
                f"the prompt has {len(tokens)} tokens and the model reads {self._context} at most; "
                "filter long rows (length) or use a model with a longer context"
            )
        waiting.tokens, waiting.size = tuple(tokens), len(tokens) + more

    @property
    def _variants(self) -> Variants:
        if self._variants_known is None:
            self._variants_known = Variants(self.tokenizer)
        return self._variants_known

    def run(self, batch: Sequence[Waiting]) -> None:
        """Settle a batch of one form, in parts that fit the budget of tokens."""
        width = min(max(one.size for one in batch), self._context)
        most = max(1, BATCH_TOKENS // width)
        forms = {Ask: self._write, Choose: self._choose}
        compute = forms.get(type(batch[0].request), self._weigh)
        if compute == self._weigh:
            vocabulary = self.model.config.get_text_config().vocab_size
            most = min(most, max(1, BATCH_LOGITS // (max(map(_kept, batch)) * vocabulary)))
        with torch.inference_mode():
            for start in range(0, len(batch), most):
                compute(batch[start : start + most])

    def _write(self, batch: Sequence[Waiting]) -> None:
        drafts = [Draft.of(one, self.tokenizer, self._defaults, self._ends) for one in batch]
        for draft in drafts:
            draft.limit = min(draft.limit, self._context - len(draft.waiting.tokens))
        # Rows that are done are computed with the others. So a batch ends when half of it is, and
        # its text is read again for those that are not: that costs less than their neighbours.
        while drafts:
            self._go_on(drafts)
            drafts = [one for one in drafts if one.finish is None and not one.waiting.given_up]

    def _go_on(self, drafts: Sequence[Draft]) -> None:
        """Write on where the drafts end, until half of them are done."""
        begun = [(*one.waiting.tokens, *one.ids) for one in drafts]
        ids, mask = padded(begun, self._fill, self.model.device)
        config = _GenerationConfig(
            do_sample=False,
            max_new_tokens=max(one.limit - len(one.ids) for one in drafts),
            pad_token_id=self._fill,
            use_cache=True,
        )
        self.model.generate(
            input_ids=ids,
            attention_mask=mask,
            generation_config=config,
            logits_processor=transformers.LogitsProcessorList([Drafting(drafts)]),
            stopping_criteria=transformers.StoppingCriteriaList([Ended(drafts)]),
        )

    def _logits(self, batch: Sequence[Waiting], keep: int) -> torch.Tensor:
        """Return the logits after each of the last `keep` tokens of each row."""
        ids, mask = padded([one.tokens for one in batch], self._fill, self.model.device)
        given: dict[str, Any] = {"input_ids": ids, "attention_mask": mask, "use_cache": False}
        if "position_ids" in self._parameters:
            given["position_ids"] = (mask.cumsum(-1) - 1).clamp(min=0)
        if "logits_to_keep" in self._parameters:
            given["logits_to_keep"] = keep
        logits: torch.Tensor = self.model(**given).logits[:, -keep:]
        return logits

    def _choose(self, batch: Sequence[Waiting]) -> None:
        """Settle choices by the distribution at the place where the answer begins."""
        chances = self._logits(batch, 1)[:, 0].double().log_softmax(-1)
        for number, one in enumerate(batch):
            assert isinstance(one.request, Choose)
            ids = torch.tensor([token for _, token in one.variants], device=chances.device)
            texts, values = (text for text, _ in one.variants), chances[number, ids].tolist()
            likely = zip(texts, values, strict=True)
            read = len(one.tokens)
            one.settle(choice_reply(one.request.options, likely, whole=True, input_tokens=read))

    def _weigh(self, batch: Sequence[Waiting]) -> None:
        keep = max(map(_kept, batch))
        logits = self._logits(batch, keep)
        for number, one in enumerate(batch):
            # A token is likely by the logits after the one before it; kept are the last of a row.
            shift = keep - len(one.tokens) - 1
            before = torch.tensor([shift + place for place in one.weighed], dtype=torch.long)
            ids = torch.tensor([one.tokens[place] for place in one.weighed], dtype=torch.long)
            chances = logits[number, before.to(logits.device)].float().log_softmax(-1)
            values = chances.gather(-1, ids.to(logits.device)[:, None])[:, 0]
            one.settle(Reply(values=tuple(values.tolist()), input_tokens=len(one.tokens)))


class Classifier:
    """A sequence classifier: one reward for a conversation, or one logit for each label."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.model, self.tokenizer, self._chat = model, tokenizer, Chat(tokenizer)
        self._context = getattr(model.config, "max_position_embeddings", None) or 1 << 30

    def measure(self, waiting: Waiting) -> None:
        """Tokenise the conversation; refuse every other request."""
        if not isinstance(waiting.request, Reward):
            raise PermanentFault("a sequence classifier only scores; name a language model")
        turns = template_turns(waiting.request.messages)
        if self.tokenizer.chat_template:
            # With the row's tools, as reward models are trained.
            text = rendered(self._chat, turns, waiting.request.template_options or {})
            check_rendered(turns, text)
            tokens = list(self.tokenizer(text, add_special_tokens=False)["input_ids"])
        elif len(turns) == 1:
            tokens = list(self.tokenizer(turns[0]["content"])["input_ids"])
        else:
            # Models without a template were trained on a question and its answer.
            *before, last = (turn["content"] or "" for turn in turns)
            tokens = list(self.tokenizer("\n".join(before), last)["input_ids"])
            check_rendered(turns, "\n".join([*before, last]))
        if len(tokens) > self._context:
            raise PermanentFault(
                f"the conversation has {len(tokens)} tokens and the model reads {self._context} at "
                "most; filter long rows (length) or use a model with a longer context"
            )
        waiting.tokens, waiting.size = tuple(tokens), len(tokens)

    def run(self, batch: Sequence[Waiting]) -> None:
        """Settle a batch of conversations."""
        fill = self.model.config.pad_token_id
        # Without a padding token the model cannot know where a row ends: one at a time.
        groups = [batch] if fill is not None else [[one] for one in batch]
        with torch.inference_mode():
            for group in groups:
                rows = [one.tokens for one in group]
                ids, mask = padded(rows, fill or 0, self.model.device, left=False)
                logits = self.model(input_ids=ids, attention_mask=mask).logits.float()
                for one, values in zip(group, logits.tolist(), strict=True):
                    one.settle(Reply(values=tuple(values), input_tokens=len(one.tokens)))
