"""Meta generators: what turns the last snapshots of the base model into the one that serves."""
