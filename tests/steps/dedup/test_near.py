from __future__ import annotations

import json
import random
import unicodedata
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from curate.chunk import Chunk, table_of
from curate.kernels.sets import jaccard
from curate.kernels.text.words import compared_words
from curate.row import Message, Row
from curate.steps.dedup.near import Near

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
SCHEMA = pa.schema({"shingles": pa.list_(pa.uint64()), "length": pa.int64(), "score": pa.float64()})


def rows_of(texts, scores=None):
    return [
        Row(
            f"{i:032x}", (0, 0, i), "sft", {"messages": (Message("user", text),)},
            scores={} if scores is None else {"judge": scores[i]},
        )
        for i, text in enumerate(texts)
    ]  # fmt: skip


def sketches_of(step, rows, many=False):
    if not many:
        return pa.Table.from_pylist([step.sketch(row) for row in rows], schema=SCHEMA)
    tables = []
    for start in range(0, len(rows), 1000):
        chunk = Chunk(table_of(rows[start : start + 1000], ["judge"]), large=True)
        tables.append(pa.table(step.sketch_many(chunk)).cast(SCHEMA))
    return pa.concat_tables(tables)


def decide(step, rows, many=False):
    return step.decide(np.arange(len(rows)), sketches_of(step, rows, many))


# A sentence in each script, and what is replaced in it.
CHANGED = {
    "Chinese": ("请用三句话说明为什么每天锻炼身体对健康有好处", "三", "四"),
    "Japanese": ("毎日運動することが健康に良い理由を三つ説明してください", "三", "四"),
    "Korean": ("매일 운동하는 것이 건강에 좋은 이유를 세 가지 설명해 주세요", "세 가지", "네 가지"),
    "Thai": ("อธิบายสามเหตุผลว่าทำไมการออกกำลังกายทุกวันจึงดีต่อสุขภาพ", "สาม", "สี่"),
    "Khmer": ("សូមពន្យល់មូលហេតុបីយ៉ាងដែលការហាត់ប្រាណល្អសម្រាប់សុខភាព", "បី", "បួន"),
    "Lao": ("ອະທິບາຍສາມເຫດຜົນວ່າເປັນຫຍັງການອອກກຳລັງກາຍຈຶ່ງດີຕໍ່ສຸຂະພາບ", "ສາມ", "ສີ່"),
    "Burmese": ("နေ့စဉ်လေ့ကျင့်ခန်းလုပ်ခြင်းသည်ကျန်းမာရေးအတွက်ကောင်းသည်", "ကောင်း", "ဆိုး"),
}


@pytest.mark.parametrize("script", CHANGED)
def test_a_changed_character_leaves_a_near_duplicate_in_every_script(script):
    text, old, new = CHANGED[script]
    assert old in text
    rows = rows_of([text, text.replace(old, new), CHANGED["Thai" if script == "Lao" else "Lao"][0]])
    verdicts = decide(Near(similarity=0.7), rows)
    assert verdicts.code.tolist() == [-1, 0, -1]
    assert sketches_of(Near(), rows).equals(sketches_of(Near(), rows, many=True).combine_chunks())


def test_arabic_words_are_what_spaces_part():
    text = "اشرح ثلاثة أسباب تجعل الرياضة اليومية مفيدة للصحة"
    verdicts = decide(Near(), rows_of([text, text + " جدا", text.replace("الرياضة", "القراءة")]))
    assert verdicts.code.tolist() == [-1, 0, -1]
    assert verdicts.score[1] == 6 / 7


@pytest.mark.parametrize(
    "text", ["Le café fermé à Orléans, déjà", "Tiếng Việt rất dễ học", "한국어 공부 방법"]
)
def test_a_decomposed_twin_is_a_duplicate(text):
    verdicts = decide(Near(), rows_of([text, unicodedata.normalize("NFD", text)]))
    assert verdicts.score.tolist()[1] == 1.0


