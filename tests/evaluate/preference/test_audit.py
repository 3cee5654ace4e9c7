"""The audit of preference data finds what is planted, and the known facts of real datasets."""

import json
import random
from pathlib import Path

import pytest

from curate import Pipeline
from curate.errors import UsageError
from curate.evaluate.preference.audit import audited, evaluate_preference
from curate.evaluate.preference.audit_text import audit_text

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
real = pytest.mark.skipif(not DATA.is_dir(), reason="needs ../shared/data")


def audit(rows, tmp_path, **options):
    return evaluate_preference(rows, run=tmp_path / "run", store=tmp_path / "store", **options)


def pair(prompt, chosen, rejected, **more):
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected, **more}


def named(result, finding):
    """Return the rows of a finding, by their ids, in order, as their prompt and chosen answer."""
    rows = {row.id: row for row in result.kept}
    lines = map(json.loads, (result.folder / "findings.jsonl").read_text().splitlines())
    texts = []
    for line in lines:
        if line["finding"] == finding:
            own = [rows[line[key]] for key in ("row", "partner") if key in line]
            texts.append([(row.instruction, row.chosen[-1].content) for row in own])
    return texts


@real
@pytest.mark.real
def test_hh_harmless(tmp_path):
    found, result = audit(DATA / "hh-rlhf" / "harmless_base_test.jsonl.gz", tmp_path)
    assert (found["pairs"], found["ties"]) == (2312, 0)
    assert found["longest_wins"].value == pytest.approx(0.439, abs=5e-4)
    assert found["findings"]["empty_side"]["pairs"] == 4
    empty = {line["row"] for line in found["findings"]["empty_side"]["rows"]}
    sides = [row for row in result.kept if row.id in empty]
    assert len(sides) == 4
    assert all("" in (row.chosen[-1].content, row.rejected[-1].content) for row in sides)
    # Length alone is worth as much as always preferring the shorter answer.
    assert found["accuracy_length"].value == pytest.approx(0.561, abs=5e-4)
    assert found["accuracy_words"].low > 0.58


@real
@pytest.mark.real
def test_oasst(tmp_path):
    found, _ = audit(DATA / "oasst" / "en_100_tree.jsonl", tmp_path)
    assert (found["rows"], found["pairs"], found["prompts"]) == (212, 754, 212)
    assert found["longest_wins"].value == pytest.approx(0.690, abs=5e-4)


@real
@pytest.mark.real
def test_pandalm_by_majority(tmp_path):
    records = json.loads((DATA / "pandalm" / "testset-v1.json").read_text())
    # Six responses are the JSON value true: the shape refuses them, here they are made texts.
    texts = [
        {**one, **{k: str(one[k]) for k in ("response1", "response2")}} for one in records
    ]  # fmt: skip
    found, _ = audit(texts, tmp_path)
    assert found["pairs"] - found["ties"] == 894
    assert found["longest_wins"].value == pytest.approx(0.673, abs=5e-4)
    assert set(found["groups"]["annotator"]) == {"annotator1", "annotator2", "annotator3"}
    again, _ = audit(records, tmp_path / "as they are")
    assert (again["pairs"], again["failed"]) == (993, 6)


def test_duplicates_contradictions_and_circles_are_found(tmp_path):
    rows = [
        pair("P", "yes it is", "no it is not"),
        pair("P", "Yes  it is", "no it is not"),  # the same but for case and white space
        pair("P", "no it is not", "yes it is"),
        pair("Q", "a one", "b two"),
        pair("Q", "b two", "c three"),
        pair("Q", "c three", "a one"),
        pair("Q", "a one", "d four"),  # on no circle
        pair("R", "the same", "the  Same"),
        pair("S", "words", ""),
    ]
    found, result = audit(rows, tmp_path)
    assert [own for own, _ in named(result, "duplicate")] == [("P", "Yes  it is")]
    contradictions = named(result, "contradiction")
    assert [own for own, _ in contradictions] == [
        ("P", "yes it is"), ("P", "Yes  it is"), ("P", "no it is not"),
    ]  # fmt: skip
    assert [other for _, other in contradictions] == [
        ("P", "no it is not"), ("P", "no it is not"), ("P", "yes it is"),
    ]  # fmt: skip
    assert named(result, "cycle") == [[("Q", text)] for text in ("a one", "b two", "c three")]
    assert named(result, "same_answers") == [[("R", "the same")]]
    assert named(result, "empty_side") == [[("S", "words")]]
    assert "not_measured" in found
    assert "not measured: 9 labelled pairs" in audit_text(found, "runs/x")


