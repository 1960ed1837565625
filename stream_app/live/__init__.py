"""The live driver: Faust agents, the trainer, their supervisor; the only room that looks at a wall clock."""
