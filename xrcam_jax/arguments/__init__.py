"""What the command line, the studies and the benchmark ask of their arguments, and how they refuse them."""
