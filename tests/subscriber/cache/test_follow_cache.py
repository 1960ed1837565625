"""Reading a cache: what is served of it, what is refused, in this process, in many and in forked ones."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgpack
import pytest
from cache_helpers import CHAIN, SCORES, arrived, given, reader, served, written
from hostile_versions import CATEGORIES
from key_pairs import Pair
from simulators import MODEL, MemorySink, envelope, tiny_version

from stream_app.errors import BadSignature, DigestMismatch, SchemaMismatch, Unavailable, VersionRejected
from stream_app.serving import model as model_module
from stream_app.serving.derived import LAYOUT, derived
from stream_app.subscriber import ModelSubscriber, SubscriberSettings
from stream_app.subscriber.cache import CacheWriter, FollowCache
from stream_app.subscriber.cache import folder as folder_module
from stream_app.subscriber.cache.records import Current
from stream_app.subscriber.cache.writer import read_current
from stream_app.versions.columns import ids_from_tensors
from stream_app.versions.messages import Manifest
from stream_app.versions.signing import Signer
from stream_app.versions.tensors import Array

ROOT = Path(__file__).resolve().parent.parent.parent.parent
LONG = 30.0


def settings(path: Path, **others: object) -> SubscriberSettings:
    return SubscriberSettings(cache=path, poll=0.01, **others)


def until(there: Callable[[], object]) -> None:
    """Waits; only a failing test does so for long."""
    end = time.monotonic() + LONG
    while not there():
        assert time.monotonic() < end
        time.sleep(0.005)


def dealt_with(subscriber: ModelSubscriber, versions: int) -> None:
    until(lambda: subscriber.health().swaps + subscriber.health().refusals == versions)


def scores(subscriber: ModelSubscriber) -> list[float]:
    model = subscriber.model
    assert model is not None
    return model.score(11, [3, 2, 9], [4]).tolist()


def test_versions_are_swapped_as_they_are_written_also_back_to_a_pinned_one(tmp_path: Path) -> None:
    swaps = list[int]()
    with ModelSubscriber(settings(tmp_path), on_swap=lambda model: swaps.append(model.version.number)) as subscriber:
        with pytest.raises(Unavailable, match=f"cache {tmp_path} holds no version; `asmg subscribe --cache"):
            subscriber.wait(0.1)
        with CacheWriter(tmp_path) as writer:
            for version in CHAIN[:3]:
                writer.write(*given(version))
                subscriber.wait(LONG, version.number)
                assert scores(subscriber) == SCORES[version.number]
            writer.write(*given(CHAIN[1]), pinned=2)
            until(lambda: len(swaps) == 4)
            health = subscriber.health()
            assert (health.version, health.pinned, health.epoch, health.run) == (2, 2, 1, "first")
            writer.tell(None)
            until(lambda: subscriber.health().pinned is None)
            assert (scores(subscriber), swaps) == (SCORES[2], [1, 2, 3, 2])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
    "empty": lambda path: path.write_bytes(b""),
    "a bit": flip,
    "not there": Path.unlink,
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("file", ["manifest.msgpack", "model.safetensors", "derived.safetensors", "derived.msgpack"])
def test_a_damaged_file_is_refused_by_name_and_the_version_before_serves(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, file: str, damage: str
) -> None:
    written(tmp_path, range(1, 2))
    refused, other = list[VersionRejected](), tmp_path_factory.mktemp("aside") / "cache"
    with ModelSubscriber(settings(tmp_path), on_refusal=refused.append) as subscriber:
        subscriber.wait(LONG)
        shutil.copytree(tmp_path, other)
        written(other, range(2, 3))
        (place,) = other.glob("000002-*")
        DAMAGE[damage](place / file)
        place.rename(tmp_path / place.name)
        (other / "current").rename(tmp_path / "current")
        until(lambda: refused or subscriber.health().trouble)
        assert scores(subscriber) == SCORES[1]
        if damage == "a folder":
            assert str(tmp_path) in subscriber.health().trouble
        else:
            assert (type(refused[0]), refused[0].version) == (DigestMismatch, 2)
        written(tmp_path, range(3, 4))
        subscriber.wait(LONG, version=3)
        assert scores(subscriber) == SCORES[3]


def test_what_is_refused_is_told_once_until_current_is_another(tmp_path: Path) -> None:
    written(tmp_path, range(1, 2))
    (manifest,) = tmp_path.glob("*/manifest.msgpack")
    manifest.write_bytes(b"")
    following = reader(tmp_path)
    for told in (1, 0, 0):
        assert len(list(following.poll(0))) == told
    with CacheWriter(tmp_path) as writer:
        writer.tell(1)
    for told in (1, 0):
        assert len(list(following.poll(0))) == told


def test_no_bit_of_current_can_turn_without_being_noticed(tmp_path: Path) -> None:
    written(tmp_path, range(1, 3))
    current, following = tmp_path / "current", reader(tmp_path)
    data = current.read_bytes()
    for bit in range(8 * len(data)):
        turned = bytearray(data)
        turned[bit // 8] ^= 1 << bit % 8
        aside = tmp_path / "aside"
        aside.write_bytes(turned)
        aside.rename(current)
        with pytest.raises(VersionRejected):
            served(following)
    current.write_bytes(data)
    assert served(following) == 2


def sealed(fields: dict[str, object]) -> bytes:
    """As the writer seals its records, by hand."""
    record = msgpack.packb(fields)
    return bytes(msgpack.packb({"record": record, "checksum": hashlib.sha256(record).digest()}))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": 2}, "current has format 2, which is unknown; this program reads 1"),
        ({"folder": "../000001-0123456789ab"}, "folder"),
        ({"folder": "/etc"}, "folder"),
        ({"digest": CHAIN[1].digest}, "holds .*, not "),
        ({"version": 7}, "version 7: its manifest is that of version 1"),
        ({"pinned": -1}, "pinned"),
        ({"execute": "rm"}, "execute"),
        ({"before": ["../.."]}, "before"),
    ],
)
def test_a_current_that_is_none_is_refused_by_name(tmp_path: Path, changes: dict[str, object], said: str) -> None:
    written(tmp_path, range(1, 2))
    current = read_current(tmp_path)
    assert current is not None
    (tmp_path / "current").write_bytes(sealed({**current.model_dump(), **changes}))
    with pytest.raises(VersionRejected, match=said):
        served(reader(tmp_path))


VERSIONS = {
    "integers": tiny_version(categories=CATEGORIES),
    "strings": tiny_version(users=["ä", "b", "cc"], items=["x", "", "yy", "z"]),
}


@pytest.mark.parametrize("ids", VERSIONS)
def test_what_is_mapped_answers_as_what_was_written_and_nothing_of_it_is_made_again(
    tmp_path: Path, ids: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, manifest = given(VERSIONS[ids])
    with CacheWriter(tmp_path) as writer:
        writer.write(model, manifest)
    monkeypatch.setattr(model_module, "derived_from", None)
    found = arrived(tmp_path).model
    users, items = (ids_from_tensors(table, model.version.tensors).tolist() for table in ("users", "items"))
    for one in (model, found):
        assert one.score(users[0], items, items[2:]).tolist() == model.score(users[0], items, items[2:]).tolist()
        assert one.recommend(users[1], 3).items == model.recommend(users[1], 3).items
    assert found.derived.keys() == model.derived.keys()
    for array in (*found.version.tensors.values(), *found.derived.values()):
        assert not array.flags.writeable
        assert not array.flags.owndata


def test_what_another_release_derived_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, range(1, 2))
    monkeypatch.setattr(folder_module, "LAYOUT", 99)
    found = arrived(tmp_path).model
    assert found.score(11, [3, 2, 9], [4]).tolist() == SCORES[1]
    assert all(array.flags.writeable for array in found.derived.values()), "made here"


def outline(arrays: Mapping[str, Array]) -> str:
    """A digest of names, types and shapes, and of the values that are whole numbers (others depend on the machine)."""
    hashed = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        hashed.update(f"{name} {array.dtype} {array.shape}".encode())
        if array.dtype.kind in "iu":
            hashed.update(array.tobytes())
    return hashed.hexdigest()[:16]


def test_arrays_of_another_kind_are_another_layout() -> None:
    """Whoever changes what is derived raises `LAYOUT`: processes of two releases may share a cache for a while."""
    seen = {name: outline(derived(version)) for name, version in VERSIONS.items()}
    assert (LAYOUT, seen) == (1, {"integers": "9c2f77a506526c20", "strings": "4950d6ddb9893f18"})


def test_what_was_derived_of_another_version_is_refused(tmp_path: Path) -> None:
    written(tmp_path, range(1, 3))
    first, second = sorted(tmp_path.glob("0*"))
    for name in ("derived.safetensors", "derived.msgpack"):
        shutil.copy(first / name, second / name)
    with pytest.raises(DigestMismatch, match=r"version 2: .*derived\.msgpack is of another version"):
        served(reader(tmp_path))


def test_a_version_in_a_newer_format_is_refused_by_name(tmp_path: Path) -> None:
    written(tmp_path, range(1, 2))
    (manifest,) = tmp_path.glob("*/manifest.msgpack")
    content = msgpack.unpackb(msgpack.unpackb(manifest.read_bytes())["content"])
    manifest.write_bytes(Manifest.pack(msgpack.packb({**content, "format": 99}), envelope()))
    with pytest.raises(SchemaMismatch, match="version 1: format 99 is unknown"):
        served(reader(tmp_path))


def test_versions_of_another_model_or_that_cannot_be_computed_are_refused(tmp_path: Path) -> None:
    foreign = {"settings_digest": "0" * 64, "method": "iu", "base_model": "mypackage.net:Net"}
    with CacheWriter(tmp_path) as writer:
        writer.write(*given(CHAIN[0], envelope(model="other")))
        with pytest.raises(SchemaMismatch, match=f"is of model 'other', not '{MODEL}'"):
            served(reader(tmp_path))
        version = tiny_version(2, learning=foreign)
        model, _ = given(CHAIN[0])
        model.version = version
        writer.write(model, Manifest(version.content, version.content_bytes, envelope()))
        with pytest.raises(SchemaMismatch, match=r"version 2: base model 'mypackage\.net:Net' is not one of"):
            served(reader(tmp_path))


def test_with_keys_only_what_they_signed_is_served(tmp_path: Path) -> None:
    ours, theirs = Pair(tmp_path, "ours"), Pair(tmp_path, "theirs")
    following = settings(tmp_path / "cache", keys=(str(ours.public),))
    refused = list[VersionRejected]()
    with (
        CacheWriter(tmp_path / "cache") as writer,
        ModelSubscriber(following, on_refusal=refused.append) as subscriber,
    ):
        for pair, version in zip((ours, theirs, None, ours), CHAIN, strict=False):
            sent = envelope()
            if pair is not None:
                sent = Signer(str(pair.private)).signed(version.content_bytes, sent)
            writer.write(*given(version, sent))
            dealt_with(subscriber, version.number)
    assert [(type(one), one.version) for one in refused] == [(BadSignature, 2), (BadSignature, 3)]
    assert scores(subscriber) == SCORES[4]


def test_a_folder_that_is_removed_while_it_is_opened_is_no_trouble(tmp_path: Path) -> None:
    """The writer goes on as fast as it can and keeps nothing; readers look all the time."""
    written(tmp_path, range(1, 2), keep=0)
    stop, seen, errors = threading.Event(), list[int](), list[BaseException]()

    def read() -> None:
        try:
            while not stop.is_set():
                number = served(reader(tmp_path))
                assert number is not None
                seen.append(number)
        except BaseException as error:
            errors.append(error)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for thread in readers:
        thread.start()
    with CacheWriter(tmp_path, keep=0) as writer:
        while (len(seen) < 100 or len(set(seen)) == 1) and not errors:
            for version in CHAIN:
                writer.write(*given(version))
    stop.set()
    for thread in readers:
        thread.join()
    assert not errors
    assert len(set(seen)) > 1


SERVING = """
import sys
for name in ("kafka", "faust", "rocksdict", "aiokafka", "torch", "pyarrow", "msgspec", "models"):
    sys.modules[name] = None      # importing it fails as if it were not installed
