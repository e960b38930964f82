"""Measures of how good an explanation is, and of how sure such a figure is."""
