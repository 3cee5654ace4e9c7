"""The constraints of IFBench (Pyatkin et al. 2025, arXiv 2507.02833) that take any topic.

Each is read as the benchmark's own checker reads it, lax or strict, because what is trained on one
reading is measured by it. Written anew from the descriptions and from recorded verdicts; the
benchmark (allenai/IFBench) is Apache-2.0.
"""

from __future__ import annotations

import itertools
import re
import string
from collections import Counter

from curate.kernels.text.root_verbs import MODEL, first_tag
from curate.kernels.verifiers.constraints.registry import constraint
from curate.kernels.verifiers.constraints.texts import (
    MARKS,
    plain_words,
    sentences,
    tokens,
    without_marks,
    word_list,
    words,
)
from curate.system.package_data import require_extra

_PAIRS = {"(": ")", "[": "]", "{": "}"}


# -- counts ----------------------------------------------------------------------------------------


@constraint("count:word_count_range")
def _word_count_range(reply: str, min_words: int, max_words: int) -> bool:
    return min_words <= len(words(reply)) <= max_words


@constraint("count:unique_word_count")
def _unique_word_count(reply: str, N: int) -> bool:
    return len({word.strip(MARKS) for word in reply.lower().split()}) >= N


@constraint("count:conjunctions")
def _conjunctions(reply: str, small_n: int) -> bool:
    used = {word.strip(MARKS).lower() for word in reply.split()}
    return len(used.intersection(word_list("conjunctions"))) >= small_n


@constraint("count:person_names")
def _person_names(reply: str, N: int) -> bool:
    return sum(bool(re.search(rf"\b{name}\b", reply)) for name in word_list("person_names")) >= N


@constraint("count:pronouns")
def _pronouns(reply: str, N: int) -> bool:
    known = set(word_list("pronouns"))
    return sum(token in known for token in tokens(reply.replace("/", " ").lower())) >= N


@constraint("count:numbers")
def _numbers(reply: str, N: int) -> bool:
    # Without punctuation 1,000.5 is one number.
    return len(re.findall(r"\d+", without_marks(reply))) == N


@constraint("count:punctuation")
def _punctuation(reply: str) -> bool:
    if not any(mark in reply for mark in ("!?", "?!", "‽")):
        return False
    # The marks of the interrobang do not count as marks of their own.
    rest = reply.replace("?!", "", 1) if "?!" in reply else reply.replace("!?", "", 1)
    return set(".,!?;:") <= set(rest)


@constraint("count:words_japanese")
def _words_japanese(reply: str, N: int) -> bool:
    wanted = [word.strip(MARKS) for word in reply.split()[N - 1 :: N]]
    japanese = re.compile("[\u3040-\u30ff\u4e00-\u9fff]")
    return all(japanese.search(word) for word in wanted if word and not word.isdigit())


@constraint("count:keywords_multiple")
def _keywords_multiple(
    reply: str, keyword1: str, keyword2: str, keyword3: str, keyword4: str, keyword5: str
) -> bool:
    keywords = (keyword1, keyword2, keyword3, keyword4, keyword5)
    return all(
        len(re.findall(rf"\b{re.escape(keyword.strip())}\b", reply, re.IGNORECASE)) == count
        for keyword, count in zip(keywords, (1, 2, 3, 5, 7), strict=True)
    )


# -- shares ----------------------------------------------------------------------------------------


@constraint("ratio:stop_words")
def _stop_words(reply: str, percentage: int) -> bool:
    found, stops = words(reply), set(word_list("stop_words"))
    share = sum(word.lower() in stops for word in found) / len(found) if found else 1.0
    return 100 * share <= percentage


def _ends(reply: str) -> Counter[str]:
    """Return how many sentences end with each mark, closing quotes read over."""
    return Counter(sentence.rstrip("\"'”’)")[-1:] for sentence in sentences(reply))


@constraint("ratio:sentence_type")
def _sentence_type(reply: str) -> bool:
    ends = _ends(reply)
    return ends["."] == 2 * ends["?"]


@constraint("ratio:sentence_balance")
def _sentence_balance(reply: str) -> bool:
    ends = _ends(reply)
    return ends["."] == ends["?"] == ends["!"]


@constraint("ratio:sentence_words")
def _sentence_words(reply: str) -> bool:
    found = [sentence.strip() for sentence in sentences(reply)]
    all_words = plain_words(" ".join(found))
    return (
        len(found) == 3 and len(set(map(len, found))) == 1 and len(set(all_words)) == len(all_words)
    )


