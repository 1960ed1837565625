"""What turns a model version into answers: ids to rows, rows to probabilities. numpy alone; no file, no socket."""
