"""A run as one HTML page that needs no server and no network: charts, the log of its changes, its configuration.

The page's text is escaped here; its data is JSON in a script element that no text can end. Colours are written as the
names of the style sheet's custom properties, such as "--before", and become colours where the page is looked at.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from string import Template
from typing import Any, cast

from server.protocol import LogEntry, Rows, RunInfo
from server.store import Series
from server.wording import Pairs, changes_label

#: Of a label's character, and of a chart that is looked at in a window of middling width.
CHARACTER_PX = 6.5
CHART_PX = 800
#: Lines that leave a chart readable.
FEW_CHANGES = 100

METRICS = ("norm", "clipped_norm", "threshold", "coef", "clamped", "loss")

_TEMPLATE = Path(__file__).with_name("report.html")

Number = float | None
Figure = dict[str, Any]  # Plotly's data and layout


def report(run: RunInfo, series: Series, log: Sequence[LogEntry], web: Path) -> str:
    """The page.

    Args:
        run: what is known of the run.
        series: its rows with METRICS, all or those that hold the extremes.
        log: its whole log.
        web: the folder of the page, whose colours and Plotly it takes along.
    """
    thinned = "" if series.exact else "; of each stretch the charts show the lowest, the highest and any NaN"
    return Template(_TEMPLATE.read_text()).substitute(
        name=escape(run.name),
        state=escape(run.state),
        facts=_facts(run),
        reason=f"<pre>{escape(run.reason)}</pre>" if run.reason else "",
        note=f"<p>{escape(run.note)}</p>" if run.note else "",
        thinned=thinned,
        control=_definitions(run.control),
        config=_definitions(run.config) or "<dt>none</dt><dd></dd>",
        log=_table(log),
        figures=_script_json(figures(series.rows, log)),
        colours=(web / "colours.css").read_text(),
        plotly=(web / "vendor" / "plotly.min.js").read_text(),
    )


def figures(rows: Rows, log: Sequence[LogEntry]) -> dict[str, Figure]:
    """Charts by their title; without those of what was never logged, and of clamped elements where there were none."""
    values = {name: rows.metrics.get(name, [None] * len(rows)) for name in METRICS}
    marks = [entry for entry in log if entry.kind == "applied" and entry.data.get("changes")]
    zero = _place_of_zero(value for name in ("norm", "clipped_norm", "threshold") for value in values[name])
    charts = {
        ("Gradient norm", "norm"): [
            _line(rows, values["norm"], "before", zero, width=1, color="--before"),
            _line(rows, values["clipped_norm"], "after", zero, width=2, color="--after"),
            _line(
                rows, values["threshold"], "threshold", zero, width=1.5, color="--threshold", dash="6px,4px", shape="hv"
            ),
            *([_labels(rows, marks)] if marks else []),
        ],
        ("Clip coefficient", "coef"): [_line(rows, values["coef"], "coefficient", width=1.25, color="--coef")],
        ("Clamped elements", "clamped"): [_line(rows, values["clamped"], "clamped", width=1.25, color="--clamped")],
        ("Loss", "loss"): [_line(rows, values["loss"], "loss", width=1.25, color="--ink")],
    }
    return {
        title: {
            "data": [*lines, _crosses(rows, values[metric])],
            "layout": _layout(marks, log_axis=metric == "norm"),
        }
        for (title, metric), lines in charts.items()
        if any(value is not None and (value or metric != "clamped") for value in values[metric])
    }


def _place_of_zero(values: Iterable[Number]) -> float:
    """Where a logarithmic axis shows zeros: half a decade below the least positive value, as the page does."""
    return min((value for value in values if value is not None and 0 < value < math.inf), default=1.0) / math.sqrt(10)


def _line(rows: Rows, values: Sequence[Number], name: str, zero: float = 0.0, **line: Any) -> dict[str, Any]:
    """A line through the rows that logged the metric.

    It has a gap where its value is no number to draw, and where the training went back to an earlier step.
    """
    logged = [(step, value) for step, value in zip(rows.step, values, strict=True) if value is not None]
    drawn: list[tuple[int, Number]] = []
    for step, value in logged:
        if drawn and step < drawn[-1][0]:
            drawn.append((step, None))
        drawn.append((step, (value or zero) if math.isfinite(value) else None))
    return {
        "type": "scatter",
        "mode": "lines" if len(logged) > 1 else "markers",
        "name": name,
        "x": [step for step, _ in drawn],
        "y": [value for _, value in drawn],
        "line": line,
        "marker": {"color": line["color"], "size": 5},
    }


def _crosses(rows: Rows, values: Sequence[Number]) -> dict[str, Any]:
    """A cross at the top edge for every value that is no number to draw."""
    logged = [(step, value) for step, value in zip(rows.step, values, strict=True) if value is not None]
    nonfinite = [(step, value) for step, value in logged if not math.isfinite(value)]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "not finite",
        "x": [step for step, _ in nonfinite],
        "y": [0.97] * len(nonfinite),
        "text": [str(value) for _, value in nonfinite],
        "hovertemplate": "%{text}",
        "yaxis": "y2",
        "marker": {"symbol": "x-thin", "size": 8, "line": {"width": 2, "color": "--bad"}},
        "showlegend": bool(nonfinite),
    }


def _labels(rows: Rows, marks: Sequence[LogEntry]) -> dict[str, Any]:
    """What changed, at the top edge: the newest on whichever side has room, others if they do not reach the next."""
    steps = [*rows.step, *(entry.step for entry in marks)]
    per_pixel = (max(steps) - min(steps)) / CHART_PX
    shown: list[LogEntry] = []
    sides: list[str] = []
    free: float = max(steps)  # a label ends before this
    for entry in reversed(marks):
        room = per_pixel * CHARACTER_PX * len(_label(entry))
        fits = entry.step + room <= free
        free = min(free, entry.step)
        if fits or not shown:
            shown.append(entry)
            sides.append("right" if fits else "left")
            free -= 0 if fits else room
    return {
        "type": "scatter",
        "mode": "text",
        "x": [entry.step for entry in shown],
        "y": [1] * len(shown),
        "text": [f" {escape(_label(entry), quote=False)} " for entry in shown],
        "textposition": [f"bottom {side}" for side in sides],
        "textfont": {"size": 11, "color": "--threshold"},
        "hoverinfo": "skip",
        "showlegend": False,
        "yaxis": "y2",
    }


def _label(mark: LogEntry) -> str:
    return changes_label(cast("Pairs", mark.data["changes"]))


def _change_lines(marks: Sequence[LogEntry]) -> dict[str, Any]:
    """All changes in one shape, for each of a thousand shapes takes its time to draw; many are no more than a tint."""
    few = len(marks) <= FEW_CHANGES
    return {
        "type": "path",
        "layer": "between",  # the grid and the lines
        "yref": "paper",
        "path": "".join(f"M{entry.step},0L{entry.step},1" for entry in marks),
        "opacity": 1 if few else 0.2,
        "line": {"color": "--threshold", "width": 1, "dash": "dot" if few else "solid"},
    }


def _layout(marks: Sequence[LogEntry], *, log_axis: bool) -> dict[str, Any]:
    axis = {"gridcolor": "--hairline", "linecolor": "--hairline", "zeroline": False}
    scale = {"type": "log", "nticks": 8, "exponentformat": "power"} if log_axis else {"type": "linear"}
    return {
        "shapes": [_change_lines(marks)] if marks else [],
        "xaxis": axis | {"title": {"text": "step"}, "tickformat": ",d", "tickmode": "auto", "dtick": 1},
        "yaxis": axis | scale,
        "yaxis2": {"overlaying": "y", "range": [0, 1], "visible": False, "fixedrange": True},
        "hovermode": "x unified",
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom"},
        "margin": {"l": 56, "r": 16, "t": 32, "b": 40},
        "font": {"color": "--ink"},
        "hoverlabel": {"bgcolor": "--surface", "font": {"color": "--ink"}},
        "paper_bgcolor": "--surface",
        "plot_bgcolor": "--surface",
    }


def _facts(run: RunInfo) -> str:
    facts = {
        "run": run.id,
        "steps": f"{run.step:,}",
        "started": _moment(run.created),
        "last sign of life": _moment(run.updated),
        "workload": run.workload or "a script of one's own",
    }
    return _definitions(facts)


def _definitions(values: Mapping[str, Any]) -> str:
    return "".join(f"<dt>{escape(name)}</dt><dd>{escape(_written(value))}</dd>" for name, value in values.items())


def _written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _table(log: Sequence[LogEntry]) -> str:
    return "".join(
        f'<tr data-kind="{entry.kind}"><td>{entry.step:,}</td><td>{_moment(entry.time)}</td>'
        f"<td>{entry.kind}</td><td>{escape(entry.text)}</td></tr>"
        for entry in log
    )


def _moment(unix_s: float) -> str:
    return f"{datetime.fromtimestamp(unix_s, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _script_json(value: Any) -> str:
    """JSON that neither ends a script element nor begins a comment in it."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
