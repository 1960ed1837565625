"""CONTRIBUTING.md's eight steps, followed as they stand in a copy of the repository."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stream_app.cli.main import parser

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "CONTRIBUTING.md").read_text()
COPIED = ("models", "stream_app", "tests/laws", "tests/conftest.py", "tests/own_modules.py", "pyproject.toml")
ASMG = "from stream_app.cli import main; import sys; sys.exit(main(sys.argv[1:]))"


def step(number: int) -> str:
    """The text of a step."""
    found = re.search(rf"^\*\*{number}\. .*?(?=^\*\*{number + 1}\. |\Z)", GUIDE, re.MULTILINE | re.DOTALL)
    assert found is not None, f"there is no step {number}"
    return found[0]


def blocks(number: int, language: str = "") -> list[str]:
    """What the fences of a step hold."""
    return re.findall(rf"^```{language}\n(.*?)^```$", step(number), re.MULTILINE | re.DOTALL)


def commands(number: int, program: str) -> list[list[str]]:
    """The arguments of each call of a program in a step."""
    lines = [line.partition("#")[0].split() for block in blocks(number) for line in block.splitlines()]
    return [line[1:] for line in lines if line[:1] == [program]]


def python(*arguments: str, at: Path, path: str = ".") -> str:
    """What a process in that directory says; it has to end well."""
    env = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run([sys.executable, *arguments], cwd=at, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the repository in which steps 2, 3 and 6 have been followed."""
    root = tmp_path_factory.mktemp("copy")
    for name in COPIED:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, root / name)
    (root / "models/update_methods/blend.py").write_text(blocks(2, "python")[0])
    register(root / "models/update_methods/__init__.py")
    (root / "tests/models").mkdir()
    (root / "tests/models/test_blend.py").write_text(blocks(6, "python")[0])
    return root


def register(path: Path) -> None:
    """Step 3: its import, and its name at the end of the union."""
    imported, _, union = blocks(3, "python")[0].strip().splitlines()
    name, added = union.split(" = ...")
    text = path.read_text()
    assert text.count(f"\n{name} = ") == 1
    text = re.sub(rf"\n({name} = .*)", rf"\n\1{re.escape(added).replace(chr(92), '')}", text)
    path.write_text(text.replace("\nfrom models", f"\n{imported}\nfrom models", 1))


def test_there_are_eight_steps_and_every_path_in_them_is_there() -> None:
    assert re.findall(r"^\*\*(\d+)\. ", GUIDE, re.MULTILINE) == [str(number) for number in range(1, 9)]
    for link in re.findall(r"\]\(([^)]+)\)", GUIDE):
        assert (ROOT / link).exists(), link
    for path in re.findall(r"`((?:models|tests|deploy)/[\w/.]+)`", GUIDE):
        assert (ROOT / path).exists() or "blend" in path, path


def test_a_built_in_method_is_added_as_the_steps_say(copy: Path) -> None:
    """Its tests, the command of step 4 for one of the laws, and the stream of step 7, smaller; all in one process."""
    (checked,), (generated, _) = commands(4, "asmg"), commands(7, "asmg")
    calls = [
        [*checked, "--only", "leaves-its-arguments-alone"],
        ["1200" if word == "20000" else word for word in generated],
        ["replay", "stream.parquet", "--periods", "6", "--pretrain", "2", "--methods", "iu,blend"],
    ]
    tests = [*commands(5, "pytest")[0], "tests/models/test_blend.py", "-W", "ignore"]
    code = f"""
import sys, pytest
from stream_app.cli import main
for call in {calls!r}:
    assert main(call) == 0, call
sys.exit(pytest.main({tests!r}))
"""
    said = python("-c", code, at=copy)
    assert "✓ leaves-its-arguments-alone" in said
    assert re.search(r"^blend: AUC", said, re.MULTILINE)
    assert re.search(r"\b\d\d passed", said)


def test_the_commands_of_the_steps_are_understood() -> None:
    for number in (4, 7):
        for arguments in commands(number, "asmg"):
            assert parser().parse_args(arguments).run


def test_one_from_outside_needs_no_change_here(tmp_path: Path) -> None:
    """The command of step 4's remark, every law, over the file of step 2 in a package of its own."""
    package = tmp_path / "mypackage"
    package.mkdir()
    (package / "blend.py").write_text(blocks(2, "python")[0])
    remark = re.search(r"# outside: asmg (.*)", blocks(4)[0])
    assert remark is not None
    said = python("-c", ASMG, *remark[1].split(), at=tmp_path, path=os.pathsep.join([str(ROOT), "."]))
    assert re.search(r"mypackage.blend:Blend: \d\d laws kept, 0 broken", said)
