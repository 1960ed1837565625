"""Model versions as bytes: written by the trainer, verified and scored by whoever serves. Pure: no file, no socket."""
