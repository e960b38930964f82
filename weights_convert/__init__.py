"""Holds the scripts that convert the checkpoints of timm and verify the result against timm itself."""
