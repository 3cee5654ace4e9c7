"""The network of SCAR, its files, and its scores."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from curate.ask import Ask, Reward
from curate.errors import PermanentFault, UsageError
from curate.models.inprocess.style_ranker import (
    RankerShape,
    StyleScorer,
    load_ranker,
    masked_max,
    new_ranker,
    save_ranker,
    tokenized,
)
from curate.models.turns import instruction_and_answer
from curate.row import Message
from tests.models import tiny

WORDS = "a b c d e f g h i j k l m n o p q r s t u v w x y z"


def conversation(asked: str, said: str) -> tuple[Message, ...]:
    return Message("user", asked), Message("assistant", said)


class Slot:
    """A request as the worker hands it over, without a loop."""

    def __init__(self, request):
        self.request, self.size, self.given_up, self.answer = request, 0, False, None

    def settle(self, answer):
        self.answer = answer


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_encoder(tmp_path_factory.mktemp("encoder"), WORDS)


def scored(scorer: StyleScorer, talks, size: int) -> list[float]:
    slots = [Slot(Reward(messages=talk)) for talk in talks]
    for slot in slots:
        scorer.measure(slot)
    for start in range(0, len(slots), size):
        scorer.run(slots[start : start + size])
    return [slot.answer.values[0] for slot in slots]


def test_the_maximum_leaves_out_what_is_masked() -> None:
    states = torch.tensor([[[1.0, -2.0], [3.0, -4.0], [9.0, 9.0]], [[-1.0, -5.0]] * 3])
    mask = torch.tensor([[1, 1, 0], [0, 0, 0]])
    # The second text has no token at all: zeros, and not the number that masks.
    assert masked_max(states, mask).tolist() == [[3.0, -2.0], [0.0, 0.0]]
    assert masked_max(-states.abs(), mask).tolist() == [[-1.0, -2.0], [0.0, 0.0]]
    states.requires_grad_()
    masked_max(states, mask).sum().backward()
    assert states.grad is not None
    assert states.grad.tolist() == [[[0, 1], [1, 0], [0, 0]], [[0, 0]] * 3]


def test_the_score_is_that_of_the_formulas(encoder: Path) -> None:
    torch.manual_seed(1)
    ranker, tokenizer = new_ranker(str(encoder), RankerShape(width=8))
    ranker.eval()
    talk = conversation("a b c", "d e")
    (asked, said) = (tokenizer(text, return_tensors="pt") for text in ("a b c", "d e"))
    with torch.no_grad():
        first, second = (ranker.encoder(**one).last_hidden_state[0] for one in (asked, said))
        relation, output = ranker.relation_network, ranker.output_layer
        both = torch.cat((first[0], second[0]))
        surprisal = relation[2].weight @ (relation[0].weight @ both + relation[0].bias).relu()
        surprisal = surprisal + relation[2].bias
        joined = torch.cat((surprisal, second.max(dim=0).values))
        hidden = (output[0].weight @ joined + output[0].bias).relu()
        by_hand = float(output[2].weight @ hidden + output[2].bias)
    (score,) = scored(StyleScorer(ranker, tokenizer, "cpu"), [talk], 1)
    assert score == pytest.approx(by_hand, abs=1e-6)


def test_scores_and_ranking_are_the_same_for_every_batch(encoder: Path) -> None:
    torch.manual_seed(1)
    ranker, tokenizer = new_ranker(str(encoder), RankerShape(width=8))
    talks = [
        conversation(" ".join(WORDS.split()[n % 5 : n % 7 + 5]), " ".join(WORDS.split()[n % 11 :]))
        for n in range(22)
    ]
    scorer = StyleScorer(ranker, tokenizer, "cpu")
    alone = scored(scorer, talks, 1)
    # 22 rows in batches of 7 leave one row for the last.
    for size in (2, 7, 22):
        assert scored(scorer, talks, size) == alone
    # On a GPU rows share a pass: the same up to rounding, in whatever batch.
    scorer._budget = 100
    for size in (1, 7, 22):
        assert scored(scorer, talks, size) == pytest.approx(alone, abs=1e-5)


def test_a_saved_ranker_scores_as_before(encoder: Path, tmp_path: Path) -> None:
    ranker, tokenizer = new_ranker(str(encoder), RankerShape(width=8))
    talks = [conversation("a b", "c d"), conversation("a", "z y x")]
    before = scored(StyleScorer(ranker, tokenizer, "cpu"), talks, 2)
    save_ranker(ranker, tokenizer, tmp_path)
    again, tokenizer = load_ranker(str(tmp_path))
    assert scored(StyleScorer(again, tokenizer, "cpu"), talks, 2) == before
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["model_type"] == "style_ranker"
    assert (config["hidden_dim"], config["linear_dim"], config["max_length"]) == (32, 8, 64)


def test_a_checkpoint_of_the_authors_form_is_read(encoder: Path, tmp_path: Path) -> None:
    """Theirs names the encoder, has the numbers of positions, and uses the pooler."""
    from safetensors.torch import load_file, save_file

    torch.manual_seed(2)
    ranker, tokenizer = new_ranker(str(encoder), RankerShape(width=8, cls="pooler"))
    save_ranker(ranker, tokenizer, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    for name in ("encoder", "cls", "max_length"):
        del config[name]
    (tmp_path / "config.json").write_text(json.dumps(config))
    weights = load_file(tmp_path / "model.safetensors")
    weights["encoder.embeddings.position_ids"] = torch.arange(64)[None]
    save_file(weights, tmp_path / "model.safetensors")
    again, tokenizer = load_ranker(str(tmp_path))
    assert again.shape == RankerShape(8, "pooler", 512)
    talk = [conversation("a b", "c d")]
    one, two = (scored(StyleScorer(r, tokenizer, "cpu"), talk, 1) for r in (ranker, again))
    assert one == two


def test_what_is_no_ranker_is_refused_in_words(encoder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"not a style ranker.*curate train scar"):
        load_ranker(str(encoder))
    ranker, tokenizer = new_ranker(str(encoder), RankerShape(width=8))
    save_ranker(ranker, tokenizer, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text()) | {"linear_dim": 8, "cls": "pooler"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UsageError, match=r"2 weights are missing \(encoder.pooler"):
        load_ranker(str(tmp_path))
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(UsageError, match="pickled weights are not read; convert"):
        load_ranker(str(tmp_path))


def test_a_model_without_a_cls_token_is_refused(tmp_path: Path) -> None:
    tiny.save_tiny(tmp_path, "LlamaForCausalLM", 64)
    with pytest.raises(UsageError, match="has no CLS token"):
        new_ranker(str(tmp_path), RankerShape())


def test_long_texts_are_cut_and_said_to_be(encoder: Path) -> None:
    ranker, tokenizer = new_ranker(str(encoder), RankerShape(width=8))
    assert ranker.shape.max_length == 64
    long, short = tokenized(tokenizer, [WORDS * 3, "a b"], 64)
    assert (len(long.ids), long.cut, short.cut) == (64, True, False)
    assert long.ids[-1] == tokenizer.sep_token_id
    slot = Slot(Reward(messages=conversation("a", " ".join([WORDS] * 3))))
    StyleScorer(ranker, tokenizer, "cpu").run([slot])
    assert slot.answer.cut == (1,)


def test_what_cannot_be_ranked_is_refused(encoder: Path) -> None:
    scorer = StyleScorer(*new_ranker(str(encoder), RankerShape(width=8)), "cpu")
    with pytest.raises(PermanentFault, match="only scores"):
        scorer.measure(Slot(Ask.text("a")))
    with pytest.raises(PermanentFault, match="not the assistant's"):
        scorer.measure(Slot(Reward(messages=(Message("user", "a"),))))
    with pytest.raises(ValueError, match="answer is empty"):
        instruction_and_answer(conversation("a", " "))
    with pytest.raises(ValueError, match="tool calls or media"):
        instruction_and_answer(
            (Message("user", "a", '{"image": "x.png"}'), Message("assistant", "b"))
        )
    turns = (Message("system", "s"), Message("user", "a"), Message("assistant", "b"))
    assert instruction_and_answer(turns) == ("s\na", "b")
