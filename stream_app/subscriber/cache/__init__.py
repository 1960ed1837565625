"""A directory from which any number of processes serve one model: one writes it, all others map it.

    DIR/000012-8f3a12cd90ab/manifest.msgpack      what the version is, and who sent it when
                            model.safetensors     its tensors, as a `DirectorySink` writes them
                            derived.safetensors   what numpy's serving makes of them at load, so that it is made once
                            derived.msgpack       of which version and release that is, and its digest
    DIR/current                                   which folder is served, and which ones were before it
    DIR/lock                                      held by the one process that writes

1. A folder is written aside, synced and renamed; then `current` is. Whenever the writer is killed, and whenever the
   power fails, `current` names a folder that is whole.
2. Nothing is ever changed in place, and a folder's name is not used again for other bytes while it is known.
3. Readers hold no lock and write nothing. What is removed under them stays theirs as long as they have it open.
4. Readers believe no byte that they have not hashed. What does not hold is refused; the version before still serves.
5. Which version is served is decided by the writer alone, by the rules of `stream_app.versions.assembler`; `current`
   goes back where an operator has pinned an older version.

Nobody but the writer should have the right to write there: what it says of tensors is not judged again.
"""

from stream_app.subscriber.cache.follow import FollowCache
from stream_app.subscriber.cache.keep import KeepCache
from stream_app.subscriber.cache.writer import CacheWriter

__all__ = ["CacheWriter", "FollowCache", "KeepCache"]
