"""Training a classifier: one step, the loop around it, checkpoints, and the report at the end."""
