import itertools
import random

import pytest

from curate.chunk import Chunk, table_of
from curate.kernels.sets.benchmarks import normal_words
from curate.kernels.sets.shingles import shingle_set
from curate.steps.select.split import Split

WORDS = [f"word{n}" for n in range(60)]


def sides(verdicts):
    assert (verdicts.code == -1).all()
    return [note["split"] for note in verdicts.notes]


def noisy_rows(conversation, count=120):
    """Return rows of which many share a prompt, or differ by a few words only."""
    dice, rows = random.Random(5), []
    for _ in range(count):
        if rows and dice.random() < 0.5:
            base = dice.choice(rows)
            words = base.messages[1].content.split()
            words[dice.randrange(len(words))] = dice.choice(WORDS)
            rows.append(conversation(base.instruction + "!" * dice.randrange(2), " ".join(words)))
        else:
            prompt = " ".join(dice.choices(WORDS, k=4))
            rows.append(conversation(prompt, " ".join(dice.choices(WORDS, k=30))))
    return rows


def alike(one, other, similarity=0.8):
    if normal_words(one.instruction) == normal_words(other.instruction):
        return True
    a, b = (set(shingle_set(row.whole, 3).tolist()) for row in (one, other))
    return len(a & b) >= similarity * len(a | b)


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_nothing_leaks(share, conversation, decide):
    rows = noisy_rows(conversation)
    marks = sides(decide(Split(share=share), rows))
    assert 0 < marks.count("test") <= share * len(rows)
    linked = 0
    for (row, mark), (other, mark2) in itertools.combinations(zip(rows, marks, strict=True), 2):
        if alike(row, other):
            linked += 1
            assert mark == mark2
    assert linked > 50


def test_rows_without_links_fill_the_test_side_exactly(conversation, decide):
    rows = [conversation(f"question {n}", f"answer number {n} is {n * n}") for n in range(50)]
    assert sides(decide(Split(share=0.2), rows)).count("test") == 10
    assert sides(decide(Split(count=7), rows)).count("test") == 7
    assert sides(decide(Split(share=0.0), rows)).count("test") == 0
    assert sides(decide(Split(share=1.0), rows)).count("test") == 50


def test_a_single_row_stays_to_train_on(conversation, decide):
    one, two = conversation("a question", "an answer"), conversation("another", "with its own")
    assert sides(decide(Split(share=0.5), [one])) == ["train"]
    assert sorted(sides(decide(Split(), [one, two]))) == ["test", "train"]
    assert sides(decide(Split(share=1.0), [one])) == ["test"]
    assert sides(decide(Split(count=1), [one])) == ["test"]
    assert sides(decide(Split(), [])) == []


def test_similarity_can_be_left_out(conversation, decide):
    text = " ".join(WORDS[:40])
    rows = [conversation(f"prompt {n}", text) for n in range(20)]
    assert sides(decide(Split(share=0.5), rows)).count("test") == 0
    assert sides(decide(Split(share=0.5, similarity=None), rows)).count("test") == 10


@pytest.mark.parametrize("large", [False, True])
def test_near_duplicates_written_without_spaces_stay_together(conversation, large):
    dice = random.Random(3)
    rows = []
    for n in range(40):
        text = "".join(chr(dice.randrange(0x4E00, 0x5E00)) for _ in range(60))
        rows += [
            conversation(f"{n}", text),
            conversation(f"{n} again", f"{text[:30]}的{text[31:]}"),
        ]
    step = Split(share=0.4, on="response")
    sketches = step.sketch_many(Chunk(table_of(rows), large=large))
    if sketches is None:
        sketches = [step.sketch(row)["shingles"].tolist() for row in rows]
    else:
        sketches = sketches["shingles"].to_pylist()
    for one, other in zip(sketches[::2], sketches[1::2], strict=True):
        shared = len({*one} & {*other})
        assert shared >= 0.8 * len({*one} | {*other})


def test_equal_prompts_without_words_stay_together(conversation, decide):
    rows = [conversation("\U0001f44d ?" if n % 2 else "\U0001f44d  ?", f"a{n}") for n in range(20)]
    assert sides(decide(Split(share=0.5), rows)).count("test") == 0


def test_order_of_unlinked_rows_does_not_matter(conversation, decide):
    rows = [conversation(f"question {n}", f"answer number {n}") for n in range(40)]
    step = Split(count=9, similarity=None)
    one = {r.id for r, s in zip(rows, sides(decide(step, rows)), strict=True) if s == "test"}
    other = {
        r.id
        for r, s in zip(rows[::-1], sides(decide(step, rows[::-1])), strict=True)
        if s == "test"
    }
    assert one == other


def test_wrong_fields_are_refused(decide):
    for fields, message in (
        ({"similarity": 0.0}, "similarity is 0.0"),
        ({"share": 2}, "from 0 to 1, not 2"),
        ({"count": -1}, "must not be negative"),
        ({"shingle": 0}, "at least 1, not 0"),
    ):
        with pytest.raises(ValueError, match=message):
            Split(**fields).check()
    assert sides(decide(Split(), [])) == []
