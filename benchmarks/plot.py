"""The findings as a picture, drawn by matplotlib, which is imported here alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .report import Findings

_OURS = "#1f77b4"
_THEIRS = "#b0b7bf"
_LIGHTER = {_OURS: "#9ecae1", _THEIRS: "#dde1e5"}


def draw(findings: Findings, path: Path) -> None:
    """Draw what there is of it."""
    panels: list[tuple[str, Callable[[Axes, Any], None]]] = [
        ("paced", _paced),
        ("cpu", _cpu),
        ("latency", _latency),
        ("streams", _streams),
        ("longer", _longer),
    ]
    panels = [(name, panel) for name, panel in panels if name in findings.drawn]
    figure = Figure(figsize=(11, 4.2 * ((len(panels) + 1) // 2)), layout="constrained")
    for n, (name, panel) in enumerate(panels):
        panel(figure.add_subplot((len(panels) + 1) // 2, 2, n + 1), findings.drawn[name])
    # A picture of the same figures is the same file.
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def _paced(axes: Axes, figures: dict[str, list[Any]]) -> None:
    _lines(axes, figures)
    axes.set_yscale("log")
    axes.set_xlabel("streams at once, at a model's pace")
    axes.set_ylabel("CPU per event, µs")


def _cpu(axes: Axes, figures: dict[str, list[float]]) -> None:
    _bars(axes, figures, ("1 event an HTTP chunk", "20 events"))
    axes.set_xlabel("CPU per event of a burst, µs")


def _latency(axes: Axes, figures: dict[str, list[float]]) -> None:
    _bars(axes, figures, ("p50", "p99"))
    axes.set_xlabel("latency, µs")


def _streams(axes: Axes, figures: dict[str, list[Any]]) -> None:
    _lines(axes, figures)
    axes.set_yscale("log")
    axes.set_xlabel("streams at once")
    axes.set_ylabel("CPU per event, µs")


def _longer(axes: Axes, figures: dict[str, list[Any]]) -> None:
    _lines(axes, figures)
    axes.set_yscale("log")
    axes.set_xlabel("events in a stream")
    axes.set_ylabel("CPU per event, µs")


def _bars(axes: Axes, figures: dict[str, list[float]], labels: tuple[str, str]) -> None:
    for n, (title, pair) in enumerate(reversed(figures.items())):
        colour = _colour(title)
        axes.barh(n + 0.2, pair[0], 0.38, color=colour)
        axes.barh(n - 0.2, pair[1], 0.38, color=_LIGHTER[colour])
        for offset, value in zip((0.2, -0.2), pair, strict=True):
            axes.annotate(
                f"{value:.0f}" if value >= 20 else f"{value:.1f}",
                (value, n + offset),
                xytext=(3, 0),
                textcoords="offset points",
                va="center",
                fontsize=7,
            )
    titles = [title.replace(", a thread", ",\na thread") for title in reversed(figures)]
    axes.set_yticks(range(len(figures)), titles, fontsize=8)
    axes.set_xscale("log")
    most = max(value for pair in figures.values() for value in pair)
    axes.set_xlim(1, most * 3)  # room for the figure beside the bar
    handles = [axes.barh(0, 0, color=colour) for colour in (_THEIRS, _LIGHTER[_THEIRS])]
    _legend(axes, handles, labels)
    _clean(axes)


def _lines(axes: Axes, figures: dict[str, list[Any]]) -> None:
    for n, (title, (x, y)) in enumerate(figures.items()):
        colour = _OURS if _ours(title) else _THEIRS
        style, marker = ("-", "--", ":", "-.")[n % 4], "os^Dv"[n % 5]
        axes.plot(x, y, marker=marker, markersize=4, color=colour, linestyle=style, label=title)
    axes.set_xscale("log")
    axes.set_ylim(bottom=1)
    _legend(axes, *axes.get_legend_handles_labels())
    _clean(axes)


def _legend(axes: Axes, handles: Sequence[Any], labels: Sequence[str]) -> None:
    """Above the panel, where it hides nothing."""
    axes.legend(
        handles, labels, fontsize=7, ncols=2, frameon=False, loc="lower left", bbox_to_anchor=(0, 1)
    )


def _ours(title: str) -> bool:
    return title.startswith("openai-stream")


def _colour(title: str) -> str:
    return _OURS if _ours(title) else _THEIRS


def _clean(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    axes.set_axisbelow(True)
