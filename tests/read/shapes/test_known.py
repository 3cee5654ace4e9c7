"""A table of datasets that people have: rows in, the record, and the export back, equal."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.read.shapes import shape as shape_called
from curate.row import Candidate, Message
from curate.rows.trees import conversations, rankings
from curate.write import as_shape, records_as
from tests.read.reading import lines_of, read_all


def user(text):
    return Message("user", text)


def bot(text):
    return Message("assistant", text)


def system(text):
    return Message("system", text)


def said(*texts, of=(user, bot)):
    return tuple(of[i % len(of)](text) for i, text in enumerate(texts))


def chat(*texts, keys=("role", "content"), names=("user", "assistant")):
    return [{keys[0]: names[i % 2], keys[1]: text} for i, text in enumerate(texts)]


def sharegpt(*texts):
    return chat(*texts, keys=("from", "value"), names=("human", "gpt"))


def sft(*texts, first=()):
    return {"messages": (*first, *said(*texts))}


def pair(prompt, chosen, rejected):
    sides = {"chosen": (bot(chosen),), "rejected": (bot(rejected),)}
    return {"prompt": prompt, **sides, "margin": None, "p_chosen": None}


# Name: the shape, and rows with the fields of their records.
TABLE = {}
TABLE["MT-bench"] = (
    "turns",
    [
        (
            {"question_id": 81, "turns": ["Name a tree.", "A taller one?"]},
            {"prompt": (user("Name a tree."), user("A taller one?"))},
        ),
        (
            {"question_id": 82, "turns": ["Sum 2, 3.", "Twice it."], "reference": ["5", "10"]},
            {"prompt": (user("Sum 2, 3."), user("Twice it."))},
        ),
        ({"question_id": 83, "turns": ["Who?"]}, {"prompt": (user("Who?"),)}),
    ],
)
TABLE["Arena-Hard"] = (
    "turns",
    [
        ({"question_id": q, "cluster": c, "turns": [{"content": t}]}, {"prompt": (user(t),)})
        for q, c, t in (("a1", "math", "Prove it."), ("a2", "code", "Sort."), ("a3", "x", "Why?"))
    ],
)
TABLE["question sets"] = (
    "question_set",
    [
        ({"question_id": n, "text": t, "category": "generic"}, {"prompt": (user(t),)})
        for n, t in ((1, "How do planes fly?"), (2, "What is salt?"), (3, "Why is it dark?"))
    ],
)
TABLE["other cases"] = (
    'columns:{"instruction":"Instruction","input":"Input","response":"Output"}',
    [
        ({"Instruction": "Add.", "Input": "1 2", "Output": "3"}, sft("Add.\n\n1 2", "3")),
        ({"Instruction": "Greet.", "Input": "", "Output": "Hi."}, sft("Greet.", "Hi.")),
        ({"Instruction": "Part.", "Input": None, "Output": "Bye."}, sft("Part.", "Bye.")),
    ],
)
TWO_TEXTS = {
    "prompt/response": ("prompt_response", "prompt", "response", {}),
    "HelpSteer": ("prompt_response", "prompt", "response", {"helpfulness": 3, "verbosity": 1}),
    "query/response": ("query_response", "query", "response", {}),
    "MetaMathQA": (
        "query_response",
        "query",
        "response",
        {"original_question": "a b", "type": "x"},
    ),
    "problem/solution": ("problem_solution", "problem", "solution", {"level": "Level 5"}),
    "Firefly": ("firefly", "input", "target", {"kind": "NLI"}),
    "Aya": ("aya", "inputs", "targets", {"language": "Yoruba", "user_id": "u"}),
}
for name, (shape, asked, answered, more) in TWO_TEXTS.items():
    TABLE[name] = (
        shape,
        [
            ({asked: q, answered: a, **more}, sft(q, a))
            for q, a in (("q", "a"), ("r", "b"), ("", ""))
        ],
    )
TABLE["OpenOrca"] = (
    "question_response",
    [
        (
            {"id": "cot.1", "system_prompt": "Be terse.", "question": "q", "response": "a"},
            sft("q", "a", first=[system("Be terse.")]),
        ),
        ({"id": "t0.2", "system_prompt": "", "question": "r", "response": "b"}, sft("r", "b")),
        ({"id": "t0.3", "question": "s", "response": "c"}, sft("s", "c")),
    ],
)
TABLE["Orca-DPO"] = (
    "question_preference",
    [
        (
            {"system": s, "question": q, "chosen": "good", "rejected": "bad"},
            pair((*([system(s)] if s else []), user(q)), "good", "bad"),
        )
        for s, q in (("Be kind.", "q"), ("", "r"), ("Think.", "s"))
    ],
)
TABLE["Safety"] = (
    "positive_negative",
    [
        ({"instruction": q, "positive": "No.", "negative": n}, pair((user(q),), "No.", n))
        for q, n in (("q", "Take the red wire."), ("r", "Sure"), ("s", "Yes"))
    ],
)
TABLE["LIMA"] = (
    "lima",
    [
        ({"conversations": texts, "source": "wikihow"}, sft(*texts))
        for texts in (["q", "a"], ["q", "a", "r", "b"], ["q", ""])
    ],
)
TABLE["MOSS"] = (
    "human_assistant",
    [
        (
            {
                "conversation_id": n,
                "conversation": [
                    {"human": texts[i], "assistant": texts[i + 1]} for i in range(0, len(texts), 2)
                ],
            },
            sft(*texts),
        )
        for n, texts in enumerate((["q", "a"], ["q", "a", "r", "b"], ["s", "c"]))
    ],
)
_CHAT = {"Human": "<|Human|>: q<eoh>\n", "MOSS": "<|MOSS|>: a<eom>\n"}
_PARTS = ('{"around":["<|Human|>: ","<eoh>\\n"]}', '{"around":["<|MOSS|>: ","<eom>\\n"]}')
_TURNS = (Message("user", "q", _PARTS[0]), Message("assistant", "a", _PARTS[1]))
TABLE["MOSS with tools"] = (
    "moss",
    [
        (
            {"meta_instruction": "M.", "chat": {"turn_1": _CHAT}},
            {"messages": (system("M."), *_TURNS)},
        ),
        ({"num_turns": 2, "chat": {"turn_1": _CHAT, "turn_2": _CHAT}}, {"messages": _TURNS * 2}),
        ({"chat": {"turn_1": {"Human": "q", "MOSS": "a"}}}, sft("q", "a")),
    ],
)
TABLE["UltraFeedback-binarized"] = (
    "preference",
    [
        (
            {
                "prompt": "q",
                "prompt_id": str(n),
                "score_chosen": 8.0,
                "score_rejected": 4.5,
                "chosen": chat("q", a),
                "rejected": chat("q", b),
                "messages": chat("q", a),
            },
            pair((user("q"),), a, b),
        )
        for n, (a, b) in enumerate((("good", "bad"), ("yes", "no"), ("1", "2")))
    ],
)
TABLE["PKU-SafeRLHF"] = (
    "safe_rlhf",
    [
        (
            {
                "prompt": "q",
                "response_0": "x",
                "response_1": "y",
                "is_response_0_safe": True,
                "better_response_id": better,
                "safer_response_id": 0,
            },
            pair((user("q"),), "xy"[better], "yx"[better]),
        )
        for better in (0, 1, 1)
    ],
)
TABLE["Nectar"] = (
    "nectar",
    [
        (
            {
                "prompt": f"\n\nHuman: {q}\n\nAssistant: ",
                "answers": [
                    {"answer": "x", "model": "m", "rank": 1.0},
                    {"answer": "y", "model": "n", "rank": 2.0},
                ],
                "turns": 1,
                "num_responses": 2,
            },
            {
                "prompt": (user(q),),
                "candidates": (
                    Candidate((bot("x"),), -1.0, "m"),
                    Candidate((bot("y"),), -2.0, "n"),
                ),
            },
        )
        for q in ("q", "r", "s t")
    ],
)
TABLE["ShareGPT preference with texts"] = (
    "sharegpt_preference",
    [
        (
            {"conversations": sharegpt(*texts), "chosen": "good", "rejected": "bad"},
            pair(said(*texts), "good", "bad"),
        )
        for texts in (["q"], ["q", "a", "r"], ["s"])
    ],
)
TABLE["LLaMA-Factory KTO"] = (
    "kto",
    [
        (
            {"messages": chat("q", "a", *more), "label": label},
            {
                "prompt": said("q", "a", *more)[:-1],
                "completion": said("q", "a", *more)[-1:],
                "label": label,
            },
        )
        for label, more in ((True, ()), (False, ("r", "b")), (True, ()))
    ],
)
TABLE["LLaMA-Factory KTO, ShareGPT's"] = (
    "sharegpt_kto",
    [
        (
            {"conversations": sharegpt("q", "a", *more), "kto_tag": label},
            {
                "prompt": said("q", "a", *more)[:-1],
                "completion": said("q", "a", *more)[-1:],
                "label": label,
            },
        )
        for label, more in ((True, ()), (False, ("r", "b")), (True, ()))
    ],
)
TABLE["LLaMA-Factory DPO, Alpaca's"] = (
    "alpaca_preference",
    [
        (
            {"instruction": "Add.", "input": given, "chosen": "good", "rejected": "bad"},
            pair((user("Add." + (f"\n\n{given}" if given else "")),), "good", "bad"),
        )
        for given in ("1 2", "", "3")
    ],
)
TABLE["LLaMA-Factory DPO, two outputs"] = (
    "alpaca_pair",
    [
        (
            {"instruction": q, "input": "", "output": ["good", "bad"]},
            pair((user(q),), "good", "bad"),
        )
        for q in ("q", "r", "s")
    ],
)
TABLE["LLaMA-Factory DPO, ShareGPT's"] = (
    "sharegpt_preference",
    [
        (
            {
                "conversations": sharegpt(q),
                "chosen": {"from": "gpt", "value": "good"},
                "rejected": {"from": "gpt", "value": "bad"},
            },
            pair((user(q),), "good", "bad"),
        )
        for q in ("q", "r", "s")
    ],
)
TABLE["Self-Instruct, instances as texts"] = (
    "self_instruct",
    [
        ({"id": "1", "instruction": "Add.", "instances": ["3"]}, sft("Add.", "3")),
        (
            {"id": "2", "instruction": "Add.", "instances": ["Input: 1 2\nOutput: 3"]},
            sft("Add.\n\n1 2", "3"),
        ),
        (
            {"id": "3", "instruction": "Add.", "instances": [{"input": "", "output": "4"}]},
            sft("Add.", "4"),
        ),
    ],
)
TABLE["TRL's implicit prompt"] = (
    "preference",
    [
        (
            {"chosen": "The sky is blue.", "rejected": "The sky is green."},
            pair((user("The sky is"),), " blue.", " green."),
        ),
        (
            {"chosen": "The sky is blue", "rejected": "The sky is blue and vast"},
            pair((user("The sky is"),), " blue", " blue and vast"),
        ),
        (
            {"chosen": "The sky is blue and vast ", "rejected": "A sky is blue"},
            pair((), "The sky is blue and vast ", "A sky is blue"),
        ),
    ],
)


@pytest.mark.parametrize("name", TABLE)
@pytest.mark.parametrize("file", ["rows.jsonl", "rows.json"])
def test_rows_in_records_and_rows_back(name, file, tmp_path):
    shape, pairs = TABLE[name]
    sources = [source for source, _ in pairs]
    data = lines_of(*sources) if file == "rows.jsonl" else json.dumps(sources).encode()
    (tmp_path / file).write_bytes(data)
    found = read_all(str(tmp_path / file))
    assert len(sources) == 3
    assert not found.failed
    assert {row.kind for row in found.rows} == {shape_called(shape).kind}
    assert [dict(row.fields) for row in found.rows] == [fields for _, fields in pairs]
    assert [as_shape(row, shape) for row in found.rows] == sources


def test_every_instance_of_a_task_makes_a_row(tmp_path):
    task = {"id": "t", "instruction": "Add.", "is_classification": False}
    instances = [{"input": "1 2", "output": "3"}, {"input": "2 2", "output": "4"}]
    path = tmp_path / "tasks.jsonl"
    path.write_bytes(lines_of({**task, "instances": instances}, {**task, "instances": ["5"]}))
    found = read_all(str(path))
    assert found.records == 3
    assert [row.response for row in found.rows] == ["3", "4", "5"]
    assert [as_shape(row, "self_instruct") for row in found.rows] == [
        {**task, "instances": [instances[0]]},
        {**task, "instances": [instances[1]]},
        {**task, "instances": ["5"]},
    ]


@pytest.mark.parametrize("turns", [chat("q", "a"), ["q", "a"], sharegpt("q", "a")])
def test_lines_that_are_arrays_are_conversations(turns, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(lines_of(turns, turns, []))
    found = read_all(str(path))
    assert [row.messages for row in found.rows] == [said("q", "a")] * 2
    assert len(found.failed) == 1
    assert as_shape(found.rows[0], "turn_list") == turns


def message(own, parent, role, text, tree="t", **more):
    columns = {"message_id": own, "parent_id": parent, "role": role, "text": text}
    return {**columns, "message_tree_id": tree, "rank": None, **more}


@pytest.mark.parametrize("file", ["rows.jsonl", "rows.json", "rows.parquet"])
def test_messages_of_trees_are_one_row_a_tree(file, tmp_path):
    rows = [
        message("t", None, "prompter", "q"),
        message("a", "t", "assistant", "good", rank=0),
        message("b", "a", "prompter", "and?"),
        message("c", "t", "assistant", "bad", rank=1),
        message("u", None, "prompter", "r", tree="u", rank=None),
    ]
    # Messages of two trees in turns, answers before their questions.
    order = [4, 3, 0, 2, 1]
    path = tmp_path / file
    if file == "rows.parquet":
        pq.write_table(pa.Table.from_pylist([rows[n] for n in order]), path)
    else:
        found = [rows[n] for n in order]
        path.write_bytes(lines_of(*found) if file == "rows.jsonl" else json.dumps(found).encode())
    found = read_all(str(path))
    assert (found.records, found.failed) == (2, [])
    assert [row.prompt for row in found.rows] == [(user("r"),), (user("q"),)]
    made = [record.fields for record in conversations(json.loads(found.rows[1].extra))]
    assert made == [sft("q", "bad"), sft("q", "good")]
    ranked = [record.fields for record in rankings(json.loads(found.rows[1].extra))]
    candidates = (Candidate((bot("bad"),), -1.0), Candidate((bot("good"),), 0.0))
    assert ranked == [{"prompt": (user("q"),), "candidates": candidates}]
    back = [record for row in found.rows for record in records_as(row, "oasst_messages")]
    assert back == [rows[n] for n in (4, 0, 3, 1, 2)]
