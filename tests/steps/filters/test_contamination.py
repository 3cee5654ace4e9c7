import gzip
import json
import math
import random
import re
import unicodedata
from pathlib import Path

import datasets
import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from datasets import Dataset, DatasetDict

from curate import Pipeline
from curate.chunk import Chunk, table_of
from curate.encoders.embedded import embedded_encoder
from curate.errors import RecipeError, UsageError
from curate.kernels.sets.benchmarks import (
    Item,
    ItemText,
    TestIndex,
    normal_words,
    read_items,
    set_path,
)
from curate.steps.filters.contamination import Contamination
from curate.store.store import Store
from curate.store.vectors import EncodedVectors, vector_keys

DATA = Path(__file__).parents[4] / "shared" / "data"
SENTENCE = "the quick brown fox jumps over a lazy dog while seven small birds sing songs"
WORDS = SENTENCE.split()


@pytest.fixture
def test_file(tmp_path):
    path = tmp_path / "bench.jsonl"
    items = [
        {"question": " ".join(WORDS)},
        {"question": "Who are you?"},
        {"question": "Été à Köln"},
    ]
    path.write_text("\n".join(map(json.dumps, items)), "utf-8")
    return path


def test_any_shared_n_gram_hits_and_names_the_item(test_file, conversation, scores_of):
    step = Contamination(against=(f"bench={test_file}",))
    half = "Well, THE quick-brown fox jumps; over a lazy dog while seven small birds! ok"
    rows = [
        conversation("q", " ".join(WORDS)),
        conversation(half, "a"),
        conversation(" ".join(WORDS[:12]), "only twelve words"),
        conversation("Who are you", "I am"),
        conversation("So, who are you?", "longer than the item"),
        conversation("été à köln!", "non-ASCII"),
    ]
    assert scores_of(step, rows) == [1.0, 0.867, 0, 1.0, 0, 1.0]
    scored = step.score(rows[1])
    assert scored.detail.pop("text") == step.items()[0].text[:200]
    assert scored.detail == {"test_set": "bench", "item": 0, "by": "13-gram"}
    (item,) = (one for one in step.items() if one.place == 2)
    short = {"test_set": "bench", "item": 2, "by": "whole turn", "text": item.text}
    assert step.score(rows[5]).detail == short
    assert scores_of(Contamination(against=(str(test_file),), n=8), rows[2:3]) == [0.8]


@pytest.mark.parametrize(
    ("item", "turn", "score"),
    [
        ("请用三句话说明为什么每天锻炼身体", "你好请用三句话说明为什么每天锻炼谢谢", 0.875),
        ("อธิบายสามเหตุผลว่าทำไม", "ช่วยอธิบายสามเหตุผลว่าทำไมหน่อย", 1.0),
        ("Le café fermé à Orléans déjà un deux trois quatre cinq six sept huit",) * 2 + (1.0,),
        ("اشرح ثلاثة أسباب تجعل الرياضة اليومية مفيدة", "اشرح ثلاثة أسباب تجعل القراءة", 0),
    ],
)
def test_items_are_found_in_every_script(item, turn, score, tmp_path, conversation, scores_of):
    path = tmp_path / "bench.jsonl"
    path.write_text(json.dumps({"question": unicodedata.normalize("NFD", item)}), "utf-8")
    step = Contamination(against=(str(path),))
    assert scores_of(step, [conversation(turn, "a"), conversation("a", turn)]) == [score] * 2


def test_n_grams_do_not_run_across_turns(test_file, conversation, scores_of):
    row = conversation(" ".join(WORDS[:8]), " ".join(WORDS[8:]))
    assert scores_of(Contamination(against=(str(test_file),)), [row]) == [0]


