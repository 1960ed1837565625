"""Ids of users and items, as rows of their tables."""

from __future__ import annotations

from collections.abc import Mapping

from stream_app.serving.ids.integers import DenseIds, SparseIds, derived_from_integers
from stream_app.serving.ids.texts import TextIds, derived_from_texts
from stream_app.serving.ids.vocabulary import IdRows, Ids
from stream_app.versions.columns import kind_of_ids
from stream_app.versions.tensors import Array

__all__ = ["IdRows", "Ids", "derived_ids", "id_rows"]


def derived_ids(table: str, tensors: Mapping[str, Array], seed: str) -> dict[str, Array]:
    """The arrays with which `id_rows` finds rows, named after the table: "users" or "items".

    seed: decides where ids stand among each other; something that who chose the ids could not choose. Raises ValueError
    when an id stands more than three times.
    """
    if kind_of_ids(table, tensors) == "string":
        return derived_from_texts(table, tensors, seed)
    return derived_from_integers(table, tensors[f"vocabulary.{table}"], seed)


def id_rows(table: str, tensors: Mapping[str, Array], derived: Mapping[str, Array]) -> IdRows:
    """The ids of a table and how to find them, with the arrays of `derived_ids`."""
    if kind_of_ids(table, tensors) == "string":
        return TextIds(table, tensors, derived)
    kind = DenseIds if f"{table}.direct" in derived else SparseIds
    return kind(table, tensors[f"vocabulary.{table}"], derived)
