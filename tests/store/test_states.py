"""The trainer's database: what is committed is there whole, whatever happens, and nothing else is."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from rocksdict import Options, Rdict, WriteBatch

from stream_app.errors import IncompatibleState, StoreCorrupted, StoreLocked
from stream_app.store.states import Store
from stream_app.store.view import StoreView


def leaves(period: int, rows: int = 1000) -> dict[str, object]:
    """A state that can be told from that of any other period."""
    return {
        "table": torch.full((rows, 8), float(period)),
        "history": np.full((rows, 3), period, np.int32),
        "seen": torch.tensor([True, False]),
        "step": torch.tensor(period),
        "empty": torch.empty((0, 8)),
        "period": period,
        "rate": 0.5,
        "flag": True,
        "name": "gru",
        "nothing": None,
    }


def equal(one: dict[str, object], other: dict[str, object]) -> bool:
    """Same names, same types, same bits."""
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert type(other[name]) is type(value), name
        if isinstance(value, torch.Tensor):
            assert value.dtype == other[name].dtype, name
            assert torch.equal(value, other[name]), name
        elif isinstance(value, np.ndarray):
            assert value.dtype == other[name].dtype, name
            assert np.array_equal(value, other[name]), name
        else:
            assert value == other[name], name
    return True


def contents(path: Path) -> dict[bytes, bytes]:
    """Everything in the database, by a client of its own."""
    database = Rdict(str(path), options=Options(raw_mode=True))
    found = dict(database.items())
    database.close()
    return found


def put(path: Path, key: bytes, value: bytes | None) -> None:
    """Change one value behind the store's back."""
    database = Rdict(str(path), options=Options(raw_mode=True))
    batch = WriteBatch(raw_mode=True)
    if value is None:
        batch.delete(key)
    else:
        batch.put(key, value)
    database.write(batch)
    database.close()


def blocks(path: Path) -> set[bytes]:
    return {key for key in contents(path) if key.startswith(b"block/")}


