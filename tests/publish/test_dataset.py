"""Datasets pushed to a Hub on loopback by the real clients, and what comes down again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from curate.errors import StoppedShort, UsageError
from curate.pipeline import Pipeline, Result
from curate.publish import hub as hub_module
from curate.publish import push
from curate.read import open_inputs
from curate.steps import Exact, Length, Near, Split
from tests.publish.hub_server import TOKEN, Hub, hub_server

# The Hub's client sends files in a form that its own HTTP library is about to give up.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>':DeprecationWarning")
NAME = "lab/data"


@pytest.fixture(scope="module")
def served() -> Iterator[Hub]:
    """One server for all tests: the clients read its address when they are imported."""
    with hub_server() as hub:
        yield hub


@pytest.fixture
def hub(served: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """An empty Hub, a token for it, and clients that ask it."""
    from huggingface_hub import constants

    fresh = Hub(url=served.url)
    for name, value in vars(fresh).items():
        if name != "lock":
            setattr(served, name, value)
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, served.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "ENDPOINT", served.url)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    return served


def tool_rows(count: int = 40) -> list[dict[str, Any]]:
    """Return conversations whose tools and arguments differ in their keys."""
    rows = []
    for n in range(count):
        arguments = {"city": f"T{n}"} if n % 2 else {"from": n, "to": None}
        call = {"name": "look", "arguments": json.dumps(arguments)}
        parameters = {"type": "object", "properties": {f"p{n % 3}": {"type": "string"}}}
        rows.append(
            {
                "messages": [
                    {"role": "user", "content": f"What is number {n} of the {n % 7} towns?"},
                    {
                        "role": "assistant",
                        "content": "",
                        "tool_calls": [{"id": f"c{n}", "type": "function", "function": call}],
                    },
                    {"role": "tool", "content": f"It is {n}.", "tool_call_id": f"c{n}"},
                    {"role": "assistant", "content": f"Number {n} is a fine town."},
                ],
                "tools": [
                    {"type": "function", "function": {"name": "look", "parameters": parameters}}
                ],
                "about": {"page": n} if n % 2 else {"link": f"l{n}"},
            }
        )
    return rows


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run over tool rows, with a split."""
    file = tmp_path / "secret folder" / "rows.jsonl"
    file.parent.mkdir()
    file.write_text("".join(json.dumps(row) + "\n" for row in tool_rows()))
    steps = [Length(min=3), Split(share=0.3)]
    pipeline = Pipeline(
        steps, models={"judge": {"model": "openai:m", "base_url": "http://10.1.2.3/v1"}}
    )
    pipeline.run(file, run=tmp_path / "run", store=tmp_path / "store")
    return tmp_path / "run"


def without_nulls(value: Any) -> Any:
    """Return a value of Parquet without the nulls that stand for keys which a row lacks."""
    if isinstance(value, dict):
        return {k: without_nulls(v) for k, v in value.items() if v is not None}
    return [without_nulls(one) for one in value] if isinstance(value, list) else value


