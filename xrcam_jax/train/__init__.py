"""Training a classifier: one step, the loop around it, its checkpoints, and the report at the end."""
