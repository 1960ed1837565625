"""A base model of one's own through Kafka: trained by a worker, published, served by whoever brings its code."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from kafka import KafkaProducer
from live_helpers import PATIENCE, Asmg, Reader, manifests, record

from models.base_models.protocol import BaseModel
from models.learner_state import LearnerState, from_leaves
from models.samples import Batch
from stream_app.fixed import fixed_for_store
from stream_app.live.state_directory import STORE
from stream_app.live.worker_settings import WorkerSettings
from stream_app.module_serving import ModuleServing
from stream_app.settings.complete import Settings
from stream_app.settings.load import load
from stream_app.store.states import Store
from stream_app.subscriber import ModelSubscriber, SubscriberSettings

EXAMPLE = Path(__file__).parents[2] / "examples" / "din"
SERVED = "row-statistics"


def left_by(settings: Settings) -> LearnerState:
    """The learner as the worker left it."""
    fixed = fixed_for_store(settings.records, settings.periods, settings.learning)
    with closing(Store.open(settings.state_directory / STORE, fixed, keep=settings.learning.window + 1)) as store:
        leaves = store.state()
    assert leaves is not None
    return from_leaves(leaves, settings.learning)


def learners_logits(state: LearnerState, base: BaseModel) -> tuple[list[list[Any]], np.ndarray[Any, Any]]:
    """Users, items and histories by their ids, each user and one unknown; and what the learner itself makes of them."""
    user_ids, item_ids = ([-1, *ids.tolist()] for ids in (state.sampler.users.ids, state.sampler.items.ids))
    users = list(range(len(user_ids)))
    items = [row % len(item_ids) for row in users]
    past = [[int(item) for item in state.sampler.history_items[row] if item] for row in users]
    batch = Batch(
        users=torch.tensor(users),
        items=torch.tensor(items),
        labels=torch.zeros(len(users)),
        history=torch.tensor([item for history in past for item in history]),
        offsets=torch.tensor([0, *np.cumsum([len(history) for history in past]).tolist()]),
    )
    histories = [[item_ids[row] for row in history] for history in past]
    logits = base.logits(state.candidates[SERVED], batch).numpy()
    return [user_ids, [item_ids[row] for row in items], histories], logits


@pytest.mark.broker
def test_a_worker_trains_it_and_a_subscriber_with_its_code_scores_as_the_learner_does_and_numpys_refuses_it(
    settings: WorkerSettings,
    asmg: Asmg,
    producer: KafkaProducer,
    reader: Callable[[str], Reader],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLE))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(EXAMPLE), os.environ.get("PYTHONPATH", "")]))
    worker = asmg("worker", "--set", "learning.base_model=din:Din", "--set", f"learning.serve={SERVED}")
    for n in range(450):
        producer.send(settings.topics.interactions, record(n % 17, n % 23, 1000 + n, int(n % 3 > 0)), partition=n % 4)
    producer.flush(timeout=PATIENCE)

    following = SubscriberSettings(settings.kafka, settings.topics.models, settings.model)
    with ModelSubscriber(following, serving=ModuleServing("din:Din")) as subscriber:
        model = subscriber.wait(timeout=PATIENCE, version=3)
    last = manifests(reader(settings.topics.models).until(lambda records: len(manifests(records)) >= 3))[-1]
    assert (last.content.version, last.digest) == (3, model.version.digest)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=PATIENCE) == 0

    own = {"learning": {"base_model": "din:Din", "serve": SERVED}, "config": tmp_path / "asmg.toml"}
    written = load(Settings, own)
    pairs, expected = learners_logits(left_by(written), written.learning.base_model)
    np.testing.assert_array_equal(model.logits(*pairs), expected)
    assert len(set(expected.tolist())) > 10
    assert max(map(len, pairs[2])) > 5

    with ModelSubscriber(following) as plain:
        while plain.health().refusals < 3:
            assert plain.model is None
        assert "base model 'din:Din' is not one of embedding-mlp, matrix-factorization" in plain.health().last_refusal
