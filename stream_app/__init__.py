"""asmg-stream: interactions on a Kafka topic become served model versions (the learning is in `models`)."""
