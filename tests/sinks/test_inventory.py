"""What retention takes away, and what it must not: decided from the records of a topic alone."""

from __future__ import annotations

from itertools import count

import pytest
from simulators import MODEL, chain, envelope, pinned, tiny_version, unpinned

from stream_app.sinks.inventory import Inventory
from stream_app.sinks.publish_settings import PublishSettings
from stream_app.versions.manifest import Envelope
from stream_app.versions.messages import Message, manifest_key
from stream_app.versions.model_version import ModelVersion

CHAIN = chain(5)
ALL = 100_000


def told(keep: int, *messages: Message) -> Inventory:
    inventory = Inventory(MODEL, keep)
    for offset, (key, value) in enumerate(messages):
        inventory.take(key, value, offset)
    return inventory


def sent(versions: list[ModelVersion], by: Envelope | None = None) -> list[Message]:
    return [message for version in versions for message in version.messages(by or envelope())]


def keys(*versions: ModelVersion) -> list[bytes]:
    """Of each its manifest, then its chunks."""
    found = []
    for version in versions:
        *chunks, manifest = [key for key, _ in version.messages(envelope())]
        found += [manifest, *chunks]
    return found


def test_the_newest_stay_and_the_oldest_goes_first_each_manifest_before_its_chunks() -> None:
    assert told(2, *sent(CHAIN)).superfluous(ALL) == keys(*CHAIN[:3])
    assert told(5, *sent(CHAIN)).superfluous(ALL) == []


def test_what_was_sent_last_stays_whatever_claims_to_be_newer() -> None:
    *_, forged = sent([tiny_version(10**11, "ab" * 32)])
    *_, another = sent([tiny_version(10**11 + 1, "ab" * 32)])
    held = told(2, *sent(CHAIN), forged, another)
    assert held.superfluous(ALL, sent=5) == keys(*CHAIN[:4])
    assert held.superfluous(ALL, sent=4) == keys(*CHAIN[:3], CHAIN[4])


def test_keep_nothing_back_takes_nothing_away() -> None:
    assert told(0, *sent(CHAIN)).superfluous(ALL) == []


def test_what_is_left_of_a_removal_is_found_by_the_next_publisher() -> None:
    whole = told(2, *sent(CHAIN))
    first = whole.superfluous(4)
    assert first == keys(CHAIN[0])[:4]
    later = told(2, *sent(CHAIN), *((key, None) for key in first))
    assert later.superfluous(ALL) == keys(*CHAIN[:3])[4:]
    done = told(2, *sent(CHAIN), *((key, None) for key in whole.superfluous(ALL)))
    assert done.superfluous(ALL) == []


def test_the_pinned_version_stays_until_it_is_unpinned() -> None:
    held = told(2, *sent(CHAIN), pinned(CHAIN[1]))
    assert held.superfluous(ALL) == keys(CHAIN[0], CHAIN[2])
    assert held.control == sum(len(list(version.messages(envelope()))) for version in CHAIN)
    held.take(*unpinned(), 1000)
    assert held.superfluous(ALL) == keys(*CHAIN[:3])


def test_an_older_control_record_that_comes_later_changes_nothing() -> None:
    held = told(2, *sent(CHAIN), unpinned(serial=9), pinned(CHAIN[1]))
    assert held.superfluous(ALL) == keys(*CHAIN[:3])


def test_versions_of_a_run_that_is_over_leave_as_new_ones_come() -> None:
    anew = tiny_version(1, seed=9)
    held = told(2, *sent(CHAIN), *sent([anew], envelope(epoch=2, run="second")))
    gone = held.superfluous(ALL)
    left_of_the_first = set(keys(CHAIN[0])) - set(keys(anew))
    assert set(gone) == left_of_the_first | set(keys(*CHAIN[1:4]))


def test_a_pinned_version_stays_whole_when_a_new_run_uses_its_number() -> None:
    anew = tiny_version(2, seed=9)
    held = told(1, *sent(CHAIN), pinned(CHAIN[1]), *sent([anew], envelope(epoch=2, run="second")))
    assert not set(held.superfluous(ALL)) & set(keys(CHAIN[1]))


@pytest.mark.parametrize("value", [b"torn", b"\x81\xa6format\x09"])
def test_what_cannot_be_read_is_left_with_all_that_has_its_number(value: bytes) -> None:
    offsets = count(1000)
    held = told(1, *sent(CHAIN))
    held.take(manifest_key(2), value, next(offsets))
    assert held.superfluous(ALL) == keys(CHAIN[0], CHAIN[2], CHAIN[3])


def test_records_of_others_are_passed_over() -> None:
    held = told(2, (None, b"x"), (b"progress", b"x"), (b"control", b"damaged"), (b"control", None), *sent(CHAIN[:1]))
    assert held.control is None
    assert held.head("here").version == 1
    assert held.superfluous(ALL) == []


def test_a_number_of_versions_is_not_negative() -> None:
    with pytest.raises(ValueError, match="keep"):
        PublishSettings(keep=-1)