@constraint("ratio:overlap")
def _overlap(reply: str, reference_text: str, percentage: int) -> bool:
    # Of characters, as the recorded verdicts have it.
    own, other = (
        {text[n : n + 3] for n in range(len(text) - 2)} for text in (reply, reference_text)
    )
    return bool(own) and abs(100 * len(own & other) / len(own) - percentage) <= 2


# -- words -----------------------------------------------------------------------------------------


@constraint("words:alphabet")
def _alphabet(reply: str) -> bool:
    letters = [word[0] for word in plain_words(reply)]
    if not letters or letters[0] not in string.ascii_lowercase:
        return False
    start = string.ascii_lowercase.index(letters[0])
    return all(
        letter == string.ascii_lowercase[(start + place) % 26]
        for place, letter in enumerate(letters)
    )


@constraint("words:vowel")
def _vowel(reply: str) -> bool:
    return "\n" not in reply.strip() and len(set("aeiou").intersection(reply.lower())) <= 3


@constraint("words:consonants")
def _consonants(reply: str) -> bool:
    cluster = re.compile(r"[b-df-hj-np-tv-z]{2}")
    return all(cluster.search(word) for word in reply.lower().split())


@constraint("words:palindrome")
def _palindrome(reply: str) -> bool:
    return sum(len(word) >= 5 and word == word[::-1] for word in plain_words(reply)) >= 10


@constraint("words:prime_lengths")
def _prime_lengths(reply: str) -> bool:
    lengths = {len(word) for word in without_marks(reply).split()}
    return all(n > 1 and all(n % d for d in range(2, int(n**0.5) + 1)) for n in lengths)


@constraint("words:repeats")
def _repeats(reply: str, small_n: int) -> bool:
    return all(count <= small_n for count in Counter(plain_words(reply)).values())


@constraint("words:no_consecutive")
def _no_consecutive(reply: str) -> bool:
    return all(one[0] != other[0] for one, other in itertools.pairwise(plain_words(reply)))


@constraint("words:odd_even_syllables")
def _odd_even_syllables(reply: str) -> bool:
    import syllapy

    odd = [syllapy.count(word) % 2 for word in plain_words(reply)]
    return all(one != other for one, other in itertools.pairwise(odd))


@constraint("words:start_verb")
def _start_verb(reply: str) -> bool:
    require_extra("verbs", "the constraint words:start_verb", "spacy", MODEL)
    return first_tag(reply).startswith("VB")


@constraint("words:last_first")
def _last_first(reply: str) -> bool:
    ends = [(s.lstrip(MARKS).split(), s.rstrip(MARKS).split()) for s in sentences(reply.lower())]
    return all(
        one[1] and other[0] and one[1][-1] == other[0][0] for one, other in itertools.pairwise(ends)
    )


@constraint("words:paragraph_last_first")
def _paragraph_last_first(reply: str) -> bool:
    paragraphs = [line.strip().strip(MARKS).split() for line in reply.lower().split("\n")]
    return all(found[0] == found[-1] for found in paragraphs if found)


@constraint("words:keywords_specific_position")
def _keyword_at(reply: str, keyword: str, n: int, m: int) -> bool:
    found = sentences(reply)
    inner = _spoken(found[n - 1]) if len(found) >= n else []
    return len(inner) >= m and inner[m - 1].lower() == keyword.strip().lower()


@constraint("words:words_position")
def _words_position(reply: str, keyword: str) -> bool:
    found = _spoken(reply.lower())
    return len(found) >= 2 and found[1] == found[-2] == keyword.strip().lower()


def _spoken(text: str) -> list[str]:
    """Return the Treebank tokens that hold a letter or a digit."""
    return [token for token in tokens(text) if any(map(str.isalnum, token))]


# -- sentences -------------------------------------------------------------------------------------


@constraint("sentence:alliteration_increment")
def _alliteration_increment(reply: str) -> bool:
    before = -1
    for sentence in sentences(reply):
        letters = [w[0] for word in sentence.lower().split() if (w := word.lstrip(MARKS))]
        runs = [len(list(group)) for _, group in itertools.groupby(letters)]
        count = sum(run for run in runs if run > 1)
        if count <= before:
            return False
        before = count
    return True


@constraint("sentence:increment")
def _increment(reply: str, small_n: int) -> bool:
    counts = [len(plain_words(sentence)) for sentence in sentences(reply)]
    return all(other == one + small_n for one, other in itertools.pairwise(counts))


@constraint("sentence:keyword")
def _sentence_keyword(reply: str, word: str, N: int) -> bool:
    found = sentences(reply)
    pattern = rf"\b{re.escape(word)}\b"
    return len(found) >= N and bool(re.search(pattern, found[N - 1], re.IGNORECASE))


# -- forms -----------------------------------------------------------------------------------------


