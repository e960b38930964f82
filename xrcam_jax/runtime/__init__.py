"""What programs need to run well: compilation, devices and processes, memory, threads, and files written whole."""