def test_a_near_duplicate_names_the_earlier_row(tmp_path):
    body = " ".join(f"word{n}" for n in range(60))
    rows = [
        pair("Question?", body, "no"),
        pair("Question?", f"{body} more", "no"),
        pair("X", "y", "z"),
    ]
    _, result = audit(rows, tmp_path)
    [[own, other]] = named(result, "near_duplicate")
    assert own == ("Question?", f"{body} more")
    assert other == ("Question?", body)


def test_refusals_among_the_chosen(tmp_path):
    rows = [
        pair("A", "I'm sorry, but I cannot help with that.", "Sure: first, take the flour."),
        pair("B", "Sure: first, take the flour.", "I'm sorry, but I cannot help with that."),
    ]
    _, result = audit(rows, tmp_path)
    assert [own[0] for [own] in named(result, "chosen_refuses")] == ["A"]


def call(arguments, **more):
    function = {"name": "find", "arguments": arguments}
    return [{"role": "assistant", "content": "", "tool_calls": [{"function": function, **more}]}]


def test_tool_calls_that_differ_only_in_form(tmp_path):
    ask = [{"role": "user", "content": "Where?"}]
    hermes = '<tool_call>\n{"name": "find", "arguments": {"n": 1}}\n</tool_call>'
    rows = [
        pair(ask, call('{"a": 1, "b": 2}', id="x"), call('{"b":2.0, "a":1}', id="y")),
        pair(ask, call('{"a": 1}'), call('{"a": 2}')),
        pair(ask, [{"role": "assistant", "content": hermes}], call('{"n": 1.0}')),
        pair(ask, call('{"a": 5}'), call('{"a": 5}')),
    ]
    found, result = audit(rows, tmp_path)
    order = [row.id for row in result.kept]
    places = {
        name: [order.index(line["row"]) for line in found["findings"][name]["rows"]]
        for name in ("tool_calls_differ_in_form", "same_answers")
    }
    assert places == {"tool_calls_differ_in_form": [0, 2], "same_answers": [3]}


