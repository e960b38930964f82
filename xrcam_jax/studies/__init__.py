"""The studies of ``xrcam evaluate``, one a file, and what they have in common: settings, batches, tables, plots."""
