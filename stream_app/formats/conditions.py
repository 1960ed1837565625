"""Fields that are compared with values: `where` says what is an interaction, `positive_when` which are positive.

A value is equal to a listed one as in JSON: true is not 1, 1 is 1.0, text is never a number. What a header holds is
text: there `1` and `true` are equal to "1" and "true".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from stream_app.events import field_path
from stream_app.events.record import Value


class Condition:
    """One field and the values that are meant. as_text: the field holds text only, as a column of a CSV file does."""

    def __init__(self, path: str, listed: Iterable[Value], as_text: bool = False) -> None:
        self.path = path
        self.header = field_path.header(path)
        self._steps = field_path.steps(path)
        values = list(listed)
        texts = {value for value in values if isinstance(value, str)}
        if as_text or self.header is not None:
            texts |= {str(value).lower() if isinstance(value, bool) else str(value) for value in values}
        numbers = {value for value in values if isinstance(value, int | float) and not isinstance(value, bool)}
        flags = {value for value in values if isinstance(value, bool)}
        self._listed: dict[type, Any] = {str: texts, int: numbers, float: numbers, bool: flags}

    def met(self, values: Sequence[Any]) -> NDArray[np.bool_]:
        """Which of these values of the field are listed; bool [values]."""
        listed = self._listed
        return np.array([value in listed.get(type(value), ()) for value in values], dtype=np.bool_)

    def met_within(self, message: Any, headers: Mapping[str, str]) -> bool:
        """Whether a message of whatever shape has a listed value there; of a list of values, whether one is."""
        if self.header is not None:
            return bool(self.met([headers.get(self._steps[0])])[0])
        for key in self._steps:
            message = message.get(key, UNSET) if isinstance(message, Mapping) else UNSET
        return bool(self.met(message if isinstance(message, list | tuple) else [message]).any())


def conditions(values: Mapping[str, tuple[Value, ...]], as_text: bool = False) -> tuple[Condition, ...]:
    """Those of `records.where` or `records.positive_when`."""
    return tuple(Condition(path, listed, as_text) for path, listed in values.items())
