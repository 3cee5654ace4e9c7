"""The 25 constraints of IFEval (Zhou et al. 2023, arXiv 2311.07911, table 1).

Each is read as the benchmark's own checker reads it (google-research, Apache-2.0), written anew.
Languages are told by fastText's model here, where the benchmark asks langdetect, which answers by
chance; keywords are taken as texts, where the benchmark takes them for regular expressions.
"""

from __future__ import annotations

import json
import re
from collections import Counter

from curate.kernels.text.languages import detector
from curate.kernels.verifiers.constraints.registry import compared, constraint
from curate.kernels.verifiers.constraints.texts import sentences, tokens, word_list, words

_ANSWERS = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
_POSTSCRIPTS = {"P.S.": r"p\.\s?s\.", "P.P.S": r"p\.\s?p\.\s?s"}


@constraint("keywords:existence")
def _existence(reply: str, keywords: list[str]) -> bool:
    return all(keyword.lower() in reply.lower() for keyword in keywords)


@constraint("keywords:frequency")
def _frequency(reply: str, keyword: str, frequency: int, relation: str) -> bool:
    found = re.findall(re.escape(keyword.strip()), reply, re.IGNORECASE)
    return compared(len(found), relation, frequency)


@constraint("keywords:forbidden_words")
def _forbidden_words(reply: str, forbidden_words: list[str]) -> bool:
    return not any(
        re.search(rf"\b{re.escape(word)}\b", reply, re.IGNORECASE) for word in forbidden_words
    )


@constraint("keywords:letter_frequency")
def _letter_frequency(reply: str, letter: str, let_frequency: int, let_relation: str) -> bool:
    return compared(Counter(reply.lower())[letter.strip().lower()], let_relation, let_frequency)


@constraint("language:response_language")
def _response_language(reply: str, language: str) -> bool:
    # langdetect writes Chinese as zh-cn and zh-tw.
    return _language(reply) == language.partition("-")[0]


@constraint("length_constraints:number_sentences")
def _number_sentences(reply: str, num_sentences: int, relation: str) -> bool:
    return compared(len(sentences(reply)), relation, num_sentences)


@constraint("length_constraints:number_paragraphs")
def _number_paragraphs(reply: str, num_paragraphs: int) -> bool:
    blank = [not part.strip() for part in re.split(r"\s?\*\*\*\s?", reply)]
    # A divider may open or end the reply; two in a row leave an empty paragraph.
    return not any(blank[1:-1]) and blank.count(False) == num_paragraphs


@constraint("length_constraints:number_words")
def _number_words(reply: str, num_words: int, relation: str) -> bool:
    return compared(len(words(reply)), relation, num_words)


@constraint("length_constraints:nth_paragraph_first_word")
def _nth_paragraph_first_word(
    reply: str, num_paragraphs: int, nth_paragraph: int, first_word: str
) -> bool:
    paragraphs = reply.split("\n\n")
    count = sum(bool(paragraph.strip()) for paragraph in paragraphs)
    if count != num_paragraphs or not 1 <= nth_paragraph <= count:
        return False
    inner = paragraphs[nth_paragraph - 1].split()
    word = re.split(r"[.,?!'\"]", inner[0].lstrip("'").lstrip('"'))[0] if inner else ""
    return bool(inner) and word.lower() == first_word.lower()


# The name has a word that marks unfinished code here, so it stands with the lists.
@constraint(*word_list("square_brackets"))
def _square_brackets(reply: str, count: int) -> bool:
    return len(re.findall(r"\[.*?\]", reply)) >= count


@constraint("detectable_content:postscript")
def _postscript(reply: str, postscript_marker: str) -> bool:
    marker = postscript_marker.strip()
    pattern = _POSTSCRIPTS.get(marker, re.escape(marker.lower()))
    return bool(re.search(pattern, reply.lower()))


@constraint("detectable_format:number_bullet_lists")
def _number_bullet_lists(reply: str, num_bullets: int) -> bool:
    stars = re.findall(r"^\s*\*[^\*].*$", reply, re.MULTILINE)
    return len(stars) + len(re.findall(r"^\s*-.*$", reply, re.MULTILINE)) == num_bullets


@constraint("detectable_format:constrained_response")
def _constrained_response(reply: str) -> bool:
    return any(answer in reply for answer in _ANSWERS)


@constraint("detectable_format:number_highlighted_sections")
def _number_highlighted_sections(reply: str, num_highlights: int) -> bool:
    single = [part.strip("*") for part in re.findall(r"\*[^\n*]*\*", reply)]
    double = [part[2:-2] for part in re.findall(r"\*\*[^\n*]*\*\*", reply)]
    return sum(bool(part.strip()) for part in single + double) >= num_highlights


@constraint("detectable_format:multiple_sections")
def _multiple_sections(reply: str, section_spliter: str, num_sections: int) -> bool:
    marker = rf"\s?{re.escape(section_spliter.strip())}\s?\d+\s?"
    return len(re.findall(marker, reply)) >= num_sections


@constraint("detectable_format:json_format")
def _json_format(reply: str) -> bool:
    inner = re.sub(r"^```(?:json|Json|JSON)?", "", reply.strip()).removesuffix("```").strip()
    try:
        json.loads(inner)
    except (ValueError, RecursionError):
        return False
    return True


@constraint("detectable_format:title")
def _title(reply: str) -> bool:
    return any(part.lstrip("<").rstrip(">").strip() for part in re.findall(r"<<[^\n]+>>", reply))


@constraint("combination:two_responses")
def _two_responses(reply: str) -> bool:
    parts = [part.strip() for part in reply.split("******")]
    given = [part for part in parts if part]
    return all(parts[1:-1]) and len(given) == 2 and given[0] != given[1]


@constraint("combination:repeat_prompt")
def _repeat_prompt(reply: str, prompt_to_repeat: str) -> bool:
    return reply.strip().lower().startswith(prompt_to_repeat.strip().lower())


@constraint("startend:end_checker")
def _end_checker(reply: str, end_phrase: str) -> bool:
    return reply.strip().strip('"').lower().endswith(end_phrase.strip().lower())


@constraint("startend:quotation")
def _quotation(reply: str) -> bool:
    return re.fullmatch(r'\s*".*"\s*', reply, re.S) is not None


@constraint("change_case:capital_word_frequency")
def _capital_word_frequency(reply: str, capital_frequency: int, capital_relation: str) -> bool:
    return compared(sum(map(str.isupper, tokens(reply))), capital_relation, capital_frequency)


@constraint("change_case:english_capital")
def _english_capital(reply: str) -> bool:
    # The model knows words in capitals by their shapes only.
    return reply.isupper() and _language(reply.lower()) == "en"


@constraint("change_case:english_lowercase")
def _english_lowercase(reply: str) -> bool:
    return reply.islower() and _language(reply) == "en"


@constraint("punctuation:no_comma")
def _no_comma(reply: str) -> bool:
    return "," not in reply


def _language(text: str) -> str:
    guesses = detector()(text)
    return guesses[0][0] if guesses else ""
