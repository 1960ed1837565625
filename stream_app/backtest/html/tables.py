"""The tables of the page. Everything that comes from a report is escaped here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Any

from stream_app.backtest.html.numbers import Numbers, mean_over_seeds
from stream_app.backtest.html.verdicts import NAMES, number, printable, seconds, signed
from stream_app.backtest.summary import PLAIN


def text(value: object) -> str:
    """As it may stand in the page, between tags and within quotes."""
    return escape(printable(value))


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "") -> str:
    """Rows of texts, the first of each its heading. It scrolls within itself where the page is narrow."""
    columns = "".join(f'<th scope="col">{text(name)}</th>' for name in head)
    body = "".join(
        f'<tr><th scope="row">{text(first)}</th>{"".join(f"<td>{text(cell)}</td>" for cell in rest)}</tr>'
        for first, *rest in rows
    )
    return (
        f'<div class="wide"><table class="{kind}"><caption>{text(caption)}</caption>'
        f"<thead><tr>{columns}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def means(numbers: Numbers) -> str:
    """Every metric and the cost of every method, a column each."""
    rows = [
        [metric_name(metric), *(number(numbers.mean(method, metric)) for method in numbers.methods)]
        for metric in numbers.metrics()
    ]
    costs = [numbers.cost(method) for method in numbers.methods]
    rows.append(["time per period", *(seconds(spent) for spent, _ in costs)])
    rows.append([f"times {PLAIN}", *(number(times, 2) for _, times in costs)])
    return table(f"Mean of the last {numbers.last} periods and all seeds", ["", *numbers.methods], rows)


def gains(numbers: Numbers) -> Iterator[str]:
    """A table per method: every paired gain with its interval, its worst and its best seed."""
    for method in numbers.methods:
        rows = [
            [metric_name(metric), *(signed(gain.get(name)) for name in ("mean", "low", "high", "worst", "best"))]
            for metric in numbers.metrics()
            if (gain := numbers.gain(method, metric))
        ]
        if rows:
            head = ["", "gain", "95 % from", "to", "worst seed", "best seed"]
            yield table(f"{method} minus {PLAIN}, paired", head, rows)


def by_period(numbers: Numbers) -> Iterator[str]:
    """A table per metric: the mean over seeds of every method in every period."""
    for metric in numbers.metrics():
        columns = [mean_over_seeds(numbers.values(method, metric)).tolist() for method in numbers.methods]
        rows = [[str(period), *map(number, row)] for period, *row in zip(numbers.periods, *columns, strict=True)]
        yield table(f"{metric_name(metric)}, mean over seeds", ["period", *numbers.methods], rows)


def settings(title: str, values: Mapping[str, Any]) -> str:
    """A section of the report as it is, a row per setting."""
    return table(title, ["setting", "value"], [[name, str(value)] for name, value in _flat(values)], kind="settings")


def metric_name(metric: str) -> str:
    """As people say it; a metric that this release does not know keeps its name."""
    return NAMES.get(metric, metric)


def _flat(values: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(values, Mapping) and values:
        for name, value in values.items():
            yield from _flat(value, f"{path}.{name}" if path else str(name))
    elif isinstance(values, list) and any(isinstance(value, Mapping) for value in values):
        for place, value in enumerate(values):
            yield from _flat(value, f"{path}[{place}]")
    else:
        yield path, values
