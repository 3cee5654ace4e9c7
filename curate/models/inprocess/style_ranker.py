"""The network of SCAR: how consistent the style of an answer is, from its form and its surprisal.

Li et al. 2024, arXiv 2406.10882, section 3. One encoder reads instruction and answer apart. The
*form* of an answer is the maximum of its token states; its *surprisal* comes from the CLS states of
instruction and answer together. Layers are named as in the authors' checkpoints, so one loader
reads theirs and those of `curate train scar`: `config.json`, `model.safetensors` and a tokenizer.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
import transformers
from torch import nn

from curate.ask import Reply, Reward
from curate.encoders.embedded import NAME, embedded_encoder, embedded_or
from curate.errors import PermanentFault, UsageError
from curate.models.inprocess.transformer import padded
from curate.models.inprocess.worker import Waiting
from curate.models.turns import instruction_and_answer

Cls = Literal["state", "pooler"]
MODEL_TYPE = "style_ranker"
# What the authors' files leave out.
MAX_LENGTH = 512
CONFIG, WEIGHTS = "config.json", "model.safetensors"
# The tokens of a batch on a GPU, padding included.
GPU_TOKENS = 65_536
_GIVEN: dict[str, Any] = {"trust_remote_code": False}


class Encoded(NamedTuple):
    """Texts as the ranker sees them: a CLS vector and the maximum of token states of each."""

    cls: torch.Tensor
    form: torch.Tensor


class Styled(NamedTuple):
    """What the ranker makes of answers: a score, and the two vectors that it rests on."""

    score: torch.Tensor
    surprisal: torch.Tensor
    form: torch.Tensor


class RankerShape(NamedTuple):
    """What decides the network besides its encoder."""

    # Width of the hidden layers of both heads; the authors' run with gte-base has 512.
    width: int = 512
    # The CLS vector: the state of the first token, or what the encoder's own pooler makes of it.
    cls: Cls = "state"
    max_length: int = MAX_LENGTH


class StyleRanker(nn.Module):
    """An encoder with SCAR's two heads."""

    def __init__(self, encoder: Any, shape: RankerShape) -> None:
        """Put heads on `encoder`; a pooler that is not used is left out."""
        super().__init__()
        if shape.cls == "state" and getattr(encoder, "pooler", None) is not None:
            encoder.pooler = None
        self.encoder, self.shape = encoder, shape
        hidden = int(encoder.config.hidden_size)

        def head(out: int) -> nn.Sequential:
            return nn.Sequential(
                nn.Linear(2 * hidden, shape.width), nn.ReLU(), nn.Linear(shape.width, out)
            )

        self.relation_network = head(hidden)
        self.output_layer = head(1)

    def encode(self, ids: torch.Tensor, mask: torch.Tensor) -> Encoded:
        """Return the vectors of texts, given token ids and attention mask (texts x tokens)."""
        found = self.encoder(input_ids=ids, attention_mask=mask)
        states = found.last_hidden_state
        cls = states[:, 0] if self.shape.cls == "state" else found.pooler_output
        return Encoded(cls, masked_max(states, mask))

    def style(self, instruction: torch.Tensor, answer: Encoded) -> Styled:
        """Return scores and style vectors of answers, given the CLS vectors of instructions."""
        surprisal = self.relation_network(torch.cat((instruction, answer.cls), dim=-1))
        score = self.output_layer(torch.cat((surprisal, answer.form), dim=-1))
        return Styled(score[..., 0], surprisal, answer.form)


