"""The page of a backtest: stands alone, says what the report says, and survives whatever a report may lack or hold."""

from __future__ import annotations

import copy
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from html_report import METRICS, report

from stream_app.backtest.html import write_html
from stream_app.backtest.html.numbers import Numbers, mean_over_seeds
from stream_app.backtest.html.verdicts import verdict

VOID = {"meta", "br", "hr", "img", "link", "input"}


class Page(HTMLParser):
    """What a browser would find: elements opened and closed in order, their attributes, the text outside styles,
    and the labels in pictures."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.labels: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == [], "left open"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"doubled attribute in <{tag}>"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += f"{data} "
        if self.open[-1:] == ["text"]:
            self.labels.append(data)

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.elements)


def written(given: dict[str, Any], tmp_path: Path) -> str:
    json.dumps(given, allow_nan=False)  # what report.json could not hold is no case
    write_html(tmp_path / "report.html", given)
    return (tmp_path / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> str:
    return written(report(), tmp_path_factory.mktemp("page"))


def assert_stands_alone(html: str) -> None:
    page = Page(html)
    assert not re.search(r"https?:|//[a-z]|@import|url\((?!#)", html)
    assert not {"script", "img", "link", "iframe", "object", "base"} & {tag for tag, _ in page.elements}
    for _, attributes in page.elements:
        assert not {"src", "srcset", "action", "ping"} & set(attributes)
        assert not any(name.startswith("on") for name in attributes)
        assert (attributes.get("href") or "#").startswith("#")
    policy = [a["content"] for tag, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'"]


def test_the_page_asks_for_nothing_outside_itself(html: str) -> None:
    assert_stands_alone(html)


def test_so_does_the_example_of_the_documentation() -> None:
    example = Path(__file__).parents[2] / "docs" / "backtest-example.html"
    assert_stands_alone(example.read_text(encoding="utf-8"))
    assert example.stat().st_size < 600_000


def test_every_reference_leads_to_one_element_of_the_page(html: str) -> None:
    ids = [attributes["id"] for _, attributes in Page(html).elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    references = re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', html)
    assert {first or second for first, second in references} <= set(ids)
    assert references


def test_the_page_says_what_was_compared_and_how_it_ended(html: str) -> None:
    page, given = Page(html), report()
    for method in given["methods"]:
        assert page.text.count(method) > 5
    for part in ("movietweetings_100k.parquet", "100,000 interactions", "12 update periods", "3 seeds", "ab" * 32):
        assert part in page.text, part
    assert given["interval"] in page.text
    assert "learning.methods[2].method" in page.text
    mean = given["summary"]["row-statistics"]["metrics"]["auc"]
    assert f"{mean:.4f}" in page.text
    assert page.count("svg") > 10


def test_text_of_pictures_is_text_so_that_it_can_be_read_searched_and_scaled(html: str) -> None:
    assert "update period" in Page(html).text
    pictures = [attributes for tag, attributes in Page(html).elements if tag == "svg"]
    assert all(a.get("aria-hidden") == "true" or (a.get("role") == "img" and a.get("aria-label")) for a in pictures)
    assert all("width" not in a and (a.get("role") != "img" or "viewbox" in a) for a in pictures)


def test_the_same_report_gives_the_same_bytes(html: str, tmp_path: Path) -> None:
    assert written(json.loads(json.dumps(report())), tmp_path) == html


HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</svg></style><script>",
    "a$b$c \\frac{",
    "_hidden",
    "nul\x00 bell\x07 \udcff",
    "&lt; &amp;",
)


def test_a_name_is_only_ever_text(tmp_path: Path) -> None:
    given = report(methods=("iu", *HOSTILE), name="".join(HOSTILE), periods=6)
    given["settings"] |= {name: {name: name} for name in HOSTILE}
    given["interval"] = "".join(HOSTILE)
    page = Page(written(given, tmp_path))
    assert "script" not in {tag for tag, _ in page.elements}
    assert not any(key.startswith("on") for _, attributes in page.elements for key in attributes)
    for name in HOSTILE:
        shown = "".join(letter if letter.isprintable() else "\ufffd" for letter in name)
        # Title, heading, what was compared, verdict, legends, tables, settings.
        assert page.text.count(shown) > 12, name
        # Beside the axes of two gains and of the cost, where long names are cut.
        assert page.labels.count(shown if len(shown) <= 24 else f"{shown[:24]}…") == 3, name


def without(given: dict[str, Any], *path: str) -> dict[str, Any]:
    """The report with one entry gone, wherever it stands below these keys."""
    changed = copy.deepcopy(given)
    node = changed
    for key in path[:-1]:
        node = node[key]
    node.pop(path[-1])
    return changed


def of_nulls(given: dict[str, Any]) -> dict[str, Any]:
    """Every metric, gain and cost null, as one class only and a single period leave them."""
    changed = copy.deepcopy(given)
    for run in changed["runs"]:
        for period in run["periods"]:
            period["scores"] = {m: dict.fromkeys(scores) for m, scores in period["scores"].items()}
            period["calibration"] = {m: [[3, None, 1]] * 15 for m in period["calibration"]}
    for of in changed["summary"].values():
        of["metrics"] = dict.fromkeys(of["metrics"])
        of["gain"] = of["gain"] and {m: dict.fromkeys(gain) for m, gain in of["gain"].items()}
        of["seconds_per_period"] = of["times_iu"] = None
    changed["truth"] = {"log_loss": [[5, None]], "regret": {m: [[5, None]] for m in changed["methods"]}}
    return changed


SMALL = report(methods=("iu", "auto"), seeds=(0, 1), periods=6)
NO_RUN = SMALL | {"runs": [SMALL["runs"][0], {"seed": 1, "periods": []}], "truth": None}


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(report(seeds=(0,), methods=("iu",), periods=5, truth=False), id="one of everything"),
        pytest.param(report(metrics=("auc",), seeds=(7,), periods=6), id="one seed, no log loss"),
        pytest.param(report(methods=("iu", *"abcdefgh"), periods=5, truth=False), id="many methods"),
        pytest.param(of_nulls(SMALL), id="nothing is defined"),
        pytest.param(without(without(SMALL, "summary", "auto"), "interval"), id="no summary of a method, no interval"),
        pytest.param(
            without(NO_RUN, "summary", "auto", "gain", "auc"), id="no gain of a metric, a run without periods"
        ),
    ],
)
def test_what_a_report_lacks_leaves_the_page_whole(given: dict[str, Any], tmp_path: Path) -> None:
    page = Page(written(given, tmp_path))
    assert all(method in page.text for method in given["methods"])
    assert "nan" not in re.sub(r"\w+nan\w*", "", page.text.lower())


def test_ranking_is_shown_with_its_sampling_and_only_if_it_was_done(html: str, tmp_path: Path) -> None:
    assert "Krichene" not in html
    given = report(periods=6, metrics=(*METRICS, "recall", "ndcg"))
    given["settings"]["ranking"] = {"k": 5, "candidates": 77, "positives": 1234}
    text = Page(written(given, tmp_path)).text
    assert "(k = 5) are sampled: of each period at most 1,234 positives, each ranked among 77 items" in text
    assert "Krichene" in text


def told(low: float | None, high: float | None, auc: tuple[float | None, float | None]) -> str:
    """The word for these intervals of log loss and AUC."""
    given = report(methods=("iu", "m"), seeds=(0, 1), periods=6)
    for metric, (least, most) in {"log_loss": (low, high), "auc": auc}.items():
        mean = 0.0 if least is None or most is None else (least + most) / 2
        given["summary"]["m"]["gain"][metric] = {"mean": mean, "low": least, "high": most, "worst": mean, "best": mean}
    return verdict(Numbers(given), "m").word


@pytest.mark.parametrize(
    ("log_loss", "auc", "word"),
    [
        ((-0.03, -0.01), (0.01, 0.03), "better"),
        ((-0.03, -0.01), (-0.01, 0.03), "better"),
        ((0.01, 0.03), (-0.03, -0.01), "worse"),
        ((0.01, 0.03), (0.01, 0.03), "mixed"),
        ((-0.01, 0.02), (-0.01, 0.02), "no difference"),
        ((-0.01, 0.0), (-0.01, 0.02), "no difference"),
        ((None, None), (None, None), "cannot be told"),
        ((-0.03, -0.01), (None, None), "better"),
    ],
)
def test_the_verdict_is_what_the_intervals_say(log_loss: Any, auc: Any, word: str) -> None:
    assert told(*log_loss, auc) == word


def test_the_verdict_gives_its_numbers() -> None:
    given = report(methods=("iu", "row-statistics", "auto"))
    gains = given["summary"]["row-statistics"]["gain"]
    gains["log_loss"] |= {"mean": -0.0214, "low": -0.0238, "high": -0.019}
    gains["auc"] |= {"mean": 0.0002, "low": -0.001, "high": 0.0014}
    assert verdict(Numbers(given), "row-statistics").sentence == (
        "Log loss lower by 0.0214 (95 %: −0.0238 to −0.0190); AUC +0.0002, which may be chance "
        "(95 %: −0.0010 to +0.0014). A period costs 1.9 times what iu costs."
    )
    assert "It served row-statistics in 75%, iu in 25% of the periods." in verdict(Numbers(given), "auto").sentence


def test_what_did_exactly_what_the_baseline_did_is_not_called_chance() -> None:
    """As auto does where it served iu throughout."""
    given = report(methods=("iu", "auto"))
    for metric in ("log_loss", "auc"):
        given["summary"]["auto"]["gain"][metric] = dict.fromkeys(("mean", "low", "high", "worst", "best"), 0.0)
    found = verdict(Numbers(given), "auto")
    assert found.word == "no difference"
    assert found.sentence.startswith("Log loss the same as that of iu; AUC the same as that of iu.")


def test_values_of_a_page_are_those_of_the_report() -> None:
    given = report(seeds=(0, 4), periods=7)
    numbers = Numbers(given)
    assert numbers.periods == [5, 6, 7]
    assert numbers.last == 3
    for seed in range(2):
        for place, period in enumerate(given["runs"][seed]["periods"][4:]):
            assert numbers.values("auto", "auc")[seed, place] == period["scores"]["auto"]["auc"]
    bins = [run["periods"][place]["calibration"]["auto"][3] for run in given["runs"] for place in (4, 5, 6)]
    sums = numbers.calibration("auto")
    assert sums.count[3] == sum(count for count, _, _ in bins)
    assert sums.positives[3] == sum(positives for _, _, positives in bins)


def test_what_is_not_defined_is_left_out_of_a_mean_and_shown_as_a_dash(tmp_path: Path) -> None:
    given = report(methods=("iu",), seeds=(0, 4), periods=6, truth=False)
    first, second = (run["periods"] for run in given["runs"])
    first[4]["scores"]["iu"]["auc"] = None
    first[5]["scores"]["iu"]["auc"] = second[5]["scores"]["iu"]["auc"] = None
    numbers = Numbers(given)
    assert mean_over_seeds(numbers.values("iu", "auc"))[0] == second[4]["scores"]["iu"]["auc"]
    assert np.isnan(mean_over_seeds(numbers.values("iu", "auc"))[1])
    assert re.search(r">6</th><td>–</td>", written(given, tmp_path))
