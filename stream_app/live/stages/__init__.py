"""The stages that Faust feeds: collect and window, and the transport between Kafka and them."""
