"""Offsets, event time and update periods as values: pure functions, no file, no socket, no clock."""
