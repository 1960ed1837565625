"""report.html: what a backtest found, for somebody who gets it by mail.

A pure function of report.json: the same report gives the same bytes. The page needs nothing but itself: pictures are
SVG within it, there is no script, and its policy forbids the browser to fetch anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from stream_app.backtest.html import charts, tables
from stream_app.backtest.html.explanations import METRICS, READING, sampling
from stream_app.backtest.html.numbers import Numbers
from stream_app.backtest.html.style import STYLE
from stream_app.backtest.html.svg import swatch, symbol
from stream_app.backtest.html.tables import text
from stream_app.backtest.html.verdicts import BETTER, NAMES, WORSE, number, verdict
from stream_app.backtest.study import write_whole
from stream_app.backtest.summary import PLAIN

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_SIGNS = {BETTER: "▲ ", WORSE: "▼ "}


def write_html(path: Path, report: Mapping[str, Any]) -> None:
    """Write the page of a report.json (its content, as in `stream_app.backtest.report`), whole or not at all."""
    write_whole(path, page(report))


def page(report: Mapping[str, Any]) -> str:
    """The whole page."""
    numbers = Numbers(report)
    title = f"Backtest of {text(report['recording']['name'])}"
    body = "\n".join(part for part in _parts(numbers, title) if part)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _parts(numbers: Numbers, title: str) -> Iterator[str]:
    yield f"<header><h1>{title}</h1>{_compared(numbers)}</header>"
    yield _symbols(numbers)
    yield _verdicts(numbers)
    if numbers.periods:
        yield from _quality(numbers)
        yield _probabilities(numbers)
        yield _cost(numbers)
    yield _newcomers(numbers)
    yield "<h2>All numbers</h2>" + tables.means(numbers) + "".join(tables.gains(numbers))
    yield from _method(numbers)
    periods = "".join(tables.by_period(numbers))
    yield f"<details><summary>Every metric in every period</summary>{periods}</details>"
    yield '<p class="soft">Every number of every seed is in report.json and periods.csv beside this page.</p>'


def _compared(numbers: Numbers) -> str:
    report, names = numbers.report, ", ".join(map(text, numbers.methods))
    rows, seeds = report["recording"]["rows"], len(numbers.seeds)
    return (
        f"<p>{_count(len(numbers.methods), 'update method')} ({names}) on the same {rows:,} interactions in "
        f"{_count(len(numbers.all_periods), 'update period')}, with {_count(seeds, 'seed')}. Each method was scored "
        "on every period before anything trained on it; the first "
        f"{len(numbers.all_periods) - len(numbers.periods)} went into pretraining, the last {numbers.last} are judged."
        "</p>"
    )


def _symbols(numbers: Numbers) -> str:
    looks = enumerate(charts.looks(numbers).values())
    symbols = (symbol(look, f"method-{number}") for number, look in looks)
    return f'<svg class="symbols" aria-hidden="true">{"".join(symbols)}</svg>'


def _swatch(numbers: Numbers, method: str) -> str:
    return swatch(f"method-{numbers.methods.index(method)}")


def _verdicts(numbers: Numbers) -> str:
    items = []
    for method in numbers.methods:
        found = verdict(numbers, method)
        items.append(
            f'<li class="{found.word if found.word in _SIGNS else "other"}">{_swatch(numbers, method)}'
            f'<strong>{text(method)}</strong> <span class="word">{_SIGNS.get(found.word, "")}{found.word}</span>'
            f"<p>{text(found.sentence)}</p></li>"
        )
    return f'<h2>In short</h2><ul class="verdicts">{"".join(items)}</ul>'


def _quality(numbers: Numbers) -> Iterator[str]:
    judged = [metric for metric in ("log_loss", "auc") if metric in numbers.metrics()]
    legend = _legend(numbers, numbers.methods)
    yield "<h2>Quality, period by period</h2>"
    band = "Mean of the seeds, the band reaches from the lowest to the highest seed. " if len(numbers.seeds) > 1 else ""
    caption = f"{band}The shaded periods are judged."
    pictures = [(f"{_title(m)} ({_direction(m)})", legend, caption, charts.over_periods(numbers, m)) for m in judged]
    yield _figures(pictures)
    others = [method for method in numbers.methods if method != PLAIN]
    if not others:
        return
    yield f"<h2>Gain over {PLAIN}, paired</h2>"
    yield (
        f"<p>Method minus {PLAIN} on the same seed, hence on the same base model, and the same period. Where a bar "
        "keeps clear of the dashed line, the difference is more than chance.</p>"
    )
    legend = _legend(numbers, others)
    interval = "Mark: mean. Bar: 95 % interval. Ticks: worst and best seed."
    pictures = [(f"{_title(m)} ({_direction(m)})", "", interval, charts.gains(numbers, m)) for m in judged]
    pictures += [(f"{_title(m)}, by period", legend, caption, charts.gain_over_periods(numbers, m)) for m in judged]
    yield _figures(pictures)


def _probabilities(numbers: Numbers) -> str:
    legend = _legend(numbers, numbers.methods)
    calibrated = (
        "Of all that was predicted near 30 %, 30 % should come true: on the grey line. Below it a method promises too "
        f"much. The larger a mark, the more predictions; where there are fewer than {charts.FEW}, none is drawn. All "
        "seeds and scored periods."
    )
    pictures = [("Calibration", legend, calibrated, charts.calibration(numbers))]
    if truth := numbers.report.get("truth"):
        defined = [value for _, value in truth["log_loss"] if value is not None]
        floor = number(sum(defined) / len(defined) if defined else None)
        regret = (
            "The recording knows how probable each label was. Who predicts these probabilities has the log loss "
            f"{floor} (mean of the periods): the floor, drawn at 0. Mean of the seeds."
        )
        pictures.append(("Regret: log loss above the floor", legend, regret, charts.regret(numbers, truth["regret"])))
    return "<h2>Are the probabilities right?</h2>" + _figures(pictures)


def _cost(numbers: Numbers) -> str:
    cost = f"Training of the base model, and what the method does beside it. × says how many times {PLAIN} it is."
    pictures = [("Time per period", "", cost, charts.cost(numbers))]
    if chosen := {name for row in numbers.chosen() for name in row if name is not None}:
        served = _legend(numbers, [method for method in numbers.methods if method in chosen])
        caption = "The method with the lowest recent log loss serves the next period."
        pictures.append(("What auto served", served, caption, charts.choices(numbers)))
    return f"<h2>Cost{', and what auto served' if chosen else ''}</h2>" + _figures(pictures)


def _newcomers(numbers: Numbers) -> str:
    legend = (
        '<ul class="legend"><li><span class="box seen"></span>seen before</li>'
        '<li><span class="box new"></span>new</li></ul>'
    )
    caption = "Distinct ones among the interactions of the period."
    pictures = [
        (f"{kind.capitalize()}", legend, caption, charts.known_and_new(numbers, kind)) for kind in ("users", "items")
    ]
    return "<h2>Who was new</h2>" + _figures(pictures)


def _method(numbers: Numbers) -> Iterator[str]:
    report = numbers.report
    yield f"<h2>How to read it</h2><dl>{_definitions(READING)}</dl>"
    metrics = numbers.metrics()
    known = {_title(metric): METRICS[metric] for metric in metrics if metric in METRICS}
    yield f"<h2>The metrics</h2><dl>{_definitions(known)}</dl>"
    if {"recall", "ndcg"} & set(metrics):
        yield f"<p>{text(sampling(report['settings']))}</p>"
    yield f"<h2>How it was done</h2><p>Interval: {text(report.get('interval', 'not stated'))}.</p>"
    recording = report["recording"]
    sha = f", SHA-256 {text(recording['sha256'])}" if recording.get("sha256") else ""
    seeds = ", ".join(map(text, numbers.seeds))
    yield f"<p>Recording: {text(recording['name'])}, {recording['rows']:,} rows{sha}. Seeds: {seeds}.</p>"
    both = tables.settings("Settings", report["settings"]) + tables.settings("Machine", report["machine"])
    yield f"<details><summary>Settings and machine</summary>{both}</details>"


def _figures(pictures: Sequence[tuple[str, str, str, str]]) -> str:
    """Of (title, legend, caption, picture); titles and captions are ours, the others made."""
    made = (
        f"<figure><figcaption><strong>{title}</strong><p>{text(caption)}</p>{legend}</figcaption>{picture}</figure>"
        for title, legend, caption, picture in pictures
    )
    return f'<div class="figures">{"".join(made)}</div>'


def _legend(numbers: Numbers, methods: Sequence[str]) -> str:
    items = (f"<li>{_swatch(numbers, method)}{text(method)}</li>" for method in methods)
    return f'<ul class="legend">{"".join(items)}</ul>'


def _definitions(entries: Mapping[str, str]) -> str:
    return "".join(f"<dt>{text(term)}</dt><dd>{text(meaning)}</dd>" for term, meaning in entries.items())


def _title(metric: str) -> str:
    name = NAMES[metric]
    return name[:1].upper() + name[1:]


def _direction(metric: str) -> str:
    return "higher is better" if metric == "auc" else "lower is better"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
