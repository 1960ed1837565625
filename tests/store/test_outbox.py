"""The outbox: versions wait in order until the sink has them, whole, and none is lost or skipped."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from rocksdict import Options, Rdict

from stream_app.errors import StoreCorrupted
from stream_app.store.outbox import Sources
from stream_app.store.states import Store
from stream_app.store.view import StoreView
from stream_app.versions.manifest import Period, Rows
from stream_app.versions.model_version import ModelVersion, build


def version(store: Store, rows: int = 100, table: np.ndarray | None = None) -> ModelVersion:
    """The next version of the store, which can be told from every other."""
    number = store.next_version()
    _, parent = store.head() or (0, "")
    user = np.full((rows + 1, 8), number, np.float32) if table is None else table
    return build(
        number,
        parent,
        Period(number=number, start=0, end=10 * number, interactions=5),
        Rows(count=5, sha256="ab" * 32),
        {"method": "iu"},
        {"device": "cpu"},
        {"iu": {"auc": 0.5 + number / 100, "log_loss": 0.6}},
        {},
        {
            "parameters.user": user,
            "parameters.item": np.zeros((1, 8), np.float32),
            "vocabulary.users": np.arange(len(user) - 1),
            "vocabulary.items": np.empty(0, np.int64),
        },
    )


def commit(store: Store, state: dict[str, object] | None = None, sources: Sources | None = None) -> ModelVersion:
    """One more period with a version."""
    period = store.last_period + 1
    made = version(store)
    store.commit(period, state or {"period": period}, made, sources)
    return made


def block_count(path: Path) -> int:
    database = Rdict(str(path), options=Options(raw_mode=True))
    count = sum(1 for key in database.keys() if key.startswith(b"block/"))  # noqa: SIM118
    database.close()
    return count


def test_versions_wait_in_order_with_their_sources_and_tensors(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store") as store:
        assert store.head() is None
        assert list(store.outbox()) == []
        made = [commit(store, sources=Sources({0: 10 * n, 7: n}, late=n)) for n in (1, 2, 3)]
    with Store.open(tmp_path / "store") as store:
        assert store.head() == (3, made[2].digest)
        assert store.next_version() == 4
        waiting = list(store.outbox())
    for number, (given, found) in enumerate(zip(made, waiting, strict=True), 1):
        assert found.version.number == number
        assert found.version.content_bytes == given.content_bytes
        assert found.version.digest == given.digest
        assert list(found.version.tensors) == list(given.tensors)
        for name, tensor in given.tensors.items():
            assert np.array_equal(found.version.tensors[name], tensor)
        assert found.sources == Sources({0: 10 * number, 7: number}, late=number)


def test_a_period_without_a_version_leaves_the_numbers_alone(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store") as store:
        store.commit(1, {"pretraining": 1})
        store.commit(2, None)
        commit(store)
        assert (store.last_period, store.head()[0], len(store.versions())) == (3, 1, 1)


def test_what_is_published_leaves_the_outbox_for_ever(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store") as store:
        for _ in range(3):
            commit(store)
        taken = []
        for waiting in store.outbox():
            taken.append(waiting.version.number)
            store.published(waiting.version.number)
            if taken == [1, 2]:
                break
        assert taken == [1, 2]
    with Store.open(tmp_path / "store") as store:
        assert [waiting.version.number for waiting in store.outbox()] == [3]
        assert store.last_published == 2
        assert [entry.published for entry in store.versions()] == [True, True, False]


def test_a_version_that_joins_while_others_are_published_is_not_missed(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store") as store:
        commit(store)
        taken = []
        for waiting in store.outbox():
            taken.append(waiting.version.number)
            if len(taken) < 3:
                commit(store)
        assert taken == [1, 2, 3]


def test_published_versions_are_dropped_the_oldest_first_and_waiting_ones_never(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store", keep=1, keep_versions=2) as store:
        for _ in range(5):
            commit(store)
        assert [entry.number for entry in store.versions()] == [1, 2, 3, 4, 5]
        store.published(4)
        assert [entry.number for entry in store.versions()] == [3, 4, 5]
        assert store.version(2) is None
        assert np.array_equal(store.version(3).version.tensors["parameters.user"], np.full((101, 8), 3, np.float32))
        commit(store)
        store.published(6)
        assert [entry.number for entry in store.versions()] == [5, 6]
    # A header, an item table and the ids that all versions share, and a user table each.
    assert block_count(tmp_path / "store") == 3 + 2


def test_publishing_goes_forward_only_and_not_past_what_is_there(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store") as store:
        commit(store)
        commit(store)
        store.published(2)
        for number in (1, 3):
            with pytest.raises(ValueError, match=f"version {number}"):
                store.published(number)
        store.published(2)
        assert store.last_published == 2


def test_a_version_that_does_not_follow_the_last_is_refused_and_nothing_is_done(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store") as store:
        first = commit(store)
        stranger = build(
            2, "00" * 32, first.content.period, first.content.rows, {}, {}, {}, {}, dict(first.tensors)
        )  # fmt: skip
        for wrong in (first, stranger):
            with pytest.raises(ValueError, match="does not follow"):
                store.commit(2, {"period": 2}, wrong)
        assert (store.last_period, store.head()) == (1, (1, first.digest))
        commit(store)


def test_a_table_that_state_and_version_share_is_stored_once(tmp_path: Path) -> None:
    table = np.random.default_rng(0).random((100_000, 8), np.float32)  # 28,125 rows a block: 4 blocks
    with Store.open(tmp_path / "store") as store:
        store.commit(1, {"candidates.iu.user": torch.from_numpy(table)}, version(store, table=table))
        (snapshot,) = store.snapshots()
        (entry,) = store.versions()
    assert snapshot.blocks == 4
    tensors = 4 + 1 + 1  # user table, item table, user ids; there is no item
    assert len(entry.content.chunks) == tensors + 1
    assert block_count(tmp_path / "store") == tensors + 1


def test_the_listing_holds_what_a_person_asks_for(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store") as store:
        made = commit(store, sources=Sources({0: 5}, 2))
        store.published(1)
    with StoreView.open(tmp_path / "store") as view:
        (entry,) = view.versions()
        assert (entry.number, entry.digest, entry.published, entry.sources) == (
            1,
            made.digest,
            True,
            Sources({0: 5}, 2),
        )
        assert entry.bytes == sum(len(chunk) for _, chunk, _ in made.chunks())
        assert entry.content.metrics["iu"].auc == 0.51
        assert entry.content.period.number == 1
        assert view.version(1).version.digest == made.digest
        assert view.version(2) is None


def test_a_flipped_byte_in_a_version_is_found_and_not_sent(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with Store.open(path) as store:
        made = commit(store)
    key = b"version/" + (1).to_bytes(8, "big")
    keys = [key, *(b"block/" + digest for _, _, digest in made.chunks())]
    assert len(keys) == 1 + 4
    for key in keys:
        database = Rdict(str(path), options=Options(raw_mode=True))
        value = database[key]
        flipped = bytearray(value)
        flipped[len(value) // 2] ^= 1
        database[key] = bytes(flipped)
        database.close()
        with StoreView.open(path) as view, pytest.raises(StoreCorrupted):
            list(view.outbox())
        database = Rdict(str(path), options=Options(raw_mode=True))
        database[key] = value
        database.close()
    with Store.open(path) as store:
        assert [waiting.version.digest for waiting in store.outbox()] == [made.digest]


def test_one_thread_trains_while_another_publishes(tmp_path: Path) -> None:
    """No version is lost or sent twice, and at the end no block is without a name."""
    sent: list[int] = []
    with Store.open(tmp_path / "store", keep=1, keep_versions=1) as store:
        done = threading.Event()

        def publish() -> None:
            while not (done.is_set() and store.head()[0] == store.last_published):
                for waiting in store.outbox():
                    sent.append(waiting.version.number)
                    store.published(waiting.version.number)

        commit(store)
        thread = threading.Thread(target=publish)
        thread.start()
        try:
            for period in range(2, 40):
                commit(store, {"table": torch.full((100, 8), float(period))})
        finally:
            done.set()
            thread.join()
        assert sent == list(range(1, 40))
        assert store.last_published == 39
        assert store.state()["table"][0, 0] == 39
    assert block_count(tmp_path / "store") == 1 + 4
