"""Tool calls as families and agents write them: golden records, the way back, dirty ones."""

import contextlib
import json
import time
from pathlib import Path
from typing import Any

import pytest

from curate import Pipeline
from curate.errors import UsageError
from curate.steps import Structure, Tools
from curate.write import as_shape, write_rows
from tests.read.reading import read_all
from tests.write.rows import identified

# hermes-function-calling-v1, func-calling-singleturn: a Python literal for a call.
LISTED = [
    {
        "type": "function",
        "function": {
            "name": "camera_feed",
            "description": "Show a camera.",
            "parameters": {
                "type": "object",
                "properties": {"camera": {"type": "string"}, "stream": {"type": "boolean"}},
                "required": ["camera"],
            },
        },
    }
]
SYSTEM = (
    "You are a function calling AI model. You are provided with function signatures within "
    "<tools> </tools> XML tags.\n<tools>\n" + str(LISTED) + "\n</tools>\nFor each function call "
    "return a json object within <tool_call> </tool_call> tags."
)
HERMES: dict[str, Any] = {
    "id": "85f277f4",
    "conversations": [
        {"from": "system", "value": SYSTEM},
        {"from": "human", "value": "Show me both cameras."},
        {
            "from": "gpt",
            "value": "<tool_call>\n{'arguments': {'camera': 'front_door', 'stream': True}, "
            "'name': 'camera_feed'}\n</tool_call>\n<tool_call>\n"
            '{"name": "camera_feed", "arguments": {"camera": "back"}}\n</tool_call>\n',
        },
        {
            "from": "tool",
            "value": '<tool_response>\n{"name": "camera_feed", "content": "a"}\n</tool_response>\n'
            '<tool_response>\n{"name": "camera_feed", "content": "b"}\n</tool_response>\n',
        },
        {"from": "gpt", "value": "Both are on."},
    ],
    "tools": json.dumps(LISTED),
    "category": "IoT",
}
# xlam-function-calling-60k: JSON texts, arguments with Python's types.
XLAM: dict[str, Any] = {
    "id": 0,
    "query": "Where can I find live giveaways for beta access and games?",
    "answers": '[{"name": "giveaways", "arguments": {"type": "beta"}}, '
    '{"name": "giveaways", "arguments": {"type": "game"}}]',
    "tools": '[{"name": "giveaways", "description": "Retrieve live giveaways.", "parameters": '
    '{"type": {"description": "The type.", "type": "str", "default": "game"}, '
    '"ids": {"description": "Ids.", "type": "List[int], optional"}, '
    '"limit": {"description": "Most.", "type": "int"}}}]',
}


def write(path: Path, *records: Any) -> str:
    path.write_text("".join(f"{json.dumps(one)}\n" for one in records), encoding="utf-8")
    return str(path)


def asked(value: str) -> list[dict[str, str]]:
    return [{"from": "human", "value": "?"}, {"from": "gpt", "value": value}]


def calls_of(row: Any) -> list[Any]:
    return [
        (call["id"], call["function"]["name"], json.loads(call["function"]["arguments"]))
        for turn in row.messages
        if turn.parts
        for call in json.loads(turn.parts).get("tool_calls", ())
    ]


def test_hermes_is_read_as_calls_and_answers_and_comes_back_as_it_was(tmp_path: Path) -> None:
    read = read_all(write(tmp_path / "hermes.jsonl", HERMES))
    [row] = read.rows
    assert [turn.role for turn in row.messages] == [
        "user",
        "assistant",
        "tool",
        "tool",
        "assistant",
    ]
    assert calls_of(row) == [
        ("call_1", "camera_feed", {"camera": "front_door", "stream": True}),
        ("call_2", "camera_feed", {"camera": "back"}),
    ]
    answers = [json.loads(turn.parts or "{}")["tool_call_id"] for turn in row.messages[2:4]]
    assert answers == ["call_1", "call_2"]
    assert json.loads(row.messages[2].content) == {"name": "camera_feed", "content": "a"}
    assert Tools().make(row) is row
    assert as_shape(row, "hermes") == HERMES


