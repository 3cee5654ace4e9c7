"""Requests as token ids: one begin-of-text, the template's headers, the answer's own tokens."""

from __future__ import annotations

from typing import Any

import pytest

from curate.ask import Ask, Likelihood, TurnLikelihood
from curate.errors import NotSent, PermanentFault
from curate.models.inprocess.chat import Chat
from curate.models.inprocess.tokens import (
    Variants,
    answer_tokens,
    chat_text,
    prompt_tokens,
    token_named,
    turn_tokens,
)
from curate.row import Message
from tests.models.tiny import save_trained

pytestmark = pytest.mark.slow
ASKED = (Message("user", "Say A"),)


@pytest.fixture(scope="module", params=["bpe", "sentencepiece"])
def tokenizer(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    from transformers import AutoTokenizer

    folder = save_trained(tmp_path_factory.mktemp(request.param), request.param)
    return AutoTokenizer.from_pretrained(folder)


def shown(tokenizer: Any, ids: list[int]) -> str:
    return str(tokenizer.decode(ids))


def test_a_raw_prompt_has_one_begin_of_text(tokenizer: Any) -> None:
    plain = prompt_tokens(tokenizer, Ask(prompt="Say A"))
    written = prompt_tokens(tokenizer, Ask(prompt="<s>Say A"))
    assert plain.count(tokenizer.bos_token_id) == written.count(tokenizer.bos_token_id) == 1
    assert written[0] == tokenizer.bos_token_id
    # An own header after it stays a header.
    headed = prompt_tokens(tokenizer, Ask(prompt="<s><|user|>Say A"))
    assert headed[:2] == [tokenizer.bos_token_id, token_named(tokenizer, "<|user|>")]


def test_a_chat_ends_with_the_header_of_the_turn_that_is_asked_for(tokenizer: Any) -> None:
    def text(**fields: Any) -> str:
        return shown(tokenizer, prompt_tokens(tokenizer, Ask(messages=ASKED, **fields)))

    before = shown(tokenizer, tokenizer("<|user|>Say A<|end|>")["input_ids"])
    assert text() == f"{before}<|assistant|>"
    assert text(prefill="A").startswith(f"{before}<|assistant|>")
    assert text(prefill="A").removeprefix(f"{before}<|assistant|>").strip() == "A"
    assert text(turn="user") == f"{before}<|user|>"
    assert text().count("<s>") == 1
    alone = prompt_tokens(tokenizer, Ask(turn="user"))
    assert shown(tokenizer, alone).replace(" ", "") == "<s><|user|>"


def test_a_template_without_a_user_header_is_refused(tokenizer: Any) -> None:
    own, tokenizer.chat_template = tokenizer.chat_template, "{{ messages[0].role }}"
    try:
        with pytest.raises(PermanentFault, match="no header for a user's turn"):
            prompt_tokens(tokenizer, Ask(turn="user"))
    finally:
        tokenizer.chat_template = own


def test_the_likelihood_of_an_answer_to_a_chat_to_the_token(tokenizer: Any) -> None:
    own = tokenizer("A or B", add_special_tokens=False)["input_ids"]
    ids, scored = answer_tokens(tokenizer, Likelihood(messages=ASKED, answer="A or B"))
    assert ids == [*prompt_tokens(tokenizer, Ask(messages=ASKED)), *own]
    assert list(scored) == list(range(len(ids) - len(own), len(ids)))
    # Without a condition the same tokens are scored, behind begin-of-text alone.
    ids, scored = answer_tokens(tokenizer, Likelihood(messages=(), answer="A or B"))
    assert (ids, scored) == ([tokenizer.bos_token_id, *own], range(1, len(own) + 1))
    ids, scored = answer_tokens(tokenizer, Likelihood(prompt="<s>Say A", answer=" or B"))
    assert ids.count(tokenizer.bos_token_id) == 1
    assert scored.stop == len(ids)
    assert shown(tokenizer, ids[scored.start :]).strip() == "or B"


def test_without_begin_of_text_the_first_token_has_no_value(tokenizer: Any) -> None:
    own, tokenizer.bos_token = tokenizer.bos_token, None
    try:
        ids, scored = answer_tokens(tokenizer, Likelihood(messages=(), answer="A or B"))
        assert scored == range(1, len(ids))
    finally:
        tokenizer.bos_token = own


TALK = (*ASKED, Message("assistant", "A."), Message("user", "Say B"), Message("assistant", "(B)"))


def test_whole_turns_count_with_the_token_that_ends_them(tokenizer: Any) -> None:
    chat = Chat(tokenizer)

    def counted(first: int) -> list[str]:
        ids, places = turn_tokens(chat, TurnLikelihood(messages=TALK, first=first))
        # Nothing follows the last turn that counts.
        assert places[-1] == len(ids) - 1
        text = shown(tokenizer, [ids[place] for place in places])
        return [said.strip() for said in text.split("<|end|>")]

    assert counted(0) == ["A.", "(B)", ""]
    assert counted(2) == ["(B)", ""]
    ids, places = turn_tokens(chat, TurnLikelihood(messages=ASKED))
    assert (ids[0], list(places)) == (tokenizer.bos_token_id, [])


def test_what_a_template_cannot_render_has_no_likelihood(tokenizer: Any) -> None:
    seen = Message("user", "", '{"content": [{"type": "image_url", "image_url": {"url": "a"}}]}')
    called = Message("assistant", "", '{"tool_calls": [{"function": {"name": "add"}}]}')
    for turns in ((seen, *TALK[1:]), (*ASKED, called)):
        with pytest.raises(NotSent, match="this model cannot read"):
            turn_tokens(Chat(tokenizer), TurnLikelihood(messages=turns))
    own = tokenizer.chat_template
    try:
        tokenizer.chat_template = "{{ raise_exception('no tools') if tools }}" + own
        asked = TurnLikelihood(messages=TALK, template_options={"tools": [{"name": "add"}]})
        with pytest.raises(PermanentFault, match=r"cannot render the conversation \(no tools\)"):
            turn_tokens(Chat(tokenizer), asked)
        tokenizer.chat_template = None
        with pytest.raises(PermanentFault, match="no chat template"):
            turn_tokens(Chat(tokenizer), TurnLikelihood(messages=TALK))
    finally:
        tokenizer.chat_template = own


def test_what_a_tool_said_may_be_rendered_as_json(tokenizer: Any) -> None:
    said = Message("tool", '{"sum": "4"}\n')
    turns, own = (*ASKED, said, Message("assistant", "A")), tokenizer.chat_template
    as_json = "{{ (m.content | tojson) if m.role == 'tool' else m.content }}"
    try:
        # As the templates of Llama 3.1 and gpt-oss do.
        tokenizer.chat_template = own.replace("{{ m.content }}", as_json)
        assert tokenizer.chat_template != own
        ids, places = turn_tokens(Chat(tokenizer), TurnLikelihood(messages=turns))
        assert shown(tokenizer, [ids[place] for place in places]).strip().startswith("A")
        tokenizer.chat_template = own.replace(
            "{{ m.content }}", "{{ m.content if m.role != 'tool' }}"
        )
        with pytest.raises(NotSent, match="leaves them out"):
            turn_tokens(Chat(tokenizer), TurnLikelihood(messages=turns))
    finally:
        tokenizer.chat_template = own


def test_every_token_that_spells_an_option_is_found(tokenizer: Any) -> None:
    found = Variants(tokenizer).of(("A", "B"))
    for option in ("A", "B"):
        ids = [token for text, token in found if text == option]
        pieces = set(tokenizer.convert_ids_to_tokens(ids))
        assert pieces in ({"A", "\u0120A"}, {"A", "\u2581A"}, {"B", "\u0120B"}, {"B", "\u2581B"})
    with pytest.raises(PermanentFault, match="'A or B' is not a single token"):
        Variants(tokenizer).of(("A or B", "A"))
    with pytest.raises(PermanentFault, match=r"no token '<nope>' to stop at.*<\|user\|>"):
        token_named(tokenizer, "<nope>")


def test_what_a_template_leaves_out_is_refused(tokenizer: Any) -> None:
    call = '{"tool_calls": [{"function": {"name": "weather", "arguments": "{}"}}]}'
    turns = (*ASKED, Message("assistant", "", call), Message("tool", "22 degrees", None))
    with pytest.raises(NotSent, match="cannot read tool calls"):
        prompt_tokens(tokenizer, Ask(messages=turns))
    image = '{"content": [{"type": "image_url", "image_url": {"url": "http://x/y.png"}}]}'
    with pytest.raises(NotSent, match="cannot read image_url parts"):
        prompt_tokens(tokenizer, Ask(messages=(Message("user", "", image),)))
    own = tokenizer.chat_template
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m.role }}: {{ m.content }}{% for c in m.tool_calls or [] %}"
        "{{ c.function.name }}({{ c.function.arguments | tojson }}){% endfor %}\n{% endfor %}"
    )
    try:
        assert "weather({})" in chat_text(tokenizer, turns, "assistant")
    finally:
        tokenizer.chat_template = own
