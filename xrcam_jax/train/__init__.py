"""Training a classifier: one step, the loop around it, and what is kept of it."""
