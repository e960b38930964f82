"""The machine that figures are measured on: its device, its cores, its memory, and what is installed there."""

import os
import platform
import re
import resource
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jax

PACKAGES = (
    *("xrcam-jax", "jax", "jaxlib", "flax", "numpy", "torch", "timm", "torchvision"),
    *("grad-cam", "zennit", "zennit-crp", "captum", "autolrp", "lxt"),
)
#: Environment variables that change how fast programs are.
VARIABLES = ("XLA_FLAGS", "GLIBC_TUNABLES")


def machine() -> dict[str, Any]:
    """Returns what the figures were measured on and with: device, cores, versions and variables that are set."""
    installed: dict[str, str | None] = {}
    for package in PACKAGES:
        try:
            installed[package] = version(package)
        except PackageNotFoundError:
            installed[package] = None
    return {
        "device": str(jax.devices()[0].device_kind),
        "platform": jax.default_backend(),
        "devices": jax.device_count(),
        "cores": cores(),
        "processor": _processor(),
        "versions": {"python": platform.python_version(), **installed},
        "variables": {name: os.environ[name] for name in VARIABLES if name in os.environ},
    }


def device_name(machine: Mapping[str, Any]) -> str:
    """Returns the device's name for file names, such as ``cpu_2cores`` or ``nvidia_h100_80gb_hbm3``."""
    if machine["platform"] == "cpu":
        return f"cpu_{machine['cores']}cores"
    return re.sub(r"[^a-z0-9]+", "_", machine["device"].lower()).strip("_")


def cores() -> int:
    """Returns the number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def peak_memory_mb() -> float:
    """Returns the most memory that was held since the process began, in MiB.

    It is that of the device where the device tells, else that of this process.
    """
    of_device = jax.local_devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" in of_device:
        return of_device["peak_bytes_in_use"] / 2**20
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
