"""All methods under one call: the table of methods, the Explainer, and what it returns."""
