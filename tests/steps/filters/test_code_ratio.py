import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.steps.filters.code_ratio import CodeRatio


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("Paris is the capital of France.", 0),
        ("Here it is:\n```python\nx\ny\n```\nDone.", 0.666),
        ("def f(x):\n    return x + 1\n", 1.0),
        ("int main() {\n  puts(s);\n}\n", 1.0),
        ("I said: if you can, go.\nprint(x)\n\n", 0.5),
        ("SELECT name FROM users", 1.0),
        ("x = 3\nand so on", 0.5),
        ("We import cars from Japan.", 0),
        ("", None),
        ("\n \u3000\n", None),
    ],
)
def test_share_of_code_lines(text, share, conversation, scores_of):
    assert scores_of(CodeRatio(), [conversation("q", text)]) == [share]


SIGNS = (
    "```|~~~|\n|\n| |def f:|x = y|return|import a|};|f(x)|é|<p>|if a:|public |let x|SELECT |word"
)
PIECE = st.sampled_from([*SIGNS.split("|"), "from a import b", "#include", "\u2003", "\x1c"])


@given(st.lists(st.lists(PIECE, max_size=8).map("".join), min_size=1, max_size=5))
def test_both_forms_agree(conversation, scores_of, texts):
    scores_of(CodeRatio(), [conversation("q", text) for text in texts])


def test_rules():
    assert CodeRatio(max=0.5).keep(0.5) is None
    assert CodeRatio(max=0.5).keep(0.501) == "share of code above 0.5"
    assert CodeRatio(min=0.5).keep(0.4) == "share of code below 0.5"
    assert CodeRatio(min=0.5).keep(None) is None
    with pytest.raises(ValueError, match="from 0 to 1, not 50"):
        CodeRatio(max=50).check()
    with pytest.raises(ValueError, match="no text can pass"):
        CodeRatio(min=0.9, max=0.5).check()