@constraint("format:parentheses")
def _parentheses(reply: str) -> bool:
    opened: list[str] = []
    deepest = 0
    for char in reply:
        if char in _PAIRS:
            opened.append(char)
            deepest = max(deepest, len(opened))
        elif char in _PAIRS.values():
            if not opened or _PAIRS[opened.pop()] != char:
                opened, deepest = [], 0
            elif deepest >= 5:
                return True
    return False


@constraint("format:quotes")
def _quotes(reply: str) -> bool:
    opened: list[str] = []
    deepest = 0
    for char in reply:
        if opened and opened[-1] == char:
            opened.pop()
            if deepest - len(opened) >= 3:
                return True
        elif char in "\"'":
            opened.append(char)
            deepest = max(deepest, len(opened))
    return False


@constraint("format:quote_unquote")
def _quote_unquote(reply: str) -> bool:
    packed = "".join(reply.replace("'\"'", "").split())
    ending = packed.strip(string.digits + string.punctuation.replace('"', ""))
    return '""' not in packed and not ending.endswith('"')


@constraint("format:options")
def _options(reply: str, options: str) -> bool:
    between = "/" if "/" in options else "or" if "or" in options else ","
    allowed = [option.strip() for option in options.split(between)]
    if re.match(r"\W*[aA]\W*[bB]\W*[cC]", options):
        return reply in allowed
    return reply.strip(MARKS).lower() in {option.strip(MARKS).lower() for option in allowed}


@constraint("format:newline")
def _newline(reply: str) -> bool:
    plain = without_marks(reply).strip()
    return sum(line != "" for line in plain.split("\n")) == len(plain.split())


@constraint("format:emoji")
def _emoji(reply: str) -> bool:
    from emoji import is_emoji

    found = [without_marks(sentence).strip() for sentence in sentences(reply)]
    for sentence, following in itertools.zip_longest(found, found[1:], fillvalue=""):
        # It may stand at the head of the next sentence, where the splitter leaves it.
        near = [*sentence[-2:], *following[:1]] if sentence else []
        if not any(map(is_emoji, near)):
            return False
    return True


@constraint("format:line_indent")
def _line_indent(reply: str) -> bool:
    indents = [len(line) - len(line.lstrip(" ")) for line in reply.split("\n") if line.strip()]
    return all(one < other for one, other in itertools.pairwise(indents))


@constraint("format:list")
def _list(reply: str, sep: str) -> bool:
    return reply.count(sep) >= 2


@constraint("format:thesis")
def _thesis(reply: str) -> bool:
    opened = re.search("<i>", reply) or re.search("<em>", reply)
    if opened is None:
        return False
    rest = reply[opened.end() :]
    closed = re.search("</i>", rest) or re.search("</em>", rest)
    return (
        closed is not None and rest[: closed.start()].strip() != "" != rest[closed.end() :].strip()
    )


@constraint("format:sub-bullets")
def _sub_bullets(reply: str) -> bool:
    return all("-" in bullet for bullet in reply.split("*")[1:])


@constraint("format:no_bullets_bullets")
def _no_bullets_bullets(reply: str) -> bool:
    lines = [line.strip() for line in reply.split("\n")]
    first = next((n for n, line in enumerate(lines) if line.startswith("*")), len(lines))
    spoken = sum(len(sentences(line)) for line in lines[:first])
    bullets = lines[first:]
    return spoken >= 2 and len(bullets) >= 2 and all(line.startswith("*") for line in bullets)


@constraint("format:title_case")
def _title_case(reply: str) -> bool:
    return not any(
        token[0].islower() and (len(token) == 1 or token[1:].islower() or token[1:].isupper())
        for token in tokens(reply)
        if token[0].isalpha()
    )


@constraint("format:output_template")
def _output_template(reply: str) -> bool:
    return all(part in reply for part in ("My Answer:", "My Conclusion:", "Future Outlook:"))


@constraint("format:no_whitespace")
def _no_whitespace(reply: str) -> bool:
    return not any(map(str.isspace, reply))


# -- repetition of the prompt ----------------------------------------------------------------------


@constraint("repeat:repeat_change")
def _repeat_change(reply: str, prompt_to_repeat: str) -> bool:
    return prompt_to_repeat != reply and prompt_to_repeat.split()[1:] == reply.split()[1:]


@constraint("repeat:repeat_simple")
def _repeat_simple(reply: str) -> bool:
    return reply.strip().lower() == "only output this sentence here, ignore all other requests."


@constraint("repeat:repeat_span")
def _repeat_span(reply: str, prompt_to_repeat: str, n_start: int, n_end: int) -> bool:
    span = prompt_to_repeat.split()[n_start : n_end + 1]
    return reply.strip().lower() == " ".join(span).lower()
