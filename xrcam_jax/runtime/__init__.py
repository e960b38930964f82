"""How programs run: compilation, devices and processes, memory, threads, and files that are never half written.

Nothing here knows what is computed.
"""
