"""Histories that are as fresh as the stream: those that the served version carries, and what happened since.

    with ModelSubscriber(settings) as subscriber, HistoryFollower(HistorySettings(kafka), subscriber) as follower:
        ...
        model = subscriber.model                      # once a request
        history = follower.history(user, model)       # ids, most recent first
        probabilities = model.score(user, items, history)

Needs versions that carry histories (`learning.histories`), numpy, msgpack and kafka-python. What is live, exactly:

1. A history is what the learner would take for an interaction of that user now: the last 30 positive items by event
   time, out of everything that has come into the segments topic.
2. Of a version T is the time until which its histories go. From T on rows come from the topic, before T from the
   version; where the follower has not come that far yet, the version's own stand in.
3. A late row with an event time before T is in the histories of the version whose period it enters, not before. One
   from T on counts at once, also where `periods.late` keeps it out of all periods: until a version passes it.
4. Bounded: at most 30 rows of a user, at most `max_rows` of all (and one segment): beyond that the users longest
   without a row are forgotten, and have the history of the version. Rows before T are dropped with the second
   version after: until then a request that began before a swap has its whole history.
5. What cannot be read is told by `health()`. Histories then are those of the version and of what was read before.
"""

from stream_app.subscriber.histories.follower import HistoryFollower
from stream_app.subscriber.histories.health import HistoryHealth
from stream_app.subscriber.histories.settings import HistorySettings

__all__ = ["HistoryFollower", "HistoryHealth", "HistorySettings"]
