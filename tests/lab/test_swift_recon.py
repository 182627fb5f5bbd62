# SPDX-License-Identifier: Apache-2.0
"""check_swift_recon against real servers of Swift on two hosts (two addresses of loopback), with trouble that is made for real."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from nephoscope.base import Clock
from nephoscope.checks.storage.check_swift_recon import CHECK
from nephoscope.plugin import OK

from tests.lab import swift
from tests.lab.support import Daemon, free_port, listening, missing, need, need_root, private_folder

pytestmark = pytest.mark.lab

A, B = "127.0.0.2", "127.0.0.3"
NUMBER = r"[0-9.]+"
PASSES = ("object-replicator", "container-replicator", "account-replicator", "object-auditor", "container-auditor", "account-auditor")  # fmt: skip
MTIME = "1795296825.00000"
PROXY = """
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
user = root
swift_dir = {etc}
log_address = {etc}/no-syslog
[pipeline:main]
pipeline = catch_errors healthcheck cache proxy-server
[app:proxy-server]
use = egg:swift#proxy
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:healthcheck]
use = egg:swift#healthcheck
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:1
"""


@pytest.fixture(scope="module")
def cloud():
    """Give both hosts, with one object each, and every daemon's first pass done; and what serves there."""
    need(*swift.PROGRAMS, "swift-proxy-server", "swift-recon-cron", *(f"swift-{daemon}" for daemon in PASSES))
    need_root("Swift's servers run as who owns their devices")
    if not Path("/etc/swift/swift.conf").exists():
        missing("recon digests /etc/swift/swift.conf, wherever swift_dir is, and there is none")
    with private_folder() as folder:
        both = swift.place(folder, A, {kind: free_port() for kind in swift.KINDS})
        one = swift.place(folder, B, {"object": free_port()})
        places = (both, one)
        swift.build(
            both.home / "etc",
            {
                kind: [(p.host, p.ports[kind], device, 100.0) for p in places if kind in p.ports for device in ("d1", "d2", "d3")]
                for kind in swift.KINDS
            },
        )  # fmt: skip
        for kind in swift.KINDS:
            shutil.copy(both.home / "etc" / f"{kind}.ring.gz", one.home / "etc")
        with swift.serving(*places) as daemons:
            for where in places:
                put(where, "first")
            yield both, one, daemons


@pytest.fixture
def check(cloud, tmp_path):
    def run(*argv, clock=None, rings=True):
        words = ["--rings", str(cloud[0].home / "etc")] if rings else []
        return CHECK.run(["--state-dir", str(tmp_path / "state"), *words, *argv], clock=clock)

    return run


def name(where, kind="object"):
    return f"{kind}@{where.host}:{where.ports[kind]}"


def put(where, of, device="d1", **headers):
    """Put an object as a proxy does; partition and device are the caller's to choose."""
    words = {
        "X-Timestamp": MTIME,
        "Content-Type": "text/plain",
        **{key.replace("_", "-"): value for key, value in headers.items()},
    }
    where.ask("object", f"/{device}/3/AUTH_lab/c/{of}", "PUT", words, b"content")


def reason(outcome):
    return outcome.line.partition(" | ")[0]


def test_daemons_that_never_ran_are_unknown(check, cloud):
    both, one, _ = cloud
    outcome = check("--mode", "replication", "--mode", "async")
    never = "no pass of replication has ended: recon has no time of one"
    cron = "pending updates are not counted: swift-recon-cron does not run there"
    assert reason(outcome) == f"SWIFT_RECON UNKNOWN - {A} {cron}, {B} {cron} … and 4 more"
    for told in (name(both), name(one), name(both, "account"), name(both, "container")):
        assert f"[UNKNOWN] {told} {never}" in outcome.text
    assert "|" not in outcome.line


def test_all_is_well_when_they_ran_and_swift_recon_says_the_same(check, cloud):
    both, one, _ = cloud
    both.once(*PASSES)
    one.once("object-replicator", "object-auditor")
    for where in (both, one):
        where.count_asyncs()
    outcome = check("-w", "disk_max=100", "-c", "disk_max=100")  # the disk of this machine may be full
    assert re.fullmatch(
        r"SWIFT_RECON OK - 4 servers on 2 hosts answer, Swift 2\.\d+\.\d+, rates collecting \| "
        rf"repl_age={NUMBER}s;3600;21600 async=0;1000 async_sum=0 unmounted=0;0;2 quarantined=0 disk_max={NUMBER}%;100;100 "
        rf"disk_spread={NUMBER}% repl_failed=0%;5 audit_age={NUMBER}s;86400;604800 async_age={NUMBER}s;3600 "
        rf"clock={NUMBER}s;5;30",
        outcome.line,
    ), outcome.line
    disk = re.search(r"disk_max=([0-9.]+)%", outcome.line)[1]
    said = swift_recon(both, "object", "--md5", "-u", "-d", "-q", "-a", "-r", "--time")
    assert "2/2 hosts matched, 0 error[s] while checking hosts." in said
    assert "Not mounted:" not in said
    highest = float(re.search(r"Disk usage: lowest: .*%, highest: ([0-9.]+)%", said)[1])
    assert abs(highest - float(disk)) < 0.5, (highest, disk)  # others write to this file system, too
    assert re.search(
        r"\[async_pending\] low: 0, high: 0, avg: 0\.0, total: 0, Failed: 0\.0%, no_result: 0, reported: 2", said
    )
    assert re.search(r"\[quarantined_objects\] low: 0, high: 0, avg: 0\.0, total: 0", said)