def perturbed(records, unit):
    """Return 300 rows and a copy of each with one unit of question and answer replaced.

    The unit (a character or a word) and what replaces it are drawn from those of the 300 rows by a
    generator seeded with the row's place.
    """
    picked = random.Random(f"{unit}:rows").sample(range(len(records)), 300)
    pairs = [
        ("\n\n".join(filter(None, (r["instruction"], r["input"]))), r["output"])
        for r in (records[place] for place in sorted(picked))
    ]
    gap = "" if unit == "character" else " "
    units = [list(text) if unit == "character" else text.split(" ") for p in pairs for text in p]
    pool = sorted({one for each in units for one in each if one.isalpha()})

    def changed(text, dice):
        own = list(text) if unit == "character" else text.split(" ")
        own[dice.randrange(len(own))] = dice.choice(pool)
        return gap.join(own)

    copies = []
    for place, pair in enumerate(pairs):
        dice = random.Random(f"copy:{place}")
        copies.append(tuple(changed(text, dice) for text in pair))
    return ["\n".join(pair) for pair in (*pairs, *copies)]


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "unit", "found"),
    # When only spaces parted words: 10 and 150.
    [("alpaca_zh_2000.json", "character", 184), ("alpaca_5000.json", "word", 150)],
)
def test_changed_copies_are_found_in_chinese_as_in_english(name, unit, found):
    if not DATA.is_dir():
        pytest.skip("../shared/data is absent")
    records = [r for r in json.loads((DATA / "alpaca" / name).read_text("utf-8")) if r["output"]]
    verdicts = decide(Near(), rows_of(perturbed(records, unit)))
    dropped = np.flatnonzero(verdicts.code >= 0)
    assert len(dropped) == found
    assert verdicts.partner[dropped].tolist() == (dropped - 300).tolist(), "only its own original"


TEXT = "the quick brown fox jumps over the lazy dog and runs away"


def test_a_duplicate_names_its_witness_and_the_exact_similarity():
    rows = rows_of([TEXT, "nothing like it at all", TEXT + " quickly", TEXT.upper() + "!"])
    verdicts = decide(Near(), rows)
    assert verdicts.code.tolist() == [-1, -1, 0, 0]
    assert verdicts.partner.tolist() == [-1, -1, 0, 0]
    assert verdicts.score[2:].tolist() == [10 / 11, 1.0]
    assert verdicts.reasons == ("near duplicate",)


def test_texts_without_words_take_no_part():
    assert decide(Near(), rows_of(["", "", "?!", "?!"])).code.tolist() == [-1] * 4
    assert decide(Near(on="response"), rows_of([TEXT, TEXT])).code.tolist() == [-1, -1]


def test_short_texts_are_one_shingle():
    assert decide(Near(), rows_of(["yes sir", "Yes, sir!", "yes"])).code.tolist() == [-1, 0, -1]


def test_similarity_is_a_chain_only_through_kept_rows():
    words = [f"w{n}" for n in range(30)]
    texts = [" ".join(words[k : k + 20]) for k in (0, 2, 4)]  # neighbours 0.8, the ends 0.64
    verdicts = decide(Near(similarity=0.8), rows_of(texts))
    assert verdicts.partner.tolist() == [-1, 0, -1]
    assert verdicts.score[1] == 16 / 20


@pytest.mark.parametrize(
    ("step", "kept"),
    [
        (Near(keep="first"), 0),
        (Near(keep="longest"), 2),
        (Near(keep="best", by="judge"), 1),
        (Near(keep="best", by="judge", lowest=True), 3),
    ],
)
def test_whom_it_keeps(step, kept):
    rows = rows_of([TEXT, TEXT, TEXT + " .....", TEXT + " !", TEXT], [None, 9.0, 2.0, 1.0, 9.0])
    for many in (False, True):
        assert np.flatnonzero(decide(step, rows, many).code < 0).tolist() == [kept]


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (Near(similarity=80), "above 0, at most 1"),
        (Near(shingle=0), "at least 1 word"),
        (Near(keep="best"), "name the step whose score decides"),
    ],
)
def test_contradictions_are_refused(step, message):
    with pytest.raises(ValueError, match=message):
        step.check()