def test_both_forms_agree_on_random_texts(conversation, scores_of):
    dice = random.Random(7)
    vocabulary = ["ab", "AB", "a_b", "é", "É", "x1", "ſ", "K", "ß", "你"]

    def text(length):
        return "".join(dice.choice(vocabulary) + dice.choice(" ,-\n") for _ in range(length))

    class Fixed(Contamination):
        def index(self):
            return index

        def items(self):
            return texts

    for n in (1, 2, 3):
        drawn = [ItemText("t", place, text(dice.randrange(5))) for place in range(4)]
        texts = [item for item in drawn if normal_words(item.text)]
        items = [Item(*item[:2], normal_words(item.text)) for item in drawn]
        index = TestIndex(items, n)
        rows = [conversation(text(dice.randrange(9)), text(dice.randrange(9))) for _ in range(40)]
        scores = scores_of(Fixed(against=("x",), n=n), rows)
        brute = [any(_shares(row, item, n) for item in items if item.words) for row in rows]
        assert [score > 0 for score in scores] == brute


def _shares(row, item, n):
    """Tell by brute force whether a row shares an n-gram with an item, or equals a short one."""
    for turn in row.messages:
        words = normal_words(turn.content)
        if len(item.words) < n:
            if words == item.words:
                return True
            continue
        grams = {item.words[i : i + n] for i in range(len(item.words) - n + 1)}
        if any(words[i : i + n] in grams for i in range(len(words) - n + 1)):
            return True
    return False


def written(folder, name, records):
    """Write records by the ending of a file's name; return its path."""
    path = folder / name
    lines = "".join(json.dumps(record) + "\n" for record in records).encode()
    if name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(records), path)
    elif name.endswith(".zst"):
        with pa.output_stream(str(path), compression="zstd") as packed:
            packed.write(lines)
    else:
        path.write_bytes(gzip.compress(lines) if name.endswith(".gz") else lines)
    return path


def test_reads_the_usual_files(tmp_path):
    question = "A question of more than forty characters, as FLAN's are."
    files = {
        "a.json": json.dumps([question]),
        "c.csv": f'id,question\n1,"{question}"\n',
        "d.tsv": question.replace(" ", "\\n") + "\tanswer\trationale\n",
        "e.jsonl": json.dumps({"turns": question.split()}) + "\n",
        "f.tsv": f"id\tquestion\n1\t{question}\n",
        "g.jsonl": json.dumps(question) + "\n",
    }
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    chat = [{"role": "user", "content": question}]
    for name in ("h.parquet", "i.jsonl.gz", "j.jsonl.zst"):
        written(tmp_path, name, [{"prompt": question}])
    written(tmp_path, "k.parquet", [{"prompt": chat}])
    words = tuple(re.findall(r"\w+", question.lower()))
    found = {path.name: list(read_items(str(path))) for path in tmp_path.iterdir()}
    assert len(found) == 10
    assert found == {name: [Item(name[0], 0, words)] for name in found}


def test_an_unusual_column_is_named_by_field(tmp_path):
    odd = written(tmp_path, "odd.jsonl", [{"Aufgabe": "x"}])
    with pytest.raises(ValueError, match=r"odd.jsonl, item 1: .* only Aufgabe; .* field="):
        list(read_items(str(odd)))
    assert [item.words for item in read_items(str(odd), "Aufgabe")] == [("x",)]


def test_a_folder_and_a_pattern_are_one_set_with_a_name_and_several_without(tmp_path):
    written(tmp_path, "b.parquet", [{"question": "third"}])
    written(tmp_path, "a.jsonl", [{"question": "first"}, {"question": "second"}])
    (tmp_path / "notes.txt").write_text("not read")
    for path in (tmp_path, tmp_path / "[ab].*"):
        several = [(item.test_set, item.place, *item.words) for item in read_items(str(path))]
        assert several == [("a", 0, "first"), ("a", 1, "second"), ("b", 0, "third")]
        one = [(item.test_set, item.place, *item.words) for item in read_items(f"bench={path}")]
        assert one == [("bench", 0, "first"), ("bench", 1, "second"), ("bench", 2, "third")]


