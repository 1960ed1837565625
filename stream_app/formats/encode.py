"""Interactions to messages: what `asmg produce` and tests send, the inverse of `messages.decoder`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from models.interactions import Interactions
from stream_app.errors import SettingsError
from stream_app.events.field_path import steps
from stream_app.events.record import RecordSettings, Value
from stream_app.events.segment import END
from stream_app.formats.conditions import Condition, conditions
from stream_app.formats.event_time import in_unit
from stream_app.formats.messages import message_format


class Encoder:
    """Writes messages as these settings read them, one interaction each.

    Event times are written in `time_unit`; in seconds they come back exact to the microsecond until the year 2242.
    Where the settings read a rating, the nearest rating on the right side of the threshold stands for the label; where
    they compare fields with values, the first value that is listed stands for all.

    Raises SettingsError for settings that read what cannot be written: another's format, or headers.
    """

    def __init__(self, settings: RecordSettings) -> None:
        if settings.decoder:
            raise SettingsError("records.decoder", f"only {settings.decoder} knows how its messages are written")
        if settings.reads_headers():
            raise SettingsError("records", "fields that lie in headers cannot be written")
        if both := {path for _, path in settings.conditions()} & set(settings.fields().values()):
            raise SettingsError(
                "records.where", f"{min(both)!r} cannot be written: it holds the interaction's own value"
            )
        self._settings = settings
        self._format = message_format(settings.format)
        self._positive = _meant(settings)
        self._negative = _not_meant(settings)

    def interaction(self, user: Any, item: Any, time: int, label: float, categories: Sequence[str] = ()) -> bytes:
        """One interaction; time in microseconds, label 0 or 1.

        Raises SettingsError for a label 0 where the settings make every interaction a positive one, and for categories
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
        elif settings.label and not settings.positive_when:
            fields[settings.label] = int(label)
        elif not label:
            self.check_labels()
        if settings.categories:
            fields[settings.categories] = list(categories)
        elif categories:
            raise SettingsError("records.categories", "categories cannot be sent: there is no field for them")
        if settings.batched:
            fields = {path: [value] for path, value in fields.items()}
        compared = self._positive if label else self._negative or {}
        return self._format.encode(_nested({**fields, **compared}))

    def messages(self, rows: Interactions) -> Iterator[bytes]:
        """A message for each row, in their order. Raises SettingsError as `interaction` does."""
        categories = [()] * len(rows) if rows.categories is None else rows.categories.tolist()
        columns = (column.tolist() for column in (rows.users, rows.items, rows.times, rows.labels))
        for user, item, time, label, named in zip(*columns, categories, strict=True):
            yield self.interaction(user, item, time, label, named)

    def check_labels(self) -> None:
        """Raises SettingsError where no message is known that would come in as a negative interaction."""
        if self._negative is None and self._settings.positive_when:
            remedy = "list in records.where which other values there are"
            raise SettingsError(
                "records.positive_when", "label 0 cannot be sent: only positive values are known", remedy
            )
        if self._negative is None:
            raise SettingsError("records.label", "label 0 cannot be sent: every interaction is a positive one")

    def watermark(self, time: int) -> bytes:
        """A watermark record: nothing before `time` (microseconds; END: nothing at all) follows on its partition."""
        return self._format.encode({"watermark": "end" if time == END else in_unit(time, self._settings.time_unit)})


def plain(settings: RecordSettings) -> Encoder:
    """Writes interactions of the same ids as JSON under the default names, whatever these settings read."""
    categories = "categories" if settings.categories else ""
    return Encoder(
        RecordSettings(format="json", user_ids=settings.user_ids, item_ids=settings.item_ids, categories=categories)
    )


def _meant(settings: RecordSettings) -> dict[str, Value]:
    """What the compared fields hold in a positive interaction."""
    said = {path: listed[0] for path, listed in settings.where.items()}
    for condition in conditions(settings.positive_when):
        listed = settings.positive_when[condition.path]
        there = settings.where.get(condition.path, listed)
        both = [value for value in listed if Condition(condition.path, there).met([value])[0]]
        if not both:
            raise SettingsError(
                "records.positive_when", f"records.where lists none of its values for {condition.path!r}"
            )
        said[condition.path] = both[0]
    return said


def _not_meant(settings: RecordSettings) -> dict[str, Value] | None:
    """The same in a negative one, None where nothing says what it might be."""
    if not settings.positive_when:
        return (
            {path: listed[0] for path, listed in settings.where.items()} if settings.rating or settings.label else None
        )
    for condition in conditions(settings.positive_when):
        for value in settings.where.get(condition.path, ()):
            if not condition.met([value])[0]:
                return {**_meant(settings), condition.path: value}
    return None


def _nested(fields: Mapping[str, Any]) -> dict[str, Any]:
    message: dict[str, Any] = {}
    for path, value in fields.items():
        *above, last = steps(path)
        place = message
        for key in above:
            place = place.setdefault(key, {})
        place[last] = value
    return message
