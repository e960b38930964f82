"""One page of HTML from the results of experiments."""