def test_places_count_on_through_parts_and_row_groups(tmp_path, monkeypatch):
    monkeypatch.setattr("curate.read.lines.PART_ROWS", 4)
    monkeypatch.setattr("curate.read.arrow.arrow_tables.PART_ROWS", 4)
    items = [{"question": f"number {n}"} for n in range(50)]
    for name in ("long.jsonl", "long.jsonl.zst", "long.parquet"):
        found = list(read_items(str(written(tmp_path, name, items))))
        assert found == [Item("long", n, ("number", str(n))) for n in range(50)]
    path = tmp_path / "long.jsonl"
    path.write_text(path.read_text() + "{\n")
    with pytest.raises(ValueError, match=r"long.jsonl:51: broken JSON"):
        list(read_items(str(path)))


def test_a_test_set_may_lie_elsewhere(tmp_path, monkeypatch):
    system = fsspec.filesystem("memory")
    system.pipe("/bench/a.jsonl", b'{"question": "over there"}\n')
    assert list(read_items("memory:///bench/a.jsonl")) == [Item("a", 0, ("over", "there"))]
    one, other = ([{"question": f"in {split}"}] for split in ("training", "testing"))
    splits = {"train": Dataset.from_list(one), "test": Dataset.from_list(other)}
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: DatasetDict(splits))
    assert list(read_items("b=hub://org/name")) == [Item("b", 0, ("in", "testing"))]
    assert list(read_items("hub://org/name")) == [Item("name", 0, ("in", "testing"))]


def test_items_without_text_are_passed_over_where_others_have_one(tmp_path):
    path = tmp_path / "some.json"
    path.write_text(json.dumps(["", {"question": ""}, {"question": "Who?"}, {"question": None}]))
    assert list(read_items(str(path))) == [Item("some", 2, ("who",))]


def test_a_file_whose_path_holds_an_equals_sign_needs_no_name(tmp_path):
    folder = tmp_path / "split=test"
    folder.mkdir()
    path = str(written(folder, "a.jsonl", [{"question": "x"}]))
    for spec in (path, f"{folder}/*.jsonl", str(folder)):
        assert set_path(spec) == ("", spec)
        assert set_path(f"bench={spec}") == ("bench", spec)
    assert set_path("bench=b.jsonl") == ("bench", "b.jsonl")


def hit_items(items_file, pool_file, n, field=None):
    """Count the items of one file that share an n-gram with the texts of another.

    Two items of GSM8K's training set are shorter than 13 words: the step finds them as equal turns,
    which the published counts, of n-grams alone, leave out.
    """
    pool = [" ".join(item.words) for item in read_items(str(pool_file), field)]
    items = list(read_items(str(items_file), field))
    index = TestIndex([Item("pool", i, normal_words(text)) for i, text in enumerate(pool)], n)
    matches = [index.match([" ".join(item.words)]) for item in items]
    return sum(match is not None and len(match.item.words) >= n for match in matches)


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="needs ../shared/data")
@pytest.mark.parametrize(
    ("items", "pool", "thirteen", "eight"),
    [
        ("gsm8k/test.jsonl", "gsm8k/train.jsonl", 3, 80),
        ("flan/gsm8k_train.tsv", "gsm8k/train.jsonl", 7471, 7473),
        ("gsm8k/test.jsonl", "decontaminator/rephrase_gsm8k.jsonl", 0, 88),
    ],
)
def test_published_controls(items, pool, thirteen, eight):
    assert hit_items(DATA / items, DATA / pool, 13) == thirteen
    assert hit_items(DATA / items, DATA / pool, 8) == eight


@pytest.mark.real
@pytest.mark.skipif(not DATA.is_dir(), reason="needs ../shared/data")
def test_the_step_finds_what_the_control_finds(conversation, scores_of):
    questions = [
        json.loads(line)["question"]
        for line in (DATA / "gsm8k/test.jsonl").read_text("utf-8").splitlines()
    ]
    step = Contamination(against=(str(DATA / "gsm8k/train.jsonl"),))
    rows = [conversation(question, "answer") for question in questions]
    assert len(table_of(rows)) == len(Chunk(table_of(rows))) == 1319
    assert sum(score > 0 for score in scores_of(step, rows)) == 3


