"""Training a classifier: one step, the loop around it, its checkpoints, and what it is judged by."""
