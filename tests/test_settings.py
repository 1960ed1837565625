"""Settings: what beats what, and one clear answer to whatever is wrong."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from models.update_methods.asmg import Asmg
from models.update_methods.iu import Iu
from models.update_methods.row_statistics import RowStatistics
from stream_app.errors import SettingsError
from stream_app.events.periods import EqualCount, EventTime
from stream_app.settings.complete import Settings
from stream_app.settings.durations import seconds
from stream_app.settings.load import load
from stream_app.settings.serving import ServingSettings


@pytest.fixture(autouse=True)
def _in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("ASMG_"):
            monkeypatch.delenv(name)


def written(text: str, name: str = "asmg.toml") -> Path:
    path = Path(name)
    path.write_text(text)
    return path


def refusal(kind: type[ServingSettings] = Settings, **flags: object) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        load(kind, flags)
    return caught.value


def test_without_anything_the_defaults_hold() -> None:
    settings = load(Settings)
    assert (settings.model, settings.state_directory, settings.kafka.bootstrap) == (
        "default",
        Path("asmg-state"),
        "localhost:9092",
    )
    assert settings.learning.methods == (Iu(), RowStatistics())
    assert settings.learning.serve == "auto"


def test_flags_beat_environment_beats_file(monkeypatch: pytest.MonkeyPatch) -> None:
    written("model = 'file'\n[learning]\nseed = 1\npretrain = 4\n[kafka]\nbootstrap = 'file:1'\n")
    monkeypatch.setenv("ASMG_LEARNING__SEED", "2")
    monkeypatch.setenv("ASMG_KAFKA__BOOTSTRAP", "environment:2")
    settings = load(Settings, {"learning": {"seed": "3"}})
    assert (settings.learning.seed, settings.kafka.bootstrap, settings.learning.pretrain) == (3, "environment:2", 4)
    assert settings.model == "file"


def test_a_named_file_stands_in_place_of_the_default_one(monkeypatch: pytest.MonkeyPatch) -> None:
    written("model = 'default-file'")
    other = written("model = 'other-file'", "other.toml")
    assert load(Settings, {"config": other}).model == "other-file"
    monkeypatch.setenv("ASMG_CONFIG", str(other))
    assert load(Settings).model == "other-file"


@pytest.mark.parametrize("methods", ['"iu, asmg"', '["iu", "asmg"]', '["iu", {method = "asmg"}]'])
def test_methods_may_be_named_in_every_way(methods: str) -> None:
    written(f"[learning]\nmethods = {methods}")
    assert load(Settings).learning.methods == (Iu(), Asmg())


@pytest.mark.parametrize("methods", ['"iu, asmg, auto"', '["iu", "asmg", "auto"]', '["auto", "iu", {method = "asmg"}]'])
def test_auto_among_the_methods_says_what_serves(methods: str) -> None:
    written(f"[learning]\nmethods = {methods}")
    learning = load(Settings).learning
    assert (learning.methods, learning.serve, learning.candidates) == ((Iu(), Asmg()), "auto", ("iu", "asmg"))


def test_auto_alone_selects_among_the_usual_methods() -> None:
    written("[learning]\nmethods = 'auto'")
    assert load(Settings).learning.candidates == ("iu", "row-statistics")


def test_auto_may_be_told_how_to_select_and_among_whom() -> None:
    written("[learning]\nmethods = 'iu,asmg'\n[learning.selection]\nhalf_life = 1.5\ncandidates = ['asmg']")
    learning = load(Settings).learning
    assert (learning.selection.half_life, learning.candidates) == (1.5, ("asmg",))


def test_a_method_keeps_the_settings_given_with_it() -> None:
    written('[learning]\nmethods = ["iu", {method = "asmg", window = 5}]')
    assert load(Settings).learning.methods == (Iu(), Asmg(window=5))


def test_kinds_of_periods_are_told_by_what_is_given() -> None:
    assert load(Settings, {"periods": {"count": 7}}).periods == EqualCount(count=7)
    assert load(Settings, {"periods": {"length": "1h"}}).periods == EventTime(length=3600.0)
    assert load(Settings, {"periods": {"lateness": "2m"}}).periods == EqualCount(count=10_000, lateness=120.0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90", 90.0), ("90s", 90.0), ("15m", 900.0), ("1.5h", 5400.0), ("2 d", 172_800.0), ("500ms", 0.5)],
)
def test_durations_are_read_as_people_write_them(text: str, expected: float) -> None:
    assert seconds(text) == expected


def test_preset_paper_holds_where_nothing_else_is_written() -> None:
    written('preset = "paper"\n[learning]\nseed = 3\npasses = 2')
    learning = load(Settings).learning
    assert learning.methods == (Iu(), Asmg())
    assert (learning.learning_rate, learning.pretrain, learning.initialisations) == (1e-3, 11, 1)
    assert (learning.seed, learning.passes) == (3, 2)


def test_a_serving_process_reads_the_file_of_the_worker_and_leaves_its_sections_alone() -> None:
    written("[kafka]\nbootstrap = 'broker:1'\n[learning]\nanything = 1\n[records]\nuser = 'uid'\n")
    assert load(ServingSettings, {"learning": {"seed": "1"}}).kafka.bootstrap == "broker:1"


@pytest.mark.parametrize(
    ("text", "key", "said"),
    [
        ("modl = 'x'", "modl", "did you mean model?"),
        ("kafka_bootstrap = 'x:1'", "kafka_bootstrap", "did you mean kafka.bootstrap?"),
        ("[learning]\npretrai = 3", "learning.pretrai", "did you mean pretrain?"),
        ("[learning]\npretrain = 1", "learning.pretrain", "must be at least 2, got 1"),
        ("[learning]\nseed = 'x'", "learning.seed", "valid integer"),
        (
            "[learning]\nmethods = 'iu,asmgg'",
            "learning.methods",
            "there are: iu, row-statistics, row-audience, asmg, asmg-averaged",
        ),
        (
            "[learning]\nmethods = ['iu', {method = 'asmg', windw = 1}]",
            "learning.methods.1.windw",
            "did you mean window?",
        ),
        (
            "[learning]\nmethods = ['iu', {method = 'asmg', window = 0}]",
            "learning.methods.1.window",
            "at least 1, got 0",
        ),
        (
            "[learning]\nmethods = ['iu']\nserve = 'asmg'",
            "learning.serve",
            "must be auto or one of the methods ['iu'], got 'asmg'",
        ),
        ("[learning]\nmethods = 'iu,auto'\nserve = 'iu'", "learning.methods", "take auto out or set serve to it too"),
        (
            "[learning]\nmethods = 'iu,auto'",
            "learning.methods",
            "name others too, or auto alone",
        ),
        ("[learning]\nmethods = 'iu,atuo'", "learning.methods", "and auto, which chooses among them"),
        ("[learning.selection]\nhalf_life = 0", "learning.selection.half_life", "periods above 0, got 0.0"),
        ("[learning.selection]\ncandidates = ['asmg']", "learning.selection.candidates", "must be among the methods"),
        ("learning = 3", "learning", "dictionary"),
        ("[periods]\nby = 'x'", "periods.by", "'count', 'time'"),
        ("[periods]\nby = 'time'", "periods.length", "must be given"),
        ("[periods]\ncount = 0", "periods.count", "at least 1 row"),
        ("[periods]\nlength = '1h'\ncount = 5", "periods.count", 'count belongs to by="count" and length to by="time"'),
        ("[periods]\nby = 'count'\nlength = '1h'", "periods.length", 'length to by="time"'),
        ("[periods]\nlength = '1x'", "periods.length", "no duration"),
        ("[kafka]\nbootstrap = 'nowhere'", "kafka.bootstrap", "not host:port"),
        ("[collect]\nidle_after = 'soon'", "collect.idle_after", "no duration"),
        ("[topics]\nmodels = 'interactions'", "topics", "four different topics"),
        ("[topics]\nmodels = 'a/b'", "topics.models", "Kafka allows"),
        ("[topics]\nsegments = ''", "topics.segments", "Kafka allows"),
        ("[topics]\ninteractions = '..'", "topics.interactions", "Kafka allows"),
        ("[records]\nuser = ''", "records.user", "must name the field"),
        ("[records]\ntime_unit = 'minutes'", "records.time_unit", "'us', 'ns' or 'iso8601'"),
        ("[records]\nlabel = 'label'\npositive_when = {a = [1]}", "records.positive_when", "together with label"),
        ("[records]\nrating = 'stars'\npositive_when = {a = [1]}", "records.positive_when", "together with rating"),
        ("[records]\nwhere = {a = [[1]]}", "records.where", "'a' must list text"),
        ("[records]\nwhere = 'a'", "records.where", "dictionary"),
        ("[records]\ndecoder = 'nowhere.x:f'", "records.decoder", "nowhere.x cannot be imported"),
        ("[records]\ndecoder = 'json:nothing'", "records.decoder", "json has no nothing"),
        ("[records]\ndecoder = 'json:JSONDecoder'", "records.decoder", "is no function"),
        ("[records]\ndecoder = 'json:loads'\n[periods]\nlate = 'dead-letter'", "periods.late", "records.decoder"),
        ("model = 'with space'", "model", "should match"),
        ("preset = 'papr'", "preset", "'paper'"),
        ("collectors = 0", "collectors", "greater than or equal to 1"),
    ],
)
def test_a_wrong_setting_is_named_with_what_would_be_right(text: str, key: str, said: str) -> None:
    written(text)
    error = refusal()
    assert error.key == key
    assert said in str(error)
    assert error.exit_code == 2
    assert "\n" not in str(error)


def test_the_error_says_what_was_given_and_where(monkeypatch: pytest.MonkeyPatch) -> None:
    written("[learning]\nseed = -1")
    assert "given in asmg.toml: -1" in str(refusal())
    monkeypatch.setenv("ASMG_LEARNING__SEED", "-2")
    assert "given as ASMG_LEARNING__SEED: '-2'" in str(refusal())
    assert "given on the command line: '-3'" in str(refusal(learning={"seed": "-3"}))


def test_every_other_wrong_setting_is_named_too() -> None:
    written("[learning]\nsede = 1\n[kafka]\nbootstrap = 'x'")
    assert "also wrong: learning.sede" in str(refusal())


def test_a_variable_with_our_prefix_that_is_no_setting_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASMG_KAFKA_BOOTSTRAP", "broker:1")
    error = refusal()
    assert "given as ASMG_KAFKA_BOOTSTRAP" in str(error)
    assert "did you mean kafka.bootstrap?" in str(error)


def test_the_variables_of_the_makefile_are_no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASMG_RECORDINGS", "/somewhere")
    assert load(Settings) == load(Settings)


def test_wrong_syntax_names_file_and_line() -> None:
    written("model = 'x'\n[learning\n")
    error = refusal()
    assert "asmg.toml" in str(error)
    assert "line 2" in str(error)


def test_a_named_file_that_is_not_there_is_an_error() -> None:
    assert "nowhere.toml cannot be read" in str(refusal(config="nowhere.toml"))


def test_bytes_that_are_no_text_are_an_error() -> None:
    Path("asmg.toml").write_bytes(b"model = '\xff'")
    assert "not UTF-8" in str(refusal())


def test_a_subscribers_section_becomes_its_settings() -> None:
    written('[subscriber]\nstale_after = "1h"\nwhen_stale = "refuse"\n[topics]\nmodels = "m"\n')
    made = load(ServingSettings, {"model": "shop"}).subscription()
    assert (made.stale_after, made.when_stale, made.topic, made.model) == (3600.0, "refuse", "m", "shop")
    assert load(ServingSettings, {"subscriber": {"stale_after": "0", "when_stale": "serve"}}).subscription() == replace(
        made, stale_after=None, when_stale="serve", model="default"
    )


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ("stale_after = 'soon'", "stale_after: 'soon' is no duration"),
        ("stale_after = -1.0", "subscriber.stale_after: is -1"),
        ("when_stale = 'refuse'", "subscriber.when_stale: is refuse, and stale_after does not say from when on"),
        ("when_stale = 'panic'", "subscriber.when_stale"),
        ("stale = 1", "subscriber.stale"),
    ],
)
def test_a_subscribers_section_that_is_wrong_is_named(section: str, said: str) -> None:
    written(f"[subscriber]\n{section}\n")
    assert said in str(refusal(ServingSettings))


def test_what_fields_are_compared_with_may_be_written_in_every_way() -> None:
    written(
        "[records]\nwhere = {type = 'view', payload = {shop.id = [1, true]}}\n"
        "[records.positive_when]\n'payload.kind' = ['buy', 'rent']"
    )
    records = load(Settings).records
    assert records.where == {"type": ("view",), "payload.shop.id": (1, True)}
    assert records.positive_when == {"payload.kind": ("buy", "rent")}
    assert records.label == ""
    assert load(Settings, {"records": {"where": {"type": "cart"}}}).records.where["type"] == ("cart",)
