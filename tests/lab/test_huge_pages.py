# SPDX-License-Identifier: Apache-2.0
"""A real pool of huge pages, made larger by four, of which a process takes one and reserves another."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Iterator
from pathlib import Path

import pytest
from nephoscope.base import Failed, Run
from nephoscope.checks.node.check_memory import CHECK
from nephoscope.plugin import CRITICAL
from nephoscope.probes import memory

from tests.lab.support import missing, need_root

pytestmark = pytest.mark.lab
PAGE = 2 << 20
POOL = Path("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages")
MAP_HUGETLB = 0x40000  # asm-generic/hugetlb_encode.h, x86 and arm64 alike


@pytest.fixture
def pool() -> Iterator[int]:
    """Give the size of the pool of 2 MiB pages, four more than it had."""
    need_root("a pool of huge pages")
    if not POOL.exists():
        missing("this kernel has no huge pages of 2 MiB")
    before = int(POOL.read_text())
    try:
        POOL.write_text(str(before + 4))
        if int(POOL.read_text()) != before + 4:
            missing("this machine has no room for four huge pages")
        yield before + 4
    finally:
        POOL.write_text(str(before))


def free() -> int:
    pools = memory.look(Run()).pools
    assert pools is not None and not isinstance(pools, Failed)
    return next(found.free for found in pools if found.name == "2MiB")


def test_used_and_reserved_pages_are_not_free(pool: int, folder: Path) -> None:
    before = free()
    with mmap.mmap(-1, 2 * PAGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_HUGETLB) as area:
        assert free() == before - 2  # both reserved
        area[0] = 1
        assert free() == before - 2  # one in use, one reserved
        argv = ["--mode", "hugepages", "-c", f"hugepages_free/2MiB={before}:", "--state-dir", str(folder)]
        outcome = CHECK.run(argv)
    assert outcome.state == CRITICAL, outcome.text
    assert outcome.reason == f"2MiB hugepages free {before - 2} is below {before}"
    assert f"2MiB_hugepages_total={pool}" in outcome.perfdata


def test_the_pool_is_no_part_of_the_memory_that_programs_share(pool: int) -> None:
    room = memory.look(Run()).room
    assert isinstance(room, memory.Room)
    pages = ctypes.CDLL(None).get_phys_pages
    pages.restype = ctypes.c_long
    assert room.total == pages() * mmap.PAGESIZE - pool * PAGE or room.whose == "container"