def masked_max(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the maximum over the unmasked tokens of each text, zeros for a text without any.

    Args:
        states: texts x tokens x features.
        mask: texts x tokens, 0 where there is no token.
    """
    there = mask.bool()[..., None]
    most = states.masked_fill(~there, torch.finfo(states.dtype).min).amax(dim=1)
    return torch.where(there.any(dim=1), most, torch.zeros_like(most))


class Tokenized(NamedTuple):
    """The tokens of a text, and whether its end was cut off."""

    ids: list[int]
    cut: bool


def tokenized(tokenizer: Any, texts: Sequence[str], most: int) -> list[Tokenized]:
    """Return the tokens of each text with its special tokens, `most` of them at most."""
    whole = tokenizer(list(texts), truncation=False, verbose=False)["input_ids"]
    found = []
    for text, ids in zip(texts, whole, strict=True):
        cut = len(ids) > most
        if cut:
            ids = tokenizer(text, truncation=True, max_length=most)["input_ids"]
        found.append(Tokenized(list(ids), cut))
    return found


# -- files -----------------------------------------------------------------------------------------


def new_ranker(where: str, shape: RankerShape) -> tuple[StyleRanker, Any]:
    """Return a ranker with new heads on the encoder at `where`, and its tokenizer.

    `where` is a folder (of transformers or sentence-transformers), a name on the Hub, or `local`.

    Raises:
        UsageError: there is no encoder, or none whose first token stands for the whole text.
    """
    where = str(embedded_encoder()) if where in ("local", NAME) else embedded_or(where)
    modules = Path(where) / "modules.json"
    if modules.is_file():
        first = json.loads(modules.read_text(encoding="utf-8"))[0]
        where = str(Path(where) / first["path"])
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(where, **_GIVEN)
        encoder: Any = transformers.AutoModel.from_pretrained(
            where, use_safetensors=True, dtype=torch.float32, **_GIVEN
        )
    except (OSError, ValueError) as error:
        said = " ".join(str(error).split())[:300]
        raise UsageError(
            f"{where} cannot be loaded as an encoder (safetensors only, and no code of a model's "
            f"repository): {said}"
        ) from None
    first = tokenizer("a")["input_ids"][:1]
    if encoder.config.is_encoder_decoder or first != [tokenizer.cls_token_id]:
        raise UsageError(
            f"{where} has no CLS token, whose state stands for a whole text; take an encoder such "
            f"as BERT, RoBERTa, MPNet or {NAME} (`--model local`)"
        )
    if shape.cls == "pooler" and getattr(encoder, "pooler", None) is None:
        raise UsageError(f"{where} has no pooler; use `cls: state`")
    positions = getattr(encoder.config, "max_position_embeddings", None) or 1 << 30
    # RoBERTa and its kin count positions from the padding token's number on.
    padding = getattr(getattr(encoder, "embeddings", None), "padding_idx", None)
    positions -= 0 if padding is None else padding + 1
    most = min(shape.max_length, positions, tokenizer.model_max_length)
    return StyleRanker(encoder, shape._replace(max_length=int(most))), tokenizer


def save_ranker(ranker: StyleRanker, tokenizer: Any, folder: Path) -> None:
    """Write a ranker and its tokenizer into `folder`."""
    from safetensors.torch import save_model

    encoder = ranker.encoder.config
    config = {
        "model_type": MODEL_TYPE,
        "encoder_name": encoder.name_or_path,
        "hidden_dim": encoder.hidden_size,
        "linear_dim": ranker.shape.width,
        "cls": ranker.shape.cls,
        "max_length": ranker.shape.max_length,
        "encoder": encoder.to_dict(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(folder)
    save_model(ranker, str(folder / WEIGHTS))
    (folder / CONFIG).write_text(json.dumps(config, indent=1), encoding="utf-8")


def load_ranker(where: str, revision: str | None = None) -> tuple[StyleRanker, Any]:
    """Return the ranker in the folder `where`, or of that name on the Hub, and its tokenizer.

    Raises:
        UsageError: what is there is no ranker, or comes as a pickle only.
    """
    from safetensors.torch import load_file

    folder = Path(where)
    if not folder.is_dir():
        from huggingface_hub import snapshot_download

        try:
            files = ["*.json", "*.safetensors", "*.txt", "*.model"]
            folder = Path(snapshot_download(where, revision=revision, allow_patterns=files))
        except (OSError, ValueError) as error:
            said = " ".join(str(error).split())[:300]
            raise UsageError(f"{where} is not a folder, and not found on the Hub: {said}") from None
    config = {}
    if (folder / CONFIG).is_file():
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    if config.get("model_type") != MODEL_TYPE:
        raise UsageError(
            f"{where} is not a style ranker (its {CONFIG} says {config.get('model_type')!r}, not "
            f"'{MODEL_TYPE}'); train one: curate train scar DATA --model local -o DIR"
        )
    if not (folder / WEIGHTS).is_file():
        raise UsageError(
            f"{where} has no {WEIGHTS}, and pickled weights are not read; convert them once: "
            'python -c "import torch, safetensors.torch as s; s.save_file(torch.load('
            f"'pytorch_model.bin', weights_only=True), '{WEIGHTS}')\""
        )
    auto: Any = transformers.AutoConfig
    if "encoder" in config:
        inner = auto.for_model(**config["encoder"])
    else:
        inner = auto.from_pretrained(config["encoder_name"], **_GIVEN)
    build: Any = transformers.AutoModel.from_config
    encoder = build(inner, dtype=torch.float32)
    # The authors' code takes the pooler's vector wherever the encoder has a pooler.
    cls: Cls = "pooler" if getattr(encoder, "pooler", None) is not None else "state"
    shape = RankerShape(
        int(config["linear_dim"]),
        config.get("cls", cls),
        int(config.get("max_length", MAX_LENGTH)),
    )
    ranker = StyleRanker(encoder, shape)
    missing, unknown = ranker.load_state_dict(load_file(folder / WEIGHTS), strict=False)
    # Older files also hold the numbers of positions.
    unknown = [name for name in unknown if not name.endswith("position_ids")]
    if missing or unknown:
        raise UsageError(
            f"{folder / WEIGHTS} does not fit its {CONFIG}: {len(missing)} weights are missing "
            f"({', '.join(missing[:3])}), {len(unknown)} unknown ({', '.join(unknown[:3])})"
        )
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **_GIVEN)
    return ranker.eval(), tokenizer


# -- answering -------------------------------------------------------------------------------------


class StyleScorer:
    """A style ranker behind `Reward` requests.

    On a CPU each row is computed alone: its score is the same to the last bit whatever else is
    asked, and padding costs more there than small batches do. On a GPU rows of a batch share a
    pass, which moves the last digits of a score.
    """

    def __init__(self, ranker: StyleRanker, tokenizer: Any, device: str) -> None:
        self._ranker, self._tokenizer = ranker.to(device).eval(), tokenizer
        self._device = device
        self._budget = GPU_TOKENS if device != "cpu" else 0

    def measure(self, waiting: Waiting) -> None:
        """Size a request by its texts; refuse every other request."""
        if not isinstance(waiting.request, Reward):
            raise PermanentFault("a style ranker only scores; name a language model")
        try:
            texts = instruction_and_answer(waiting.request.messages)
        except ValueError as error:
            raise PermanentFault(str(error)) from None
        waiting.size = max(map(len, texts))

    def run(self, batch: Sequence[Waiting]) -> None:
        """Settle a batch, as many rows together as the device computes well."""
        texts = [instruction_and_answer(one.request.messages) for one in batch]  # type: ignore[attr-defined]
        flat = [text for pair in texts for text in pair]
        read = tokenized(self._tokenizer, flat, self._ranker.shape.max_length)
        longest = max(len(one.ids) for one in read)
        size = max(1, self._budget // longest)
        for start in range(0, len(batch), size):
            part = slice(start, start + size)
            if any(not one.given_up for one in batch[part]):
                self._settle(batch[part], read[0::2][part], read[1::2][part])

    def _settle(
        self,
        batch: Sequence[Waiting],
        instructions: Sequence[Tokenized],
        answers: Sequence[Tokenized],
    ) -> None:
        with torch.inference_mode():
            asked, said = (self._encoded(side) for side in (instructions, answers))
            scores = self._ranker.style(asked.cls, said).score.float().tolist()
        for one, score, *sides in zip(batch, scores, instructions, answers, strict=True):
            if not math.isfinite(score):
                one.settle(PermanentFault(f"the ranker's score is {score}; its weights are broken"))
                continue
            cut = tuple(number for number, side in enumerate(sides) if side.cut)
            tokens = sum(len(side.ids) for side in sides)
            one.settle(Reply(values=(score,), cut=cut, input_tokens=tokens))

    def _encoded(self, texts: Sequence[Tokenized]) -> Encoded:
        fill = self._tokenizer.pad_token_id or 0
        ids, mask = padded([one.ids for one in texts], fill, self._device, left=False)
        return self._ranker.encode(ids, mask)
