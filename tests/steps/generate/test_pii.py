import json
import re
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.chunk import Chunk, table_of
from curate.kernels.text.pii import KINDS, SCREENS, find_personal, luhn, mod_97
from curate.read.shapes.record_fields import messages_of, turns_of
from curate.row import Candidate, Message
from curate.step import Drop
from curate.steps.generate.pii import Pii

DATA = Path(__file__).parent / "data" / "pii_cases.tsv"


def labelled_cases():
    """Yield (text, [(kind, value)]) of every labelled line."""
    for line in DATA.read_text("utf-8").splitlines():
        if line.startswith("#"):
            continue
        names, _, marked = line.partition("\t")
        marked = marked.replace("‖", "").replace("\\n", "\n").replace("\\t", "\t")
        values = re.findall("«(.*?)»", marked, re.S)
        kinds = names.split(",") if "," in names else [names] * len(values)
        yield re.sub("[«»]", "", marked), list(zip(kinds, values, strict=True))


CASES = list(labelled_cases())


def confusion():
    """Count hits, misses and false finds per kind; a find must have the labelled extent."""
    hits, missed, wrong = Counter(), Counter(), Counter()
    for text, expected in CASES:
        found = Counter((s.kind, text[s.start : s.end]) for s in find_personal(text))
        labels = Counter(expected)
        for name, counts in (
            (hits, found & labels),
            (missed, labels - found),
            (wrong, found - labels),
        ):
            for (kind, _), number in counts.items():
                name[kind] += number
    return hits, missed, wrong


def test_there_are_enough_cases_of_every_sort():
    assert len(CASES) >= 300
    assert sum(not labels for _, labels in CASES) >= 150
    kinds = Counter(kind for _, labels in CASES for kind, _ in labels)
    assert set(kinds) == set(KINDS)
    assert min(kinds.values()) >= 20


def test_precision_and_recall_on_the_labelled_cases():
    hits, missed, wrong = confusion()
    for kind in KINDS:
        print(kind, hits[kind], "found,", missed[kind], "missed,", wrong[kind], "wrong")
        assert hits[kind] / (hits[kind] + missed[kind]) >= 0.95, kind
        assert hits[kind] / (hits[kind] + wrong[kind]) >= 0.95, kind


@pytest.mark.parametrize("kind", KINDS)
def test_the_screen_covers_every_case(kind):
    screen = pa.array([text for text, labels in CASES if kind in dict(labels)])
    assert pc.all(pc.match_substring_regex(screen, SCREENS[kind])).as_py()


PIECES = st.sampled_from(
    [value for _, labels in CASES for _, value in labels] + [*"0123+-@. :(=\n"]
)


@given(st.lists(PIECES, max_size=6).map("".join))
def test_whatever_is_found_passes_the_screen(text):
    for span in find_personal(text):
        found = pc.match_substring_regex(pa.array([text]), SCREENS[span.kind])[0].as_py()
        assert found, span


def test_a_name_before_an_at_has_at_most_64_characters():
    """RFC 5321; a longer run is not an address, however long a blob of letters is."""
    assert [s.end - s.start for s in find_personal("a" * 64 + "@lee.org")] == [72]
    assert find_personal("a" * 65 + "@lee.org") == []
    assert find_personal("a" * 100_000 + "@" + "b" * 100_000 + ".org") == []


def test_checksums_follow_their_standards():
    assert luhn("79927398713")  # the example of ISO/IEC 7812-1, annex B
    assert [luhn(f"7992739871{digit}") for digit in range(10)].count(True) == 1
    assert mod_97("GB82WEST12345698765432") == 1
    assert mod_97("GB83WEST12345698765432") != 1


def test_masks_every_turn_and_nothing_else(conversation):
    row = conversation(
        "I am ann.lee@proton.me", "Call +1 415 867 5309 or 8.8.8.8", system="Be kind"
    )
    made = Pii().make(row)
    assert [turn.content for turn in made.fields["messages"]] == [
        "Be kind",
        "I am [EMAIL]",
        "Call [PHONE] or [IP]",
    ]
    assert Pii().make(conversation("hi", "hello")).kind == "sft"
    assert Pii(find=("card",)).make(row) is row


def test_masks_all_answers_of_other_kinds(make_row):
    prompt, leak = (Message("user", "hi"),), (Message("assistant", "to ann.lee@proton.me"),)
    masked = (Message("assistant", "to [EMAIL]"),)
    pair = {"prompt": prompt, "chosen": prompt, "rejected": leak, "margin": 1.0, "p_chosen": None}
    made = Pii().make(make_row("preference", pair))
    assert made.fields == {**pair, "rejected": masked}
    ranked = {"prompt": prompt, "candidates": (Candidate(leak, 0.5, "m"),)}
    made = Pii().make(make_row("ranked", ranked))
    assert made.fields["candidates"] == (Candidate(masked, 0.5, "m"),)


@pytest.mark.parametrize(
    ("texts", "left"),
    [
        (["to ann.lee@proton.me", "and 8.8.8.8"], ["to [EMAIL]", "and [IP]"]),
        # A key may begin in one part and end in another.
        ([f"-----{mark} RSA PRIVATE KEY-----" for mark in ("BEGIN", "END")], ["[KEY]"]),
    ],
)
def test_masks_the_parts_that_a_text_came_in(conversation, texts, left):
    image = {"type": "image_url", "image_url": {"url": "a.png"}}
    came = [{"type": "text", "text": text} for text in texts]
    turn = messages_of([{"role": "user", "content": [*came, image], "name": "ann"}], "messages")
    row = conversation("", "")._replace(fields={"messages": turn})
    (masked,) = Pii().make(row).fields["messages"]
    assert masked.content == "\n".join(left)
    parts = [{"type": "text", "text": text} for text in left]
    assert json.loads(masked.parts) == {"content": [*parts, image], "name": "ann"}
    assert turns_of([masked])[0]["content"] == [*parts, image]


def test_drop_counts_and_names_the_first_kind(conversation):
    row = conversation("ann.lee@proton.me bob.ray@proton.me", "8.8.8.8")
    assert Pii(action="drop").make(row) == Drop(
        "personal data: email", 3.0, detail={"email": 2, "ip": 1}
    )


def test_masking_twice_changes_nothing_more(conversation):
    for text, _ in CASES:
        masked = Pii().make(conversation("q", text))
        if hasattr(masked, "parents") and masked.kind == "sft" and "messages" in masked.fields:
            again = conversation("q", masked.fields["messages"][-1].content)
            assert Pii().make(again) is again


@pytest.mark.parametrize("action", ["mask", "drop"])
def test_both_forms_agree(action, conversation, make_row):
    rows = [conversation(text, "fine") for text, _ in CASES]
    leak = tuple(Message("assistant", text) for text, _ in CASES[:3])
    pair = {"prompt": rows[-1].messages[:1], "chosen": rows[-1].messages[1:], "rejected": leak}
    rows.append(make_row("preference", {**pair, "margin": None, "p_chosen": None}))
    step = Pii(action=action)
    many = step.make_many(Chunk(table_of(rows), large=True))
    for row, made in zip(rows, many, strict=True):
        plain = step.make(row)
        assert made == ([] if plain is row else [plain])
    assert sum(map(bool, many)) > 150


def test_unknown_kinds_are_refused():
    with pytest.raises(ValueError, match="unknown kind 'ssn'; allowed are key"):
        Pii(find=("ssn",)).check()
    with pytest.raises(ValueError, match="find names nothing"):
        Pii(find=()).check()