from pathlib import Path
from stream_app.subscriber import ModelSubscriber, SubscriberSettings
with ModelSubscriber(SubscriberSettings(cache=Path(sys.argv[1]), poll=0.01)) as subscriber:
    for line in sys.stdin:
        print(subscriber.wait(30, int(line)).score(11, [3, 2, 9], [4]).tolist(), flush=True)
"""


def test_processes_without_a_kafka_client_follow_one_cache_and_start_without_its_writer(tmp_path: Path) -> None:
    written(tmp_path, range(1, 2))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", SERVING, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": environment}
    processes = [subprocess.Popen(command, **pipes) for _ in range(2)]
    for number in (1, 2, 3):
        if number > 1:
            written(tmp_path, range(number, number + 1))
        for process in processes:
            process.stdin.write(f"{number}\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline()) == SCORES[number]
    for process in processes:
        process.communicate(timeout=LONG)
        assert process.returncode == 0


def in_a_fork(look: Callable[[], object], meanwhile: Callable[[], object] = lambda: None) -> Any:
    """What `look` gives in a forked process, which begins when `meanwhile` is done here."""
    go, let = os.pipe()
    ready, tell = os.pipe()
    child = os.fork()
    if not child:
        said = "failed"
        try:
            os.read(go, 1)
            said = look()
        finally:
            os.write(tell, json.dumps(said).encode())
            os.kill(os.getpid(), signal.SIGKILL)
    os.close(tell)
    meanwhile()
    os.write(let, b".")
    said = os.read(ready, 10_000)
    os.waitpid(child, 0)
    for descriptor in (go, let, ready):
        os.close(descriptor)
    return json.loads(said)


def test_a_forked_process_goes_on_by_itself_with_a_cache(tmp_path: Path) -> None:
    written(tmp_path, range(1, 2))
    with ModelSubscriber(settings(tmp_path)) as subscriber:
        subscriber.wait(LONG)

        def look() -> object:
            subscriber.wait(LONG, 2)
            found = [scores(subscriber), subscriber.health().trouble]
            subscriber.close()
            return found

        assert in_a_fork(look, lambda: written(tmp_path, range(2, 3))) == [SCORES[2], ""]
        assert subscriber.wait(LONG, 2).version.number == 2


def test_a_forked_process_says_that_it_never_swaps_again_with_a_topic() -> None:
    sink = MemorySink()
    sink.log += CHAIN[0].messages(envelope())

    class Memory(SubscriberSettings):
        def source(self) -> MemorySink:
            return sink

    with ModelSubscriber(Memory(poll=0.01)) as subscriber:
        subscriber.wait(LONG)
        served, trouble = in_a_fork(lambda: [scores(subscriber), subscriber.health().trouble])
        assert served == SCORES[1]
        assert "was forked from the one that follows the topic" in trouble
        assert subscriber.health().trouble == ""


def test_one_that_was_closed_starts_nothing_in_a_forked_process(tmp_path: Path) -> None:
    written(tmp_path, range(1, 2))
    with ModelSubscriber(settings(tmp_path)) as subscriber:
        subscriber.wait(LONG)
    assert in_a_fork(lambda: [thread.name for thread in threading.enumerate()]) == ["MainThread"]


def test_a_directory_that_cannot_be_read_is_trouble_and_no_refusal(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no directory")
    following = FollowCache(tmp_path / "file", MODEL, reader(tmp_path)._serving)
    with pytest.raises(Unavailable, match=f"cache {tmp_path / 'file'}: "):
        list(following.poll(0))


def test_an_unchanged_cache_is_not_read_again(tmp_path: Path) -> None:
    written(tmp_path, range(1, 2))
    following = reader(tmp_path)
    assert served(following) == 1
    (model,) = tmp_path.glob("*/model.safetensors")
    model.unlink()
    with CacheWriter(tmp_path) as writer:
        writer.tell(1)
    assert served(following) is None
    assert following.pinned == 1
    with pytest.raises(DigestMismatch, match="lacks files"):
        served(reader(tmp_path))


def test_current_names_what_it_names(tmp_path: Path) -> None:
    written(tmp_path, range(1, 4))
    first, second, third = sorted(place.name for place in tmp_path.glob("0*"))
    assert read_current(tmp_path) == Current(
        folder=third, version=3, digest=CHAIN[2].digest, before=(second, first), pinned=None
    )
