"""What all commands share: the parser's manners, and the options that name settings."""

from __future__ import annotations

import argparse
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from stream_app.settings.complete import Settings
    from stream_app.settings.serving import ServingSettings

Commands = Any
"""What `add_subparsers` returns; argparse keeps its type to itself."""


class Parser(argparse.ArgumentParser):
    """Says what is wrong with a command line in one line, and keeps the line breaks of its texts."""

    def __init__(self, **options: Any) -> None:
        manners = {"formatter_class": argparse.RawDescriptionHelpFormatter, "allow_abbrev": False}
        super().__init__(**{**manners, **options})

    def error(self, message: str) -> NoReturn:
        """Exit code 2, as for every other wrong setting."""
        print(f"asmg: {message}; see {self.prog} --help", file=sys.stderr)
        sys.exit(2)


def common_options(top: bool = False) -> argparse.ArgumentParser:
    """The options that may stand before or after the command."""
    options = argparse.ArgumentParser(add_help=False)
    nothing: Any = None if top else argparse.SUPPRESS
    options.add_argument(
        "--config",
        metavar="FILE",
        type=Path,
        default=nothing,
        help="settings file (default: asmg.toml, if it is there)",
    )
    options.add_argument(
        "--set",
        metavar="SECTION.KEY=VALUE",
        action="append",
        default=[],
        dest="pairs_before" if top else "pairs",
        help="one setting, above file and environment; may be repeated",
    )
    options.add_argument(
        "--debug",
        action="store_true",
        default=False if top else argparse.SUPPRESS,
        help="show where an error comes from",
    )
    return options


def command(commands: Commands, name: str, run: Any, summary: str, detail: str = "") -> Parser:
    """Add a command that `run(arguments)` carries out. `summary` is its line in the list of commands."""
    text = textwrap.fill(f"{summary[:1].upper()}{summary[1:]}. {detail}", 100)
    added: Parser = commands.add_parser(name, help=summary, description=text, parents=[common_options()])
    added.set_defaults(run=run)
    return added


def positive(text: str) -> int:
    """A number of at least 1."""
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return number


def flags_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """The settings that the command line gives."""
    from stream_app.settings.sources import from_pairs

    flags = from_pairs([*arguments.pairs_before, *arguments.pairs])
    if arguments.config is not None:
        flags["config"] = arguments.config
    return flags


def same_options(arguments: argparse.Namespace) -> list[str]:
    """What every command has, as it was given to this one: for a process of ours that is to read the same settings."""
    options = [] if arguments.config is None else ["--config", str(arguments.config)]
    for pair in (*arguments.pairs_before, *arguments.pairs):
        options += ["--set", pair]
    return options + ["--debug"] * arguments.debug


def serving_settings(arguments: argparse.Namespace) -> ServingSettings:
    """Settings of a command that a plain install can run."""
    from stream_app.settings.load import load
    from stream_app.settings.serving import ServingSettings

    return load(ServingSettings, flags_of(arguments))


def all_settings(arguments: argparse.Namespace, flags: dict[str, Any] | None = None) -> Settings:
    """All settings; `flags` above those that every command has."""
    from stream_app.settings.complete import Settings
    from stream_app.settings.load import load

    return load(Settings, merged(flags_of(arguments), flags or {}))


def merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Nested mappings put together; `above` wins."""
    both = dict(below)
    for key, value in above.items():
        both[key] = merged(both[key], value) if isinstance(value, dict) and isinstance(both.get(key), dict) else value
    return both
