"""The suites of ``xrcam benchmark``, each in a file of its own, and what they share.

A suite is a module with ``measure(options, peers)``, which yields rows: flat dictionaries whose keys are the table's
headings; its options are in ``parameters.py``. Suites share compiled calls (``compiled_calls.py``), runs in turns
(``runs.py``), fresh processes (``fresh_process.py``) and what is known of the machine (``machine.py``); ``report.py``
writes and reads what was measured.
"""
