"""asmg-stream: how interactions flow from a Kafka topic to served model versions (the learning itself is in `models`)."""
