import pytest

from curate.steps.filters.boilerplate import Boilerplate


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("As an AI language model, I have no taste. I hope this helps!", 2),
        ("I don\u2019t have personal opinions.", 1),
        ("作为一个人工智能语言模型,我没有感情。", 1),
        ("We hope this helped the language models.", 0),
        ("", 0),
    ],
)
def test_counts_set_phrases(text, found, conversation, scores_of):
    assert scores_of(Boilerplate(), [conversation("q", text)]) == [found]


def test_rules_and_own_phrases(conversation, scores_of):
    row = conversation("q", "Happy to help :)")
    assert scores_of(Boilerplate(more=("happy to help",)), [row]) == [1]
    assert Boilerplate().keep(1) == "set phrases of a model"
    assert Boilerplate(max=None).keep(1) is None
