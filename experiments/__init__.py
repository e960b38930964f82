"""What is the reproduction of the thesis, and what compares with other libraries: scripts over the library."""
