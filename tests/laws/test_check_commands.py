"""`asmg check-method`, `asmg check-model`: a line per law, what was seen and what would be right, exit code 2."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.laws import base_models, update_methods
from models.laws.law import Law
from models.laws.trial import Trial
from stream_app.cli.main import main

MINE = """
from dataclasses import dataclass
from models.update_methods.iu import Iu, NoState

@dataclass(frozen=True)
class Damped(Iu):
    method: str = "damped"
    share: float = 0.5
    window: int = 1

    def candidate(self, state, base, outgoing, window):
        if self.share > 1:
            window[-1]["user"].mul_(self.share)
        return state, {name: self.share * tensor for name, tensor in window[-1].items()}
"""

NET = """
from torch import nn

class Net(nn.Module):
    def __init__(self, users: int, items: int, width: int) -> None:
        super().__init__()
        self.user, self.item, self.out = nn.Embedding(users, width), nn.Embedding(items, width), nn.Linear(width, 1)

    def forward(self, batch):
        return self.out(self.user(batch.users) * self.item(batch.items))[:, 0]
"""


@pytest.fixture(autouse=True)
def _theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "law_mine.py").write_text(MINE)
    (tmp_path / "law_net.py").write_text(NET)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("command", "laws"), [("check-method", update_methods.LAWS), ("check-model", base_models.LAWS)]
)
def test_the_laws_are_listed_with_what_they_promise(
    command: str, laws: tuple[Law[Trial], ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "--list"]) == 0
    assert capsys.readouterr().out.splitlines() == [f"{law.name}: {law.promise}" for law in laws]


def test_somebodys_own_method_is_checked_with_its_settings(capsys: pytest.CaptureFixture[str]) -> None:
    only = ["--only", "leaves-its-arguments-alone", "--only", "state-can-be-stored"]
    assert main(["check-method", "law_mine:Damped", "share=0.9", *only]) == 0
    assert capsys.readouterr().out.splitlines()[:2] == ["✓ state-can-be-stored", "✓ leaves-its-arguments-alone"]


def test_a_setting_without_its_name_is_told_how_to_be_written(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-model", "law_net:Net", "3"]) == 2
    assert capsys.readouterr().err == "asmg: setting 3: is no setting of it; write KEY=VALUE, such as width=8\n"


def test_a_broken_law_is_told_and_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-method", "law_mine:Damped", "share=2", "--only", "leaves-its-arguments-alone"]) == 2
    said = capsys.readouterr()
    law, seen, right, summary = said.out.splitlines()
    assert law == f"✗ leaves-its-arguments-alone: {update_methods.leaves_its_arguments_alone.promise}"
    assert seen == "    seen:  period 2: candidate wrote to window"
    assert "right: new tensors" in right
    assert summary.startswith("law_mine:Damped: 0 laws kept, 1 broken")
    assert said.err == "asmg: law_mine:Damped breaks 1 of the laws: leaves-its-arguments-alone\n"


def test_laws_that_rest_on_a_broken_one_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-method", "law_mine:Damped", "window=0"]) == 2
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("✗ says-what-it-is")
    assert "    seen:  window is 0" in lines
    assert "· does-not-peek: not checked, it rests on says-what-it-is" in lines


def test_a_module_of_torch_is_checked_as_a_base_model(capsys: pytest.CaptureFixture[str]) -> None:
    only = ["--only", "gradients-are-those-of-the-loss", "--only", "rows-stand-alone"]
    assert main(["check-model", "law_net:Net", "width=3", *only]) == 0
    assert "law_net:Net: 2 laws kept, 0 broken" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["check-method", "nowhere:Ewc"], "setting learning.methods: nowhere cannot be imported"),
        (["check-method", "law_mine:Dumped"], "law_mine has no Dumped; did you mean Damped?"),
        (["check-method", "json:loads"], "json:loads is no class"),
        (["check-method", "spmff"], "there is no spmff; there are iu, row-statistics"),
        (["check-method", "law_mine:Damped", "share=much"], "unable to parse"),
        (["check-method", "iu", "--only", "no-such-law"], "there is no law no-such-law; --list shows them"),
        (["check-model", "law_net:Net"], "setting learning.base_model"),
        (["check-model", "matrix"], "there are embedding-mlp, matrix-factorization, and package.module:Class"),
    ],
)
def test_what_cannot_be_made_is_a_wrong_setting(
    given: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(given) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
