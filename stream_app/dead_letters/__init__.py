"""Dead letters, looked at and sent again: which of them count, what they hold, and what becomes of them."""
