"""`asmg topics print|check|create`."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from stream_app.cli.options import Commands, command, serving_settings
from stream_app.cli.tables import table

if TYPE_CHECKING:
    from stream_app.settings.serving import ServingSettings


def add(commands: Commands) -> None:
    """Add the group."""
    topics = commands.add_parser("topics", help="the topics on the broker, and the rights that they need")
    actions = topics.add_subparsers(title="commands", metavar="COMMAND", required=True)
    printing = command(
        actions,
        "print",
        print_all,
        "say which topics and rights are needed, for the person who may make and grant them",
        "With the commands of Kafka's own tools. It asks no broker.",
    )
    printing.add_argument(
        "--principal", metavar="P", help="who gets the rights (default: User:<kafka.username>, or the certificate's)"
    )
    checking = command(
        actions,
        "check",
        check,
        "compare the topics that are there with what they must be",
        "What Kafka does not let us see (DescribeConfigs) is named as not checked. Exit code 2 where a topic is unfit.",
    )
    for action in (printing, checking):
        action.add_argument("--json", action="store_true", help="as JSON")
    command(
        actions,
        "create",
        create,
        "create the four topics that are not there yet",
        "Those that are there stay as they are.",
    )


def print_all(arguments: argparse.Namespace) -> None:
    """Print what is needed."""
    found = needed(serving_settings(arguments), arguments.principal)
    print(json.dumps(found) if arguments.json else text(found))


def needed(settings: ServingSettings, principal: str | None) -> dict[str, Any]:
    """Topics and rights as plain values; `principal` stands in place of the one that the settings tell."""
    from stream_app.broker.preflight import principal as told
    from stream_app.live.cluster.roles import MEANING, ROLES, grant, rights
    from stream_app.live.cluster.topics import wanted

    kafka, topics, who = settings.kafka, settings.topics, principal or told(settings.kafka)
    return {
        "principal": who,
        "topics": [asdict(topic) | {"command": topic.command(kafka.bootstrap)} for topic in wanted(topics)],
        "rights": {
            role: {
                "for": MEANING[role],
                "acls": [
                    asdict(right) | {"command": grant(right, who, kafka.bootstrap)}
                    for right in rights(role, kafka, topics, settings.model)
                ],
            }
            for role in ROLES
        },
    }


def text(found: dict[str, Any]) -> str:
    """The same for people."""
    topics = [
        {
            "topic": topic["name"],
            "partitions": topic["partitions"],
            "replication": topic["replication"],
            "policy": topic["configs"]["cleanup.policy"],
            "days": _days(topic["configs"]),
            "max.message.bytes": topic["configs"].get("max.message.bytes", "as the broker has it"),
            "for": topic["purpose"],
        }
        for topic in found["topics"]
    ]
    lines = ["Topics", table(topics, widest=60), "", *(topic["command"] for topic in found["topics"])]
    for role, part in found["rights"].items():
        rows = [
            {"right": " ".join(acl["operations"]), "on": f"{acl['kind']} {acl['name']}", "for": acl["purpose"]}
            for acl in part["acls"]
        ]
        lines += ["", f"Rights of {found['principal']} as {role}: {part['for']}", table(rows, widest=60), ""]
        lines += [acl["command"] for acl in part["acls"]]
    return "\n".join(lines)


def check(arguments: argparse.Namespace) -> None:
    """Print what is different. Raises SettingsError for the first unfit topic, Unavailable for a missing one."""
    from stream_app.broker.preflight import connect, granted
    from stream_app.live.cluster.topics_check import fit

    settings = serving_settings(arguments)
    with connect(settings.kafka) as connection:
        granted(connection, settings.kafka, settings.topics.names, ())
        found = fit(connection, settings.topics)
    if arguments.json:
        print(json.dumps(asdict(found)))
    else:
        for name in settings.topics.names:
            print("\n".join(_lines(name, found)))
    for difference in found.differences:
        if difference.serious:
            raise difference.error()


def _lines(name: str, found: Any) -> list[str]:
    said = [f"{name}: {one.found}; {one.remedy}" for one in found.differences if one.topic == name]
    if name in found.unchecked:
        said.append(f"{name}: policy, size limit and retention not checked: we may not see them (DescribeConfigs)")
    return said or [f"{name}: fits"]


def create(arguments: argparse.Namespace) -> None:
    """Print what was created."""
    from stream_app.live.cluster.topics import create as create_topics

    settings = serving_settings(arguments)
    made = create_topics(settings.kafka, settings.topics)
    for name in settings.topics.names:
        print(f"{name}: {'created' if name in made else 'was there'}")


def _days(configs: dict[str, str]) -> str:
    kept = configs.get("retention.ms")
    return "for ever" if kept is None else f"{int(kept) / 86_400_000:g}"
