"""What was measured, as reStructuredText: for the terminal, the docs and the README."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

#: The line in a file between which and its END the condensed table stands.
BEGIN = ".. The table that ``make bench`` writes begins."
END = ".. The table that ``make bench`` writes ends."


_BY_HAND = "requests + sseclient + json"


@dataclass(frozen=True)
class Target:
    """What the library is to keep, and whether it does.

    :param most: the measured value may be that much, in the unit that ``form`` shows.
    """

    what: str
    against: str
    most: float
    measured: float
    form: str = "{:.2f}"

    @property
    def met(self) -> bool:
        return self.measured <= self.most

    def row(self) -> list[str]:
        return [
            self.what,
            self.against,
            "none" if self.most == 0 else f"at most {self.form.format(self.most)}",
            "none" if self.measured == 0 else self.form.format(self.measured),
            "met" if self.met else "not met",
        ]


@dataclass(frozen=True)
class Table:
    """Figures of one kind; the first column names whose they are.

    :param note: how they were measured.
    """

    title: str
    note: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass
class Findings:
    """What a topic measured.

    :param drawn: what the plot needs, by name.
    """

    tables: list[Table] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)
    drawn: dict[str, Any] = field(default_factory=dict)


def grid(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A simple table of reStructuredText."""
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    rule = "  ".join("=" * width for width in widths)
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (columns, *rows)
    ]
    return "\n".join([rule, lines[0], rule, *lines[1:], rule])


def targets(findings: Findings) -> str:
    """The table of the targets."""
    columns = ["What", "Against", "Target", "Measured", ""]
    return grid(columns, [target.row() for target in findings.targets])


def page(findings: Findings, machine: Sequence[tuple[str, str]], plot: str | None) -> str:
    """The page of the docs.

    :param machine: where it was measured, and with what.
    :param plot: the name of the picture.
    """
    parts = [
        _heading("Benchmarks", "="),
        "``make bench`` makes its own environments, installs the newest peers, measures on this\n"
        "machine, and writes this page. All figures of a table come from one run, in which the\n"
        "contestants, each in a process of its own, took turns; the server is another process.\n"
        "Machines differ and are noisy: only the ratios mean anything. Where nothing else is\n"
        "said, the best of several rounds counts, and CPU is that of the whole process, user\n"
        "and system, all threads.",
        grid(["Measured", "with"], [list(row) for row in machine]),
    ]
    if findings.targets:
        parts += [
            _heading("Targets", "-"),
            "Ratios, ours to theirs, where no unit is given: less is better.",
            targets(findings),
        ]
    if plot is not None:
        parts.append(f".. image:: {plot}\n   :alt: the figures of the tables below, drawn")
    for table in findings.tables:
        parts += [_heading(table.title, "-"), table.note, grid(table.columns, table.rows)]
    return "\n\n".join(parts) + "\n"


def condensed(findings: Findings, machine: Sequence[tuple[str, str]]) -> str:
    """The table of the README: what a user may save, ours being 1; and with what it was measured.

    What comes at the pace of a model is first, for that is life.

    :param machine: the date, the versions and the machine, each with what it is.
    """
    drawn = findings.drawn
    paced: dict[int, dict[str, float]] = {}
    for title, (numbers, costs) in drawn["paced"].items():
        for streams, cost in zip(numbers, costs, strict=True):
            paced.setdefault(streams, {})[title] = cost
    one = ("openai-stream, queue", "openai", f"{_BY_HAND}, a thread and a queue")
    shared = ("openai-stream, one queue for all", "openai", f"{_BY_HAND}, threads and a queue")
    crowd = ("openai-stream, readers=1", *shared[1:])
    loop = (crowd[0], "openai, async", crowd[2])
    first = {
        name: {title: figures[n] for title, figures in drawn[name].items()}
        for name, n in (("latency", 0), ("first_event", 1), ("stop", 3))
    }
    lines = [
        ("CPU per event, one stream, 50 a second", paced[1], shared),
        ("CPU per event, 100 streams, 20 a second, ``readers=1``", paced[100], crowd),
        ("Events a second that 256 streams may bring (more is better)", drawn["capacity"], loop),
        ("Latency of an event, p50", first["latency"], one),
        ("First event of a further call", first["first_event"], one),
        ("``close()`` until the server knows", first["stop"], one),
        *(
            (f"CPU per event of a burst, {per_chunk} an HTTP chunk", costs, one)
            for per_chunk, costs in zip(("1", "20"), _columns(drawn["cpu"]), strict=True)
        ),
    ]
    rows = [
        [what, "1", *(_times(figures[peer] / figures[ours]) for peer in peers)]
        for what, figures, (ours, *peers) in lines
    ]
    table = grid(["", "openai-stream", "openai", "thread and queue by hand"], rows)
    return f"{table}\n\nMeasured on {'; '.join(what for _, what in machine)}."


def _columns(figures: dict[str, list[float]]) -> list[dict[str, float]]:
    """One mapping for each place of the lists."""
    return [
        dict(zip(figures, column, strict=True)) for column in zip(*figures.values(), strict=True)
    ]


def _times(ratio: float) -> str:
    return f"{ratio:.1f}" if ratio < 100 else f"{ratio:,.0f}"


def put_between_marks(text: str, table: str) -> str:
    """A text with the table in the place that is marked for it; unchanged where none is."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        return text
    return f"{before}{begin}\n\n{table}\n\n{end}{after}"


def _heading(text: str, underline: str) -> str:
    return f"{text}\n{underline * len(text)}"
