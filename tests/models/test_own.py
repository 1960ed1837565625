"""Classes from outside: a name that cannot be had says which part of it is wrong, whatever the module does."""

from __future__ import annotations

import subprocess
import sys
from collections import OrderedDict
from pathlib import Path

import pytest

from models.own import load

MODULES = {
    "fine.py": "class Net: ...\nclass Other: ...\ndef net(): ...\n",
    "broken.py": "1 / 0\n",
    "lacking.py": "import no_such_package.inner\n",
    "leaving.py": "import sys\nsys.exit('not as a module')\n",
    "typing_error.py": "class Net(:\n",
}


@pytest.fixture(autouse=True)
def _modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "mine"
    package.mkdir()
    for name, text in {"__init__.py": "", **MODULES}.items():
        (package / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "mine"]:
        monkeypatch.delitem(sys.modules, name)


def test_a_class_is_found_by_its_name() -> None:
    assert load("collections:OrderedDict") is OrderedDict
    assert load("mine.fine:Net").__name__ == "Net"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mine.fine", "'mine.fine' names nothing: write package.module:name"),
        (":Net", "write package.module:name"),
        ("mine.fine:", "write package.module:name"),
        ("nowhere:Net", "nowhere cannot be imported (ModuleNotFoundError: No module named 'nowhere'): is it installed"),
        ("mine.nowhere:Net", "No module named 'mine.nowhere'): is it installed here, or its folder on PYTHONPATH?"),
        (".fine:Net", ".fine cannot be imported (TypeError"),
        ("mine.broken:Net", "mine.broken cannot be imported (ZeroDivisionError: division by zero)"),
        ("mine.leaving:Net", "mine.leaving cannot be imported (SystemExit: not as a module)"),
        ("mine.typing_error:Net", "mine.typing_error cannot be imported (SyntaxError"),
        ("mine.fine:Nets", "mine.fine has no Nets; did you mean Net?"),
        ("mine.fine:Zebra", "mine.fine has no Zebra"),
        ("mine.fine:net", "mine.fine:net is no class, but of type function"),
    ],
)
def test_what_is_wrong_with_a_name_is_said(name: str, said: str) -> None:
    with pytest.raises(ValueError) as refused:
        load(name)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_module_that_lacks_a_package_is_not_called_missing_itself() -> None:
    with pytest.raises(ValueError, match="No module named 'no_such_package'") as refused:
        load("mine.lacking:Net")
    assert "PYTHONPATH" not in str(refused.value)


def test_what_is_no_model_is_loaded_without_torch() -> None:
    """A decoder is loaded the same way, by processes that ingest."""
    code = "import sys; from models.own import load; load('collections:OrderedDict'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