def test_rules_are_no_part_of_the_fingerprint():
    assert Near(similarity=0.7, keep="longest").fingerprint() == Near().fingerprint()
    assert Near(shingle=5).fingerprint() != Near().fingerprint()


# -- 5,000 real rows ------------------------------------------------------------------------------


def real_texts(count=5000):
    if not DATA.is_dir():
        pytest.skip("../shared/data is absent")
    dice, texts = random.Random(7), []
    for name, keys in (
        ("alpaca/alpaca_5000.json", ("instruction", "input", "output")),
        ("gpteacher/toolformer_7673.json", ("instruction", "input", "response")),
        ("gpteacher/roleplay_1923.json", ("instruction", "input", "response")),
        ("alpaca/alpaca_zh_2000.json", ("instruction", "input", "output")),
    ):
        records = json.loads((DATA / name).read_text("utf-8"))
        texts += ["\n".join(str(r.get(k) or "") for k in keys) for r in records]
    texts = dice.sample(texts, count // 2)
    while len(texts) < count:
        words = dice.choice(texts).split(" ")
        for _ in range(dice.randint(0, 1 + len(words) // 12)):
            words[dice.randrange(len(words))] = dice.choice(["so", "very", "", words[0]])
        texts.append(" ".join(words))
    dice.shuffle(texts)
    return texts


def shingles(text):
    words = compared_words(text)  # tests/kernels/text/test_words.py holds them to a definition
    if not words:
        return frozenset()
    return frozenset(tuple(words[k : k + 3]) for k in range(max(1, len(words) - 2)))


@pytest.fixture(scope="module")
def real():
    """Return rows, their shingle sets, and every similarity above 0.6, by pair."""
    texts, dice = real_texts(), random.Random(8)
    rows = rows_of(texts, [dice.choice([None, 1.0, 2.0, 3.0]) for _ in texts])
    numbers, similar = {}, {}  # small integers compare faster than tuples of words
    sets = [{numbers.setdefault(s, len(numbers)) for s in shingles(text)} for text in texts]
    for row, own in enumerate(sets):
        for other in range(row):
            theirs = sets[other]
            # Sets whose sizes differ this much cannot reach 0.6; every other pair is compared.
            if 10 * min(len(own), len(theirs)) >= 6 * max(len(own), len(theirs)):
                shared = len(own & theirs)
                union = len(own) + len(theirs) - shared
                if union and 10 * shared >= 6 * union:
                    ratio = Fraction(shared, union)
                    similar.setdefault(row, {})[other] = similar.setdefault(other, {})[row] = ratio
    return rows, similar


def walk(rows, similar, step):
    """Decide by the definition, from the table of all similar pairs."""
    least = Fraction(str(step.similarity))
    rank = {
        "first": lambda k: k,
        "longest": lambda k: -len(rows[k].whole),
        "best": lambda k: -(rows[k].scores["judge"] or 0.0),
    }[step.keep]
    kept, found = set(), {}
    for row in sorted(range(len(rows)), key=rank):
        near = {o: r for o, r in similar.get(row, {}).items() if o in kept and r >= least}
        if near:
            best = min(near, key=lambda o: (-near[o], o))
            found[row] = (best, near[best].numerator / near[best].denominator)
        else:
            kept.add(row)
    return found


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("similarity", [0.7, 0.8, 0.9])
@pytest.mark.parametrize("keep", ["first", "longest", "best"])
def test_near_equals_brute_force_on_real_rows(real, keep, similarity, compiled, monkeypatch):
    rows, similar = real
    step = Near(similarity=similarity, keep=keep, by="judge")
    if compiled:
        monkeypatch.setattr(jaccard, "SMALL", 0)
    verdicts = decide(step, rows, many=compiled)
    dropped = np.flatnonzero(verdicts.code >= 0)
    found = {int(r): (int(verdicts.partner[r]), float(verdicts.score[r])) for r in dropped}
    assert found == walk(rows, similar, step)
    assert 500 < len(found) < 3000
    kept = set(range(len(rows))) - set(found)
    least = Fraction(str(similarity))
    assert not any(
        other in kept and ratio >= least
        for row in kept
        for other, ratio in similar.get(row, {}).items()
    )
