"""The flags that every command which starts a run shares, and what the shell offers for them."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer
from typer import Option

from curate.cli import WHOLE_RUN
from curate.cli.failures import DEBUG
from curate.errors import UsageError

if TYPE_CHECKING:
    from curate.pipeline import Pipeline


def _finite(value: float | None) -> float | None:
    # A ceiling that is not a number would never be reached.
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"found {value}; give a number")
    return value


def _remember(ctx: typer.Context, wanted: bool) -> bool:
    ctx.meta[DEBUG] = wanted
    return wanted


def steps_that_begin(incomplete: str) -> list[str]:
    """Return the operators whose names begin with what was typed."""
    from curate.recipe.catalog import operators

    return [name for name in operators() if name.startswith(incomplete)]


def methods_that_begin(incomplete: str) -> list[str]:
    """Return the methods of training whose names begin with what was typed."""
    from curate.train.settings import methods

    return [name for name in methods() if name.startswith(incomplete)]


def runs_that_begin(incomplete: str) -> list[str]:
    """Return the run folders below `runs/` whose paths begin with what was typed."""
    found = (str(path.parent) for path in sorted(Path("runs").glob("*/report.json")))
    return [path for path in found if path.startswith(incomplete)]


def shapes_that_begin(incomplete: str) -> list[str]:
    """Return the shapes of input files whose names begin with what was typed."""
    from curate.read.shapes import names

    return [name for name in names() if name.startswith(incomplete)]


def formats_that_begin(incomplete: str) -> list[str]:
    """Return the shapes and formats that rows can be written in, and begin with what was typed."""
    from curate.write import format_names

    every = (*format_names(), "faiss", "embedding_atlas", WHOLE_RUN)
    return [name for name in every if name.startswith(incomplete)]


Columns = Annotated[
    str | None,
    Option(
        "--columns",
        metavar="PART=COLUMN,...",
        help="Which columns hold what, e.g. instruction=question,response=answer.",
    ),
]


Shape = Annotated[
    str | None,
    Option(
        "--shape",
        metavar="SHAPE",
        help="Read files in this shape.",
        autocompletion=shapes_that_begin,
    ),
]
Split = Annotated[
    str | None,
    Option("--split", metavar="train|test", help="Of a RUN: rows that the step `split` marked so."),
]

# For what is encoded outside runs: what was spent for the same rows before counts.
EncodingCost = Annotated[
    float | None,
    Option(
        "--max-cost",
        min=0,
        metavar="USD",
        callback=_finite,
        help="Never spend more on vectors of this source.",
    ),
]
EncodingRequests = Annotated[
    int | None,
    Option(
        "--max-requests",
        min=0,
        metavar="N",
        help="Never send more for vectors of this source.",
    ),
]


def wanted_shape(shape: str | None, columns: str | None) -> str | None:
    """Return the shape that `--shape` names, or that `--columns` makes."""
    from curate.errors import UsageError
    from curate.read.shapes.mapped import columns_shape, parse_columns

    if columns is None:
        return shape
    if shape is not None:
        raise UsageError("--columns and --shape both say how rows are read; give one of them")
    return columns_shape(parse_columns(columns))


Json = Annotated[bool, Option("--json", help="Print JSON.")]
# Of commands that run something: what `running.finish` prints.
RunJson = Annotated[
    bool,
    Option(
        "--json",
        help="Print JSON: run, exit_code, message, written, report (its report.json).",
    ),
]
Debug = Annotated[
    bool, Option("--debug", callback=_remember, is_eager=True, help="Show tracebacks of errors.")
]


def share(given: str | float) -> float:
    """Return the share that `0.05` or `5%` means."""
    text = str(given).strip()
    try:
        number = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1:
        raise typer.BadParameter(f"found '{text}'; give a share from 0 to 1, or from 0% to 100%")
    return number


# The fields of steps that name models which write or judge; what scores by itself is no such model.
_ANSWERING = ("model", "models", "judge", "responder", "user_model")


@dataclass(frozen=True)
class Flags:
    """What the shared flags say."""

    settings: Annotated[
        list[str],
        Option("--set", metavar="PATH=VALUE", help="Replace a value, e.g. steps.length.min=3."),
    ] = field(default_factory=list)
    limit: Annotated[
        int | None, Option("--limit", min=0, metavar="N", help="Read only the first N rows.")
    ] = None
    max_cost: Annotated[
        float | None,
        Option(
            "--max-cost",
            min=0,
            metavar="USD",
            callback=_finite,
            help="Never spend more in this run folder.",
        ),
    ] = None
    max_requests: Annotated[
        int | None,
        Option("--max-requests", min=0, metavar="N", help="Never send more in this run folder."),
    ] = None
    dry_run: Annotated[
        bool,
        Option(
            "--dry-run",
            help="Check everything and print the plan (JSON if piped), without running it.",
        ),
    ] = False
    workers: Annotated[
        int | None,
        Option("--workers", min=1, metavar="N", help="The maximum number of threads or processes."),
    ] = None
    store: Annotated[
        Path | None,
        Option("--store", metavar="DIR", help="The folder of stored replies (default: .curate)."),
    ] = None
    run: Annotated[Path | None, Option("--run", metavar="RUN", help="The run folder to write.")] = (
        None
    )
    replace: Annotated[
        bool,
        Option(
            "--replace",
            help="Replace another run in the folder (its spending still counts), and output files "
            "that no run wrote.",
        ),
    ] = False
    retry_failed: Annotated[
        bool, Option("--retry-failed", help="Ask again if a stored reply was unusable.")
    ] = False
    pay_again: Annotated[
        bool, Option("--pay-again", help="Pay again for replies that the run's store has lost.")
    ] = False
    allow_failed: Annotated[
        float,
        Option(
            "--allow-failed",
            parser=share,
            metavar="SHARE",
            help="Failed rows allowed, e.g. 0.05 or 5%.",
        ),
    ] = 0.0
    model: Annotated[
        str | None, Option("--model", metavar="MODEL", help="Use this model for every step.")
    ] = None
    base_url: Annotated[
        str | None,
        Option("--base-url", metavar="URL", help="The server for models named openai:NAME."),
    ] = None
    max_tokens: Annotated[
        int | None,
        Option(
            "--max-tokens",
            min=1,
            metavar="N",
            help="The maximum number of tokens of a reply, in every step (a step's own limit stays "
            "where it is lower).",
        ),
    ] = None
    price: Annotated[
        str | None,
        Option(
            "--price",
            metavar="IN,OUT",
            help="US dollars per million tokens of prompt and of reply.",
        ),
    ] = None
    kind: Annotated[
        str | None,
        Option(
            "--as",
            metavar="KIND",
            help="Write outputs in this shape.",
            autocompletion=formats_that_begin,
        ),
    ] = None
    shape: Shape = None
    columns: Columns = None
    engine: Annotated[
        str,
        Option("--engine", metavar="local|ray", help="Run here, or on the nodes of a Ray cluster."),
    ] = "local"
    address: Annotated[
        str | None,
        Option(
            "--address",
            metavar="HOST:PORT",
            help="The Ray cluster (default: RAY_ADDRESS, else one of this machine alone).",
        ),
    ] = None
    save_as: Annotated[
        Path | None,
        Option("--save-as", metavar="RECIPE.yaml", help="Write the recipe as it is run."),
    ] = None
    debug: Debug = False

    def options(self, **others: Any) -> dict[str, Any]:
        """Return the options of `Pipeline.run`; `others` win where they are given."""
        from curate.engine.options import RunOptions

        names = {item.name for item in dataclasses.fields(RunOptions)}
        own = {k: v for k, v in dataclasses.asdict(self).items() if k in names}
        shape = wanted_shape(self.shape, self.columns)
        return {**own, "shape": shape, "output_shape": self.kind, **others}

    def as_read(self, pipeline: Pipeline) -> Pipeline:
        """Return `pipeline` with inputs that say themselves what `--shape` and `--columns` do."""
        from curate.read import with_shape

        shape = wanted_shape(self.shape, self.columns)
        if shape is None or pipeline.inputs is None:
            return pipeline
        return dataclasses.replace(pipeline, inputs=with_shape(pipeline.inputs, shape))

    def applied(self, pipeline: Pipeline) -> tuple[Pipeline, list[str]]:
        """Return `pipeline` with `--set` and what is said of models done to it, and remarks."""
        from curate.cli.step_arguments import settings_of

        pipeline = pipeline.with_settings(settings_of(self.settings))
        if self.model is not None:
            given = [(step, vars(step).get(name)) for step in pipeline.steps for name in _ANSWERING]
            # In steps of users such a field may hold something else: what is asked is a model.
            names = [
                name
                for step, one in given
                for name in step.reads_models()
                if name == one or (isinstance(one, tuple) and name in one)
            ]
            pipeline = pipeline.with_settings({f"models.{name}": self.model for name in names})
        told = list[str]()
        if self.model == "local":
            pipeline, told = in_brief_form(pipeline)
        try:
            prices = [float(part) for part in (self.price or "0,0").split(",")]
        except ValueError:
            prices = []
        if len(prices) != 2 or not all(0 <= one < math.inf for one in prices):
            raise UsageError(
                "--price takes IN,OUT, dollars per million tokens, as in 0.15,0.6; found "
                f"'{self.price}'"
            )
        values = {
            "base_url": self.base_url,
            "max_tokens": self.max_tokens,
            "price": self.price and dict(zip(("input", "output"), prices, strict=True)),
        }
        given_values = {name: value for name, value in values.items() if value is not None}
        changed: dict[str, Any] = {}
        for name, spec in (pipeline.models or {}).items():
            address = spec if isinstance(spec, str) else str(spec.get("model"))
            for key, value in given_values.items():
                # Only a server has an address, and only a server is paid.
                if key == "max_tokens" or address.startswith("openai"):
                    changed[f"models.{name}.{key}"] = value
        for key in given_values:
            if not any(path.endswith(f".{key}") for path in changed):
                flag = f"--{key.replace('_', '-')}"
                what = "no model" if key == "max_tokens" else "no model of a server (openai:NAME)"
                raise UsageError(f"{flag} has nothing to set: the recipe has {what}")
        # A step's `max_tokens` goes before its model's, and many steps have one by default. A lower
        # one stays: a judge of one number needs no more.
        if self.max_tokens is not None:
            for step in pipeline.resolved().steps:
                if (step.reply_limit() or 0) > self.max_tokens and step.reads_models():
                    changed[f"steps.{step.title}.max_tokens"] = self.max_tokens
        return pipeline.with_settings(changed), told


def in_brief_form(pipeline: Pipeline) -> tuple[Pipeline, list[str]]:
    """Return `pipeline` with steps that have a form for small models in it, and what to say of it.

    A step whose prompt or form somebody chose stays as it is.
    """
    told = []
    for step in pipeline.resolved().steps:
        brief = getattr(step, "for_small_models", {})
        usual = {item.name: item.default for item in dataclasses.fields(step)}
        own = [name for name, value in step.fields().items() if usual[name] != value]
        if not brief or set(own) - {"label", "model", "only", *step.rules()}:
            continue
        pipeline = pipeline.with_settings({f"steps.{step.title}.{k}": v for k, v in brief.items()})
        fields = ", ".join(f"{k}={str(v).lower()}" for k, v in brief.items())
        told.append(
            f"{step.title}: in the form for small models ({fields}); the full one is "
            f"{step.name}:model=judge --set models.judge=local"
        )
    return pipeline, told


def shared_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Give `command(..., flags: Flags)` every shared flag as an option of its own."""
    hints = get_type_hints(command, include_extras=True)
    signature = inspect.signature(command, eval_str=True)
    own = [p for p in signature.parameters.values() if p.name != "flags"]
    types = get_type_hints(Flags, include_extras=True)
    shared = [
        inspect.Parameter(
            item.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=[] if item.default is dataclasses.MISSING else item.default,
            annotation=type_,
        )
        for item in dataclasses.fields(Flags)
        for type_ in [types[item.name]]
    ]

    @functools.wraps(command)
    def with_flags(**given: Any) -> None:
        flags = {item.name: given.pop(item.name) for item in dataclasses.fields(Flags)}
        command(**given, flags=Flags(**flags))

    keyword = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own]
    with_flags.__signature__ = signature.replace(parameters=[*keyword, *shared])  # type: ignore[attr-defined]
    with_flags.__annotations__ = {
        **{p.name: hints[p.name] for p in own},
        **{p.name: p.annotation for p in shared},
    }
    return with_flags
