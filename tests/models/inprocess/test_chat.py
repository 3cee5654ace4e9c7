"""Masks against conversations in which the supervised text was marked by hand, as [[...]]."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import trl

from curate.models.inprocess.chat import IGNORED, Chat, TemplateRefused, turns_for
from curate.read.shapes.record_fields import rendering_options
from curate.row import Message, Row
from curate.train.examples import example_of
from curate.train.settings import method_called, settings_for
from tests.train.tiny import CHATML, SPECIAL, tokenizer

TEMPLATES = Path(trl.__file__).parent / "chat_templates"
TALK = [
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello"},
    {"role": "user", "content": "2+2?"},
    {"role": "assistant", "content": " 4, of course. "},
]
SYSTEM = {"role": "system", "content": "Be brief."}
CALL = {"type": "function", "function": {"name": "add", "arguments": {"a": 2, "b": 2}}}
TOOLS = [{"type": "function", "function": {"name": "add", "description": "Add.", "parameters": {}}}]
WITH_TOOL = [
    {"role": "user", "content": "2+2?"},
    {"role": "assistant", "content": "", "tool_calls": [CALL]},
    {"role": "tool", "content": "4"},
    {"role": "assistant", "content": "It is 4."},
]
LLAMA = ("<pad>", "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
GEMMA = ("<pad>", "<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>")
MISTRAL = ("<pad>", "<s>", "</s>", "[INST]", "[/INST]", "[TOOL_CALLS]", "[TOOL_RESULTS]")
# The published template of Mistral 7B Instruct v0.3, without its checks of ids.
MISTRAL_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}[INST] {{ m['content'] }}"
    "[/INST]{% elif m['role'] == 'tool' %}[TOOL_RESULTS] {\"content\": {{ m['content'] }}}"
    "{% elif m['tool_calls'] is defined %}[TOOL_CALLS] [{% for c in m['tool_calls'] %}"
    "{{ c['function'] | tojson }}{% endfor %}]{{ eos_token }}{% else %} {{ m['content'] | trim }}"
    "{{ eos_token }}{% endif %}{% endfor %}"
)


def chat(
    template: str, special: Sequence[str] = SPECIAL, eos: str = "<|im_end|>", bos: str = ""
) -> Chat:
    made = tokenizer(template, special, eos)
    if bos:
        made.bos_token = bos
    return Chat(made)


def marked(chat: Chat, turns: list[dict[str, Any]], first: int = 0, **options: Any) -> str:
    """Return the text of the tokens, the supervised ones in [[ ]]."""
    ids, labels = chat.encode(turns, first, **options)
    assert len(ids) == len(labels)
    out, inside = [], False
    for token, label in zip(ids, labels, strict=True):
        if (label != IGNORED) != inside:
            out.append("]]" if inside else "[[")
            inside = not inside
        assert label in (token, IGNORED)
        out.append(chat.tokenizer.convert_ids_to_tokens(token))
    text = "".join(out) + ("]]" if inside else "")
    return text.replace("Ġ", " ").replace("Ċ", "\n")


def file(name: str) -> str:
    return (TEMPLATES / f"{name}.jinja").read_text()


def test_chatml() -> None:
    assert marked(chat(CHATML), [SYSTEM, *TALK]) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        "<|im_start|>user\nHi<|im_end|>\n"
        "<|im_start|>assistant\n[[Hello<|im_end|>]]\n"
        "<|im_start|>user\n2+2?<|im_end|>\n"
        "<|im_start|>assistant\n[[ 4, of course. <|im_end|>]]"
    )


def test_qwen_with_tools() -> None:
    found = marked(chat(file("qwen2_5")), WITH_TOOL, tools=TOOLS)
    head, _, rest = found.partition("<|im_start|>user\n")
    assert head.startswith("<|im_start|>system\nYou are Qwen")
    assert "[[" not in head
    assert rest == (
        "2+2?<|im_end|>\n"
        '<|im_start|>assistant\n[[<tool_call>\n{"name": "add", "arguments": {"a": 2, "b": 2}}\n'
        "</tool_call><|im_end|>]]\n"
        "<|im_start|>user\n<tool_response>\n4\n</tool_response><|im_end|>\n"
        "<|im_start|>assistant\n[[It is 4.<|im_end|>]]"
    )


def test_llama_3() -> None:
    found = marked(chat(file("llama3"), LLAMA, "<|eot_id|>", "<|begin_of_text|>"), [SYSTEM, *TALK])
    assert found == (
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n[[Hello<|eot_id|>]]"
        "<|start_header_id|>user<|end_header_id|>\n\n2+2?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n[[4, of course.<|eot_id|>]]"
    )


def test_llama_3_1_with_tools() -> None:
    special = (*LLAMA, "<|eom_id|>", "<|python_tag|>")
    found = marked(
        chat(file("llama3_1"), special, "<|eot_id|>", "<|begin_of_text|>"), WITH_TOOL, tools=TOOLS
    )
    assert found.endswith(
        "2+2?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
        '[[{"name": "add", "parameters": {"a": 2, "b": 2}}<|eot_id|>]]'
        '<|start_header_id|>ipython<|end_header_id|>\n\n"4"<|eot_id|>'
        "<|start_header_id|>assistant<|end_header_id|>\n\n[[It is 4.<|eot_id|>]]"
    )
    assert found.count("[[") == 2


def test_gemma_trims_and_has_no_system_turn() -> None:
    gemma = chat(file("gemma"), GEMMA, "<eos>", "<bos>")
    assert marked(gemma, TALK) == (
        "<bos><start_of_turn>user\nHi<end_of_turn>\n"
        "<start_of_turn>model\n[[Hello<end_of_turn>]]\n"
        "<start_of_turn>user\n2+2?<end_of_turn>\n"
        "<start_of_turn>model\n[[4, of course.<end_of_turn>]]"
    )
    with pytest.raises(TemplateRefused, match="System role not supported"):
        gemma.encode([SYSTEM, *TALK])


def test_mistral_with_tools() -> None:
    mistral = chat(MISTRAL_TEMPLATE, MISTRAL, "</s>", "<s>")
    assert marked(mistral, TALK) == (
        "<s>[INST] Hi[/INST][[ Hello</s>]][INST] 2+2?[/INST][[ 4, of course.</s>]]"
    )
    assert marked(mistral, WITH_TOOL) == (
        '<s>[INST] 2+2?[/INST][[[TOOL_CALLS] [{"name": "add", "arguments": {"a": 2, "b": 2}}]</s>]]'
        '[TOOL_RESULTS] {"content": 4}[[ It is 4.</s>]]'
    )


def test_phi_puts_one_more_token_behind_the_last_turn() -> None:
    phi = chat(
        file("phi3_5"),
        ("<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"),
        "<|endoftext|>",
    )
    assert marked(phi, TALK) == (
        "<|user|>\nHi<|end|>\n<|assistant|>\n[[Hello<|end|>]]\n"
        "<|user|>\n2+2?<|end|>\n<|assistant|>\n[[ 4, of course. <|end|>]]"
    )


def test_qwen_3_drops_earlier_thoughts_and_learns_the_last_one() -> None:
    qwen = chat(file("qwen3"))
    thought = {"role": "assistant", "content": "<think>\nEasy.\n</think>\n\n4"}
    found = marked(qwen, [TALK[0], thought, TALK[2], thought])
    assert found == (
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n[[4<|im_end|>]]\n"
        "<|im_start|>user\n2+2?<|im_end|>\n"
        "<|im_start|>assistant\n[[<think>\nEasy.\n</think>\n\n4<|im_end|>]]"
    )


def test_gpt_oss_learns_the_channel() -> None:
    special = ("<|endoftext|>", "<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|return|>")
    found = marked(chat(file("gptoss"), special, "<|return|>"), TALK)
    assert found.endswith(
        "<|start|>assistant[[<|channel|>final<|message|> 4, of course. <|return|>]]"
    )
    assert found.count("[[") == 2


def test_only_what_follows_the_prompt_is_learnt() -> None:
    found = marked(chat(CHATML), TALK, first=2)
    assert re.findall(r"\[\[(.*?)\]\]", found) == [" 4, of course. <|im_end|>"]


def test_all_answers_of_a_conversation_are_learnt_or_the_last_one() -> None:
    turns = [("user", "a"), ("assistant", "one"), ("user", "b"), ("assistant", "two")]
    row = Row("r", (0,), "sft", {"messages": tuple(Message(*turn) for turn in turns)})
    chat, way = Chat(tokenizer()), method_called("sft")
    found = {}
    for learn in ("all", "last"):
        example, _ = example_of(row, chat, way, settings_for(way, learn=learn))
        assert example is not None
        ((ids, labels),) = example.answers
        found[learn] = chat.tokenizer.decode([i for i in labels if i != -100])
        assert len(ids) == len(labels)
    assert found == {"all": "one<|im_end|>two<|im_end|>", "last": "two<|im_end|>"}


def test_text_that_stands_in_the_prompt_too_is_learnt_once() -> None:
    turns = [{"role": "user", "content": "Say: Hello"}, {"role": "assistant", "content": "Hello"}]
    assert marked(chat(CHATML), turns).count("[[Hello<|im_end|>]]") == 1


def test_a_template_without_an_end_of_turn() -> None:
    plain = Chat(
        tokenizer("{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}")
    )
    assert plain.end_of_turn == ""
    assert marked(plain, TALK[:2]) == "user: Hi\nassistant: [[Hello]]"
    assert chat(CHATML).end_of_turn == "<|im_end|>"


def test_no_answer_no_label() -> None:
    ids, labels = chat(CHATML).encode(TALK[:1])
    assert ids
    assert set(labels) == {IGNORED}


def test_characters_of_several_bytes() -> None:
    turns = [{"role": "user", "content": "名"}, {"role": "assistant", "content": "é名😀"}]
    tokens = chat(CHATML).encode(turns)
    assert tokens.supervised == len("é名😀".encode()) + 1


def test_messages_as_templates_read_them() -> None:
    message = Message(
        "assistant",
        "",
        '{"content":null,"tool_calls":[{"type":"function","function":'
        '{"name":"add","arguments":"{\\"a\\":2}","strict":null}}]}',
    )
    (turn,) = turns_for([message])
    assert turn["content"] == ""
    assert turn["tool_calls"][0]["function"] == {"name": "add", "arguments": {"a": 2}}


def test_tools_lose_the_nulls_that_tables_give_them() -> None:
    extra = {
        "tools": '[{"name": "add", "strict": null}]',
        "chat_template_kwargs": {"x": 1, "y": None},
    }
    assert rendering_options(extra) == {"tools": [{"name": "add"}], "x": 1}
    assert rendering_options({}) == {}
    # As CSV files have them.
    assert rendering_options({"chat_template_kwargs": '{"x": 1}', "tools": " "}) == {"x": 1}
    for wrong in ("[1]", "x", [1]):
        with pytest.raises(ValueError, match=r"chat_template_kwargs must be|Expecting value"):
            rendering_options({"chat_template_kwargs": wrong})


@pytest.mark.parametrize(
    "name", ["messages", "tools", "add_generation_prompt", "chat_template", "tokenize", "eos_token"]
)
def test_names_that_are_not_the_rows_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"chat_template_kwargs names '{name}', which"):
        rendering_options({"chat_template_kwargs": {"enable_thinking": True, name: "x"}})
