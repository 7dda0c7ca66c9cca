"""Accuracy against leakage: which settings no other one beats in both.

In: a `StudyRecord`. Out: one `Chart` a task. Must not know pictures or markup.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.ticker import MaxNLocator, PercentFormatter

from privaudit.report import words
from privaudit.report.chart import INK, Chart, drawing, to_svg
from privaudit.study.figures import LOOKS
from privaudit.study.record import StudyRecord
from privaudit.text import one_line

_TASK = ("data", "classes", "labels", "positive")
"""Settings that make accuracies of two networks comparable if they agree."""

_LEAST = 2


@dataclass(frozen=True)
class Choice:
    """A setting as its owner weighs it: `accuracy` on images held out, `leakage` the share rebuilt, both in [0, 1]."""

    row: str
    point: str
    accuracy: float
    leakage: float


def front(choices: Sequence[Choice]) -> tuple[Choice, ...]:
    """Those that no other choice beats in accuracy or leakage without losing in the other one, by falling accuracy."""
    kept: list[Choice] = []
    for one in sorted(choices, key=lambda choice: (-choice.accuracy, choice.leakage)):
        if not kept or one.leakage < kept[-1].leakage:
            kept.append(one)
    return tuple(kept)


def pareto_charts(record: StudyRecord) -> tuple[Chart, ...]:
    """A chart for every task of which two settings at least were measured, tasks in the order of the rows."""
    tasks: dict[str, list[Choice]] = {}
    for row in record.rows:
        for point in row.points:
            leakage, accuracy = point.pooled.rebuilt, point.pooled.held_out_accuracy
            if leakage is not None and accuracy is not None:
                fields = record.cells_at(row.name, point.label)[0].fields
                choice = Choice(row.name, point.label, accuracy.mean, leakage.share)
                tasks.setdefault(json.dumps([fields.get(name) for name in _TASK]), []).append(choice)
    measured = {task: choices for task, choices in tasks.items() if len(choices) >= _LEAST}
    return tuple(_chart(f"pareto{i}", _task_words(task), some) for i, (task, some) in enumerate(measured.items()))


def _task_words(task: str) -> str:
    data, classes, labels, _ = json.loads(task)
    named = str(data).removeprefix("torchvision:")
    kind = {"classes": "classes", "two_groups": "two groups", "regression": "numbers"}[labels]
    return f"{named}, {classes} {kind}" if labels == "classes" and classes else f"{named}, {kind}"


def _chart(name: str, task: str, choices: Sequence[Choice]) -> Chart:
    best = front(choices)
    title = f"Accuracy against leakage: {task}"
    rows = list(dict.fromkeys(choice.row for choice in choices))
    with drawing(2.8 + 0.17 * len(rows)) as (figure, (axes,)):
        xs, ys = [choice.accuracy for choice in best], [choice.leakage for choice in best]
        axes.step(xs, ys, where="post", color=INK, linewidth=1.2, label="front", zorder=1)
        for index, row in enumerate(rows):
            colour, _, mark = LOOKS[index % len(LOOKS)]
            some = [(choice.accuracy, choice.leakage) for choice in choices if choice.row == row]
            face = colour if index < len(LOOKS) else "none"
            axes.plot(*zip(*some, strict=True), mark, color=colour, markerfacecolor=face, markersize=6,
                      linestyle="none", label=one_line(row, 30), clip_on=False, zorder=2)  # fmt: skip
        axes.set_ylim(0, 1.02)
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        low, high = axes.get_xlim()
        axes.set_xlim(low - max(0.0, 0.06 - high + low) / 2, high + max(0.0, 0.06 - high + low) / 2)
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.set_xlabel("accuracy on images held out")
        axes.set_ylabel("images rebuilt")
        axes.grid(True, linewidth=0.6)
        figure.legend(loc="outside upper left", ncols=2, frameon=False, handlelength=1.8, borderpad=0)
        svg = to_svg(figure, name)
    ends = "; ".join(f"{one_line(c.point, 60)} ({words.percent(c.accuracy)}, {words.percent(c.leakage)})" for c in best)
    return Chart(
        name,
        title,
        "Each mark is a setting, all its seeds together, by row. Right and down is better. The line joins the settings "
        "that no other measured one beats in both; differences within the intervals are none.",
        f"Scatter plot of {words.images(len(choices), 'setting')}. On the front, accuracy and share rebuilt: {ends}.",
        svg,
        ("row", "point", "held-out accuracy", "rebuilt", "on the front"),
        tuple(
            (c.row, one_line(c.point, 80), words.percent(c.accuracy, 1), words.percent(c.leakage, 1),
             "yes" if c in best else "no")
            for c in sorted(choices, key=lambda choice: -choice.accuracy)
        ),
    )  # fmt: skip
