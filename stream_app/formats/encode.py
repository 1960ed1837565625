"""Interactions to messages: what `asmg produce` and tests send, the inverse of `messages.decoder`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from models.interactions import Interactions
from stream_app.events.record import RecordSettings
from stream_app.events.segment import END
from stream_app.formats.event_time import in_unit
from stream_app.formats.messages import message_format


class Encoder:
    """Writes messages as these settings read them.

    Event times are written in `time_unit`; in seconds they come back exact to the microsecond until the year 2242.
    Where the settings read a rating, the nearest rating on the right side of the threshold stands for the label.
    """

    def __init__(self, settings: RecordSettings) -> None:
        self._settings = settings
        self._format = message_format(settings.format)

    def interaction(self, user: Any, item: Any, time: int, label: float, categories: Sequence[str] = ()) -> bytes:
        """One interaction; time in microseconds, label 0 or 1.

        Raises ValueError for a label 0 where the settings make every interaction a positive one, and for categories
        where they name no field for them.
        """
        settings = self._settings
        fields: dict[str, Any] = {
            settings.user: str(user) if settings.user_ids == "string" else int(user),
            settings.item: str(item) if settings.item_ids == "string" else int(item),
        }
        if settings.time_from != "kafka":
            fields[settings.time] = in_unit(int(time), settings.time_unit)
        if settings.rating:
            threshold = settings.rating_threshold
            fields[settings.rating] = threshold if label else math.nextafter(threshold, -math.inf)
        elif settings.label:
            fields[settings.label] = int(label)
        elif not label:
            raise ValueError("label 0 cannot be sent: the record settings have neither a label nor a rating field")
        if settings.categories:
            fields[settings.categories] = list(categories)
        elif categories:
            raise ValueError("categories cannot be sent: the record settings have no field for them")
        return self._format.encode(fields)

    def messages(self, rows: Interactions) -> Iterator[bytes]:
        """A message for each row, in their order. Raises ValueError as `interaction` does."""
        categories = [()] * len(rows) if rows.categories is None else rows.categories.tolist()
        columns = (column.tolist() for column in (rows.users, rows.items, rows.times, rows.labels))
        for user, item, time, label, named in zip(*columns, categories, strict=True):
            yield self.interaction(user, item, time, label, named)

    def watermark(self, time: int) -> bytes:
        """A watermark record: nothing before `time` (microseconds; END: nothing at all) follows on its partition."""
        return self._format.encode({"watermark": "end" if time == END else in_unit(time, self._settings.time_unit)})
