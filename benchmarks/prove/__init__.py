"""`make prove`: one module per thing that must be shown; each has `run() -> dict` with its numbers and bounds."""
