"""Measures of how good an explanation is; they know of maps and masks, not of models or files."""
