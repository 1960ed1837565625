"""Scores a Parquet file of pairs with one model version: a part for each row group, and goes on where it was stopped.

    python -m examples.batch_scoring.batch_scoring pairs.parquet scored --cache CACHE
    python -m examples.batch_scoring.batch_scoring pairs.parquet scored --directory run/versions

`scored/` gets part-00000.parquet, ...: the columns of the pairs and `probability`. Each part is written aside and
renamed, and carries the digests of the version and of the pairs' file in its metadata, so that no two of these are ever
mixed. Exit codes: 0 done, 2 wrong arguments or columns, 3 the parts that are there come from another version or from
other pairs, 4 no version in time.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
from numpy.typing import NDArray
from rich.progress import track

from stream_app.errors import AsmgError, BadInput, IncompatibleState
from stream_app.serving.model import ServingModel
from stream_app.settings.load import load
from stream_app.settings.serving import ServingSettings
from stream_app.subscriber import ModelSubscriber, SubscriberSettings

VERSION, PAIRS = b"asmg.version", b"asmg.pairs"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; returns the exit code."""
    given = _parser().parse_args(arguments)
    try:
        row_groups = opened(given.pairs).num_row_groups
        with ModelSubscriber(subscription(given.cache, given.directory)) as subscriber:
            model = subscriber.wait(given.timeout)  # one version for all of it, whatever comes meanwhile
        for _ in track(score_file(given.pairs, given.scored, model), "scoring", total=row_groups):
            pass
    except AsmgError as error:
        print(f"batch_scoring: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def subscription(cache: Path | None, directory: Path | None) -> SubscriberSettings:
    """Which model and whose versions: as asmg.toml and ASMG_... variables say; those of a replay nobody signs."""
    settings = load(ServingSettings).subscription()
    return replace(settings, cache=cache, directory=directory, keys=() if cache is None else settings.keys)


def opened(pairs: Path) -> parquet.ParquetFile:
    """The file, not yet read. Raises BadInput (no such file or column)."""
    try:
        source = parquet.ParquetFile(pairs)
    except (OSError, pa.ArrowInvalid) as error:
        raise BadInput(pairs, str(error), "give a Parquet file with columns user_id and item_id") from error
    if missing := {"user_id", "item_id"} - set(source.schema_arrow.names):
        raise BadInput(pairs, f"has no column {min(missing)}", "it needs user_id and item_id")
    return source


def score_file(pairs: Path, scored: Path, model: ServingModel) -> Iterator[Path]:
    """Writes the parts that are missing; yields the path of every part, in order.

    Raises BadInput (no such file or column, ids of another type), IncompatibleState (parts of another version, or of
    other pairs).
    """
    source = opened(pairs)
    scored.mkdir(parents=True, exist_ok=True)
    with pairs.open("rb") as file:
        own = {VERSION: model.version.digest, PAIRS: hashlib.file_digest(file, "sha256").hexdigest()}
    _check_parts(scored, own)
    for group in range(source.num_row_groups):
        part = scored / f"part-{group:05d}.parquet"
        if not part.exists():
            _write(part, _with_probabilities(source.read_row_group(group), model, pairs, group), own)
        yield part


def _check_parts(scored: Path, own: Mapping[bytes, str]) -> None:
    for part in sorted(scored.glob("part-*.parquet")):
        metadata = parquet.read_schema(part).metadata or {}
        for key, what in ((VERSION, "version"), (PAIRS, "pairs")):
            if (digest := metadata.get(key, b"none").decode()) != own[key]:
                raise IncompatibleState(
                    f"{part} was made from {what} {digest[:12]}, and now it would be {own[key][:12]}; name another "
                    "directory, or remove the parts"
                )


def _with_probabilities(table: pa.Table, model: ServingModel, pairs: Path, group: int) -> pa.Table:
    try:
        probabilities = model.score_pairs(_ids(table["user_id"]), _ids(table["item_id"]))
    except ValueError as error:
        raise BadInput(pairs, f"row group {group}: {error}", "give the ids as the model knows them") from error
    return table.append_column("probability", pa.array(probabilities))


def _ids(column: pa.ChunkedArray) -> NDArray[np.generic]:
    """int64, or `str` objects. Raises ValueError when one is missing."""
    if column.null_count:
        raise ValueError(f"{column.null_count} ids are missing")
    found: NDArray[np.generic] = column.to_numpy()
    return found


def _write(part: Path, table: pa.Table, own: Mapping[bytes, str]) -> None:
    aside = part.with_name(f".{part.name}")
    parquet.write_table(table.replace_schema_metadata(own), aside)
    with aside.open("rb") as file:
        os.fsync(file.fileno())
    aside.rename(part)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="batch_scoring", description="Score the pairs of a Parquet file.")
    parser.add_argument("pairs", type=Path, help="Parquet file with columns user_id and item_id")
    parser.add_argument("scored", type=Path, help="directory for the parts; the same command goes on where it stopped")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--cache", type=Path, help="what `asmg subscribe --cache` fills")
    source.add_argument("--directory", type=Path, help="versions of a replay")
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds to wait for a version")
    return parser


if __name__ == "__main__":
    sys.exit(main())