def test_hermes_is_written_of_any_tool_row(tmp_path: Path) -> None:
    turns = [
        {"role": "user", "content": "Fly."},
        {
            "role": "assistant",
            "content": "I do.",
            "tool_calls": [
                {
                    "id": "a",
                    "type": "function",
                    "function": {"name": "fly", "arguments": '{"x": 1}'},
                }
            ],
        },
        {"role": "tool", "content": "ok", "tool_call_id": "a"},
        {"role": "assistant", "content": "Done."},
    ]
    tools = [{"type": "function", "function": {"name": "fly", "parameters": {}}}]
    [row] = read_all(write(tmp_path / "a.jsonl", {"messages": turns, "tools": tools})).rows
    written = as_shape(row, "hermes")
    assert written["conversations"][1]["value"] == (
        'I do.\n<tool_call>\n{"name": "fly", "arguments": {"x": 1}}\n</tool_call>'
    )
    assert written["conversations"][2] == {
        "from": "tool",
        "value": "<tool_response>\nok\n</tool_response>",
    }
    [back] = read_all(write(tmp_path / "b.jsonl", written)).rows
    assert [(t.role, t.content) for t in back.messages] == [
        (t.role, t.content) for t in row.messages
    ]
    assert [call[1:] for call in calls_of(back)] == [call[1:] for call in calls_of(row)]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (
            "<tool_call>\n{'name': 'f', 'arguments': __import__('os')}\n</tool_call>",
            "Python literal",
        ),
        ("<tool_call>\n{'name': 'f'", "has no end"),
        ("<tool_call>\n[1]\n</tool_call>", "with a name"),
        ("<tool_call>\n{'name': 'f', 'arguments': [1]}\n</tool_call>", "must be an object"),
        ("<tool_call>\n" + "[" * 5000 + "\n</tool_call>", "Python literal"),
    ],
)
def test_a_call_that_cannot_be_read_fails_its_row(value: str, said: str, tmp_path: Path) -> None:
    bad = {
        **HERMES,
        "conversations": [{"from": "human", "value": "?"}, {"from": "gpt", "value": value}],
    }
    read = read_all(write(tmp_path / "bad.jsonl", HERMES, bad))
    assert len(read.rows) == 1
    [failed] = read.failed
    assert said in str(failed)


def test_python_values_become_json(tmp_path: Path) -> None:
    call = "{'name': 'f', 'arguments': {'a': None, 'b': (1, 2), 'c': False}}"
    record = {**HERMES, "conversations": asked(f"<tool_call>\\n{call}\\n</tool_call>")}
    [row] = read_all(write(tmp_path / "h.jsonl", record)).rows
    assert calls_of(row) == [("call_1", "f", {"a": None, "b": [1, 2], "c": False})]
    assert as_shape(row, "hermes") == record


def test_xlam_is_read_with_schemas_and_comes_back_as_it_was(tmp_path: Path) -> None:
    none = {**XLAM, "id": 1, "answers": "[]"}
    [row, unfit] = read_all(write(tmp_path / "xlam.jsonl", XLAM, none)).rows
    assert calls_of(row) == [
        ("call_1", "giveaways", {"type": "beta"}),
        ("call_2", "giveaways", {"type": "game"}),
    ]
    [tool] = json.loads(row.extra)["tools"]
    assert tool["function"]["parameters"] == {
        "type": "object",
        "properties": {
            "type": {"type": "string", "description": "The type.", "default": "game"},
            "ids": {"type": "array", "items": {"type": "integer"}, "description": "Ids."},
            "limit": {"type": "integer", "description": "Most."},
        },
        "required": ["limit"],
    }
    # The gold calls of this example lack a required argument: the filter says so.
    found = Tools().make(row)
    assert found.reason == "missing argument"
    assert json.loads(unfit.extra)["expect"] == "none"
    assert Tools().make(unfit) is unfit
    assert [as_shape(one, "xlam") for one in (row, unfit)] == [XLAM, none]


@pytest.mark.parametrize(
    ("type_", "schema"),
    [
        ("str", {"type": "string"}),
        ("int, optional", {"type": "integer"}),
        ("Optional[float]", {"type": "number"}),
        ("List[str]", {"type": "array", "items": {"type": "string"}}),
        (
            "List[List[int]]",
            {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}},
        ),
        ("Tuple[int, str]", {"type": "array"}),
        ("Dict[str, int]", {"type": "object"}),
        ("Dict[str, List[int]], optional", {"type": "object"}),
        ("Union[int, str]", {"anyOf": [{"type": "integer"}, {"type": "string"}]}),
        (
            "Union[int, List[str]]",
            {"anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "string"}}]},
        ),
        ("set", {"type": "array"}),
        ("Callable[[float], float]", {}),
        ("Any", {}),
        ("", {}),
    ],
)
def test_types_of_xlam_become_json_schema(type_: str, schema: dict[str, Any]) -> None:
    from curate.read.shapes.traces.xlam import tool_of

    made = tool_of({"name": "f", "parameters": {"a": {"type": type_}}})
    assert made["function"]["parameters"]["properties"]["a"] == schema


