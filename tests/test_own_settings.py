"""A base model and update methods of somebody's own, named in settings: made as they say, or one clear answer."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import own_methods
import pytest

from models.base_models.embedding_mlp import EmbeddingMlp
from models.base_models.matrix_factorization import MatrixFactorization
from models.base_models.module import Module
from models.update_methods.iu import Iu
from stream_app.errors import SettingsError
from stream_app.events.periods import EqualCount
from stream_app.events.record import RecordSettings
from stream_app.fixed import fixed_for_store
from stream_app.settings.complete import Settings
from stream_app.settings.load import load
from stream_app.settings.origins import origins


@pytest.fixture(autouse=True)
def _in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("ASMG_"):
            monkeypatch.delenv(name)


def learning(text: str) -> Settings:
    Path("asmg.toml").write_text(f"[learning]\n{text}")
    return load(Settings)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("base_model = 'embedding-mlp'", EmbeddingMlp()),
        ("base_model = 'matrix-factorization'", MatrixFactorization()),
        ("base_model = {name = 'matrix-factorization', width = 4}", MatrixFactorization(width=4)),
        ("base_model = {width = 4}", EmbeddingMlp(width=4)),
        ("base_model = 'own_modules:Mlp'", Module("own_modules:Mlp")),
        ("base_model = {name = 'own_modules:Mlp', settings = {width = 5}}", Module("own_modules:Mlp", {"width": 5})),
    ],
)
def test_a_base_model_is_named_alone_or_with_its_settings(text: str, expected: object) -> None:
    assert learning(text).learning.base_model == expected


@pytest.mark.parametrize(
    "text", ["'iu, own_methods:Older'", "['iu', 'own_methods:Older']", "['iu', {method = 'own_methods:Older'}]"]
)
def test_a_method_of_ones_own_is_named_as_any_other(text: str) -> None:
    assert learning(f"methods = {text}\nserve = 'older'").learning.methods == (Iu(), own_methods.Older())


def test_it_keeps_the_settings_given_with_it() -> None:
    methods = learning("methods = ['iu', {method = 'own_methods:Older', share = 0.25}]").learning.methods
    assert methods[1] == own_methods.Older(share=0.25)


def test_text_becomes_what_the_constructor_is_annotated_with(monkeypatch: pytest.MonkeyPatch) -> None:
    flags = {"learning": {"base_model": {"name": "own_modules:Mlp", "settings": {"width": "5", "hidden": [3, 2]}}}}
    monkeypatch.setenv("ASMG_LEARNING__METHODS", '[{method = "own_methods:Older", share = "0.125"}]')
    settings = load(Settings, flags).learning
    assert settings.base_model == Module("own_modules:Mlp", {"width": 5, "hidden": (3, 2)})
    assert settings.methods == (own_methods.Older(share=0.125),)


@pytest.mark.parametrize(
    ("text", "key", "said"),
    [
        (
            "base_model = 'matrix-factorisation'",
            "base_model",
            "there are: embedding-mlp, matrix-factorization, your own",
        ),
        ("base_model = {name = 'embedding-mlp', widht = 3}", "base_model.widht", "did you mean width?"),
        ("base_model = {name = 'embedding-mlp', width = 0}", "base_model.width", "must be positive"),
        ("base_model = {name = 'matrix-factorization', hidden = [3]}", "base_model.hidden", "no such setting"),
        ("base_model = 3", "base_model", "dictionary"),
        ("base_model = 'nowhere.net:Net'", "base_model", "nowhere.net cannot be imported"),
        ("base_model = 'own_modules:Mpl'", "base_model", "did you mean Mlp?"),
        ("base_model = 'own_modules:BatchNorm'", "base_model", "norm is a BatchNorm1d"),
        ("base_model = {name = 'own_modules:Mlp', width = 3}", "base_model", "settings = {...}, not width"),
        ("base_model = {name = 'own_modules:Mlp', settings = {widht = 3}}", "base_model", "did you mean width?"),
        ("base_model = {name = 'own_modules:Mlp', settings = {users = 3}}", "base_model", "no setting 'users'"),
        ("base_model = {name = 'own_modules:Mlp', settings = {width = 'x'}}", "base_model", "width is 'x'"),
        ("base_model = {name = 'own_modules:Mlp', settings = 3}", "base_model", "are a table, not 3"),
        ("base_model = 'own_modules:WithCategories'", "base_model", "name their field in records.categories"),
        ("methods = ['iu', 'own_methods:Oldr']", "methods", "did you mean Older?"),
        ("methods = ['iu', 'iuu']", "methods", 'your own as "package.module:Class"'),
        ("methods = ['iu', {method = 'own_methods:Older', shar = 1}]", "methods", "did you mean share?"),
        ("methods = ['iu', {method = 'own_methods:Older', share = 'x'}]", "methods", "share is 'x'"),
        ("methods = ['iu', {method = 'asmg', windw = 1}, 'own_methods:Older']", "methods.1.windw", "mean window?"),
        ("methods = ['own_methods:Older', 'own_methods:Older']", "methods", "each method once"),
        ("methods = ['own_methods:NamedAsOurs']", "methods", "the name of a built-in one"),
        ("methods = ['own_methods:OddlyNamed']", "methods", "small letters, digits and dashes"),
        ("methods = ['own_methods:Unannotated']", "methods", "start must be annotated"),
        ("methods = ['own_methods:NoCandidate']", "methods", "has no train, candidate"),
        ("methods = ['own_methods:NoDataclass']", "methods", "is no dataclass"),
    ],
)
def test_what_is_wrong_is_named_with_what_would_be_right(text: str, key: str, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        learning(text)
    assert caught.value.key == f"learning.{key}"
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def fixed(text: str) -> dict[str, object]:
    return fixed_for_store(RecordSettings(), EqualCount(count=10), learning(text).learning)


def test_what_is_fixed_in_a_state_directory_names_class_and_settings() -> None:
    first = fixed("base_model = 'own_modules:Mlp'\nmethods = ['iu', 'own_methods:Older']")
    assert first["learning.base_model.name"] == "own_modules:Mlp"
    assert first["learning.base_model.settings"] == {}
    assert first["learning.methods"] == ["iu", "older"]
    assert first["learning.methods.older.class"] == "own_methods:Older"
    assert first["learning.methods.older.share"] == 0.5
    assert "learning.methods.iu.class" not in first
    other = fixed("base_model = {name = 'own_modules:Mlp', settings = {width = 5}}\nmethods = ['own_methods:Older']")
    assert other["learning.base_model.settings"] == {"width": 5}


def test_every_setting_of_ones_own_can_be_shown() -> None:
    settings = learning(
        "base_model = {name = 'own_modules:Mlp', settings = {width = 5}}\nmethods = ['own_methods:Older']"
    )
    shown = {origin.key: origin for origin in origins(settings, {})}
    assert shown["learning.base_model.name"].value == "own_modules:Mlp"
    assert shown["learning.base_model.settings.width"].value == 5
    assert shown["learning.base_model.settings.width"].where == "in asmg.toml"


def test_the_command_finds_what_lies_where_it_is_given(tmp_path: Path) -> None:
    """As the installed script runs it, whose own folder is on the path and not the one it is called in."""
    (tmp_path / "mine.py").write_text("from own_modules import Mlp as Net\n")
    (tmp_path / "torch.py").write_text("raise RuntimeError('a file that happens to lie here')\n")
    here = Path(__file__).parent
    script = f"import sys; sys.path[:1] = []; sys.path += [{str(here)!r}, {str(here.parent)!r}]\n"
    script += "from stream_app.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", script, "config", "show", "--set", "learning.base_model=mine:Net"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "mine:Net" in done.stdout
