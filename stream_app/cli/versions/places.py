"""Where the versions lie that a command looks at: the models topic, a directory of them, or a trainer's store."""

from __future__ import annotations

import argparse
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from stream_app.cli.options import Parser
from stream_app.errors import BadInput, VersionRejected, VersionsDamaged
from stream_app.sinks.directory import messages_in
from stream_app.versions.kept import Kept, taken_out
from stream_app.versions.manifest import Envelope
from stream_app.versions.messages import Key, Message
from stream_app.versions.stock import Stock, stock_of

if TYPE_CHECKING:
    from stream_app.settings.serving import ServingSettings

_NUMBERED = re.compile(r"(\d{1,12})(?:-.*)?")


class Place(Protocol):
    """Versions of one model. name: what messages call it."""

    name: str

    def stock(self) -> Stock:
        """All that is there, by digests."""
        ...

    def log(self, numbers: Collection[int]) -> Iterator[Message]:
        """The messages of these versions, maybe others too."""
        ...


def add_places(action: Parser) -> None:
    """Add the options that say where."""
    where = action.add_mutually_exclusive_group()
    where.add_argument("--directory", type=Path, metavar="DIR", help="versions of a replay (OUT/versions), or a cache")
    where.add_argument("--state", type=Path, metavar="DIR", help="state directory, or the --out of a replay")


def place_of(arguments: argparse.Namespace, settings: ServingSettings) -> Place:
    """The place that the command line names; the topic when it names none. Raises BadInput, or as a subscriber does."""
    for directory in (arguments.directory, arguments.state):
        if directory is not None and not directory.is_dir():
            raise BadInput(directory, "is no directory", "name one that holds versions")
    if arguments.directory is not None:
        return Folders(arguments.directory)
    return Topic(settings) if arguments.state is None else State(arguments.state, settings.model)


def version_of(place: Place, *numbers: int) -> list[Kept]:
    """These versions, whole. Raises BadInput when one is not there, VersionsDamaged when it is not what it says."""
    try:
        found = taken_out(place.log(numbers), numbers)
    except VersionRejected as refusal:
        raise VersionsDamaged(place.name, str(refusal)) from refusal
    for number in numbers:
        if number not in found:
            there = ", ".join(map(str, place.stock().numbers))
            raise BadInput(place.name, f"has no version {number}", f"there are: {there or 'none yet'}")
    return [found[number] for number in numbers]


class Topic:
    """The models topic, read from its beginning."""

    def __init__(self, settings: ServingSettings) -> None:
        from stream_app.broker.preflight import preflight
        from stream_app.live.cluster.roles import rights
        from stream_app.sinks.kafka import KafkaSink

        needed = rights("subscriber", settings.kafka, settings.topics, settings.model)
        preflight(settings.kafka, [settings.topics.models], needed)
        self.name = f"topic {settings.topics.models}"
        self._sink = KafkaSink(settings.kafka, settings.topics.models, settings.model)

    def stock(self) -> Stock:
        """See `Place.stock`."""
        return stock_of(self._sink.read())

    def log(self, numbers: Collection[int]) -> Iterator[Message]:
        """See `Place.log`."""
        return self._sink.read(after=min(numbers) - 1)


class Folders:
    """A folder for each version, as `DirectorySink` (named by the number) and the cache (and the digest) write them."""

    def __init__(self, path: Path) -> None:
        self.name, self._path = str(path), path

    def stock(self) -> Stock:
        """See `Place.stock`; of each folder, whichever others have its number."""
        stock = Stock()
        for number, folder in self._folders():
            for key, value in messages_in(folder, number):
                if (name := Key.parse(key)).chunk is None:
                    stock.manifests.append((number, value or b""))
                else:
                    stock.add_chunk(name, value or b"")
        return stock

    def log(self, numbers: Collection[int]) -> Iterator[Message]:
        """See `Place.log`."""
        for number, folder in self._folders():
            if number in numbers:
                yield from messages_in(folder, number)

    def _folders(self) -> list[tuple[int, Path]]:
        """By number; of one number the one written last comes last."""
        named = [(_NUMBERED.fullmatch(folder.name), folder) for folder in self._path.iterdir() if folder.is_dir()]
        found = [(int(name[1]), folder.stat().st_mtime_ns, folder) for name, folder in named if name]
        return [(number, folder) for number, _, folder in sorted(found)]


class State:
    """The store of a trainer: needs the worker's packages."""

    def __init__(self, directory: Path, model: str) -> None:
        self.name, self._directory, self._model = str(directory), directory, model

    def stock(self) -> Stock:
        """See `Place.stock`. Raises StoreCorrupted."""
        return stock_of(self.log(()))

    def log(self, numbers: Collection[int]) -> Iterator[Message]:
        """See `Place.log`; of all when none is named. Envelopes say what the store knows: epoch 0, unsigned."""
        from stream_app.store.view import StoreView

        with StoreView.open(self._directory / "store") as store:
            for entry in store.versions():
                waiting = store.version(entry.number)
                if waiting is not None and (not numbers or entry.number in numbers):
                    sources = waiting.sources
                    sent = Envelope(model=self._model, source_offsets=dict(sources.offsets), late=sources.late)
                    yield from waiting.version.messages(sent)
