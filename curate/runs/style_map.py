"""The map of styles that a run's `style_report` made: as a picture, and as a table.

The picture shows each source's rows in a colour of its own, with an ellipse of one standard
deviation around their mean; where surprisal was measured, a second panel shows it over the distance
of a row's form from its source's mean. Both files hold the same bytes whenever they are made.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.read.finished_runs import published_files
from curate.row import printable

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

STEP = "style_report"
# Points of a source that are drawn: more hide each other.
MOST_POINTS = 3000


def write_style_maps(run: Path, summary: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write `LABEL.png` and `LABEL.csv` for every `style_report` of a run; return their paths.

    One that no row reached has none.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    import pyarrow.csv as csv

    from curate.system.package_data import require_extra

    require_extra("figures", "--png", "matplotlib")
    written: list[Path] = []
    for label in (step["label"] for step in summary["steps"] if step["name"] == STEP):
        table = style_table(run, label)
        if not table.num_rows:
            continue
        folder.mkdir(parents=True, exist_ok=True)
        written += [folder / f"{label}.png", folder / f"{label}.csv"]
        _draw(table, summary.get("figures", {}).get(label, {}), written[-2])
        csv.write_csv(table, written[-1], csv.WriteOptions(quoting_style="needed"))
    return written


def style_table(run: Path, label: str) -> pa.Table:
    """Return the rows that a `style_report` saw: id, distance, source, place and features."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    records = []
    for path in published_files(run / "ledger" / label):
        lines = pq.read_table(path, columns=["row", "score", "detail"]).to_pylist()
        records += [
            {"id": line["row"].hex(), "form_distance": line["score"], **json.loads(line["detail"])}
            for line in lines
            if line["detail"]
        ]
    names = dict.fromkeys(name for record in records for name in record)
    return pa.table({name: [record.get(name) for record in records] for name in names})


def _draw(table: pa.Table, figures: Mapping[str, float], path: Path) -> None:
    """Draw the map, and the surprisal where there is one."""
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = {name: table.column(name).to_numpy() for name in ("x", "y", "form_distance")}
    panels = [("x", "y", _axis_name(figures, 1), _axis_name(figures, 2))]
    if "surprisal" in table.column_names:
        columns["surprisal"] = np.asarray(table.column("surprisal").to_numpy(), np.float64)
        panels.append(
            ("form_distance", "surprisal", "distance from the source's form", "surprisal (nats)")
        )
    groups = np.array(table.column("group").to_pylist(), object)
    figure = Figure(figsize=(6.5 * len(panels), 5.5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    for number, (x, y, x_name, y_name) in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), number + 1)
        axes.set_xlabel(x_name)
        axes.set_ylabel(y_name)
        for colour, group in enumerate(dict.fromkeys(groups.tolist())):
            own = np.stack([columns[x], columns[y]])[:, groups == group].astype(np.float64)
            own = own[:, ~np.isnan(own).any(axis=0)]
            shown = own[:, :: max(1, -(-own.shape[1] // MOST_POINTS))]
            own_colour, marker = f"C{colour % 10}", "osD^vPX"[colour // 10 % 7]
            # A source's name is data: a dollar sign is one, and no formula.
            name = f"{own.shape[1]:,} rows: {printable(group)}".replace("$", r"\$")
            axes.scatter(
                shown[0],
                shown[1],
                s=6,
                alpha=0.35,
                linewidths=0,
                label=name,
                color=own_colour,
                marker=marker,
            )
            if own.shape[1] > 2:
                axes.add_patch(_ellipse(own, own_colour))
        axes.legend(markerscale=3, fontsize="small")
    with warnings.catch_warnings():
        # A source's name in a script that the font lacks is drawn as boxes.
        warnings.filterwarnings("ignore", "Glyph .* missing")
        # Neither the time nor a version: the same rows make the same bytes.
        figure.savefig(path, metadata={"Software": None})


def _axis_name(figures: Mapping[str, float], number: int) -> str:
    """Return an axis's share of the variance and its two largest loadings in words."""
    prefix = f"axis {number}: loading of "
    found = {k[len(prefix) :]: v for k, v in figures.items() if k.startswith(prefix)}
    share = figures.get(f"axis {number}: share of variance", 0.0)
    largest = sorted(found.items(), key=lambda item: (-abs(item[1]), item[0]))[:2]
    named = ", ".join(f"{'+' if v > 0 else '-'} {name.replace('_', ' ')}" for name, v in largest)
    return f"axis {number} ({share:.0%} of the form): {named}"


def _ellipse(points: np.ndarray, colour: str) -> Any:
    """Return the ellipse of one standard deviation of some points, 2 by rows."""
    import numpy as np
    from matplotlib.patches import Ellipse

    variances, axes = np.linalg.eigh(np.cov(points))
    angle = float(np.degrees(np.arctan2(axes[1, 1], axes[0, 1])))
    height, width = 2 * np.sqrt(np.maximum(variances, 0))
    centre = points.mean(axis=1)
    return Ellipse(
        (centre[0], centre[1]), width, height, angle=angle, fill=False, color=colour, linewidth=2
    )
