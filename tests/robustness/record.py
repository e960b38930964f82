"""What is done, a line of JSON for each case, so that a long run goes on where it was stopped."""

import json
from collections import Counter
from pathlib import Path
from typing import Any


class Record:
    """The rows of one suite, by number.

    Args:
      path: of the file; rows that it has are done.
    """

    def __init__(self, path: Path):
        self.path = path
        self.rows: dict[int, dict[str, Any]] = {}
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        for line in lines:
            try:
                row = json.loads(line)
            except ValueError:
                # The last line, if the run was killed while it was written.
                continue
            self.rows[row["number"]] = row
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a", encoding="utf-8")
        if lines and not path.read_text(encoding="utf-8").endswith("\n"):
            self._file.write("\n")

    def add(self, number: int, **row: Any) -> None:
        """Adds a row."""
        self.rows[number] = {"number": number, **row}
        self._file.write(json.dumps(self.rows[number]) + "\n")
        self._file.flush()

    def counts(self, key: str) -> Counter:
        """Counts the rows by one of their values."""
        return Counter(row[key] for row in self.rows.values())

    @property
    def faulty(self) -> list[dict[str, Any]]:
        """The rows that have faults."""
        return [row for _, row in sorted(self.rows.items()) if row.get("faults")]


def tell_faults(record: Record, again: str, group: str = "group") -> int:
    """Prints the faults, those of one kind together, each with how to meet it again; returns how many rows have some.

    Args:
      record: of a suite.
      again: the command that repeats a case, with ``{}`` for its number.
      group: which value of a row says of what kind its fault is.
    """
    kinds: dict[str, list[dict[str, Any]]] = {}
    for row in record.faulty:
        kinds.setdefault(str(row.get(group)), []).append(row)
    for kind, rows in sorted(kinds.items(), key=lambda item: -len(item[1])):
        numbers = ", ".join(str(row["number"]) for row in rows[:12]) + (", ..." if len(rows) > 12 else "")
        print(f"\nFAULT, {len(rows)} times: {kind} (cases {numbers})")
        for line in rows[0]["faults"][:5]:
            print(f"  {line[:600]}")
        print(f"  again: {again.format(rows[0]['number'])}")
    return len(record.faulty)
