"""Posts are brought together by their questions, in whatever order they stand."""

import random

from curate.read.part import Read
from curate.read.threads import threads_of


def test_any_order_gives_the_same_threads_and_no_post_is_lost() -> None:
    posts = [
        *({"Id": str(n), "PostTypeId": "1", "Body": f"q{n}", "Score": "0"} for n in range(20)),
        *(
            {"Id": str(100 + n), "PostTypeId": "2", "ParentId": str(n % 23), "Body": "a"}
            for n in range(60)
        ),
    ]
    expected = None
    for seed in range(4):
        random.Random(seed).shuffle(posts)
        found = list(threads_of(Read(post) for post in posts))
        threads = {
            read.record["Id"]: sorted(one["Id"] for one in read.record["answers"])
            for read in found
            if read.error is None
        }
        wrong = [read for read in found if read.error is not None]
        # The answers to 20, 21 and 22, which are not there.
        assert {read.error for read in wrong} == {
            f"its question {n} is not in the dump" for n in (20, 21, 22)
        }
        assert len(posts) == sum(1 + len(own) for own in threads.values()) + len(wrong)
        expected = expected or threads
        assert threads == expected


def test_nothing_is_nothing() -> None:
    assert list(threads_of([])) == []
    [read] = threads_of([Read(None, "line 3: no JSON", b"{", 3)])
    assert (read.error, read.line) == ("not a post: line 3: no JSON", 3)
