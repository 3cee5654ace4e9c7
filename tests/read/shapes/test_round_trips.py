"""Shape to record to shape loses nothing, for generated rows of every shape in the tree."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curate.read.shapes import names
from curate.read.shapes import shape as shape_called
from curate.read.sniff import guess
from curate.row import Row, check_record
from tests.read.reading import read_all

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
filled = texts.filter(bool)
numbers = st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.one_of(texts, st.integers(), numbers, st.booleans()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(filled, inner, max_size=3)
    ),
    max_leaves=5,
)
extras = st.dictionaries(st.from_regex(r"meta_[a-z]{1,4}", fullmatch=True), values, max_size=3)
parts = st.one_of(
    st.fixed_dictionaries({"type": st.just("text"), "text": texts}),
    st.fixed_dictionaries(
        {
            "type": st.just("image_url"),
            "image_url": st.fixed_dictionaries({"url": texts}),
        }
    ),
)
calls = st.fixed_dictionaries(
    {"id": texts, "type": st.just("function"), "function": st.dictionaries(filled, texts)}
)


def turn(role, content=texts):
    return st.fixed_dictionaries({"role": st.just(role), "content": content})


messages = st.lists(
    st.one_of(
        turn("system"),
        turn("user"),
        turn("user", st.lists(parts, min_size=1, max_size=3)),
        st.fixed_dictionaries(
            {
                "role": st.just("assistant"),
                "content": texts,
            },
            optional={"tool_calls": st.lists(calls, min_size=1, max_size=2), "weight": numbers},
        ),
        st.fixed_dictionaries({"role": st.just("tool"), "content": texts, "tool_call_id": texts}),
    ),
    min_size=1,
    max_size=5,
)


def ended(who):
    """Messages that end with a turn of `who`."""
    return st.tuples(messages, who).map(lambda pair: [*pair[0], pair[1]])


def with_extra(**columns):
    fixed = st.fixed_dictionaries(columns)
    return st.tuples(fixed, extras).map(lambda pair: pair[0] | pair[1])


call = st.fixed_dictionaries(
    {"name": texts, "arguments": st.dictionaries(texts, values, max_size=2)}
)
# What a ShareGPT turn of calls holds: one or several, in whatever spacing.
called = st.tuples(
    st.one_of(call, st.lists(call, min_size=1, max_size=2)),
    st.sampled_from([(",", ":"), (", ", ": ")]),
).map(lambda pair: json.dumps(pair[0], ensure_ascii=False, separators=pair[1]))
answer = turn("assistant")
# LLaMA-Factory's: pairs of turns; anything else is a column like others.
history = st.lists(st.one_of(st.lists(texts, min_size=2, max_size=2), values), max_size=2)
plain = st.lists(st.one_of(turn("user"), answer), min_size=1, max_size=4)
sharegpt_turns = st.lists(
    st.fixed_dictionaries(
        {
            "from": st.sampled_from(
                ["human", "gpt", "system", "observation", "user", "chatgpt", "function_call"]
            ),
            "value": st.one_of(texts, called),
        },
        optional={"weight": st.integers(0, 1)},
    ),
    min_size=1,
    max_size=4,
)
said = texts.filter(lambda text: "Human:" not in text and "Assistant:" not in text)
speakers = st.sampled_from(["Human", "Assistant"])


def transcript(turns):
    return "\n\n".join(f"{who}:{text}" for who, text in turns)


spoken = st.one_of(said.map(" {}".format), said)
transcripts = st.tuples(
    st.one_of(st.just("\n\n"), st.just(""), said.map("{}\n\n".format)),
    st.lists(st.tuples(speakers, spoken), min_size=1).map(transcript),
).map("".join)


@st.composite
def opened(draw):
    """A prompt that breaks off behind an open turn, as copies of HH-RLHF have it."""
    turns = draw(st.lists(st.tuples(speakers, spoken), max_size=3))
    mark = draw(st.sampled_from(["Assistant:", "Assistant: "]))
    lead = draw(st.one_of(st.just(""), said))
    head = "".join(f"\n\n{who}:{text}" for who, text in turns)
    sides = {name: draw(spoken) for name in ("chosen", "rejected")}
    return draw(extras) | {"prompt": f"{lead}{head}\n\n{mark}"} | sides


@st.composite
def binarized(draw):
    """UltraFeedback binarized: the prompt stands in a column and at the head of both sides."""
    prompt, system = draw(texts), draw(st.lists(turn("system"), max_size=1))
    head = [*system, {"role": "user", "content": prompt}]
    sides = {name: [*head, draw(answer)] for name in ("chosen", "rejected")}
    return draw(extras) | {"prompt": prompt} | sides


@st.composite
def implicit(draw):
    shared = draw(messages)
    sides = {name: shared + draw(st.lists(answer, min_size=1, max_size=2)) for name in "ab"}
    return draw(extras) | {"chosen": sides["a"], "rejected": sides["b"]}


def scored_responses():
    return st.lists(st.tuples(texts, numbers), min_size=1, max_size=4).map(
        lambda pairs: {
            "responses": [text for text, _ in pairs],
            "rewards_x": [{"score": score} for _, score in pairs],
        }
    )


tree = st.recursive(
    st.fixed_dictionaries(
        {"text": texts, "role": st.sampled_from(["prompter", "assistant"]), "rank": st.integers()}
    ),
    lambda inner: st.fixed_dictionaries(
        {"text": texts, "role": st.just("prompter"), "replies": st.lists(inner, max_size=2)}
    ),
    max_leaves=4,
)
prompts = texts.filter(lambda text: not text.startswith("[{"))


hermes_calls = call.map(lambda c: f"<tool_call>{json.dumps(c)}</tool_call>")
hermes_results = texts.map("<tool_response>\n{}\n</tool_response>".format)
hermes_turns = st.one_of(
    st.tuples(st.sampled_from(["human", "user", "gpt", "tool", "system"]), texts),
    *(
        st.tuples(st.just(who), st.lists(st.one_of(said, texts), max_size=2).map("\n".join))
        for who, said in (("gpt", hermes_calls), ("tool", hermes_results))
    ),
).map(lambda pair: {"from": pair[0], "value": pair[1]})
golds = st.one_of(
    st.integers().map(str),
    texts.map("= {}".format),
    st.lists(filled, min_size=1, max_size=2).map(
        lambda golds: json.dumps(golds, ensure_ascii=False, separators=(",", ":"))
    ),
)
verifiers = st.sampled_from(["math", "mine", '{"checker": "number", "tolerance": 0.1}'])
tools = st.lists(
    st.fixed_dictionaries(
        {
            "name": filled,
            "parameters": st.dictionaries(
                filled,
                st.fixed_dictionaries({"type": st.sampled_from(["str", "List[int], optional"])}),
                max_size=2,
            ),
        },
        optional={"description": texts},
    ),
    min_size=1,
    max_size=2,
)


def pro_lists(turns, answers):
    prefix = [*(f"<|{who}|>{text}" for who, text in turns), "<|assistant|>"]
    answers = sorted(answers, key=lambda pair: -pair[1])
    return {
        "prefix": [prefix for _ in answers],
        "suffix": [text for text, _ in answers],
        "reward": [reward for _, reward in answers],
    }


def two_texts(asked, answered, **others):
    return with_extra(**{asked: prompts, answered: prompts}, **others)


def transcript_prompt():
    turns = st.lists(st.tuples(speakers, said.map(" {}".format)), min_size=1, max_size=3)
    return turns.map(lambda t: "".join(f"\n\n{who}:{x}" for who, x in t) + "\n\nAssistant: ")


SHAPES = {
    "alpaca_pair": with_extra(
        instruction=texts, input=texts, output=st.lists(texts, min_size=2, max_size=2)
    ),
    "alpaca_preference": st.one_of(
        with_extra(instruction=prompts, input=filled, chosen=prompts, rejected=prompts),
        with_extra(instruction=prompts, chosen=prompts, rejected=prompts, system=filled),
    ),
    "aya": two_texts("inputs", "targets"),
    "firefly": two_texts("input", "target", kind=texts),
    "human_assistant": with_extra(
        conversation=st.lists(
            st.fixed_dictionaries({"human": texts, "assistant": texts}), min_size=1, max_size=3
        )
    ),
    "input_output": two_texts("input", "output"),
    "input_preference": two_texts("input", "chosen", rejected=prompts),
    "kto": with_extra(
        messages=st.tuples(messages, turn("user"), answer).map(lambda m: [*m[0], m[1], m[2]]),
        label=st.booleans(),
    ),
    "lima": with_extra(conversations=st.lists(texts, min_size=1, max_size=4)),
    "moss": with_extra(
        chat=st.lists(
            st.fixed_dictionaries(
                {
                    "Human": st.one_of(texts, texts.map("<|Human|>: {}<eoh>\n".format)),
                    "MOSS": st.one_of(texts, texts.map("<|MOSS|>: {}<eom>\n".format)),
                },
                optional={"Inner Thoughts": texts},
            ),
            min_size=1,
            max_size=3,
        ).map(lambda turns: {f"turn_{n}": turn for n, turn in enumerate(turns, 1)}),
        meta_instruction=texts,
    ),
    "nectar": with_extra(
        prompt=st.one_of(transcript_prompt(), prompts),
        answers=st.lists(
            st.fixed_dictionaries(
                {"answer": prompts, "model": texts, "rank": st.integers(1, 7).map(float)}
            ),
            min_size=1,
            max_size=3,
        ),
    ),
    "positive_negative": two_texts("instruction", "positive", negative=prompts),
    "problem_solution": two_texts("problem", "solution"),
    "prompt_response": two_texts("prompt", "response", helpfulness=st.integers(0, 4)),
    "query_response": two_texts("query", "response"),
    "question_preference": two_texts("question", "chosen", rejected=prompts, system=texts),
    "question_response": two_texts("question", "response", system_prompt=texts),
    "question_set": with_extra(text=said.filter(lambda text: ":" not in text and "[" not in text)),
    "safe_rlhf": with_extra(
        prompt=texts,
        response_0=texts,
        response_1=texts,
        better_response_id=st.sampled_from([0, 1]),
        safer_response_id=st.sampled_from([0, 1]),
    ),
    "turn_list": st.one_of(messages, st.lists(texts, min_size=1, max_size=3)).map(
        lambda turns: {"": turns}
    ),
    "turns": with_extra(
        turns=st.one_of(
            st.lists(texts, min_size=1, max_size=3),
            st.lists(st.fixed_dictionaries({"content": texts}), min_size=1, max_size=2),
        ),
        reference=st.lists(texts, max_size=2),
    ),
    "alpaca": st.one_of(
        with_extra(instruction=texts, input=texts, output=texts),
        with_extra(instruction=texts, input=texts, output=texts, system=texts, history=history),
    ),
    "alpaca_response": st.one_of(
        with_extra(instruction=texts, input=texts, response=texts),
        with_extra(instruction=texts, input=texts, response=texts, history=history),
    ),
    "dolly": with_extra(instruction=texts, context=texts, response=texts, category=texts),
    "document": with_extra(
        text=texts, format=st.sampled_from(["text", "markdown", "html", "pdf"]), file=texts
    ),
    "flan": with_extra(question=texts, answer=texts, rationale=texts),
    "hh": st.one_of(with_extra(chosen=transcripts, rejected=transcripts), opened()),
    "messages": with_extra(messages=messages),
    "oasst": with_extra(message_tree_id=texts, prompt=tree),
    "openai_preference": with_extra(
        input=st.fixed_dictionaries(
            {"messages": messages}, optional={"tools": st.just([]), "parallel": st.booleans()}
        ),
        preferred_output=st.lists(answer, min_size=1, max_size=1),
        non_preferred_output=st.lists(answer, min_size=1, max_size=1),
    ),
    "output_pair": st.one_of(
        with_extra(instruction=texts, output_1=texts, output_2=texts, preference=st.floats(1, 2)),
        with_extra(input=texts, output_1=texts, output_2=texts, label=st.sampled_from([1, 2])),
    ),
    "pandalm": with_extra(
        instruction=texts,
        input=texts,
        response1=texts,
        response2=texts,
        annotator1=st.sampled_from([0, 1, 2]),
        cmp_key=texts,
    ),
    "preference": st.one_of(
        with_extra(prompt=texts, chosen=texts, rejected=texts, margin=numbers),
        with_extra(
            prompt=messages,
            chosen=st.lists(answer, min_size=1, max_size=2),
            rejected=st.lists(answer, min_size=1),
        ),
        implicit(),
        binarized(),
        with_extra(chosen=said, rejected=said),
    ),
    "prompt": st.one_of(
        with_extra(prompt=texts), with_extra(prompt=st.lists(turn("user"), min_size=1))
    ),
    "prompt_completion": st.one_of(
        with_extra(prompt=texts, completion=texts),
        with_extra(prompt=messages, completion=ended(answer)),
    ),
    "question_answer": two_texts("question", "answer"),
    "ranked": with_extra(
        prompt=st.one_of(texts, messages),
        candidates=st.lists(
            st.fixed_dictionaries(
                {"messages": ended(answer), "score": numbers, "model": texts},
                optional={"cost": numbers, "judges": st.lists(texts)},
            ),
            min_size=1,
            max_size=3,
        ),
    ),
    "responses": st.tuples(with_extra(instruction=texts), scored_responses()).map(
        lambda pair: pair[0] | pair[1]
    ),
    "self_instruct": with_extra(
        instruction=texts,
        instances=st.lists(
            st.one_of(
                st.fixed_dictionaries({"input": texts, "output": texts}),
                texts,
                st.tuples(filled, texts).map(lambda t: f"Input: {t[0]}\nOutput: {t[1]}"),
            ),
            min_size=1,
            max_size=1,
        ),
    ),
    "sharegpt": st.one_of(
        with_extra(conversations=sharegpt_turns),
        with_extra(items=sharegpt_turns, system_prompt=texts),
        with_extra(messages=sharegpt_turns),
        with_extra(conversation=plain),
    ),
    "sharegpt_kto": with_extra(
        conversations=st.tuples(sharegpt_turns, texts).map(
            lambda t: [*t[0], {"from": "gpt", "value": t[1]}]
        ),
        kto_tag=st.booleans(),
    ),
    "sharegpt_preference": with_extra(
        conversations=sharegpt_turns,
        chosen=sharegpt_turns.map(lambda turns: turns[0]),
        rejected=sharegpt_turns.map(lambda turns: turns[0]),
    ),
    "table": with_extra(text=texts, label=st.integers(-1, 3), choices=st.lists(texts)),
    "ultrafeedback": with_extra(
        instruction=texts,
        completions=st.lists(
            st.fixed_dictionaries(
                {"response": texts, "model": texts, "overall_score": numbers, "critique": texts}
            ),
            min_size=1,
            max_size=3,
        ),
    ),
    "votes": st.one_of(
        with_extra(
            prompt=prompts,
            response_a=prompts,
            response_b=prompts,
            annotator=filled,
            preference=st.sampled_from(
                ["A", "b", "tie", "B is much better", "A is slightly worse"]
            ),
        ),
        with_extra(
            question=messages,
            answer1=st.lists(answer, min_size=1),
            answer2=prompts,
            worker_id=st.integers(),
            choice=st.sampled_from([1, 2, "neither", "second"]),
        ),
    ),
    "argilla": with_extra(
        id=texts,
        fields=st.fixed_dictionaries(
            {"prompt": prompts, "response-1": prompts, "response-2": messages, "page": texts}
        ),
        responses=st.fixed_dictionaries(
            {
                "which": st.lists(
                    st.fixed_dictionaries(
                        {"value": st.sampled_from([1, "2", "tie"]), "user_id": filled}
                    ),
                    min_size=1,
                    max_size=1,
                )
            }
        ),
        suggestions=st.dictionaries(texts, values, max_size=2),
    ),
    "label_studio": with_extra(
        id=st.integers(),
        data=st.fixed_dictionaries({"prompt": prompts, "left": prompts, "right": prompts}),
        annotations=st.lists(
            st.fixed_dictionaries(
                {
                    "completed_by": st.one_of(
                        st.integers(), st.fixed_dictionaries({"email": filled, "id": st.integers()})
                    ),
                    "result": st.sampled_from(["left", "right"]).map(
                        lambda side: [{"from_name": "pw", "value": {"selected": side}}]
                    ),
                    "was_cancelled": st.just(False),
                }
            ),
            min_size=1,
            max_size=1,
        ),
    ),
    "stack_exchange": with_extra(
        question=texts,
        answers=st.lists(
            st.fixed_dictionaries(
                {
                    "text": texts,
                    "pm_score": st.integers(-1, 9).map(float),
                    "selected": st.booleans(),
                }
            ),
            min_size=1,
            max_size=3,
        ),
    ),
    "rrhf": with_extra(query=texts).flatmap(
        lambda data: st.lists(st.tuples(texts, numbers), min_size=1, max_size=4).map(
            lambda pairs: (
                data | {n: [p[i] for p in pairs] for i, n in enumerate(["responses", "scores"])}
            )
        )
    ),
    "pro": with_extra(sft_index=st.just(0)).flatmap(
        lambda data: st.tuples(
            st.lists(st.tuples(st.sampled_from(["prompter", "assistant"]), texts), max_size=3),
            st.lists(st.tuples(texts, numbers), min_size=1, max_size=4),
        ).map(lambda pair: data | pro_lists(*pair))
    ),
    "hermes": with_extra(
        conversations=st.tuples(
            st.sampled_from(["You are a function calling AI model. ", ""]),
            st.lists(hermes_turns, min_size=1, max_size=4),
        ).map(lambda t: [{"from": "system", "value": f"{t[0]}<tools>\n[]\n</tools>"}, *t[1]]),
        tools=st.one_of(filled, tools),
    ),
    "xlam": with_extra(
        query=texts,
        tools=st.one_of(tools, tools.map(json.dumps)),
        answers=st.lists(call, max_size=2).flatmap(lambda a: st.sampled_from([a, json.dumps(a)])),
    ),
    "grpo": with_extra(
        prompt=messages, ground_truth=st.one_of(golds, st.integers()), verifier=verifiers
    ),
    "verl": with_extra(
        data_source=texts,
        prompt=messages,
        ability=texts,
        reward_model=st.fixed_dictionaries({"style": texts, "ground_truth": golds}),
        extra_info=st.fixed_dictionaries({"verifier": verifiers}, optional={"index": values}),
    ),
    "open_instruct": st.one_of(
        with_extra(
            messages=st.lists(turn("user"), min_size=1, max_size=1),
            ground_truth=golds,
            dataset=st.sampled_from(["gsm8k", "math", "ifeval"]),
        ),
        with_extra(
            messages=st.tuples(turn("system"), messages).map(
                lambda pair: [pair[0], *pair[1], {"role": "assistant", "content": ""}]
            ),
            ground_truth=golds,
            dataset=st.just("gsm8k"),
            verifier=st.just('{"checker": "number", "tolerance": 0.1}'),
        ),
    ),
    "unpaired": st.one_of(
        with_extra(prompt=texts, completion=texts, label=st.sampled_from([True, False, 0, 1])),
        with_extra(prompt=messages, completion=st.lists(answer, min_size=1), label=st.booleans()),
    ),
}


def test_every_shape_of_the_tree_is_tested():
    # Rows of several records have a law of their own (tests/read/test_message_rows.py).
    assert set(SHAPES) == {name for name in names() if not shape_called(name).grouped}


def assert_it_goes_back(name, data):
    source = data.draw(SHAPES[name])
    form = shape_called(name)
    # A table is one only where that is said.
    assert not form.signatures or guess([source], "rows") == name
    record = form.read(source)
    assert record.kind == form.kind
    check_record(record)
    row = Row("0" * 32, (0, 0, 0), record.kind, record.fields, "input", record.extra)
    # A list of turns is told as an object with one column of an empty name.
    source = source.get("", source)
    assert form.write(row) == source
    # The same through Arrow, as rows travel.
    [travelled] = read_all([source], shape=name).rows
    assert form.write(travelled) == source


@pytest.mark.parametrize("name", SHAPES)
@settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_record_goes_back_as_it_came(name, data):
    assert_it_goes_back(name, data)


@pytest.mark.slow
@pytest.mark.parametrize("name", SHAPES)
@settings(max_examples=250, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_many_records_go_back_as_they_came(name, data):
    assert_it_goes_back(name, data)
