"""A program keeps the memory that it frees, unless its user has chosen otherwise."""

import os
import platform
import subprocess
import sys

import pytest

from xrcam_jax.runtime import host_memory

ON_GLIBC = platform.libc_ver()[0] == "glibc"
MEGABYTES = 200
#: Prints whether it took effect, and how many fresh pages of memory a block took that was freed before.
PROGRAM = f"""
import resource
import numpy as np
from xrcam_jax.runtime.host_memory import keep_freed_memory

def pages():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

keeps = KEEP and keep_freed_memory()
for _ in range(3):
    before = pages()
    np.ones({MEGABYTES} * 2**20, np.uint8)
print(keeps, (pages() - before) * resource.getpagesize() / 2**20)
"""


def megabytes_of_fresh_pages(keep, **variables):
    chosen = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    # To be counted, pages have to be of one size.
    chosen["NUMPY_MADVISE_HUGEPAGE"] = "0"
    out = subprocess.run(
        [sys.executable, "-c", PROGRAM.replace("KEEP", str(keep))],
        env=chosen | variables,
        check=True,
        capture_output=True,
        text=True,
    )
    keeps, found = out.stdout.split()
    return keeps == "True", float(found)


@pytest.mark.skipif(not ON_GLIBC, reason="only glibc is told")
def test_a_block_that_was_freed_needs_no_fresh_pages():
    keeps, fresh = megabytes_of_fresh_pages(keep=True)
    assert keeps
    assert fresh < MEGABYTES / 20


@pytest.mark.skipif(not ON_GLIBC, reason="only glibc is told")
def test_without_it_a_block_is_fresh_each_time():
    assert megabytes_of_fresh_pages(keep=False)[1] > MEGABYTES / 2


@pytest.mark.parametrize(
    "chosen",
    [{"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1:glibc.malloc.mmap_max=10"}, {"MALLOC_TRIM_THRESHOLD_": "1000000"}],
)
def test_what_the_user_has_chosen_stays(chosen):
    assert not megabytes_of_fresh_pages(keep=True, **chosen)[0]


@pytest.mark.skipif(not ON_GLIBC, reason="only glibc is told")
def test_huge_pages_are_no_such_choice():
    assert megabytes_of_fresh_pages(keep=True, GLIBC_TUNABLES="glibc.malloc.hugetlb=1")[0]


def test_nothing_happens_on_other_systems(monkeypatch):
    for name in [*os.environ]:
        if name.startswith(("MALLOC_", "GLIBC_")):
            monkeypatch.delenv(name)
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not host_memory.keep_freed_memory()
