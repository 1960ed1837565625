"""Formats: a message is a small file, a recording a large one; both become columns, row numbers and bad rows."""

from stream_app.formats.json import Json
from stream_app.formats.msgpack import Msgpack

AnyMessageFormat = Msgpack | Json
"""Every format a message may have; `records.format` names one. To add one: its file, and its name here."""