def test_rules():
    step = Contamination(against=("x",))
    assert step.keep(0.0) is None
    assert step.keep(0.001) == "shares 13-grams with a test set"
    assert Contamination(n=8, max=0.5).keep(0.6) == "8-grams cover more than 0.5 of a test item"
    assert Contamination(max=None).keep(1.0) is None


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "against lists no test set"),
        ({"against": ("x",), "n": 0}, "at least 1, not 0"),
        ({"against": ("x",), "on": "response"}, "on is for mode: semantic"),
        ({"against": ("x",), "encoder": "local"}, "encoder is for mode: semantic"),
        ({"against": ("x",), "windows": False}, "windows is for mode: semantic"),
        ({"against": ("x",), "mode": ()}, "mode lists nothing; give ngrams, semantic or both"),
        ({"against": ("x",), "mode": ("ngram", "semantic"), "max": 0.5}, "max is 0.5; where both"),
    ],
)
def test_wrong_fields_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Contamination(**fields).check()


def test_a_recipe_is_opened_without_its_test_sets(tmp_path):
    pipeline = Pipeline.from_yaml("steps: [contamination: {against: [nowhere.jsonl]}]")
    with pytest.raises(RecipeError, match=r"'contamination': test set nowhere.jsonl: no such"):
        pipeline.check()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"question": "x"}\n{"question": \n', "a.jsonl:2: broken JSON"),
        ("b.jsonl.gz", gzip.compress(b"x" * 99, mtime=0)[:-9], "b.jsonl.gz:1: the file breaks off"),
        ("c.jsonl.gz", b"no gzip", "c.jsonl.gz: its name says .jsonl.gz, but its content is not"),
        ("d.csv", b"question\n\xff\n", r"d.csv:2: invalid UTF-8 \(0xff\)"),
        (
            "e.json",
            b'["a word", 2]',
            "e.json, item 2: an item must be an object or a text, found 2",
        ),
        ("f.jsonl", b"", "f.jsonl: the file is empty"),
        ("g.json", b"[]", "g.json: it holds no item; an item is a text"),
        ("h.jsonl", b'{"question": null}\n', r"no item has .*holds ''\); .* field="),
        ("i.jsonl", b'{"question": "a"}\n{"question": 3}\n', "item 2: question must be .* found 3"),
        ("j.jsonl", b'{"question": [1, 2]}\n', r"item 1: question must be .* found \[1, 2\]"),
        ("k.csv", b"question\n...\n", r"no item has .*holds '...'\)"),
        ("l.jsonl", b'{"question": 0}\n', "item 1: question must be .* found 0"),
        ("m.txt", b"a question\n", "m.txt: cannot tell its format; allowed endings: .jsonl"),
        ("n.jsonl", b"3\n", "item 1: an item must be an object or a text, found 3"),
    ],
)
def test_a_broken_test_set_is_refused_before_the_run(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RecipeError, match=message):
        Pipeline([Contamination(against=(str(tmp_path / name),))]).check()


def test_a_test_set_at_an_address_is_read_anew_for_each_run():
    memory, digests = fsspec.filesystem("memory"), set()
    step = Contamination(against=("memory://b/items.jsonl",), n=3)
    for word in ("one", "two"):
        memory.pipe_file("/b/items.jsonl", f'{{"question": "who is {word} of them"}}\n'.encode())
        step.prepare()
        assert step.items()[0].text == f"who is {word} of them"
        digests.add(step.data_digest())
    assert len(digests) == 2
    memory.store.clear()


