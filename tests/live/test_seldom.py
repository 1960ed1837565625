"""An outage of the broker does not fill the disk with the words of the Kafka client."""

from __future__ import annotations

import logging

from stream_app.live.stages.seldom import Seldom


def said(name: str, message: str, *values: object) -> logging.LogRecord:
    return logging.LogRecord(name, logging.ERROR, "", 0, message, values, None)


def test_the_same_words_of_the_client_pass_once_and_as_a_warning_and_ours_always() -> None:
    seldom = Seldom()
    first = said("aiokafka.consumer", "node %s is away", 1)
    assert seldom.filter(first)
    assert first.levelname == "WARNING"
    assert not any(seldom.filter(said("aiokafka.consumer", "node %s is away", n)) for n in range(100))
    assert seldom.filter(said("aiokafka.consumer", "another thing"))
    own = [said("asmg", "period-closed") for _ in range(3)]
    assert all(seldom.filter(record) for record in own)
    assert own[0].levelname == "ERROR"