@pytest.mark.parametrize("who", ["gpt", "tool", "system"])
def test_tags_without_an_end_take_no_longer_than_others(who: str) -> None:
    from curate.read.shapes import shape

    text = "<tool_call><tool_response><tools>" * 30_000
    text = f"You are a function calling AI model{text}" if who == "system" else text
    began = time.process_time()
    with contextlib.suppress(ValueError):
        shape("hermes").read({"conversations": [{"from": who, "value": text}], "tools": "[]"})
    assert time.process_time() - began < 2


# Claude Code: ~/.claude/projects/*/SESSION.jsonl.
COMMON = {"sessionId": "s1", "cwd": "/srv/app", "version": "2.0.1", "isSidechain": False}

BESIDE = {"isSidechain": True, "agentId": "a1"}


def claude(kind: str, content: Any, **more: Any) -> dict[str, Any]:
    message = {"role": kind, "content": content}
    if kind == "assistant":
        message |= {"id": "msg_1", "type": "message", "model": "claude-x", "usage": {}}
    return {**COMMON, "type": kind, "message": message, "uuid": "u", "parentUuid": None, **more}


CLAUDE = [
    {"type": "summary", "summary": "Fix the test", "leafUuid": "u"},
    {"type": "file-history-snapshot", "messageId": "m", "snapshot": {}, "isSnapshotUpdate": False},
    claude("user", "Caveat: generated while running local commands.", isMeta=True),
    claude("user", "<command-name>/clear</command-name>"),
    claude("user", "Why does the test fail?"),
    claude("assistant", [{"type": "thinking", "thinking": "Look first.", "signature": "x"}]),
    claude("assistant", [{"type": "text", "text": "I look."}]),
    claude(
        "assistant",
        [{"type": "tool_use", "id": "t1", "name": "Read", "input": {"file_path": "a.py"}}],
    ),
    claude(
        "assistant", [{"type": "tool_use", "id": "t2", "name": "Bash", "input": {"command": "ls"}}]
    ),
    claude("user", [{"type": "tool_result", "tool_use_id": "t1", "content": "x = 1"}]),
    claude(
        "user",
        [
            {
                "type": "tool_result",
                "tool_use_id": "t2",
                "content": [{"type": "text", "text": "no such file"}],
                "is_error": True,
            }
        ],
    ),
    {**claude("assistant", [{"type": "text", "text": "API Error"}]), "isApiErrorMessage": True},
    claude("assistant", [{"type": "text", "text": "It compares with 2."}]),
    {**claude("user", "Search."), "isSidechain": True, "agentId": "a1"},
    {
        **claude("assistant", [{"type": "text", "text": "Found."}]),
        "isSidechain": True,
        "agentId": "a1",
    },
]
TURNS = [
    {"role": "user", "content": "Why does the test fail?"},
    {
        "role": "assistant",
        "content": "I look.",
        "reasoning_content": "Look first.",
        "tool_calls": [
            {
                "id": "t1",
                "type": "function",
                "function": {"name": "Read", "arguments": '{"file_path":"a.py"}'},
            },
            {
                "id": "t2",
                "type": "function",
                "function": {"name": "Bash", "arguments": '{"command":"ls"}'},
            },
        ],
    },
    {"role": "tool", "content": "x = 1", "tool_call_id": "t1"},
    {"role": "tool", "content": "no such file", "tool_call_id": "t2", "is_error": True},
    {"role": "assistant", "content": "It compares with 2."},
]
# Codex: ~/.codex/sessions/YYYY/MM/DD/rollout-*.jsonl.
AT = "2026-01-01T00:00:00.000Z"


def item(**payload: Any) -> dict[str, Any]:
    return {"timestamp": AT, "type": "response_item", "payload": payload}


