"""Where versions are published to and read from: both ends of a place in one file."""
