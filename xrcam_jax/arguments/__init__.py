"""The command line, the studies and the benchmark parse and check their arguments with what is here."""