def test_a_test_set_that_changed_is_read_again_and_makes_another_run(tmp_path):
    path = written(tmp_path, "bench.jsonl", [{"question": "Who are you"}])
    rows = [{"instruction": text, "output": "a"} for text in ("Who are you", "What is it")]
    pipeline, run = Pipeline([Contamination(against=(str(path),))]), tmp_path / "run"
    (first,) = pipeline.run(rows, run=run).dropped
    assert first.instruction == "Who are you"
    told = yaml.safe_load((run / "run.yaml").read_text())["data"]["contamination"]
    assert pipeline.run(rows, run=run).summary["dropped"] == 1
    written(tmp_path, "bench.jsonl", [{"question": "What is it?"}])
    with pytest.raises(UsageError, match="data of steps"):
        pipeline.run(rows, run=run)
    (second,) = pipeline.run(rows, run=tmp_path / "other").dropped
    assert second.instruction == "What is it"
    again = yaml.safe_load((tmp_path / "other" / "run.yaml").read_text())["data"]["contamination"]
    assert len(told) == len(again) == 32 and told != again


# -- the semantic mode ----------------------------------------------------------------------------


@pytest.fixture
def by_meaning(tmp_path):
    """Return a function that runs the semantic mode over texts, and where requests are logged."""
    # The cosine of (24, 7) and the first is 0.96 to the bit.
    plane = {"three cats": [1, 0], "trio of felines": [24, 7], "a dog": [0, 1], "odd": [0, 0]}
    items = tmp_path / "bench.jsonl"
    questions = ["", "Where is a dog?", "How many legs have three cats?"]
    items.write_text("".join(json.dumps({"question": text}) + "\n" for text in questions))
    vectors, log, runs = tmp_path / "vectors.jsonl", tmp_path / "sent.log", []
    lines = [{"when": {"contains": key}, "values": [value]} for key, value in plane.items()]
    vectors.write_text("".join(json.dumps(line) + "\n" for line in lines))
    encoders = {"e": {"model": f"scripted:{vectors}", "log": str(log)}}

    def run(texts, **rules):
        runs.append(rules)
        step = Contamination(against=(f"bench={items}",), mode="semantic", **rules)
        rows = [{"instruction": text, "output": "odd"} for text in texts]
        return Pipeline([step], encoders=encoders).run(
            rows, run=tmp_path / f"run{len(runs)}", store=tmp_path / "store"
        )

    run.log = log
    return run


def test_a_rephrased_item_is_found_and_named(by_meaning):
    result = by_meaning(["Count the legs of a trio of felines", "Something odd", ""])
    (row,) = result.dropped
    (event,) = result.explain(row.id).events
    assert event["reason"] == "means nearly the same as a test item"
    assert event["score"] == pytest.approx(0.96, abs=1e-7)
    told = {name: event["detail"][name] for name in ("test_set", "item", "by")}
    assert told == {"test_set": "bench", "item": 2, "by": "cosine"}
    assert result.summary["kept"] == 2
    # Of the answer that three rows share; no row looks up the vectors of the items again.
    assert result.summary["requests"]["replayed"] == 2


def test_texts_of_which_only_the_beginning_was_read_are_told(tmp_path):
    items, vectors = tmp_path / "bench.jsonl", tmp_path / "vectors.jsonl"
    lines = [{"question": "Where is a dog?"}, {"question": "Where is a cat?"}]
    items.write_text("".join(json.dumps(line) + "\n" for line in lines))
    vectors.write_text(json.dumps({"when": {"contains": "short"}, "values": [[1, 1]]}) + "\n")
    texts, stored = ["Where is a dog?", "Where is a cat?", "a long row"], [[1, 0], [0, 1], [1, 0]]
    encoded = EncodedVectors(vector_keys("hf:x", texts), stored, [False, True, True], 0)
    with Store.open(tmp_path / "store") as store:
        store.commit_now(lambda c: store.vectors.save(c, "hf:x", encoded))
    step = Contamination(against=(f"bench={items}",), mode="semantic")
    encoders = {"e": {"model": f"scripted:{vectors}", "identity": "hf:x"}}
    rows = [{"instruction": text, "output": ""} for text in ("a long row", "a short row")]
    result = Pipeline([step], encoders=encoders).run(
        rows, run=tmp_path / "run", store=tmp_path / "store"
    )
    said = "1 of 2 texts of against are longer than the encoder reads: "
    assert result.summary["steps"][0]["remarks"] == [
        said + "their vectors are of the beginning only"
    ]
    details = {
        row.instruction: result.explain(row.id).events[0]["detail"]
        for row in (*result.kept, *result.dropped)
    }
    assert details["a long row"]["cut"] is True
    assert "cut" not in details["a short row"]