CODEX = [
    {
        "timestamp": AT,
        "type": "session_meta",
        "payload": {
            "id": "c1",
            "cwd": "/app",
            "cli_version": "0.40.0",
            "instructions": "Be careful.",
        },
    },
    {"timestamp": AT, "type": "turn_context", "payload": {"cwd": "/app", "model": "gpt-x"}},
    item(type="message", role="user", content=[{"type": "input_text", "text": "Why?"}]),
    {"timestamp": AT, "type": "event_msg", "payload": {"type": "user_message", "message": "Why?"}},
    item(type="reasoning", summary=[{"type": "summary_text", "text": "Look first."}], content=None),
    item(type="function_call", name="shell", arguments='{"command":["ls"]}', call_id="k1"),
    item(type="function_call_output", call_id="k1", output='{"output":"a.py"}'),
    item(type="reasoning", summary=[], encrypted_content="gAAA"),
    item(type="custom_tool_call", name="apply_patch", input="*** Begin Patch", call_id="k2"),
    item(type="custom_tool_call_output", call_id="k2", output="Done!"),
    item(type="message", role="assistant", content=[{"type": "output_text", "text": "Fixed."}]),
]
# Pi: ~/.pi/agent/sessions/*.jsonl.
PI = [
    {"type": "session", "version": 3, "id": "p1", "timestamp": AT, "cwd": "/app"},
    {"type": "model_change", "id": "0", "parentId": None, "timestamp": AT, "modelId": "m"},
    {
        "type": "message",
        "id": "1",
        "parentId": "0",
        "timestamp": AT,
        "message": {"role": "user", "content": [{"type": "text", "text": "Why?"}]},
    },
    {
        "type": "message",
        "id": "2",
        "parentId": "1",
        "timestamp": AT,
        "message": {
            "role": "assistant",
            "model": "m",
            "content": [
                {"type": "thinking", "thinking": "Look first."},
                {"type": "toolCall", "id": "k1", "name": "bash", "arguments": {"command": "ls"}},
            ],
        },
    },
    {
        "type": "message",
        "id": "3",
        "parentId": "2",
        "timestamp": AT,
        "message": {
            "role": "toolResult",
            "toolCallId": "k1",
            "toolName": "bash",
            "content": [{"type": "text", "text": "a.py"}],
            "isError": False,
        },
    },
    {
        "type": "message",
        "id": "4",
        "parentId": "3",
        "timestamp": AT,
        "message": {
            "role": "assistant",
            "model": "m",
            "content": [{"type": "text", "text": "Fixed."}],
        },
    },
]


def test_a_session_of_claude_code_is_a_conversation(tmp_path: Path) -> None:
    read = read_all(write(tmp_path / "s1.jsonl", *CLAUDE))
    assert not read.failed
    main, beside = (as_shape(row, "messages") for row in read.rows)
    assert main == {
        "messages": TURNS,
        "harness": "claude_code",
        "session_id": "s1",
        "cwd": "/srv/app",
        "version": "2.0.1",
        "model": "claude-x",
        "left_out": {
            "error of the connection": 1,
            "file-history-snapshot": 1,
            "injected note": 1,
            "local command": 1,
            "summary": 1,
        },
    }
    assert beside["sidechain"] == "a1"
    assert [turn["content"] for turn in beside["messages"]] == ["Search.", "Found."]


def call(id_: str, name: str, arguments: str) -> dict[str, Any]:
    return {"id": id_, "type": "function", "function": {"name": name, "arguments": arguments}}


def test_a_session_of_codex_is_a_conversation(tmp_path: Path) -> None:
    [row] = read_all(write(tmp_path / "rollout.jsonl", *CODEX)).rows
    assert as_shape(row, "messages") == {
        "messages": [
            {"role": "system", "content": "Be careful."},
            {"role": "user", "content": "Why?"},
            {
                "role": "assistant",
                "content": None,
                "reasoning_content": "Look first.",
                "tool_calls": [call("k1", "shell", '{"command":["ls"]}')],
            },
            {"role": "tool", "content": '{"output":"a.py"}', "tool_call_id": "k1"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [call("k2", "apply_patch", '{"input":"*** Begin Patch"}')],
            },
            {"role": "tool", "content": "Done!", "tool_call_id": "k2"},
            {"role": "assistant", "content": "Fixed."},
        ],
        "harness": "codex",
        "session_id": "c1",
        "cwd": "/app",
        "cli_version": "0.40.0",
        "model": "gpt-x",
        "left_out": {"encrypted thoughts": 1, "event_msg": 1},
    }