def swift_recon(where, kind, *words):
    line = ["swift-recon", kind, "--swiftdir", str(where.home / "etc"), *words]
    return subprocess.run(line, capture_output=True, text=True, timeout=30, check=False).stdout


def test_disks_that_are_unmounted_and_gone(check, cloud):
    both, one, _ = cloud
    disks = ("--mode", "disks", "-w", "disk_max=~:", "-c", "disk_max=~:")
    both.mount("d3", mounted=False)
    try:
        assert reason(check(*disks)) == f"SWIFT_RECON WARNING - unmounted 1 is above 0 ({A} d3)"
        assert f"Not mounted: d3 on {A}:{both.ports['object']}" in swift_recon(both, "object", "-u")
        one.mount("d1", mounted=False)
        (one.home / "devices/d2").rename(one.home / "gone")
        text = f"unmounted 3 is above 2 ({A} d3, {B} d1, {B} d2 (not there))"
        assert reason(check(*disks)) == f"SWIFT_RECON CRITICAL - {text}"
        assert "d2" not in swift_recon(both, "object", "-u")  # which does not know what should be there
    finally:
        if (one.home / "gone").exists():
            (one.home / "gone").rename(one.home / "devices/d2")
        both.mount("d3")
        one.mount("d1")
    assert check(*disks).state == OK


def test_a_disk_that_recon_skips(check, cloud):
    """A link to nowhere fails its stat as a disk does whose file system shut down."""
    _, one, _ = cloud
    (one.home / "devices/d2").rename(one.home / "gone")
    (one.home / "devices/d2").symlink_to("/nowhere")
    try:
        outcome = check("--mode", "disks", "-w", "disk_max=~:", "-c", "disk_max=~:")
        text = f"{B} d2 can't be looked at: recon skips it, as no directory, or as one whose stat fails"
        assert reason(outcome) == f"SWIFT_RECON CRITICAL - {text}"
        assert "d2" not in swift_recon(one, "object", "-u")
    finally:
        (one.home / "devices/d2").unlink()
        (one.home / "gone").rename(one.home / "devices/d2")


def test_a_replicator_that_stopped(check, cloud):
    both, _, _ = cloud
    cache = both.cache("object")
    whole = cache.read_text()
    cache.write_text(re.sub(r'("(?:object_)?replication_last": )[0-9.]+', rf"\g<1>{time.time() - 7300}", whole))
    try:
        outcome = check("--mode", "replication", "-w", "repl_failed=~:")
        assert reason(outcome) == f"SWIFT_RECON WARNING - {name(both)} repl age 2.03 h is above 60 min"
    finally:
        cache.write_text(whole)


def test_another_ring_file(check, cloud):
    both, one, _ = cloud
    ring = one.home / "etc/object.ring.gz"
    whole = ring.read_bytes()
    ring.write_bytes((one.home / "etc/account.ring.gz").read_bytes())
    try:
        outcome = check("--mode", "rings")
        assert reason(outcome) == f"SWIFT_RECON CRITICAL - {name(one)} object.ring.gz differs from this host's"
        # Without this host's files there are only two, and nobody can say which is right.
        outcome = check("--mode", "rings", "--host", name(both), "--host", name(one), rings=False)
        assert re.fullmatch(
            rf"SWIFT_RECON CRITICAL - {name(both)} object\.ring\.gz is [0-9a-f]{{8}}, and none has a majority, "
            rf"{name(one)} object\.ring\.gz is [0-9a-f]{{8}}, and none has a majority",
            reason(outcome),
        ), outcome.line
        assert "1/2 hosts matched" in swift_recon(both, "object", "--md5")
        ring.unlink()
        outcome = check("--mode", "rings")
        assert reason(outcome) == f"SWIFT_RECON CRITICAL - {name(one)} lacks object.ring.gz, which this host has"
    finally:
        ring.write_bytes(whole)
    assert check("--mode", "rings").state == OK


def test_another_swift_conf(check, cloud):
    both, one, daemons = cloud
    need("unshare", "mount")
    if subprocess.run(["unshare", "-m", "true"], check=False).returncode:
        missing("a name space of mounts can't be made here")
    daemons[B, "object"].stop()
    try:
        (one.home / "etc/swift.conf").write_text(swift.POLICY.replace("suffix = lab", "suffix = other"))
        with one.server("object", private=True):
            outcome = check("--mode", "rings")
        said = r"/etc/swift/swift\.conf is [0-9a-f]{8}, and none has a majority"
        pattern = rf"SWIFT_RECON WARNING - account@{A}:{both.ports['account']} {said}, {name(one)} {said}"
        assert re.fullmatch(pattern, outcome.line), outcome.line
    finally:
        (one.home / "etc/swift.conf").write_text(swift.POLICY)
        daemons[B, "object"].__enter__()