def test_another_similarity_asks_nothing(by_meaning):
    texts = ["Count the legs of a trio of felines", "I have a dog"]
    assert by_meaning(texts).summary["dropped"] == 2
    sent = by_meaning.log.read_text()
    assert by_meaning(texts, similarity=0.96).summary["dropped"] == 2, "it is reached"
    assert by_meaning(texts, similarity=math.nextafter(0.96, 1)).summary["dropped"] == 1
    assert by_meaning(texts, similarity=None).summary["dropped"] == 0
    assert by_meaning.log.read_text() == sent


def test_an_item_inside_a_longer_turn_or_an_answer_is_found_in_a_window(tmp_path):
    items, vectors = tmp_path / "bench.jsonl", tmp_path / "vectors.jsonl"
    items.write_text('{"question": "How many legs have three cats?"}\n')
    # Of a text with several sentences the meaning is another one.
    told = ["How many legs have three cats?", "Count the legs of a trio of felines."]
    script = [{"when": {"contains": text}, "values": [[1, 0]]} for text in told]
    script = [
        {"when": {"contains": ["Here", text]}, "values": [[0.6, 0.8]]} for text in told
    ] + script
    script.append({"when": {}, "values": [[0, 1]]})
    vectors.write_text("".join(json.dumps(line) + "\n" for line in script))
    hidden = "Here is what I read on a wall this morning. {} I wonder what it may mean to them."
    rows = [
        {"instruction": hidden.format(told[1]), "output": "No idea."},
        {"instruction": "Write something.", "output": hidden.format(told[0])},
        {"instruction": "Write something.", "output": hidden.format("It was in Greek.")},
    ]

    def run(name, **fields):
        step = Contamination(against=(f"bench={items}",), mode="semantic", **fields)
        return Pipeline([step], encoders={"e": f"scripted:{vectors}"}).run(
            rows, run=tmp_path / name, store=tmp_path / "store"
        )

    result = run("windows")
    assert [row.seq[-1] for row in result.dropped] == [0, 1]
    shown = [result.explain(row.id).events[0]["detail"]["window"] for row in result.dropped]
    assert shown == [told[1], told[0]]
    assert run("whole", windows=False).summary["dropped"] == 0
    assert [row.seq[-1] for row in run("response", on="response").dropped] == [1]


@pytest.mark.parametrize("mode", [["ngrams", "semantic"], ["ngram", "semantic"]])
def test_both_modes_look_at_once(tmp_path, mode):
    items, vectors = tmp_path / "bench.jsonl", tmp_path / "vectors.jsonl"
    items.write_text(json.dumps({"question": SENTENCE}) + "\n")
    script = [{"when": {"contains": "rapid"}, "values": [[1, 0]]}]
    script += [{"when": {"contains": "quick brown"}, "values": [[1, 0]]}]
    script.append({"when": {}, "values": [[0.6, 0.8]]})
    vectors.write_text("".join(json.dumps(line) + "\n" for line in script))
    log = tmp_path / "sent.log"
    recipe = {
        "encoders": {"e": {"model": f"scripted:{vectors}", "log": str(log)}},
        "steps": [{"contamination": {"against": [f"bench={items}"], "mode": mode}}],
    }
    rows = [
        {"instruction": f"Translate: {SENTENCE}.", "output": ""},
        {"instruction": "A rapid fox leaps over a hound.", "output": ""},
        {"instruction": "Nothing of that kind.", "output": ""},
    ]
    pipeline = Pipeline.from_yaml(yaml.safe_dump(recipe))
    assert Pipeline.from_yaml(pipeline.to_yaml()) == pipeline
    result = pipeline.run(rows, run=tmp_path / "run", store=tmp_path / "store")
    events = [result.explain(row.id).events[0] for row in result.dropped]
    assert [event["score"] for event in events] == [2.0, 1.0]
    assert [event["detail"]["by"] for event in events] == ["13-gram", "cosine"]
    told = ["shares 13-grams with a test set", "means nearly the same as a test item"]
    assert [event["reason"] for event in events] == told
    (kept,) = result.kept
    assert kept.scores["contamination"] == pytest.approx(0.6, abs=1e-7)
    # The item and two rows: the first one was found before anything was asked.
    assert len(log.read_text().split()) == 3


