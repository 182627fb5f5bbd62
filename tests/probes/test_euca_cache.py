# SPDX-License-Identifier: Apache-2.0
"""Stores laid out as storage/blobstore.c of Eucalyptus 4.4 lays them (FORMAT_DIRECTORY for the cache, FORMAT_FILES for work)."""

from __future__ import annotations

import os

import pytest
from nephoscope.base import ABSENT, NOT_ALLOWED, UNREACHABLE, UNREADABLE, Failed, Run
from nephoscope.probes import euca_cache

MB = 1 << 20
CONF = 'EUCALYPTUS="/"\nINSTANCE_PATH="/var/lib/eucalyptus/instances"\n'
HEAD = "id: 5d1f\nlimit: {}\nrevocation: 2\nsnapshot: 2\nformat: 2\n"


def put(path, size, written=0):
    """Make a file of a nominal size of which so many bytes are on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        file.write(b"x" * written)
        file.truncate(size)


class Node:
    def __init__(self, root):
        self.root, self.instances = root, root / "var/lib/eucalyptus/instances"
        for name in ("cache", "work"):
            (self.instances / name).mkdir(parents=True)
            (self.instances / name / ".blobstore").write_text(HEAD.format(100 * MB // 512))
        (root / "etc/eucalyptus").mkdir(parents=True)
        self.configure()

    def configure(self, more=""):
        (self.root / "etc/eucalyptus/eucalyptus.conf").write_text(CONF + more)

    def image(self, name, size, written=0, refs="", hollow=False):
        folder = self.instances / "cache" / name
        put(folder / "blocks", size, written)
        (folder / "lock").write_text("")
        (folder / "refs").write_text(refs)
        if hollow:
            (folder / "hollow").write_text("this blob is hollow\n")

    def disk(self, name, size, written=0, deps=""):
        base = self.instances / "work/AIDXYZ/i-1A2B3C4D"
        put(base / f"{name}.blocks", size, written)
        (base / f"{name}.lock").write_text("")
        if deps:
            (base / f"{name}.deps").write_text(deps)

    def look(self, *stores, named=True):
        return euca_cache.look(Run(root=str(self.root)), stores, named)


@pytest.fixture
def node(tmp_path):
    return Node(tmp_path)


def test_the_cache_counts_what_instances_hold(node):
    node.image("emi-11111111-a", 30 * MB, 1 * MB, refs="/work AIDXYZ/i-1A2B3C4D/emi-1 \n")
    node.image("emi-22222222-b", 20 * MB)
    node.image("ami-hollow", 500 * MB, hollow=True, refs="x")
    (cache,) = node.look("cache")
    assert (cache.reserved, cache.held, cache.limit, cache.said) == (50 * MB, 30 * MB, 100 * MB, ".blobstore")
    assert 1 * MB <= cache.allocated < 2 * MB  # sparse: little is on the disk
    assert cache.share(cache.held) == 30.0


def test_work_holds_all_and_counts_no_part_twice(node):
    node.disk(
        "sda", 40 * MB, deps=f"/work AIDXYZ/i-1A2B3C4D/emi map 63 {30 * MB // 512}\n/work other copy 0 99999999\n"
    )
    node.disk("emi", 30 * MB, 2 * MB)
    (work,) = node.look("work")
    assert (work.reserved, work.held, work.share(work.reserved)) == (40 * MB, 40 * MB, 40.0)
    assert 2 * MB <= work.allocated < 3 * MB


@pytest.mark.parametrize(
    "name, conf, limit, said",
    [
        ("cache", "NC_CACHE_SIZE=2000\n", 2000 * MB, "NC_CACHE_SIZE"),
        ("cache", "NC_CACHE_SIZE=9\n", 0, "NC_CACHE_SIZE"),
        ("cache", "NC_CACHE_SIZE=0\n", 0, "NC_CACHE_SIZE"),
        ("cache", "NC_CACHE_SIZE=-1\n", 100 * MB, ".blobstore"),
        ("work", "NC_WORK_SIZE='3000'\n", 3000 * MB, "NC_WORK_SIZE"),
        ("work", "NC_WORK_SIZE=9\n", 100 * MB, ".blobstore"),  # below the least it is ignored
        ("work", "MAX_DISK=5\n", 5120 * MB, "MAX_DISK"),
        ("work", "MAX_DISK=5\nNC_WORK_SIZE=3000\n", 3000 * MB, "NC_WORK_SIZE"),
        ("work", "MAX_DISK=0\n", 100 * MB, ".blobstore"),
    ],
)
def test_where_the_limit_is_from(node, name, conf, limit, said):
    node.configure(conf)
    (store,) = node.look(name)
    assert (store.limit, store.said) == (limit, said)


def test_a_store_that_is_switched_off_has_no_share(node):
    node.configure("NC_CACHE_SIZE=0\n")
    assert node.look("cache")[0].share(5) is None


def test_the_proxy_only_where_it_is_switched_on(node):
    data = node.root / "var/lib/eucalyptus/dynserv/data"
    put(data / "emi-1", 10 * MB)
    put(data / "emi-1.manifest.xml", 1000)
    put(data / "network-topology", 5 * MB)
    assert [store.name for store in node.look("cache", "proxy", named=False)] == ["cache"]
    node.configure('CC_IMAGE_PROXY="192.0.2.4"\n')
    (proxy,) = node.look("proxy")
    assert (proxy.reserved, proxy.limit, proxy.said) == (10 * MB + 1000, 32768 * MB, "default")
    node.configure('CC_IMAGE_PROXY="192.0.2.4"\nCC_IMAGE_PROXY_CACHE_SIZE="20"\nCC_IMAGE_PROXY_PATH="/srv/proxy/"\n')
    put(node.root / "srv/proxy/data/emi-2", 5 * MB)
    (proxy,) = node.look("proxy")
    assert (proxy.reserved, proxy.limit) == (5 * MB, 20 * MB)


def kind(call):
    with pytest.raises(Failed) as caught:
        call()
    return caught.value.kind, caught.value.of, caught.value.error


def test_what_is_not_here(node, tmp_path):
    assert kind(lambda: euca_cache.look(Run(root=str(tmp_path / "none")), ("cache",), True))[0] == ABSENT
    node.instances.rename(tmp_path / "elsewhere")
    assert [failed.kind for failed in node.look("cache", "work")] == [ABSENT, ABSENT]
    found = kind(lambda: node.look("cache", "work", named=False))
    assert found == (ABSENT, "", "no node controller and no image proxy here")


def test_sizes_that_are_not_known(node):
    (node.instances / "cache/.blobstore").write_text("garbage")
    (failed,) = node.look("cache")
    assert (failed.kind, failed.of) == (UNREADABLE, "cache")
    assert failed.error == "its size is not known: NC_CACHE_SIZE is not set, and its .blobstore tells no limit"
    node.configure("NC_WORK_SIZE=lots\n")
    (failed,) = node.look("work")
    assert (failed.kind, failed.error) == (UNREADABLE, "NC_WORK_SIZE is no number: 'lots'")


def test_too_many_entries(node, monkeypatch):
    monkeypatch.setattr(euca_cache, "MOST", 3)
    for number in range(3):
        node.image(f"emi-{number}", MB)
    (failed,) = node.look("cache")
    assert (failed.kind, failed.error.partition(" in ")[0]) == (UNREADABLE, "more than 3 entries")


def test_links_are_not_followed(node):
    (node.instances / "work/loop").symlink_to("..")
    put(node.root / "big.blocks", 50 * MB)
    (node.instances / "work/vda.blocks").symlink_to(node.root / "big.blocks")
    assert node.look("work")[0].reserved == 0


def test_a_right_that_is_missing(node, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", refuse)
    (failed,) = node.look("cache")
    assert (failed.kind, failed.of, failed.cure) == (NOT_ALLOWED, "cache", euca_cache.CURE)


def test_a_disk_that_hangs_holds_up_its_store_alone(node, monkeypatch):
    import time

    real = os.scandir

    def slow(path):
        if "/cache" in str(path):
            time.sleep(20)
        return real(path)

    monkeypatch.setattr(os, "scandir", slow)
    begun = time.monotonic()
    cache, work = euca_cache.look(Run(2, root=str(node.root)), ("cache", "work"), True)
    assert time.monotonic() - begun < 2.0
    assert (cache.kind, work.name) == (UNREACHABLE, "work")
