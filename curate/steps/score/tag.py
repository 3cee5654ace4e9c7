"""Tag rows by taxonomies that a model fills in, and count the labels."""

from __future__ import annotations

import json
import math
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from curate.ask import Ask, Choose, Reply, check_asking
from curate.errors import CurateError
from curate.prompts import prompt as prompts
from curate.prompts.prompt import Prompt
from curate.prompts.replies.objects import ask_until, check_schema, object_in
from curate.row import Message, Row
from curate.step import Asking, Verdicts, Whole, rule

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

# What a taxonomy may show of a row; `mark` closes its markers so that no text of a row can.
SHOWN = ("instruction", "response", "conversation", "mark", "field", "options")
OURS = ("difficulty", "quality", "category", "safety", "use_case")


@dataclass(frozen=True, kw_only=True)
class Tag(Whole):
    """Tag each row with labels of one or several taxonomies, and count them in the report.

    `tags` lists taxonomies: `difficulty`, `quality`, `category` (MAGPIE's), `safety` and `use_case`
    (InstructGPT's, with its three kinds of prompt), or paths of prompt files of your own, whose
    schema lists the labels. Each is one request to `model`. Its reply must be an object that
    matches the schema. `structured` makes the server enforce that, if it can. `repairs` is how
    often a reply that does not match is asked for again before the row fails. With `choose`, every
    list of labels becomes a multiple-choice question instead: small models that cannot write JSON
    can answer it, the ledger shows the probability of each label, and free-text fields are left
    out. Labels are stored in the row's notes; whole replies are recorded in the ledger, and are
    held in memory until the step is done. The score is the position of a row's label in its list,
    from 1, so that `by:` can rank by quality and `per:` balance categories. `score_by` names the
    list for that (by default the first one of the first taxonomy). `keep_only` lists labels as
    `FIELD=LABEL`: a row is kept if each field that is named has one of its labels. `temperature`
    and `max_tokens` override those of the model.
    """

    model: str | None = None
    tags: tuple[str, ...] = ("difficulty", "quality", "category")
    choose: bool = False
    structured: bool = False
    repairs: int = 1
    temperature: float | None = 0.0
    max_tokens: int | None = 512
    score_by: str | None = rule(None)
    keep_only: tuple[str, ...] = rule(())

    source: ClassVar[str] = (
        "Xu et al. 2024 (MAGPIE), arXiv 2406.08464; Ouyang et al. 2022 (InstructGPT), 2203.02155"
    )

    def check(self) -> None:
        """Reject a step that asks nobody, or for nothing."""
        check_asking(self.model, repairs=self.repairs, max_tokens=self.max_tokens)
        if not self.tags or len(set(self.tags)) < len(self.tags):
            raise ValueError(f"tags is {list(self.tags)}; it must name taxonomies, each once")
        for one in self.keep_only:
            if not all(part.strip() for part in one.partition("=")):
                raise ValueError(f"keep_only holds '{one}'; write FIELD=LABEL, as quality=good")

    def prepare(self) -> None:
        """Read the taxonomies, and reject labels and fields that they do not have."""
        try:
            known = self._labels()
        except CurateError as error:
            raise ValueError(str(error)) from None
        if self.score_by is not None and self.score_by not in known:
            raise ValueError(f"score_by is '{self.score_by}'; the tags have {', '.join(known)}")
        for name, labels in self._wanted().items():
            if name not in known:
                raise ValueError(f"keep_only names '{name}'; the tags have {', '.join(known)}")
            if unknown := [label for label in labels if label not in known[name]]:
                raise ValueError(
                    f"keep_only names {unknown} of {name}, which has {', '.join(known[name])}"
                )

    def fingerprint(self) -> dict[str, Any]:
        """Add the texts of the taxonomies: a changed file is another one under the same name."""
        return {**super().fingerprint(), "prompt_text": prompts.digest(*map(file_of, self.tags))}

    def sketch_types(self) -> dict[str, str]:
        """Keep what a row was tagged with, as JSON."""
        return {"tags": "string"}

    def sketch(self, row: Row) -> Asking:
        """Ask for the tags of one row."""
        if not row.instruction.strip():
            raise ValueError("the row has no instruction to tag")
        turns = row.messages if row.kind == "sft" else row.prompt
        values = {
            "instruction": row.instruction,
            "response": row.response,
            "conversation": "\n\n".join(f"{turn.role}: {turn.text}" for turn in turns),
        }
        values["mark"] = prompts.mark_of(*values.values())
        found: dict[str, Any] = {}
        for name in self.tags:
            prompt = prompts.load(file_of(name))
            if self.choose:
                found |= yield from self._chosen(prompt, values)
            else:
                found |= yield from self._written(prompt, values)
        return {"tags": json.dumps(found, ensure_ascii=False)}

    def decide(self, positions: np.ndarray, sketches: pa.Table) -> Verdicts:
        """Note the labels, count them, and drop rows whose labels are not wanted."""
        import numpy as np

        labels, wanted = self._labels(), self._wanted()
        by = self.score_by or next(iter(labels))
        found = [json.loads(text.as_py()) for text in sketches.column("tags")]
        reasons = [f"{name} is not {' or '.join(wanted[name])}" for name in wanted]
        code = [
            next((n for n, name in enumerate(wanted) if tags[name] not in wanted[name]), -1)
            for tags in found
        ]
        counts = {name: Counter(tags[name] for tags in found) for name in labels}
        remarks = []
        for name, own in labels.items():
            every = counts[name].total() or 1
            told = (f"{one} {counts[name][one]:,} ({counts[name][one] / every:.0%})" for one in own)
            remarks.append(f"{name}: {', '.join(told)}")
        return Verdicts(
            np.array(code, dtype=np.int64),
            tuple(reasons),
            score=np.array([labels[by].index(tags[by]) + 1.0 for tags in found]),
            details=found,
            notes=[
                {n: v for n, v in tags.items() if n in labels or isinstance(v, list)}
                for tags in found
            ],
            remarks=tuple(remarks),
            figures={
                f"{name}: {label}": float(counts[name][label])
                for name in labels
                for label in labels[name]
            },
        )

    def _written(self, prompt: Prompt, values: Mapping[str, str]) -> Asking:
        """Return the object that the model writes."""
        filled = prompt.render_from(values)
        ask = Ask(
            model=self.model,
            messages=(Message("user", filled.text),),
            system=filled.system,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
            schema=prompt.schema if self.structured else None,
        )
        found, _ = yield from ask_until(
            ask, lambda text: object_in(text, prompt.schema), repairs=self.repairs
        )
        return found

    def _chosen(self, prompt: Prompt, values: Mapping[str, str]) -> Asking:
        """Return the labels whose letters the model chooses, and the chances of each."""
        lists = labels_of(prompt)
        asks = []
        for name, labels in lists.items():
            letters = _LETTERS[: len(labels)]
            options = [f"{letter}. {one}" for letter, one in zip(letters, labels, strict=True)]
            filled = prompt.render_from({**values, "field": name, "options": options})
            asks.append(
                Choose(
                    model=self.model,
                    messages=(Message("user", filled.text),),
                    system=filled.system,
                    options=tuple(letters),
                )
            )
        replies: Sequence[Reply] = yield asks
        found: dict[str, Any] = {}
        for ask, reply, (name, labels) in zip(asks, replies, lists.items(), strict=True):
            found[name] = labels[reply.chosen(ask.options)]
            if reply.values:
                chances = zip(labels, map(math.exp, reply.values), strict=True)
                found[f"{name}_chances"] = {label: round(one, 6) for label, one in chances}
        return found

    def _labels(self) -> dict[str, tuple[str, ...]]:
        """Return the lists of labels of all taxonomies, by the names of their fields."""
        found: dict[str, tuple[str, ...]] = {}
        seen = set[str]()
        for name in self.tags:
            prompt = prompts.load_with(file_of(name), SHOWN)
            lists, fields = labels_of(prompt), set((prompt.schema or {}).get("properties", {}))
            if twice := fields & seen:
                raise ValueError(f"two taxonomies have a field {sorted(twice)}: rename one")
            seen |= fields
            if self.choose and "options" not in prompt.optional:
                raise ValueError(
                    f"choose needs a prompt that shows `options`; '{prompt.name}' does not: give "
                    "it `optional: [options]`, as prompts/tag_quality.md has"
                )
            found |= lists
        return found

    def _wanted(self) -> dict[str, list[str]]:
        """Return the labels that rows must have, by field."""
        found: dict[str, list[str]] = {}
        for one in self.keep_only:
            name, _, label = one.partition("=")
            found.setdefault(name.strip(), []).append(label.strip())
        return found