def decoded(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record with the columns that travel as JSON text read."""
    found = without_nulls(record)
    return {**found, **{name: json.loads(found[name]) for name in ("tools", "about")}}


def loaded(hub: Hub, home: Path, code: str) -> Any:
    """Return what the real `datasets` client finds, in a process of its own."""
    environment = {
        **os.environ,
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(home / "hf"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_TOKEN": TOKEN,
    }
    code = f"import datasets, json\n{code}\nprint('\\n' + json.dumps(found))"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_what_comes_down_equals_what_went_up(hub: Hub, run: Path, tmp_path: Path) -> None:
    pushed = push(run, NAME)
    assert pushed.url == f"{hub.url}/datasets/{NAME}"
    assert pushed.rows == 40
    assert hub.repositories[NAME].private
    code = f"found = {{k: v.to_list() for k, v in datasets.load_dataset('{NAME}').items()}}"
    found = loaded(hub, tmp_path, code)
    kept = Result.open(run).kept
    for side in ("train", "test"):
        went = [without_nulls(record) for record in kept.split(side).to_list(form="kind")]
        assert [decoded(record) for record in found[side]] == went
    assert len(found["train"]) + len(found["test"]) == 40


def test_what_comes_down_is_read_as_the_same_rows(hub: Hub, run: Path, tmp_path: Path) -> None:
    push(run, NAME)
    files = hub.repositories[NAME].files
    for name, data in files.items():
        (tmp_path / name.replace("/", "_")).write_bytes(data)
    (train,) = tmp_path.glob("data_default_train*.parquet")
    Pipeline([]).run(train, run=tmp_path / "again", store=tmp_path / "store")
    here = [row.messages for row in Result.open(run).kept.split("train")]
    assert [row.messages for row in Result.open(tmp_path / "again").kept] == here


def test_tool_rows_of_a_benchmark_come_down_as_they_went_up(hub: Hub, tmp_path: Path) -> None:
    from curate.write import as_shape
    from tests.read.reading import read_all
    from tests.write.test_tools import rounded, source, spoken

    def as_turns(turns: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return turns without the keys that a table gives to each, and `content` in all."""
        return [{"content": None, **without_nulls(turn)} for turn in turns]

    rows = source("bfcl")
    steps = [Length(min=1, on="whole"), Exact(), Near()]
    Pipeline(steps).run(rows, run=tmp_path / "run", store=tmp_path / "store")
    pushed = push(tmp_path / "run", NAME)
    assert pushed.rows == len(rows) == 800
    code = f"found = datasets.load_dataset('{NAME}', split='train').to_list()"
    for record, row in zip(loaded(hub, tmp_path, code), rows, strict=True):
        assert spoken(as_turns(record["messages"])) == spoken(row["messages"])
        assert json.loads(record["tools"]) == row["tools"]
        assert record["id"] == row["id"]
    (tmp_path / "down.parquet").write_bytes(
        hub.repositories[NAME].files["data/default/train-00000-of-00001.parquet"]
    )
    for found, row in zip(read_all(str(tmp_path / "down.parquet")).rows, rows, strict=True):
        record = as_shape(found, "openai_chat")
        assert spoken(record["messages"]) == spoken(row["messages"])
        assert rounded(record["tools"]) == rounded(row["tools"])


@pytest.mark.slow
def test_rows_that_think_and_prompts_with_gold_come_down_as_they_went_up(
    hub: Hub, tmp_path: Path
) -> None:
    """Also in the forms of the trainers that read them."""
    from curate.write import as_shape
    from tests.read.reading import read_all
    from tests.write.test_reasoning import ROWS

    gold = [
        {
            "prompt": [{"role": "user", "content": f"What is {n} + {n}?"}],
            "ground_truth": str(2 * n),
            "verifier": "number",
        }
        for n in range(4)
    ]
    for name, rows, shape in (
        ("thinking", ROWS, None),
        ("trl", ROWS, "trl_sft"),
        ("gold", gold, "grpo"),
        ("verl", gold, "verl"),
        ("open_instruct", gold, "open_instruct"),
    ):
        source = tmp_path / f"{name}.jsonl"
        source.write_text("".join(json.dumps(row) + "\n" for row in rows))
        Pipeline([]).run(source, run=tmp_path / name, store=tmp_path / "store")
        push(tmp_path / name, f"ann/{name}", shape=shape)
        (file,) = (n for n in hub.repositories[f"ann/{name}"].files if n.endswith(".parquet"))
        down = tmp_path / f"{name}.parquet"
        down.write_bytes(hub.repositories[f"ann/{name}"].files[file])
        read = read_all(str(down))
        assert not read.failed
        back = [
            {key: value for key, value in as_shape(one, own).items() if value is not None}
            for one in read.rows
            for own in ["messages" if rows is ROWS else "grpo"]
        ]
        for record in back:
            # TRL takes tools as JSON text.
            record |= {"tools": json.loads(record["tools"])} if "tools" in record else {}
        assert back == rows


def test_the_second_push_sends_no_file(hub: Hub, run: Path) -> None:
    first = push(run, NAME)
    assert first.sent[0] == "recipe.yaml"
    assert first.sent[-2:] == ["croissant.json", "README.md"]
    commits = list(hub.repositories[NAME].commits)
    assert push(run, NAME).sent == []
    assert hub.repositories[NAME].commits == commits
    assert hub.count("PUT") == 2


def test_a_changed_run_sends_what_changed_and_takes_back_what_is_gone(
    hub: Hub, run: Path, tmp_path: Path
) -> None:
    push(run, NAME)
    pushed = push(run, NAME, split="train")
    gone = "data/default/test-00000-of-00001.parquet"
    assert (set(pushed.sent), pushed.deleted) == ({"croissant.json", "README.md"}, [gone])
    assert gone not in hub.repositories[NAME].files


def test_an_interrupted_upload_goes_on(
    hub: Hub, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "FILES_A_COMMIT", 1)
    hub.refuse_commits_from = 2
    with pytest.raises((StoppedShort, UsageError)):
        push(run, NAME)
    there = hub.repositories[NAME].files
    assert "README.md" not in there, "the card says that the data is complete"
    before, uploaded = set(there), hub.count("PUT")
    hub.refuse_commits_from = None
    sent = push(run, NAME).sent
    assert before
    assert not before & set(sent)
    # The file whose commit was refused had arrived, and is only committed now.
    assert hub.count("PUT") == uploaded
    assert "README.md" in there


def test_kinds_are_configurations(hub: Hub, tmp_path: Path) -> None:
    rows = [{"instruction": f"Say {n}.", "output": f"{n}."} for n in range(4)]
    pairs = [{"prompt": f"Say {n}.", "chosen": f"{n}.", "rejected": "No."} for n in range(3)]
    paths = {}
    for name, records in {"rows": rows, "pairs": pairs}.items():
        paths[name] = str(tmp_path / f"{name}.jsonl")
        Path(paths[name]).write_text("".join(json.dumps(r) + "\n" for r in records))
    Pipeline([], inputs=paths).run(run=tmp_path / "run", store=tmp_path / "store")
    push(tmp_path / "run", "ann/both", public=True)
    assert not hub.repositories["ann/both"].private
    code = (
        "found = {c: datasets.load_dataset('ann/both', c, split='train').num_rows "
        "for c in datasets.get_dataset_config_names('ann/both')}"
    )
    assert loaded(hub, tmp_path, code) == {"preference": 3, "sft": 4}
    with pytest.raises(UsageError, match="holds preference rows"):
        push(tmp_path / "run", "ann/other", shape="trl_dpo")


def test_the_token_appears_nowhere(
    hub: Hub, run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    push(run, NAME)
    said = capfd.readouterr()
    everything = [said.out.encode(), said.err.encode(), *hub.bodies]
    everything += hub.repositories[NAME].files.values()
    everything += [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not [data for data in everything if TOKEN.encode() in data]


def test_no_local_path_or_address_is_published(hub: Hub, run: Path, tmp_path: Path) -> None:
    push(run, NAME)
    files = {k: v for k, v in hub.repositories[NAME].files.items() if not k.endswith(".parquet")}
    local = (str(tmp_path), "secret folder", "10.1.2.3")
    assert not [(k, word) for k, data in files.items() for word in local if word in data.decode()]
    assert "10.1.2.3" not in (run / "README.md").read_text()
    assert "secret folder" not in (run / "README.md").read_text()
    assert b"rows.jsonl" in files["README.md"]


# -- refusals: nothing is sent ---------------------------------------------------------------------


def refused(hub: Hub, run: Path, said: str, name: str = NAME, **options: Any) -> None:
    before = {name: dict(found.files) for name, found in hub.repositories.items()}
    with pytest.raises(UsageError, match=said):
        push(run, name, **options)
    assert {name: dict(found.files) for name, found in hub.repositories.items()} == before
    assert not hub.count("POST")


def test_without_a_token(hub: Hub, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", "/no/such/token")
    refused(hub, run, "hf auth login")


def test_with_a_token_that_is_refused(hub: Hub, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    refused(hub, run, "refused the token.*settings/tokens")


def test_with_a_token_that_only_reads(hub: Hub, run: Path) -> None:
    hub.role = "read"
    refused(hub, run, "may only read")


def test_into_the_place_of_somebody_else(hub: Hub, run: Path) -> None:
    refused(hub, run, "ann cannot write to other, only to ann, lab; push to ann/data", "other/data")


def test_into_a_dataset_that_we_did_not_push(hub: Hub, run: Path) -> None:
    from tests.publish.hub_server import Repository

    hub.repositories[NAME] = Repository(files={"thesis.csv": b"a,b"})
    refused(hub, run, "taken.*lab/data-curated")


def test_a_public_dataset_gets_nothing_unasked(hub: Hub, run: Path) -> None:
    from tests.publish.hub_server import Repository

    hub.repositories[NAME] = Repository(private=False)
    refused(hub, run, "and public; say --public")
    assert push(run, NAME, public=True).sent


@pytest.mark.parametrize("name", ["data", "lab/data/more", "lab/da ta", "../x/y"])
def test_a_name_that_is_none(hub: Hub, run: Path, name: str) -> None:
    refused(hub, run, "it is ORG/NAME", name)


def test_a_split_that_nobody_made(hub: Hub, tmp_path: Path) -> None:
    Pipeline([]).run(
        [{"instruction": "a", "output": "b"}], run=tmp_path / "r", store=tmp_path / "s"
    )
    refused(hub, tmp_path / "r", "no row .* is marked 'test'", split="test")


def test_a_server_that_is_not_there(run: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(StoppedShort, match=r"127\.0\.0\.1:9 failed"):
        push(run, NAME)


# -- what is said ----------------------------------------------------------------------------------


def test_the_card_and_the_croissant_file_tell_the_run(hub: Hub, run: Path) -> None:
    push(run, NAME)
    files = hub.repositories[NAME].files
    card = files["README.md"].decode()
    for section in (
        "Sources and licences", "What was done", "Why rows were dropped", "Examples", "Cost",
        "Models and prompts", "Personal information", "Contamination", "Limits", "Recipe",
    ):  # fmt: skip
        assert f"\n## {section}\n" in card
    assert "40 in + 0 made = 40 kept" in card
    described = json.loads(files["croissant.json"])
    assert described["conformsTo"][0] == "http://mlcommons.org/croissant/1.1"
    (source,) = described["prov:wasDerivedFrom"]
    assert source["name"] == "rows.jsonl"
    assert "not known" in described["usageInfo"][0]["description"]
    paths = {one["@id"] for one in described["distribution"]}
    assert paths == {name for name in files if name.endswith(".parquet")}


@pytest.mark.filterwarnings("ignore")
def test_the_croissant_file_is_valid(hub: Hub, run: Path) -> None:
    mlcroissant = pytest.importorskip("mlcroissant")
    push(run, NAME)
    described = json.loads(hub.repositories[NAME].files["croissant.json"])
    dataset = mlcroissant.Dataset(jsonld=described)
    assert not dataset.metadata.ctx.issues.errors


def test_the_recipe_makes_the_rows_again(hub: Hub, run: Path, tmp_path: Path) -> None:
    push(run, NAME)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_bytes(hub.repositories[NAME].files["recipe.yaml"])
    pipeline = Pipeline.from_yaml(recipe)
    file = tmp_path / "secret folder" / "rows.jsonl"
    again = pipeline.run(file, run=tmp_path / "again", store=tmp_path / "store")
    assert again.kept.to_list(form="kind") == Result.open(run).kept.to_list(form="kind")


@pytest.mark.slow
def test_the_commands(hub: Hub, run: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf")}
    environment |= {"HF_HUB_DISABLE_XET": "1"}

    def curate(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "curate.cli", *words]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )

    tried = curate("push", "run", NAME, "--dry-run")
    assert tried.returncode == 0, tried.stderr
    assert NAME not in hub.repositories
    told = f"40 rows would go to {hub.url}/datasets/{NAME}; sent: recipe.yaml, data/"
    assert told in tried.stderr
    done = curate("push", "run", NAME)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"40 rows, 5 files sent: {hub.url}/datasets/{NAME}\n"
    assert "licences: Terms not known: rows.jsonl" in done.stderr
    assert tried.stdout == hub.repositories[NAME].files["README.md"].decode() + "\n"
    assert "sent: nothing, it is up to date" in curate("push", "run", NAME, "--dry-run").stderr
    kept = curate("push", "run", NAME, "--folder", "its own")
    assert kept.stdout == "40 rows, 5 files written: its own\n"
    assert f"hf upload {NAME} 'its own' --repo-type dataset --private" in kept.stderr
    assert curate("push", "run", NAME, "--folder", "other", "--public").returncode == 2
    again = curate("push", "run", NAME)
    assert again.stdout == f"{hub.url}/datasets/{NAME} is up to date: nothing was sent\n"
    file = curate("push", "secret folder/rows.jsonl", "ann/file", "--public")
    assert file.returncode == 0, file.stderr
    assert len(list(open_inputs(str(tmp_path / "secret folder" / "rows.jsonl")).files)) == 1
    refused = curate("export", "run", "-o", "hf://datasets/lab/data")
    assert refused.returncode == 2
    assert "curate push run lab/data" in refused.stderr
    assert not (tmp_path / "hf:").exists()


@pytest.mark.slow
def test_a_folder_holds_what_would_be_sent_and_asks_nobody(
    hub: Hub, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = push(run, NAME)
    monkeypatch.delenv("HF_TOKEN")
    before = list(hub.requests)
    folder = tmp_path / "new" / "data set"
    made = Result.open(run).push_to_hub(NAME, folder=folder)
    assert hub.requests == before
    assert made._replace(deleted=[]) == sent
    files = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    there = dict(hub.repositories[NAME].files)
    assert files == {path: there[path] for path in made.sent}
    assert [path.name for path in folder.parent.iterdir()] == ["data set"]
    with pytest.raises(UsageError, match="is there; name a folder that is not"):
        Result.open(run).push_to_hub(NAME, folder=folder)
    loads = f"found = datasets.load_dataset({str(folder)!r}).num_rows"
    assert sum(loaded(hub, tmp_path, loads).values()) == 40


def test_a_folder_of_rows_of_the_hub_asks_nobody_for_their_licence(
    hub: Hub, tmp_path: Path
) -> None:
    from tests.publish.hub_server import Repository

    hub.repositories["org/set"] = Repository(
        private=False, files={"README.md": b"---\nlicense: cc-by-nc-4.0\n---\n"}
    )
    rows = [{"instruction": f"Say {n}.", "output": f"{n}"} for n in range(3)]
    Pipeline([]).run(rows, run=tmp_path / "run")
    described = yaml.safe_load((tmp_path / "run" / "run.yaml").read_text("utf-8"))
    described["inputs"][0]["file"] = "hub://org/set@train"
    (tmp_path / "run" / "run.yaml").write_text(yaml.safe_dump(described), "utf-8")
    made = Result.open(tmp_path / "run").push_to_hub(NAME, folder=tmp_path / "data")
    assert hub.requests == []
    assert "license: unknown" in made.card and "datasets/org/set" in made.card
    assert any("org/set" in warning and "unknown" in warning for warning in made.warnings)
    # What is sent has the licence of the card, which the Hub is asked for.
    assert "license: cc-by-nc-4.0" in push(tmp_path / "run", NAME, dry_run=True).card
    assert hub.count("org/set") == 1


@pytest.mark.parametrize(
    ("folder", "said"),
    [
        ("file/data", r"file/data: the folder cannot be made \(\S+file: (File exists|Not a dir)"),
        ("file/new/data", r"data: the folder cannot be made \(\S+: Not a directory\); name one in"),
        ("loop/data", r"loop/data: the folder cannot be made \("),
        ("nowhere", r"nowhere is there; name a folder that is not, or delete it first"),
        ("nowhere/data", r"nowhere/data: the folder cannot be made \(\S+nowhere: File exists"),
        ("closed/data", r"closed/data: the folder cannot be made \(\S+: Permission denied\)"),
        ("s3:/b/data", r"the folder \(--folder\) cannot be s3://b/data: choose one"),
    ],
)
def test_a_folder_that_cannot_be_made_is_said(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, said: str
) -> None:
    if folder.startswith("closed") and os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("")
    Path("nowhere").symlink_to("not there")
    Path("loop").symlink_to("loop")
    Path("closed").mkdir(mode=0o555)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UsageError, match=said):
        Result.open(run).push_to_hub(NAME, folder=folder)
    assert sorted(tmp_path.iterdir()) == before


def test_rows_of_the_hub_have_the_licence_of_their_card(hub: Hub, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from tests.publish.hub_server import Repository

    environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf")}
    environment |= {"HF_HUB_DISABLE_XET": "1"}

    def curate(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "curate.cli", *words]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )

    # The second row has terms of its own.
    columns = {"instruction": ["a", "b", "c"], "output": ["x", "y", "z"]}
    pq.write_table(
        pa.table({**columns, "license": [None, "mit", None]}), tmp_path / "train.parquet"
    )
    hub.repositories["org/set"] = Repository(
        private=False,
        files={
            "README.md": b"---\nlicense: cc-by-nc-4.0\n---\n",
            "data/train-00000-of-00001.parquet": (tmp_path / "train.parquet").read_bytes(),
        },
    )
    done = curate("filter", "hub://org/set", "license:use=commercial", "-o", "mine.jsonl")
    assert done.returncode == 0, done.stderr
    assert "1 kept" in done.stdout and "2 dropped" in done.stdout
    assert "licence forbids commercial use" in done.stdout
    (line,) = (tmp_path / "mine.jsonl").read_text("utf-8").splitlines()
    assert json.loads(line)["output"] == "y"
    pushed = curate("push", "runs/mine", "ann/mine")
    assert "licences: Non-commercial: hub://org/set" in pushed.stderr
    card = hub.repositories["ann/mine"].files["README.md"].decode()
    assert "license: cc-by-nc-4.0" in card
    assert "https://huggingface.co/datasets/org/set" in card
    # A card that names no licence leaves it unknown.
    hub.repositories["org/set"].files["README.md"] = b"---\n---\n"
    unknown = curate("filter", "hub://org/set", "license:use=research", "-o", "other.jsonl")
    assert "licence not known" in unknown.stdout
