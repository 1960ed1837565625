"""Where a field lies in a message: keys with dots between them, or a header of the message.

`payload.user.id` is the key `id` of the map `user` of the map `payload`; a dot within a key is written `\\.`;
`header:NAME` is the Kafka header of that name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_HEADER = "header:"
_NO_KEY = re.compile(r'["\\\x00-\x1f]')


def steps(path: str) -> tuple[str, ...]:
    """The keys from the top of the message down to the field; a header is one step, named as the path is."""
    if path.startswith(_HEADER):
        return (path,)
    return tuple(key.replace("\\.", ".") for key in re.split(r"(?<!\\)\.", path))


def header(path: str) -> str | None:
    """The name of the header that the path means; None for a field of the message."""
    return path.removeprefix(_HEADER) if path.startswith(_HEADER) else None


def check(own: Iterable[tuple[str, str]], shared: Iterable[tuple[str, str]]) -> None:
    """Raises ValueError, naming the setting, unless all can be read from one message.

    own: (setting, path) of fields that are nothing else; shared: of fields that may be one of the others as well.
    """
    owners: dict[tuple[str, ...], str] = {}
    for setting, path in own:
        keys = _checked(setting, path)
        if keys in owners:
            raise ValueError(f"{setting}: {path!r} is what {owners[keys]} reads already")
        owners[keys] = setting
    for setting, path in shared:
        owners.setdefault(_checked(setting, path), setting)
    for keys, setting in owners.items():
        for length in range(1, len(keys)):
            if keys[:length] in owners:
                inner, outer, owner = ".".join(keys), ".".join(keys[:length]), owners[keys[:length]]
                raise ValueError(f"{setting}: {inner!r} lies within {outer!r}, which {owner} reads as a value")


def _checked(setting: str, path: str) -> tuple[str, ...]:
    keys = steps(path)
    if not all(keys) or any(_NO_KEY.search(key) for key in keys) or header(path) == "":
        raise ValueError(f'{setting}: {path!r} is no path: write keys with dots between them, or "header:NAME"')
    return keys