_LETTERS = string.ascii_uppercase


def file_of(tag: str) -> str:
    """Return the prompt of a taxonomy: one of ours by its short name, else a name or a path."""
    return f"tag_{tag}" if tag in OURS else tag


def labels_of(prompt: Prompt) -> dict[str, tuple[str, ...]]:
    """Return the lists of labels that a prompt's schema asks for, by the names of their fields.

    Raises:
        ValueError: it has none, or says more than is checked.
    """
    schema = prompt.schema
    if schema is None:
        raise ValueError(f"the prompt '{prompt.name}' has no 'schema', so nothing lists its labels")
    try:
        check_schema(schema)
    except ValueError as error:
        raise ValueError(f"the prompt '{prompt.name}': {error}") from None
    found = {
        name: tuple(one["enum"])
        for name, one in schema.get("properties", {}).items()
        if one.get("enum") and name in schema.get("required", ())
    }
    if not found or not all(isinstance(v, str) for labels in found.values() for v in labels):
        raise ValueError(
            f"the prompt '{prompt.name}' must require a field with an `enum` of texts, its labels"
        )
    if longest := [name for name, labels in found.items() if len(labels) > len(_LETTERS)]:
        raise ValueError(f"the prompt '{prompt.name}' has more than 26 labels for {longest}")
    return found
