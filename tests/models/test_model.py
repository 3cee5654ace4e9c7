"""A model string or mapping becomes a model, or an error that tells no secret."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from curate.ask import Ask, Embed, request_key
from curate.errors import RecipeError
from curate.models.model import (
    Price,
    info_of,
    open_model,
    parse_spec,
    prefixes,
    with_defaults,
)

SECRET = "sk-very-secret-123"


def test_a_string_and_a_mapping_mean_the_same() -> None:
    assert parse_spec("scripted:replies.jsonl") == parse_spec({"model": "scripted:replies.jsonl"})
    spec = parse_spec("scripted:C:/replies.jsonl")
    assert (spec.prefix, spec.name) == ("scripted", "C:/replies.jsonl")
    assert spec.identity == "scripted:C:/replies.jsonl"


def test_every_option_is_taken() -> None:
    spec = parse_spec(
        {
            "model": "scripted:f",
            "identity": "judge",
            "price": {"input": 0.15, "output": 1},
            "max_concurrency": 3,
            "base_url": "https://example.org:8000/v1?api-version=2",
            "api_key_env": "JUDGE_KEY",
            "temperature": 0,
            "top_p": 0.9,
            "max_tokens": 10,
            "stop": "\n",
            "seed": 4,
            "log": "sent.log",
            "shuffle": None,
        }
    )
    assert spec.identity == "judge"
    assert spec.price == Price(0.15, 1.0)
    assert spec.max_concurrency == 3
    assert spec.base_url == "https://example.org:8000/v1?api-version=2"
    assert spec.defaults == {
        "temperature": 0,
        "top_p": 0.9,
        "max_tokens": 10,
        "stop": ("\n",),
        "seed": 4,
    }
    assert spec.options == {"log": "sent.log"}


def test_the_identity_holds_the_endpoint_without_its_query() -> None:
    spec = parse_spec({"model": "scripted:f", "base_url": "http://Host:80/v1/?api-version=2"})
    assert spec.identity == "scripted:f at http://host:80/v1"
    other = parse_spec({"model": "scripted:f", "base_url": "http://other/v1"})
    assert other.identity != spec.identity


def test_an_unknown_prefix_is_answered_with_those_that_exist() -> None:
    assert {"openai", "scripted"} <= set(prefixes())
    assert not {"model", "wire", "faults", "prices"} & set(prefixes())
    for spec in ("gpt:x", "x", ":x", {"model": "gpt:x"}):
        with pytest.raises(RecipeError, match=r"unknown prefix .* knows: .*openai.*scripted"):
            parse_spec(spec, name="judge")
    with pytest.raises(RecipeError, match="write PREFIX:NAME, such as openai:gpt-4o"):
        parse_spec("gpt-4o", name="judge")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"modle": "scripted:f"}, "found a mapping with modle; write PREFIX:NAME"),
        (
            {"max_concurency": 3},
            "option 'max_concurency'; did you mean 'max_concurrency'? (allowed: api_key_env, ",
        ),
        ({"max_concurrency": 0}, "'max_concurrency' is 0; it must be a whole number from 1 on"),
        ({"max_concurrency": True}, "'max_concurrency' is True"),
        ({"price": {"input": 1}}, "'price' is {'input': 1}; it must be a mapping with"),
        ({"price": {"input": -1, "output": 1}}, "'price' is"),
        ({"price": {"input": float("nan"), "output": 1}}, "'price' is"),
        ({"temperature": "hot"}, "'temperature' is 'hot'; it must be a number"),
        ({"max_tokens": 2.5}, "'max_tokens' is 2.5; it must be a whole number"),
        ({"max_tokens": 0}, "'max_tokens' is 0; it must be 1 or more"),
        ({"identity": 3}, "'identity' is 3; it must be a string"),
        ({"base_url": "ftp://x"}, "'base_url' must start with http"),
        ({"base_url": "http://[x"}, "'base_url' is not a valid URL"),
    ],
)
def test_wrong_values_are_refused(values: dict[str, Any], message: str) -> None:
    spec = values if "modle" in values else {"model": "scripted:f", **values}
    with pytest.raises(RecipeError) as error:
        parse_spec(spec, name="judge")
    assert message in str(error.value)
    assert str(error.value).startswith("model 'judge': ")


@pytest.mark.parametrize(
    "values",
    [
        {"base_url": f"https://me:{SECRET}@example.org/v1"},
        {"base_url": f"https://{SECRET}@example.org/v1"},
        {"base_url": f"https://example.org/v1?api_key={SECRET}"},
        {"base_url": f"https://example.org/v1#{SECRET}"},
        {"api_key_env": SECRET},
        {"api_key": SECRET},
    ],
)
def test_a_secret_in_a_recipe_is_refused_and_never_printed(values: dict[str, Any]) -> None:
    with pytest.raises(RecipeError) as error:
        parse_spec({"model": "scripted:f", **values})
    assert SECRET not in str(error.value)
    assert "environment variable" in str(error.value)


def test_a_login_inside_a_model_name_is_not_printed() -> None:
    with pytest.raises(RecipeError) as error:
        parse_spec(f"http://me:{SECRET}@example.org/v1")
    assert SECRET not in str(error.value)


def test_defaults_fill_what_the_request_leaves_open_and_change_its_key() -> None:
    open_, closed = Ask.text("x"), Ask.text("x", temperature=0.0, stop=("a",))
    defaults = {"temperature": 0.7, "stop": ("b",)}
    filled = with_defaults(open_, defaults)
    assert (filled.temperature, filled.stop) == (0.7, ("b",))
    assert with_defaults(closed, defaults) is closed
    assert request_key(filled, "m", "") != request_key(open_, "m", "")
    assert request_key(filled, "m", "") == request_key(
        Ask.text("x", temperature=0.7, stop=("b",)), "m", ""
    )
    vectors = Embed(texts=("x",))
    assert with_defaults(vectors, defaults) is vectors


def test_a_relative_file_starts_at_the_given_folder(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_text('{"when": {}, "reply": "yes"}')
    model = open_model("scripted:r.jsonl", folder=tmp_path)
    assert model.info.identity == "scripted:r.jsonl"
    with pytest.raises(RecipeError, match=r"cannot read the scripted replies 'r\.jsonl'"):
        open_model("scripted:r.jsonl", folder=tmp_path / "elsewhere")


@pytest.mark.parametrize(
    ("spec", "price"),
    [
        ("local", Price(0.0, 0.0)),
        ("hf:some/model", Price(0.0, 0.0)),
        ("vllm:some/model", Price(0.0, 0.0)),
        ({"model": "local", "price": {"input": 1, "output": 2}}, Price(1.0, 2.0)),
        ("openai:gpt-4o-mini", Price(0.15, 0.6)),
        ("openai:a-model-of-nobody", None),
        ("scripted:replies.jsonl", None),
    ],
)
def test_a_price_is_known_before_the_model_is_opened(spec: Any, price: Price | None) -> None:
    assert info_of(spec).price == price


def test_what_a_key_holds_of_a_model_is_known_before_it_is_opened(tmp_path: Path) -> None:
    head = {"model": {"identity": "openai:x", "defaults": {"temperature": 0.5}}}
    lines = [head, {"when": {}, "reply": "yes"}]
    (tmp_path / "told.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "plain.jsonl").write_text(json.dumps(lines[1]) + "\n")
    priced = {"model": "scripted:told.jsonl", "price": {"input": 1, "output": 2}, "seed": 3}
    specs: list[Any] = [
        "scripted:told.jsonl",
        "scripted:plain.jsonl",
        {"model": "scripted:told.jsonl", "identity": "mine", "temperature": 0.9},
        {"model": "record:new.jsonl", "of": priced},
        {"model": "record:own.jsonl", "of": "scripted:plain.jsonl", "identity": "mine", "seed": 4},
    ]
    for spec in specs:
        assert open_model(spec, folder=tmp_path).info == info_of(spec, folder=tmp_path)
    assert info_of(specs[0], folder=tmp_path).identity == "openai:x"
    assert info_of("scripted:gone.jsonl", folder=tmp_path).identity == "scripted:gone.jsonl"


def test_the_embedded_model_s_own_sampling_is_known(tmp_path: Path) -> None:
    spec = {"model": "local", "temperature": 0.7}
    assert info_of(spec).defaults == {"temperature": 0.7, "top_p": 0.9, "max_tokens": 512}


def test_a_misspelt_prefix_or_option_is_told_the_right_one() -> None:
    with pytest.raises(RecipeError, match=r"prefix 'opnai' in 'opnai:x'; did you mean 'openai'\?"):
        parse_spec("opnai:x")
    with pytest.raises(RecipeError, match=r"'temprature'; did you mean 'temperature'\? \(allowed"):
        parse_spec({"model": "openai:x", "temprature": 0})
