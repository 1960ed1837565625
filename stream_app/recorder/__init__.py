"""`asmg record`: a topic becomes a recording."""

from stream_app.recorder.recorder import Recorder, Source
from stream_app.recorder.run_file import Recorded

__all__ = ["Recorded", "Recorder", "Source"]
