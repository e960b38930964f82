"""What experiments have in common: what is looked at, figures of each picture, tables, plots."""