@pytest.mark.parametrize("where", ["column", "default column", "file"])
def test_held_out_prompts_in_another_split(where, tmp_path):
    long = " ".join(f"word{n}" for n in range(40))
    train = [pair("Same question?", "a", "b"), pair(long, "c", "d"), pair("Only here", "e", "f")]
    test = [
        pair("same  Question?", "g", "h"),
        pair(f"{long} again", "i", "j"),
        pair("New", "k", "l"),
    ]
    if where == "file":
        folder = tmp_path / "data"
        folder.mkdir()
        for name, rows in (("train", train), ("test", test)):
            (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
        found, result = audit(str(folder), tmp_path)
    else:
        rows = [{**one, "split": name} for name, own in (("train", train), ("test", test))
                for one in own]  # fmt: skip
        found, result = audit(rows, tmp_path, split="split" if where == "column" else None)
    assert found["splits"] == {"test": 3, "train": 3}
    [[own, other]] = named(result, "prompt_in_other_split")
    assert (own[1], other[1]) == ("g", "a")
    [[own, other]] = named(result, "near_prompt_in_other_split")
    assert (own[1], other[1]) == ("i", "c")


def test_the_split_of_a_finished_run_is_known(tmp_path):
    from curate.steps import Split

    rows = [pair(f"Question {n}: {random.Random(n).random()}", f"a{n}", f"b{n}") for n in range(40)]
    made = Pipeline([Split(share=0.25)]).run(rows, run=tmp_path / "made", store=tmp_path / "store")
    found, _ = evaluate_preference(made.folder, run=tmp_path / "run", store=tmp_path / "store")
    assert found["splits"] == {"test": 10, "train": 30}


def labelled_by_a_word(count, flipped):
    """Return pairs in which the answer with the word `good` is preferred, but for those flipped."""
    dice, rows = random.Random(5), []
    words = [f"w{n}" for n in range(30)]
    for number in range(count):
        sides = [" ".join(dice.choices(words, k=12)) for _ in range(2)]
        sides[0] += " good"
        if number in flipped:
            sides.reverse()
        rows.append(pair(f"Question {number}", *sides))
    return rows


def test_flipped_labels_are_doubted(tmp_path):
    flipped = set(range(0, 400, 20))
    found, result = audit(labelled_by_a_word(400, flipped), tmp_path)
    assert found["accuracy_words"].value == pytest.approx(0.95)
    assert found["label_noise"]["informative"]
    doubted = {int(own[0].split()[1]) for [own] in named(result, "doubtful_label")}
    # A flipped pair beside much noise may fall short of the limit; no other pair passes it.
    assert doubted <= flipped
    assert len(doubted) >= 18


def test_labels_that_nothing_predicts_are_not_doubted_in_earnest(tmp_path):
    dice = random.Random(11)
    rows = labelled_by_a_word(400, {n for n in range(400) if dice.random() < 0.5})
    found, _ = audit(rows, tmp_path)
    assert not found["label_noise"]["informative"]
    assert "predicts no label better than chance" in audit_text(found, "runs/x")


def test_style_and_length_are_told_apart(tmp_path):
    dice, rows = random.Random(3), []
    for number in range(200):
        size = dice.randrange(10, 30)
        plain = " ".join(f"w{dice.randrange(50)}" for _ in range(size))
        bold = " ".join(f"w{dice.randrange(50)}" for _ in range(size))
        rows.append(pair(f"Question {number}", f"**{bold}**", plain))
    found, _ = audit(rows, tmp_path)
    assert found["longest_wins"].value == 0.5
    assert found["accuracy_style"].value == 1.0
    assert found["features"]["bold"]["chosen_has_more"] == 1.0
    heaviest = max(found["features"], key=lambda name: found["features"][name]["weight"])
    assert heaviest == "bold"


def test_groups_are_measured_by_what_they_say_themselves(tmp_path):
    # Group A follows the chosen answer, which is the longer one; group B goes against it.
    groups = {"A": {"votes": 3, "p_chosen": 1.0}, "B": {"votes": 3, "p_chosen": 0.0}}
    rows = [
        pair(f"Q{n}", "long answer here", "short", groups=groups, language=("en", "de")[n % 2])
        for n in range(10)
    ]
    found, _ = audit(rows, tmp_path)
    by_group = found["groups"]["group"]
    assert (by_group["A"]["longest_wins"].value, by_group["B"]["longest_wins"].value) == (1, 0)
    assert (by_group["A"]["agrees"], by_group["B"]["agrees"]) == (1, 0)
    assert {name: one["pairs"] for name, one in found["groups"]["language"].items()} == {
        "en": 5, "de": 5,
    }  # fmt: skip
    assert "language" in audit_text(found, "runs/x")


def test_pairs_of_ranked_answers_and_ties(tmp_path):
    def answer(text, score):
        return {"messages": [{"role": "assistant", "content": text}], "score": score}

    rows = [{"prompt": "P", "candidates": [answer("one", 1), answer("two 2", 3), answer("x", 1)]}]
    found, _ = audit(rows, tmp_path)
    assert (found["pairs"], found["ties"], found["rows"]) == (3, 1, 1)
    assert found["longest_wins"].value == 1.0
    found, _ = audit([pair("Q", "a", "b", margin=0.0), pair("Q", "a c", "b")], tmp_path / "2")
    assert (found["pairs"], found["ties"], found["longest_wins"].value) == (2, 1, 1.0)


def test_answers_that_differ_in_nothing_are_audited(tmp_path):
    found, _ = audit([pair(f"P {n}", "a", "A ") for n in range(60)], tmp_path)
    assert found["findings"]["same_answers"]["pairs"] == 60
    assert found["accuracy_words"].value == 0.5


def test_a_column_of_groups_that_no_row_has_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no row has anything in a column 'rgion'"):
        audit([pair("P", "a", "b", region="x")], tmp_path, by="rgion")


def test_what_has_no_pairs_is_refused(tmp_path):
    rows = [{"prompt": "P", "completion": "C"}]
    with pytest.raises(UsageError, match="no labelled pair"):
        audit(rows, tmp_path)
    with pytest.raises(UsageError, match="column 'part' holds 3, no split's name"):
        audit([pair("P", "a", "b", part=3)], tmp_path / "2", split="part")


def test_the_order_of_batches_and_kernels_changes_nothing(tmp_path, monkeypatch):
    rows = labelled_by_a_word(120, {3, 50})
    rows += [pair("Ünïcode", "Straße ist schön", "ﬁne"), pair("漢字", "日本語", "中文")]
    first, _ = audit(rows, tmp_path)
    monkeypatch.setattr("curate.evaluate.preference.sketches.BATCH", 7)
    second, _ = audit(rows, tmp_path / "small")
    assert first == second


def test_the_audit_leaves_no_files_of_its_own(tmp_path):
    _, result = audit([pair("P", "a", "b")], tmp_path)
    assert not (result.folder / ".audit").exists()
    assert json.loads((result.folder / "evaluation.json").read_text())["pairs"] == 1
    assert audited(result)["pairs"] == 1  # the run can be audited again


def test_columns_called_votes_hold_anything(tmp_path):
    votes = [{"a": ["chosen"]}, {"a": {"b": 1}}, {"a": "chosen", "b": 3, "c": "rejected"}, [1]]
    rows = [pair(f"q{n}?", "yes", "no", votes=own) for n, own in enumerate(votes)]
    found, _ = audit(rows, tmp_path)
    assert found["pairs"] == 4
    agrees = {name: one["agrees"] for name, one in found["groups"]["annotator"].items()}
    assert agrees == {"a": 1.0, "c": 0.0}
