"""Writes what a suite found into a file, reads the files of a folder, and makes tables of them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from xrcam_jax.benchmark.machine import device_name
from xrcam_jax.benchmark.runs import Row
from xrcam_jax.errors import CommandError
from xrcam_jax.runtime.files import write_whole


@dataclass(frozen=True)
class Report:
    """Describes one run of a suite.

    Attributes:
      suite: its name.
      date: when it began, as ISO 8601 writes it.
      machine: see :func:`xrcam_jax.benchmark.machine.machine`.
      settings: the options.
      peak_memory_mb: most memory of the device or the process in the whole run, in MiB; None if it was not kept.
      rows: what was measured.
    """

    suite: str
    date: str
    machine: Mapping[str, Any]
    settings: Mapping[str, Any]
    peak_memory_mb: float | None
    rows: Sequence[Row]


def write(path: Path, report: Report) -> None:
    """Writes the report as JSON."""
    write_whole(path, (json.dumps(asdict(report), indent=1) + "\n").encode())


def read(path: Path) -> Report:
    """Reads a report that :func:`write` wrote.

    Raises:
      CommandError: the file cannot be read, or is no report.
    """
    try:
        return Report(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise CommandError(f"{path}: not a report of xrcam benchmark ({error})") from error


def free_path(folder: Path, suite: str, date: str, machine: Mapping[str, Any]) -> Path:
    """Returns ``DATE_DEVICE_SUITE.json``, or ``..._2.json`` and so on for further reports of the same day."""
    stem = f"{date[:10]}_{device_name(machine)}_{suite}"
    path, number = folder / f"{stem}.json", 1
    while path.exists():
        number += 1
        path = folder / f"{stem}_{number}.json"
    return path


def newest(folder: Path, suites: Sequence[str]) -> list[Report]:
    """Returns the latest report in ``folder`` of each suite on each device, in the order of ``suites``.

    Raises:
      CommandError: there is none, or a file is not a report.
    """
    found = sorted(map(read, folder.glob("*.json")), key=lambda report: report.date)
    latest = {(report.suite, device_name(report.machine)): report for report in found}
    if not latest:
        raise CommandError(f"{folder}: no report of xrcam benchmark is there")
    order = {suite: place for place, suite in enumerate(suites)}
    return sorted(
        latest.values(), key=lambda report: (order.get(report.suite, len(order)), device_name(report.machine))
    )


def document(reports: Sequence[Report]) -> str:
    """Returns all reports as Markdown, each with a heading and a table."""
    parts = []
    for report in reports:
        machine, versions = report.machine, report.machine["versions"]
        where = machine["processor"] if machine["platform"] == "cpu" else machine["device"]
        variables = "".join(f"; {name}={value}" for name, value in machine.get("variables", {}).items())
        settings = ", ".join(f"{name.replace('_', ' ')} {_setting(value)}" for name, value in report.settings.items())
        parts.append(
            f"**{report.suite}** ({where}, {machine['cores']} cores, JAX {versions['jax']}, {report.date[:10]}; "
            f"{settings}{variables})\n\n{table(report.rows)}"
        )
    return "\n\n".join(parts)


def table(rows: Sequence[Row]) -> str:
    """Returns the rows as a table in Markdown; columns in which there is nothing are left out."""
    keys = [
        key for key in dict.fromkeys(k for row in rows for k in row) if any(row.get(key) is not None for row in rows)
    ]
    is_text = {key: any(isinstance(row.get(key), str) for row in rows) for key in keys}
    lines = [
        "| " + " | ".join(key.replace("_", " ") for key in keys) + " |",
        "|" + "".join("---|" if is_text[key] else "---:|" for key in keys),
    ]
    return "\n".join([*lines, *("| " + " | ".join(_cell(row.get(key)) for key in keys) + " |" for row in rows)])


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, float):
        return str(value)
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _setting(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
