"""Settings: the sections of all parts put together; TOML file < environment < flags.

`serving` holds what a serving process needs, `complete` everything (it imports the worker's packages), `load` reads
either and answers whatever is wrong with one `SettingsError`.
"""
