"""A synthetic stream with known drift: no recording of real people is needed to see the chain work, and what is true
about every label is known, so that regret can be shown.

`settings` says what is asked for, `season` when something happens, `drift` how preferences turn, `world` who and what
there is, `drawing` which rows that makes, `stream` puts them in a row.
"""

from stream_app.synthetic.season import START as START
from stream_app.synthetic.settings import DRIFTS as DRIFTS
from stream_app.synthetic.settings import SyntheticSettings as SyntheticSettings
from stream_app.synthetic.stream import GeneratedStream as GeneratedStream
from stream_app.synthetic.stream import drifting_stream as drifting_stream
from stream_app.synthetic.stream import generate as generate
