"""What is made of a version at load, once for all processes that serve it: arrays under names, which may be mapped."""

from __future__ import annotations

from stream_app.errors import SchemaMismatch
from stream_app.serving.ids import derived_ids
from stream_app.serving.networks import NETWORKS
from stream_app.versions.model_version import ModelVersion
from stream_app.versions.tensors import Array

LAYOUT = 1
"""Changes with the names, types or meaning of the arrays: those of another layout are no use to this release."""


def derived(version: ModelVersion) -> dict[str, Array]:
    """Where its ids stand, and what its network computes once; types as in `versions.tensors.DTYPES`.

    A function of the version alone. Raises SchemaMismatch when ids stand many times.
    """
    network = NETWORKS.get(str(version.content.learning.get("base_model")))
    try:
        found = {} if network is None else network.derived(version.tensors)
        for table in ("users", "items"):
            found |= derived_ids(table, version.tensors, version.digest)
    except ValueError as error:
        raise SchemaMismatch(version.number, str(error)) from error
    return found
