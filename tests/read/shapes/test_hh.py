"""Transcripts as they are found: without a space, with a text before them, with a prompt column."""

import pytest

from curate.errors import InputError
from curate.read import open_inputs
from curate.write import as_shape
from tests.read.reading import read_all

ASKED = "\n\nHuman: Hi"


def turns(messages):
    return [(turn.role, turn.content) for turn in messages]


def test_a_turn_may_lack_the_space_behind_its_colon():
    source = {"chosen": f"{ASKED}\n\nAssistant: Hello", "rejected": f"{ASKED}\n\nAssistant:"}
    [row] = read_all([source]).rows
    assert turns(row.prompt) == [("user", "Hi")]
    assert turns(row.chosen + row.rejected) == [("assistant", "Hello"), ("assistant", "")]
    assert as_shape(row, "hh") == source


def test_a_text_before_the_first_turn_is_a_system_prompt():
    sides = {"chosen": "Be nice.\n\nHuman: Hi\n\nAssistant: Hello"}
    sides["rejected"] = sides["chosen"].replace("Hello", "No")
    [row] = read_all([sides]).rows
    assert turns(row.prompt) == [("system", "Be nice."), ("user", "Hi")]
    assert as_shape(row, "hh") == sides
    trl = as_shape(row, "trl_dpo")
    assert trl["prompt"][0] == {"role": "system", "content": "Be nice."}


def test_a_transcript_may_begin_without_an_empty_line():
    sides = {name: f"Human: Hi\n\nAssistant: {name}" for name in ("chosen", "rejected")}
    [row] = read_all([sides]).rows
    assert turns(row.prompt) == [("user", "Hi")]
    assert as_shape(row, "hh") == sides


@pytest.mark.parametrize("space", ["", " "])
def test_a_prompt_column_breaks_off_behind_an_open_turn(space):
    """As in Dahoas/full-hh-rlhf."""
    prompt = f"{ASKED}\n\nAssistant: Hello\n\nHuman: Bye\n\nAssistant:{space}"
    source = {"prompt": prompt, "chosen": " So long" if not space else "So long", "rejected": "No"}
    assert [file.shape for file in open_inputs([source]).files] == ["hh"]
    [row] = read_all([source]).rows
    assert turns(row.prompt) == [("user", "Hi"), ("assistant", "Hello"), ("user", "Bye")]
    assert turns(row.chosen) == [("assistant", "So long")]
    assert as_shape(row, "hh") == source
    shorter = row._replace(fields={**row.fields, "prompt": row.prompt[:1]})
    assert as_shape(shorter, "hh")["prompt"] == f"{ASKED}\n\nAssistant:{space}"


def test_what_is_no_transcript_is_named():
    good = {"chosen": f"{ASKED}\n\nAssistant: a", "rejected": f"{ASKED}\n\nAssistant: b"}
    bad = {"chosen": "no turn", "rejected": good["rejected"]}
    ended = {"prompt": ASKED, **good}
    found = read_all([good, bad, ended], shape="hh")
    assert [message for _, _, message, *_ in found.failed] == [
        "column 'chosen' has no turn: an empty line and 'Human:' or 'Assistant:'",
        "column 'prompt' must end in an empty line and 'Assistant:'",
    ]
    with pytest.raises(InputError, match="fit no shape"):
        open_inputs([bad])
