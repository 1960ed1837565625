"""Building somebody's own module, and finding out which of its parameters are tables."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from models.own import load, said
from models.parameters import CATEGORY, ITEM, USER, Parameters, Sizes, Tables

ARGUMENTS = {USER: "users", ITEM: "items", CATEGORY: "categories"}
"""Vocabulary -> the argument of the constructor that is given its size."""

LOOKUPS = (nn.Embedding, nn.EmbeddingBag)

_SIZES = {USER: 31, ITEM: 37, CATEGORY: 41}
_OTHERS = {USER: 62, ITEM: 75, CATEGORY: 84}
"""Two sets of sizes: what has as many rows as one of them, in both, has them because of it."""


@dataclass(frozen=True, eq=False)
class Built:
    """A module of the sizes `sizes`, in evaluation mode.

    tables: which of its parameters have a row for each id; names: every name of each parameter, as a tied one has
    several, to the first of them; other: built for other sizes from another seed.
    """

    name: str
    kind: type[nn.Module]
    settings: Mapping[str, Any]
    sizes: Sizes
    module: nn.Module
    other: nn.Module
    tables: Tables
    names: Mapping[str, str]

    def check_parameters(self, parameters: Parameters) -> None:
        """Raises ValueError unless names and shapes, but for the rows of tables, are this module's."""
        own = {name: _shape(tensor.shape, name in self.tables) for name, tensor in self.module.named_parameters()}
        given = {name: _shape(tensor.shape, name in self.tables) for name, tensor in parameters.items()}
        for name in sorted(own.keys() | given.keys()):
            if own.get(name) != given.get(name):
                there, wanted = given.get(name, "not there"), own.get(name, "not there")
                raise ValueError(f"{self.name}: parameter {name} is {there}, in the module it is {wanted}")


def built(name: str, settings: Mapping[str, Any]) -> Built:
    """The module that settings name. Raises ValueError when it cannot be had, or its tables cannot be told."""
    kind = load(name)
    if not issubclass(kind, nn.Module):
        raise ValueError(f"{name} is no torch.nn.Module")
    sizes, others = ({v: of[v] for v, argument in ARGUMENTS.items() if argument in _named(kind)}
                     for of in (_SIZES, _OTHERS))  # fmt: skip
    if not sizes:
        raise ValueError(
            f"the constructor of {name} names none of {', '.join(ARGUMENTS.values())}: its tables need them"
        )
    module, other = build(kind, sizes, settings, seed=0), build(kind, others, settings, seed=1)
    first = {id(parameter): path for path, parameter in module.named_parameters()}
    names = {path: first[id(parameter)] for path, parameter in module.named_parameters(remove_duplicate=False)}
    return Built(name, kind, settings, sizes, module, other, _tables(name, module, other, sizes, others), names)


def build(kind: type[nn.Module], sizes: Sizes, settings: Mapping[str, Any], seed: int) -> nn.Module:
    """A module in evaluation mode, on the CPU, for tables of these sizes; its values depend on `seed` alone.

    No global state is left changed. Raises ValueError when the constructor fails.
    """
    given = {ARGUMENTS[of]: rows for of, rows in sizes.items() if ARGUMENTS[of] in _named(kind)}
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        try:
            return kind(**given, **settings).eval()
        except (Exception, SystemExit) as error:  # whatever somebody's constructor does
            raise ValueError(f"{kind.__name__}(**{given | dict(settings)}) fails ({said(error)})") from error


def _named(kind: type[nn.Module]) -> list[str]:
    return list(inspect.signature(kind).parameters)


def _tables(name: str, module: nn.Module, other: nn.Module, sizes: Sizes, others: Sizes) -> dict[str, str]:
    """Raises ValueError when a parameter grows with the ids but is no table."""
    lookups = {id(inner.weight) for inner in module.modules() if isinstance(inner, LOOKUPS)}
    vocabularies = {(sizes[v], others[v]): v for v in sizes}
    shapes = {path: parameter.shape for path, parameter in other.named_parameters()}
    tables = {}
    for path, parameter in module.named_parameters():
        before, after = parameter.shape, shapes.get(path)
        if before == after:
            continue
        vocabulary = vocabularies.get((before[0], after[0])) if after and before[1:] == after[1:] else None
        if vocabulary is None or id(parameter) not in lookups:
            arguments = ", ".join(ARGUMENTS[v] for v in sizes)
            raise ValueError(
                f"{name}: parameter {path} grows with the number of ids, so it has to be the weight of an nn.Embedding "
                f"with exactly as many rows as one of {arguments}"
            )
        tables[path] = vocabulary
    if without := [ARGUMENTS[v] for v in sizes if v not in tables.values()]:
        raise ValueError(f"{name}: its constructor takes {without[0]}, but no nn.Embedding has as many rows")
    return tables


def _shape(shape: torch.Size, table: bool) -> str:
    return f"[{', '.join(map(str, ['rows', *shape[1:]] if table else shape))}]"
