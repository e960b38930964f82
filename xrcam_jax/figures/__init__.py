"""Figures of explanations and of what studies find: maps on pictures, sheets, comparisons, curves.

Everything is drawn without a window and without matplotlib's pyplot, which would keep each figure.
"""
