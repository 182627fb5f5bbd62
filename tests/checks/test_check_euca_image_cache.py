# SPDX-License-Identifier: Apache-2.0
"""The judge of check_euca_image_cache by equality, and the check over stores as blobstore.c lays them."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from nephoscope.base import UNREADABLE, Failed
from nephoscope.checks.eucalyptus.check_euca_image_cache import CHECK, judge
from nephoscope.demo import Demo, sample
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, Finding, Metric
from nephoscope.probes.euca_cache import Store

from tests.probes import stand_ins
from tests.probes.test_euca_cache import MB, Node, put
from tests.probes.unprivileged import as_nobody


def found(*stores):
    return list(judge(stores, CHECK.parse()))


def test_the_judge():
    failed = Failed(UNREADABLE, "proxy", "", "x")
    assert found(
        Store("cache", 10, 90, 40, 100, "NC_CACHE_SIZE"), Store("work", 20, 50, 50, 100, ".blobstore"), failed
    ) == [
        Metric("cache", 10, most=100),
        Metric("cache_held", 40.0),
        Metric("work", 20, most=100),
        Metric("work_used", 50.0, detail="limit by .blobstore"),
        failed,
    ]
    assert found(Store("cache", 0, 0, 0, 0, "NC_CACHE_SIZE")) == [
        Metric("cache", 0),
        Finding(OK, "cache", "is switched off by NC_CACHE_SIZE"),
    ]
    assert found(Store("proxy", 1, 200, 0, 100, "default")) == [
        Metric("proxy", 1, most=100),
        Metric("proxy_used", 200.0, detail="limit by default"),
    ]


@pytest.fixture
def node(tmp_path):
    return Node(tmp_path / "root")


@pytest.fixture
def check(node, tmp_path):
    def run(*argv):
        return CHECK.run([*argv, "--state-dir", str(tmp_path / "state")], root=str(node.root))

    return run


def test_a_cache_that_is_full_of_what_nobody_needs_is_well(check, node):
    node.image("emi-11111111", 99 * MB)
    node.disk("sda", 40 * MB)
    outcome = check()
    assert (outcome.state, outcome.reason.partition("B, ")[2].partition(", ")[0]) == (OK, "cache held 0 %")
    labels = [item.partition("=")[0] for item in outcome.perfdata]
    assert labels == ["cache", "cache_held", "work", "work_used"]
    assert outcome.perfdata[0].endswith(f";;;;{100 * MB}")


@pytest.mark.parametrize("size, state, limit", [(80, OK, ""), (90, WARNING, "85 %"), (96, CRITICAL, "95 %")])
def test_images_in_use(check, node, size, state, limit):
    node.image("emi-11111111", size * MB, refs="/work AID/i-1/emi\n")
    outcome = check("--mode", "cache")
    assert outcome.state == state
    assert not limit or outcome.reason == f"cache held {size} % is above {limit}"


@pytest.mark.parametrize("size, state, limit", [(80, OK, ""), (90, WARNING, "85 %"), (96, CRITICAL, "95 %")])
def test_instances(check, node, size, state, limit):
    node.disk("sda", size * MB)
    outcome = check("--mode", "work")
    assert outcome.state == state
    assert not limit or outcome.reason == f"work used {size} % is above {limit} (limit by .blobstore)"


def test_a_cache_that_is_switched_off(check, node):
    node.configure("NC_CACHE_SIZE=0\n")
    outcome = check("--mode", "cache")
    assert (outcome.state, "cache is switched off by NC_CACHE_SIZE" in outcome.reason) == (OK, True)


def test_no_node_controller(check, node, tmp_path):
    node.instances.rename(tmp_path / "elsewhere")
    outcome = check()
    said = (
        "no node controller and no image proxy here"
        " (look for /var/lib/eucalyptus/instances/cache, /var/lib/eucalyptus/instances/work)"
    )
    assert (outcome.state, outcome.reason, outcome.absent) == (UNKNOWN, said, True)


@pytest.mark.parametrize("gone, there", [("work", "cache"), ("cache", "work")])
def test_one_store_without_the_other(check, node, tmp_path, gone, there):
    (node.instances / gone).rename(tmp_path / "elsewhere")
    outcome = check()
    said = f"{gone}: No such file or directory (look into /var/lib/eucalyptus/instances/{gone})"
    assert (outcome.state, outcome.reason) == (UNKNOWN, said)
    assert f"{there} " in outcome.text


def test_a_cache_that_is_switched_off_need_not_be_there(check, node, tmp_path):
    (node.instances / "cache").rename(tmp_path / "elsewhere")
    node.configure("NC_CACHE_SIZE=0\n")
    outcome = check()
    assert (outcome.state, outcome.reason.endswith("work used 0 %")) == (OK, True), outcome.line


def test_a_size_that_is_not_known(check, node):
    (node.instances / "work/.blobstore").unlink()
    outcome = check("--mode", "work")
    said = "work: its size is not known: NC_WORK_SIZE is not set, and its .blobstore tells no limit"
    assert (outcome.state, outcome.reason) == (UNKNOWN, said)


@pytest.mark.parametrize("version", ["3.4.3", "4.4.2", "5.1.0"])
def test_a_simulated_node(tmp_path, version):
    with Demo(sample(version=version, zones=1, nodes=1)) as demo:
        demo.tell("cache", "one-nc-1", "900", "40", "1000")
        demo.write("one-nc-1", tmp_path)
        outcome = CHECK.run(["--state-dir", str(tmp_path / "state")], root=str(tmp_path))
        assert outcome.state == OK, outcome.text
        assert outcome.perfdata[0].endswith(f";;;;{1000 * MB}")


def test_a_closed_directory():
    with tempfile.TemporaryDirectory(dir="/tmp") as root:
        os.chmod(root, 0o755)
        node = Node(Path(root))
        (node.instances / "cache").chmod(0)
        state, line = as_nobody(CHECK, ["--mode", "cache"], root=root)
        (node.instances / "cache").chmod(0o755)
    assert (state, line) == (
        UNKNOWN,
        "EUCA_IMAGE_CACHE UNKNOWN - cache: Permission denied (look into /var/lib/eucalyptus/instances/cache): needs"
        " membership of group eucalyptus, which may look into the instances' directory",
    )


@pytest.fixture
def shut(node, monkeypatch):
    """Folders of instances are 0711, so that no group may list them (INSTANCE_DIRECTORY_PERM of 4.4)."""
    real = os.scandir

    def refuse(path):
        if "/work/" in str(path):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    node.disk("emi", 60 * MB, 2 * MB)
    node.disk("sda", 90 * MB, 1 * MB, deps=f"/work AIDXYZ/i-1A2B3C4D/emi map 63 {60 * MB // 512}\n/work x copy 0 9\n")
    put(node.instances / "work/AIDXYZ/i-1A2B3C4D/odd.blocks", 500 * MB)
    (node.instances / "work/AIDXYZ/i-1A2B3C4D/odd.hollow").write_text("this blob is hollow\n")
    (node.instances / "work/AIDXYZ/link.blocks").symlink_to("/dev/zero")
    monkeypatch.setattr(os, "scandir", refuse)
    return node


def test_closed_folders_of_instances_are_listed_by_sudo(shut, check, tmp_path, monkeypatch):
    stand_ins.put(tmp_path / "bin", monkeypatch, other="")
    outcome = check("--mode", "work")
    assert (outcome.state, outcome.reason) == (WARNING, "work used 90 % is above 85 % (limit by .blobstore)")
    assert 3 * MB <= int(outcome.perfdata[0].partition("=")[2].partition("B")[0]) < 4 * MB


def test_closed_folders_of_instances_without_sudo(shut, check, tmp_path, monkeypatch):
    stand_ins.put(tmp_path / "bin", monkeypatch, sudo=stand_ins.REFUSES, other="")
    outcome = check("--mode", "work")
    said = "work: sudo: a password is required: needs a sudoers line for `/usr/bin/find "
    assert (outcome.state, outcome.reason.startswith(said)) == (UNKNOWN, True), outcome.line


def test_instances_without_a_mapped_disk(shut, check, tmp_path, monkeypatch):
    """grep ends with 1 then."""
    (shut.instances / "work/AIDXYZ/i-1A2B3C4D/sda.deps").unlink()
    stand_ins.put(tmp_path / "bin", monkeypatch, other="")
    assert check("--mode", "work").reason == "work used 150 % is above 95 % (limit by .blobstore)"
    stand_ins.put(tmp_path / "bin", monkeypatch, grep='echo "grep: input file is a loop" >&2; exit 2')
    outcome = check("--mode", "work")
    assert (outcome.state, outcome.reason) == (UNKNOWN, "work: grep: input file is a loop (run grep)")
