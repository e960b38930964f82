"""Results of experiments as one page of HTML, which needs no network to be shown."""
