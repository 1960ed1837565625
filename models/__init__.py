"""What is learned: interactions in, parameters out. torch and numpy only, no file, socket, clock or global state."""
