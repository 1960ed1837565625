"""The worked example of a base model of one's own: replayed with every method, published, served by torch alone."""

from __future__ import annotations

import re
import sys
from contextlib import closing
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from replay_helpers import PERIODS, ROWS, asmg, stream, write

from models.base_models.module import Module
from models.samples import Batch
from stream_app.errors import SchemaMismatch, SettingsError
from stream_app.module_serving import ModuleServing
from stream_app.replay import replay
from stream_app.serving.model import ServingModel
from stream_app.settings.complete import Settings
from stream_app.settings.load import load
from stream_app.sinks.directory import DirectorySink
from stream_app.subscriber import ModelSubscriber, SubscriberSettings
from stream_app.versions.assembler import assembled
from stream_app.versions.model_version import ModelVersion

EXAMPLE = Path(__file__).parent.parent / "examples" / "din"
README = (EXAMPLE / "README.md").read_text()
SETTINGS = {"attention": 12}
FLAGS = ("--periods", PERIODS, "--pretrain", 2, "--device", "cpu", *("--set", "learning.passes=1"))
FLAGS += ("--set", "learning.initialisations=1", "--set", "learning.batch=64")


@pytest.fixture(autouse=True, scope="module")
def _importable() -> None:
    if str(EXAMPLE) not in sys.path:
        sys.path.append(str(EXAMPLE))


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A replay with the settings that the README shows, in a process of its own."""
    folder = tmp_path_factory.mktemp("din")
    (written,) = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    (folder / "asmg.toml").write_text(written)
    (folder / "din.py").write_text((EXAMPLE / "din.py").read_text())  # found where asmg is called
    recording = write(folder / "stream.parquet", stream())
    done = asmg("replay", recording, "--out", folder / "out", *FLAGS, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


def versions(replayed: Path) -> list[ModelVersion]:
    return assembled_by(replayed, ModuleServing("din:Din", SETTINGS))


def assembled_by(replayed: Path, serving: ModuleServing) -> list[ModelVersion]:
    return list(assembled(DirectorySink(replayed / "out" / "versions").read(), "default", serving))


def test_every_method_runs_over_it_and_every_version_names_it(replayed: Path) -> None:
    found = versions(replayed)
    assert [version.number for version in found] == [1, 2, 3, 4, 5]
    for version in found:
        assert version.content.learning["base_model"] == "din:Din"
        assert version.content.learning["base_model_settings"] == '{"attention":12}'
        assert set(version.content.metrics) == {"iu", "row-statistics", "asmg-averaged", "auto"}
        assert all(version.tensors[f"parameters.{table}.weight"].any() for table in ("users", "items"))
    assert all(scores.auc is not None for scores in found[-1].content.metrics.values())


def test_left_and_gone_on_with_in_another_process_the_bytes_are_the_same(
    replayed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(replayed)
    one_pass = {"pretrain": 2, "device": "cpu", "passes": 1, "initialisations": 1, "batch": 64}
    settings = load(Settings, {"learning": one_pass, "periods": {"count": ROWS}}).replay()
    for stopped_after in (1, 3, PERIODS):
        with closing(replay(replayed / "stream.parquet", settings, replayed / "again")) as results:
            assert len(list(islice(results, stopped_after))) == stopped_after
    again = DirectorySink(replayed / "again" / "versions").read()
    serving = ModuleServing("din:Din", SETTINGS)
    assert [v.digest for v in assembled(again, "default", serving)] == [v.digest for v in versions(replayed)]


def test_served_by_ids_it_answers_as_it_did_in_training(replayed: Path) -> None:
    version, base = versions(replayed)[-1], Module("din:Din", SETTINGS)
    parameters = {
        name.removeprefix("parameters."): torch.from_numpy(array.copy())
        for name, array in version.tensors.items()
        if name.startswith("parameters.")
    }
    user_ids, item_ids = (version.tensors[f"vocabulary.{kind}"].tolist() for kind in ("users", "items"))
    users, items = [user_ids[4], -7, user_ids[0]], [item_ids[2], item_ids[9], -8]
    histories = [[item_ids[3], -9, item_ids[1]], [], [item_ids[5]] * 40]
    expected = base.logits(
        parameters,
        Batch(
            users=torch.tensor([5, 0, 1]),
            items=torch.tensor([3, 10, 0]),
            labels=torch.zeros(3),
            history=torch.tensor([4, 0, 2, *[6] * 30]),
            offsets=torch.tensor([0, 3, 3, 33]),
        ),
    )
    model = ServingModel(version, ModuleServing("din:Din", SETTINGS).network(version))
    np.testing.assert_array_equal(model.logits(users, items, histories), expected.numpy())
    np.testing.assert_allclose(model.score_pairs(users, items, histories), torch.sigmoid(expected).numpy(), atol=1e-6)
    alone = [model.score(*pair)[0] for pair in zip(users, [[item] for item in items], histories, strict=True)]
    np.testing.assert_allclose(alone, torch.sigmoid(expected).numpy(), atol=1e-6)
    assert model.score(users[0], items, histories[0]).shape == (3,)
    assert model.score(users[0], []).shape == (0,)
    assert (model.knows_user(users[0]), model.knows_item(-8)) == (True, False)


def test_the_subscriber_of_the_readme_serves_it_and_numpys_refuses_it_by_name(replayed: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    directory = f'model="default", directory={str(replayed / "out" / "versions")!r}'
    found: dict[str, object] = {}
    exec(code.replace('model="default"', directory), found)
    assert found["probabilities"].shape == (3,)  # type: ignore[attr-defined]

    refused = list[str]()
    plain = SubscriberSettings(directory=replayed / "out" / "versions", poll=0.01)
    with ModelSubscriber(plain, on_refusal=lambda refusal: refused.append(str(refusal))) as subscriber:
        while len(refused) < 5:
            pass
        assert subscriber.model is None
    assert all("'din:Din' is not one of embedding-mlp" in one and "ModuleServing" in one for one in refused)


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("din:Din", {}, "base_model_settings is '{\"attention\":12}', this process serves '{}'"),
        ("own_modules:Mlp", SETTINGS, "base_model is 'din:Din', this process serves 'own_modules:Mlp'"),
    ],
)
def test_a_version_of_another_module_or_of_other_settings_is_refused(
    replayed: Path, name: str, settings: dict[str, int], said: str
) -> None:
    serving = ModuleServing("din:Din", settings) if name == "din:Din" else ModuleServing(name)
    with pytest.raises(SchemaMismatch) as caught:
        assembled_by(replayed, serving)
    assert said in str(caught.value)


def test_a_version_whose_tensors_are_not_the_modules_is_refused(
    replayed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import din

    class Wider(din.Din):
        def __init__(self, users: int, items: int, attention: int = 16) -> None:
            super().__init__(users, items, attention=attention + 1)

    monkeypatch.setattr(din, "Din", Wider)
    with pytest.raises(SchemaMismatch, match=r"attention.0.weight is \[12, 32\], in din:Din it is \[13, 32\]"):
        versions(replayed)


def test_what_cannot_be_had_cannot_serve() -> None:
    with pytest.raises(SettingsError, match="did you mean Din"):
        ModuleServing("din:Dinn")


def test_a_score_of_its_own_serves(replayed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import din

    def score(module: torch.nn.Module, batch: Batch) -> torch.Tensor:
        return 0.5 * torch.sigmoid(module(batch))

    before = versions(replayed)[-1]
    plain = ServingModel(before, ModuleServing("din:Din", SETTINGS).network(before)).score(1, [2, 3])
    monkeypatch.setattr(din.Din, "score", score, raising=False)
    halved = ServingModel(before, ModuleServing("din:Din", SETTINGS).network(before))
    np.testing.assert_allclose(halved.score(1, [2, 3]), plain / 2, rtol=1e-6)
    np.testing.assert_allclose(halved.score_pairs([1, 1], [2, 3]), plain / 2, rtol=1e-6)


def test_the_settings_of_the_readme_are_read(replayed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(replayed)
    assert load(Settings).learning.base_model == Module("din:Din", SETTINGS)