def test_a_session_of_pi_is_a_conversation(tmp_path: Path) -> None:
    [row] = read_all(write(tmp_path / "pi.jsonl", *PI)).rows
    assert as_shape(row, "messages") == {
        "messages": [
            {"role": "user", "content": "Why?"},
            {
                "role": "assistant",
                "content": None,
                "reasoning_content": "Look first.",
                "tool_calls": [call("k1", "bash", '{"command":"ls"}')],
            },
            {"role": "tool", "content": "a.py", "tool_call_id": "k1", "name": "bash"},
            {"role": "assistant", "content": "Fixed."},
        ],
        "harness": "pi",
        "session_id": "p1",
        "cwd": "/app",
        "version": 3,
        "model": "m",
        "left_out": {"model_change": 1},
    }


def test_what_datasets_makes_of_sessions_is_read_too(tmp_path: Path) -> None:
    """`load_dataset` decodes traces into messages, tools and what else it knows of them."""
    record = {
        "harness": "claude_code",
        "session_id": "s1",
        "prompt": "Why does the test fail?",
        "messages": TURNS,
        "tools": [],
        "metadata": {"trace_type": "claude_code"},
        "num_tool_calls": 2,
    }
    path = write(tmp_path / "decoded.jsonl", record)
    [row] = read_all(path, shape="messages").rows
    assert as_shape(row, "messages") == record


def test_dirty_sessions_are_dropped_by_name(tmp_path: Path) -> None:
    """An empty first turn, a call that nobody answered, a broken line, and nothing at all."""
    folder = tmp_path / "sessions"
    folder.mkdir()
    empty = [claude("user", ""), claude("assistant", [{"type": "text", "text": "What?"}])]
    open_call = [
        claude("user", "Go."),
        claude("assistant", [{"type": "tool_use", "id": "t", "name": "Bash", "input": {}}]),
        claude("user", "Stop."),
        claude("assistant", [{"type": "text", "text": "I stopped."}]),
    ]
    write(folder / "a.jsonl", *empty)
    write(folder / "b.jsonl", *open_call)
    write(folder / "c.jsonl", *CLAUDE)
    broken = (folder / "c.jsonl").read_text() + '{"type": "user", "message": {"ro'
    (folder / "c.jsonl").write_text(broken)
    write(folder / "d.jsonl", claude("user", "note", isMeta=True))
    faults = ("empty_turn", "unanswered_call")
    result = Pipeline([Tools(faults=faults), Structure(problems=("no_user_turn",))]).run(
        str(folder / "*.jsonl"), run=tmp_path / "run", allow_failed=1
    )
    assert result.summary["kept"] == 2
    reasons = [step["reasons"] for step in result.summary["steps"]]
    assert reasons == [{"empty turn": 1, "unanswered call": 1}, {"no user turn": 1}]
    [unreadable] = result.summary["unreadable"]
    assert Path(unreadable["file"]).name == "c.jsonl"
    assert unreadable["line"] == len(CLAUDE) + 1


def test_a_conversation_is_no_session(tmp_path: Path) -> None:
    [row] = read_all(write(tmp_path / "pi.jsonl", *PI)).rows
    with pytest.raises(UsageError, match="holds no events"):
        as_shape(row, "pi")


@pytest.mark.parametrize(
    "shape",
    ["messages", "trl_sft", "axolotl_chat", "llamafactory_sharegpt", "openai_chat"],
)
@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_sessions_leave_for_every_trainer_and_come_back(
    shape: str, ending: str, tmp_path: Path
) -> None:
    turns = [{k: v for k, v in turn.items() if k != "is_error"} for turn in TURNS]
    if shape == "llamafactory_sharegpt":
        # A turn there holds a text or calls, not both.
        turns[1]["content"] = None
    source = write(tmp_path / "in.jsonl", {"messages": turns, "harness": "x"})
    table = read_all(source).table
    path = tmp_path / f"out.{ending}"
    assert write_rows([identified(table)], path, shape) == 1
    [row] = read_all(str(path)).rows
    back = as_shape(row, "openai_chat")["messages"]
    assert [said(turn) for turn in back] == [said(turn) for turn in turns]


def said(turn: dict[str, Any]) -> Any:
    calls = [
        (one["function"]["name"], json.loads(one["function"]["arguments"]))
        for one in turn.get("tool_calls") or ()
    ]
    return turn["role"], turn["content"], turn.get("reasoning_content"), calls
