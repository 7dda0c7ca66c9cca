"""Training of target networks and grids over how they are trained: what a choice in training does to a leak."""
