"""What an operator sees: status, metrics, health."""