def test_the_semantic_mode_refuses_what_is_no_cosine_and_sets_without_text(tmp_path):
    with pytest.raises(ValueError, match="similarity is 80; a cosine"):
        Contamination(against=("x.jsonl",), mode="semantic", similarity=80).check()
    (tmp_path / "x.jsonl").write_text('{"question": " "}\n')
    with pytest.raises(ValueError, match="no item has"):
        Contamination(against=(str(tmp_path / "x.jsonl"),), mode="semantic").prepare()


@pytest.mark.slow
@pytest.mark.real
def test_rephrased_gsm8k_items_are_found_and_training_questions_pass(tmp_path):
    """150 of each; the whole curve is in docs/how-to/choose-a-similarity.md."""
    if not DATA.is_dir():
        pytest.skip("../shared/data is absent")

    def questions(path, field, count=150):
        lines = (DATA / path).read_text().splitlines()[:count]
        return [{"instruction": json.loads(line)[field], "output": ""} for line in lines]

    tests = tmp_path / "gsm8k.jsonl"
    tests.write_text(
        "\n".join(
            json.dumps({"question": r["instruction"]})
            for r in questions("gsm8k/test.jsonl", "question")
        )
    )
    rephrased = questions("decontaminator/rephrase_gsm8k.jsonl", "text")
    train = questions("gsm8k/train.jsonl", "question")
    step = Contamination(against=(f"gsm8k={tests}",), mode="semantic")
    result = Pipeline([step], encoders={"e": f"hf:{embedded_encoder()}"}).run(
        rephrased + train, run=tmp_path / "run", store=tmp_path / "store"
    )
    found = [row.seq[-1] for row in result.dropped]
    assert sum(place < 150 for place in found) >= 0.95 * 150
    assert sum(place >= 150 for place in found) < 0.05 * 150


@pytest.mark.parametrize(
    "record",
    [
        {
            "messages": [
                {"role": "user", "content": SENTENCE},
                {"role": "assistant", "content": "x"},
            ]
        },
        {
            "conversations": [
                {"from": "system", "value": "Be brief."},
                {"from": "human", "value": "Hi"},
                {"from": "gpt", "value": "Hello"},
                {"from": "human", "value": SENTENCE},
                {"from": "gpt", "value": "x"},
            ]
        },
        {
            "chosen": f"\n\nHuman: {SENTENCE}\n\nAssistant: yes",
            "rejected": f"\n\nHuman: {SENTENCE}\n\nAssistant: no",
        },
    ],
)
def test_a_held_out_set_of_conversations_or_pairs_is_a_test_set(
    tmp_path, conversation, scores_of, record
):
    held = tmp_path / "held.jsonl"
    held.write_text(json.dumps(record) + "\n", "utf-8")
    step = Contamination(against=(str(held),))
    rows = [conversation(f"Say: {SENTENCE}", "a"), conversation("Name a colour.", "Be brief. yes")]
    leaked, clean = scores_of(step, rows)
    assert leaked > 0 and clean == 0
    held.write_text(json.dumps(record) + '\n{"other": 1}\n', "utf-8")
    with pytest.raises(ValueError, match=r"item 2: as \w+, "):
        Contamination(against=(str(held),)).prepare()