def test_an_object_that_rots_is_quarantined(check, cloud):
    both, _, _ = cloud
    assert check("--mode", "quarantine").line.endswith(" | quarantined=0")
    put(both, "rotten", device="d2")
    (data,) = (both.home / "devices/d2/objects").rglob("*.data")
    data.write_bytes(b"CONTENT")  # in place: the extended attributes with its digest stay
    with contextlib.suppress(OSError):  # the server finds out while it sends
        both.ask("object", "/d2/3/AUTH_lab/c/rotten")
    outcome = check("--mode", "quarantine", clock=Clock(shift=300))
    assert (
        outcome.line
        == f"SWIFT_RECON WARNING - quarantined new 1 is above 0 ({A} 1) | quarantined=1 quarantined_new=1;0"
    )
    assert "total: 1" in swift_recon(both, "object", "-q")
    outcome = check("--mode", "quarantine", clock=Clock(shift=2 * 86400 + 600))
    outcome = check("--mode", "quarantine", clock=Clock(shift=4 * 86400))
    assert outcome.line.endswith(" | quarantined=1 quarantined_new=0;0")


def test_updates_that_wait_for_a_container_server(check, cloud):
    both, _, daemons = cloud
    daemons[A, "container"].stop()
    try:
        gone = f"{A}:{both.ports['container']}"
        put(both, "waits", X_Container_Host=gone, X_Container_Partition="3", X_Container_Device="d1")
        both.count_asyncs()
        outcome = check("--mode", "async", "-w", "async=0")
        text = f"{name(both, 'container')}: Connection refused (GET /recon/version), WARNING: {A} async 1 is above 0"
        assert re.fullmatch(
            rf"SWIFT_RECON CRITICAL - {re.escape(text)} \| async=1;0 async_sum=1 async_age={NUMBER}s;3600", outcome.line
        ), outcome.line
        assert "total: 1" in swift_recon(both, "object", "-a")
    finally:
        daemons[A, "container"].__enter__()


def test_a_server_that_is_stopped(check, cloud):
    _, one, daemons = cloud
    os.kill(daemons[B, "object"].pid, signal.SIGSTOP)
    try:
        begun = time.monotonic()
        outcome = check("--mode", "clock", "-t", "4")
        assert time.monotonic() - begun < 4.5
    finally:
        os.kill(daemons[B, "object"].pid, signal.SIGCONT)
    assert re.fullmatch(
        rf"SWIFT_RECON CRITICAL - {name(one)}: no answer in (3\.0|2\.9) s \(GET /recon/version\) \| clock={NUMBER}s;5;30",
        outcome.line,
    ), outcome.line
    assert check("--mode", "clock").state == OK


def test_a_server_that_is_killed_and_comes_back_without_recon(check, cloud):
    both, one, daemons = cloud
    daemon = daemons[B, "object"]
    os.kill(daemon.pid, signal.SIGKILL)
    daemon.process.wait()
    outcome = check("--mode", "clock")
    assert reason(outcome) == f"SWIFT_RECON CRITICAL - {name(one)}: Connection refused (GET /recon/version)"
    said = swift_recon(both, "object", "-r")  # which leaves the silent one out of its averages
    assert re.search(r"\[replication_failure\] .* Failed: 0\.0%, no_result: 0, reported: 1", said)
    for kind, where in (("object", one), ("container", both)):
        where.write(kind, recon=False)
        daemons[where.host, kind].stop()
        daemons[where.host, kind].__enter__()
    try:
        said = "HTTP 400: no recon in its pipeline, or no storage server (GET /recon/version)"
        outcome = check("--mode", "clock")
        assert reason(outcome) == f"SWIFT_RECON UNKNOWN - {name(both, 'container')}: {said}, {name(one)}: {said}"
    finally:
        for kind, where in (("object", one), ("container", both)):
            where.write(kind)
            daemons[where.host, kind].stop()
            daemons[where.host, kind].__enter__()
    assert check("--mode", "clock").state == OK


def test_a_proxy_is_no_storage_server(check, cloud, tmp_path):
    etc, port = cloud[0].home / "etc", free_port()
    (etc / "proxy-server.conf").write_text(PROXY.format(port=port, etc=etc))
    argv = ["swift-proxy-server", etc / "proxy-server.conf", "-v"]
    with Daemon(argv, ready=listening(port), log=tmp_path / "proxy.log", cwd=tmp_path):
        outcome = check("--host", f"object@127.0.0.1:{port}", rings=False)
    said = "no recon in its pipeline, or no storage server (GET /recon/version)"
    assert re.fullmatch(
        rf"SWIFT_RECON UNKNOWN - object@127\.0\.0\.1:{port}: HTTP 4\d\d: {re.escape(said)}", outcome.line
    ), outcome.line
    wrong = free_port()
    outcome = check("--host", f"object@127.0.0.1:{wrong}", rings=False)
    assert outcome.line == f"SWIFT_RECON CRITICAL - object@127.0.0.1:{wrong}: Connection refused (GET /recon/version)"