def test_a_state_comes_back_bit_by_bit_after_reopening(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store") as store:
        assert store.state() is None
        assert store.last_period == 0
        store.commit(1, leaves(1))
        assert equal(leaves(1), store.state())
    with Store.open(tmp_path / "store") as store:
        assert store.last_period == 1
        assert equal(leaves(1), store.state())


def test_every_type_and_shape_comes_back(tmp_path: Path) -> None:
    dtypes = [torch.float64, torch.float32, torch.float16, torch.int64, torch.int32, torch.int16, torch.int8]
    state: dict[str, object] = {}
    for dtype in (*dtypes, torch.uint8, torch.bool):
        for shape in ((), (0,), (1,), (5, 0), (3, 4, 2)):
            tensor = torch.arange(int(np.prod(shape))).reshape(shape).to(dtype)
            state[f"tensor/{dtype}/{shape}"] = tensor
            state[f"array/{dtype}/{shape}"] = tensor.numpy()
    with Store.open(tmp_path / "store") as store:
        store.commit(1, state)
        assert equal(state, store.state())


def test_what_is_not_in_row_order_in_memory_comes_back_as_it_reads(tmp_path: Path) -> None:
    table = torch.arange(12.0).reshape(3, 4)
    with Store.open(tmp_path / "store") as store:
        store.commit(1, {"transposed": table.T, "array": table.numpy()[:, ::2], "big": np.arange(3, dtype=">i8")})
        state = store.state()
    assert torch.equal(state["transposed"], table.T)
    assert state["array"].tolist() == [[0, 2], [4, 6], [8, 10]]
    assert state["big"].tolist() == [0, 1, 2]


def test_a_row_larger_than_a_block_comes_back(tmp_path: Path) -> None:
    wide = torch.arange(600_000, dtype=torch.float64).reshape(2, 300_000)
    with Store.open(tmp_path / "store") as store:
        store.commit(1, {"wide": wide})
        assert torch.equal(store.state()["wide"], wide)
    assert max(map(len, contents(tmp_path / "store").values())) <= 900_000


def test_changing_what_was_read_changes_nothing_in_the_store(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store") as store:
        store.commit(1, leaves(1))
        store.state()["table"].zero_()
        assert equal(leaves(1), store.state())


@pytest.mark.parametrize("leaf", [b"bytes", 1 + 2j, np.array(["a"], object), torch.zeros(2, dtype=torch.complex64)])
def test_a_leaf_that_cannot_be_kept_is_named_and_nothing_changes(tmp_path: Path, leaf: object) -> None:
    with Store.open(tmp_path / "store") as store:
        store.commit(1, leaves(1))
        with pytest.raises(ValueError, match=r"^methods\.x "):
            store.commit(2, {**leaves(2), "methods.x": leaf})
        assert store.last_period == 1
        assert equal(leaves(1), store.state())
        store.commit(2, leaves(2))
    with Store.open(tmp_path / "store") as store:
        assert equal(leaves(2), store.state())


def test_only_blocks_with_a_changed_row_are_written_again(tmp_path: Path) -> None:
    rows = 100_000  # 8 floats a row: 28,125 rows a block, 4 blocks
    table = torch.arange(rows * 8, dtype=torch.float32).reshape(rows, 8)
    with Store.open(tmp_path / "store") as store:
        store.commit(1, {"table": table})
    before = blocks(tmp_path / "store")
    assert len(before) == 4
    changed = table.clone()
    changed[30_000, 3] = -1
    with Store.open(tmp_path / "store") as store:
        store.commit(2, {"table": changed})
        store.commit(3, {"table": changed})
    after = blocks(tmp_path / "store")
    assert before <= after
    assert len(after - before) == 1


def test_unchanged_blocks_cost_no_bytes_on_disk(tmp_path: Path) -> None:
    random = torch.from_numpy(np.random.default_rng(0).random((200_000, 8), np.float32))  # 6.4 MB that do not compress
    with Store.open(tmp_path / "store") as store:
        store.commit(1, {"table": random})
        size = sum(file.stat().st_size for file in (tmp_path / "store").iterdir())
        store.commit(2, {"table": random})
        grown = sum(file.stat().st_size for file in (tmp_path / "store").iterdir()) - size
    assert grown < 20_000


def test_the_last_snapshots_are_kept_and_the_blocks_of_others_go(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store", keep=2) as store:
        for period in (1, 2, 3, 4):
            store.commit(period, {"table": torch.full((10, 8), float(period)), "same": torch.ones(7)})
        assert [entry.period for entry in store.snapshots()] == [3, 4]
        assert store.state(2) is None
        assert store.state(3)["table"][0, 0] == 3
        assert store.state(4)["table"][0, 0] == 4
    assert len(blocks(tmp_path / "store")) == 3  # two tables and what all share
    assert not any(key.startswith(b"pending/") for key in contents(tmp_path / "store"))


def test_an_empty_period_is_done_and_keeps_the_state(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store") as store:
        store.commit(1, leaves(1))
        store.commit(2, None)
        assert store.last_period == 2
        assert [entry.period for entry in store.snapshots()] == [1]
        assert equal(leaves(1), store.state())


def test_a_period_is_done_only_once(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store") as store:
        store.commit(1, leaves(1))
        with pytest.raises(ValueError, match="period 1 is done already"):
            store.commit(1, leaves(9))
        assert equal(leaves(1), store.state())


def test_a_checkpoint_is_replaced_survives_reopening_and_ends_with_its_period(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store") as store:
        assert store.restore_checkpoint("pretraining") is None
        store.checkpoint("pretraining", leaves(7))
        store.checkpoint("pretraining", leaves(8))
    with Store.open(tmp_path / "store") as store:
        assert equal(leaves(8), store.restore_checkpoint("pretraining"))
        assert store.last_period == 0
        store.commit(1, {"done": 1})
        assert store.restore_checkpoint("pretraining") is None
    assert blocks(tmp_path / "store") == set()


def test_the_listing_tells_bytes_blocks_and_leaves(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store") as store:
        store.commit(1, {"a": torch.ones(100, 8), "b": np.ones(100, np.int64), "c": 1})
        (entry,) = store.snapshots()
    assert (entry.period, entry.bytes, entry.blocks, entry.leaves) == (1, 100 * 8 * 4 + 100 * 8, 2, 3)


def test_a_view_beside_the_writer_sees_what_is_committed_after_refresh(tmp_path: Path) -> None:
    with StoreView.open(tmp_path / "store") as view:
        assert (view.last_period, view.snapshots(), view.fixed, view.refresh()) == (0, [], {}, False)
        with Store.open(tmp_path / "store", fixed={"seed": 1}) as store:
            store.commit(1, leaves(1))
            assert view.last_period == 0
            assert view.refresh()
            assert view.last_period == 1
            store.commit(2, leaves(2))
            assert [entry.period for entry in view.snapshots()] == [1]
            assert view.refresh()
            assert [entry.period for entry in view.snapshots()] == [1, 2]
            assert view.fixed == {"seed": 1}


def test_looking_needs_no_torch() -> None:
    code = "import sys, stream_app.store.view, stream_app.pipeline; print('torch' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout == "False\n"


def test_another_learning_setting_is_refused_naming_key_old_and_new(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store", fixed={"seed": 0, "methods": ["iu"]}) as store:
        store.commit(1, leaves(1))
    before = contents(tmp_path / "store")
    with pytest.raises(IncompatibleState, match=r"methods was \['iu'\] .* \['iu', 'asmg'\]"):
        Store.open(tmp_path / "store", fixed={"seed": 0, "methods": ["iu", "asmg"]})
    assert contents(tmp_path / "store") == before


def test_a_store_of_an_unknown_format_is_refused(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store") as store:
        store.commit(1, leaves(1))
    values = contents(tmp_path / "store")
    put(tmp_path / "store", b"format", values[b"format"].replace(b"\x02", b"\x63"))
    for opening in (Store.open, StoreView.open):
        with pytest.raises(IncompatibleState, match="99"):
            opening(tmp_path / "store")


HOLDS_THE_LOCK = """
import sys
from rocksdict import Options, Rdict
database = Rdict(sys.argv[1], options=Options(raw_mode=True))
print("open", flush=True)
sys.stdin.read()
"""


def test_a_store_open_in_another_process_is_reported_as_locked_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with Store.open(path) as store:
        store.commit(1, leaves(1))
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS_THE_LOCK, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        with pytest.raises(StoreLocked, match="another process") as refused:
            Store.open(path)
        assert refused.value.path == str(path)
        with StoreView.open(path) as view:
            assert view.last_period == 1
        other.communicate()
    with Store.open(path) as store:
        assert equal(leaves(1), store.state())


def test_a_store_open_in_this_process_is_reported_as_locked(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store") as store:
        with pytest.raises(StoreLocked):
            Store.open(tmp_path / "store")
        store.commit(1, leaves(1))


def test_every_flipped_value_is_found(tmp_path: Path) -> None:
    """Each value that the last state needs, changed in its middle, is reported and never read as a state."""
    with Store.open(tmp_path / "store") as store:
        store.commit(1, leaves(1))
    values = {key: value for key, value in contents(tmp_path / "store").items() if key not in (b"format", b"fixed")}
    assert {key.split(b"/")[0] for key in values} == {b"head", b"snapshot", b"block"}
    for key, value in values.items():
        flipped = bytearray(value)
        flipped[len(value) // 2] ^= 0x10
        for wrong in (bytes(flipped), value[:-1], None):
            if wrong is None and key == b"head":
                continue  # a database without a head is one without a commit
            put(tmp_path / "store", key, wrong)
            with pytest.raises(StoreCorrupted, match="store"), Store.open(tmp_path / "store") as store:
                store.state()
        put(tmp_path / "store", key, value)
    with Store.open(tmp_path / "store") as store:
        assert equal(leaves(1), store.state())


def test_leftovers_of_an_unfinished_commit_are_removed_at_opening(tmp_path: Path) -> None:
    """The blocks of a commit that got as far as its parts, as a kill leaves them, and none of a named state."""
    with Store.open(tmp_path / "store") as store:
        store.commit(1, leaves(1))
    named = contents(tmp_path / "store")
    with Store.open(tmp_path / "store") as store:
        store.commit(2, leaves(2))
    both = contents(tmp_path / "store")
    unnamed = [key for key in both if key.startswith(b"block/") and key not in named]
    assert unnamed
    put(tmp_path / "store", b"snapshot/" + (2).to_bytes(8, "big"), None)
    put(tmp_path / "store", b"head", named[b"head"])
    noted = sorted(key.removeprefix(b"block/") for key in both if key.startswith(b"block/"))  # named ones must stay
    put(tmp_path / "store", b"pending/" + (0).to_bytes(8, "big"), packed(noted))
    with Store.open(tmp_path / "store") as store:
        assert equal(leaves(1), store.state())
    assert contents(tmp_path / "store") == named


def packed(digests: list[bytes]) -> bytes:
    """A msgpack array of binary strings, by hand."""
    assert len(digests) < 65_536
    body = b"".join(b"\xc4" + bytes([len(digest)]) + digest for digest in digests)
    return b"\xdc" + len(digests).to_bytes(2, "big") + body


DIES_AT_EVERY_WRITE = """
import os, signal, sys
from pathlib import Path
import torch
from stream_app.store.database import Database
from stream_app.store.states import Store

def table(period):
    rows = torch.full((300_000, 8), float(period))  # 11 blocks, 9.6 MB: two batches of parts
    rows[:, 0] = torch.arange(300_000)
    return {"table": rows, "period": period}

def die(path, at):
    with Store.open(path, keep=1) as store:
        store.commit(1, table(1))
        write, count = Database.write, 0
        def counted(self, puts, deletes=()):
            nonlocal count
            if count == at:
                os.kill(os.getpid(), signal.SIGKILL)
            count += 1
            write(self, puts, deletes)
        Database.write = counted
        store.commit(2, table(2))

at, status = 0, -1
while status != 0:  # no database is open in this process: its children start with all the threads they need
    child = os.fork()
    if child == 0:
        die(Path(sys.argv[1]) / str(at), at)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    at += 1
"""


def test_killed_before_any_write_of_a_commit_the_state_is_the_old_or_the_new_one(tmp_path: Path) -> None:
    """Four writes: two of parts, the name, the removal of what it left behind; then none is left to die at."""
    subprocess.run([sys.executable, "-c", DIES_AT_EVERY_WRITE, str(tmp_path)], check=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1", "2", "3", "4"]
    for at, period in enumerate([1, 1, 1, 2, 2]):
        with Store.open(tmp_path / str(at), keep=1) as store:
            assert store.last_period == period
            state = store.state()
            (entry,) = store.snapshots()
        assert state["period"] == period
        assert torch.equal(state["table"][:, 0], torch.arange(300_000.0))
        assert (state["table"][:, 1:] == period).all()
        assert len(blocks(tmp_path / str(at))) == entry.blocks
        assert not any(key.startswith(b"pending/") for key in contents(tmp_path / str(at)))


WRITES_UNTIL_KILLED = """
import sys
from pathlib import Path
import torch
from stream_app.store.states import Store

store = Store.open(Path(sys.argv[1]))
while True:
    period = store.last_period + 1
    print("begin", period, flush=True)
    store.commit(period, {"table": torch.full((200_000, 8), float(period)), "period": period})
    print("done", period, flush=True)
"""


def test_killed_while_committing_what_was_acknowledged_is_there(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITES_UNTIL_KILLED, str(tmp_path / "store")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    said = [process.stdout.readline() for _ in range(5)]
    process.send_signal(signal.SIGKILL)
    said += process.stdout.readlines()
    process.wait()
    done = [int(line.split()[1]) for line in said if line.startswith("done")]
    with Store.open(tmp_path / "store") as store:
        assert max(done) <= store.last_period <= max(done) + 1
        for entry in store.snapshots():
            state = store.state(entry.period)
            assert state["period"] == entry.period
            assert (state["table"] == entry.period).all()
        named = sum(entry.blocks for entry in store.snapshots())
    assert len(blocks(tmp_path / "store")) == named
