# SPDX-License-Identifier: Apache-2.0
"""check_iscsi_target against a real tgtd, with an initiator that is logged in to it for real."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
from pathlib import Path

import pytest
from nephoscope.checks.storage.check_iscsi_target import CHECK
from nephoscope.plugin import OK

from tests.lab.support import Daemon, free_port, missing, need, need_root

pytestmark = pytest.mark.lab

SOCKETS = Path("/run/tgtd")  # the place of tgtadm's default control port: the very line of sudoers is run
IQN = "iqn.2026-11.example:vol{}"
CLIENT = "iqn.2026-11.example:client"
FIRST = ", rates collecting"
NUMBER = r"[0-9.e-]+"


def tgtadm(*words):
    argv = ["tgtadm", "--lld", "iscsi", *words]
    subprocess.run(argv, check=True, capture_output=True, timeout=20, env={**os.environ, "LC_ALL": "C"})


def end(daemon):
    if daemon.alive():
        os.kill(daemon.pid, signal.SIGKILL)  # with a target it does not heed SIGTERM
        daemon.process.wait()


@pytest.fixture
def start(folder):
    """Give a function that starts a tgtd, and ends the one before."""
    need("tgtd", "tgtadm")
    need_root("tgtd")
    if SOCKETS.exists():
        missing(f"a tgtd of this machine's own has its sockets in {SOCKETS}")
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, SOCKETS)
        SOCKETS.mkdir()

        def begin(words=None):
            for old in SOCKETS.iterdir():
                old.unlink()
            port = free_port()
            argv = ["tgtd", *(words or ("-f", "--iscsi", f"portal=127.0.0.1:{port}"))]
            daemon = Daemon(argv, ready=(SOCKETS / "socket.0").exists, log=folder / "log")
            stack.enter_context(daemon)
            stack.callback(end, daemon)
            return daemon, port

        yield begin


def export(number, store):
    if not os.path.lexists(store):
        store.write_bytes(b"")
        os.truncate(store, 10 << 20)
    words = ("--tid", str(number))
    tgtadm("--mode", "target", "--op", "new", *words, "--targetname", IQN.format(number))
    tgtadm("--mode", "logicalunit", "--op", "new", *words, "--lun", "1", "--backing-store", str(store))
    tgtadm("--mode", "target", "--op", "bind", *words, "--initiator-address", "ALL")


@pytest.fixture
def target(start, folder):
    daemon, port = start()
    export(1, folder / "one.img")
    export(2, folder / "two.img")
    return daemon, port


@pytest.fixture
def check(folder):
    def run(*argv):
        return CHECK.run(["--server", "tgt", "--state-dir", str(folder / "state"), *map(str, argv)])

    return run


def told(outcome, reason, perfdata):
    assert re.fullmatch(f"ISCSI_TARGET {reason} \\| answer={NUMBER}s;2;5 {perfdata}", outcome.line), outcome.line


@contextlib.contextmanager
def login(port, name):
    """Log in as an initiator does (RFC 7143, 11.12): the operational stage at once, and on to full feature phase."""
    keys = f"InitiatorName={CLIENT}\0SessionType=Normal\0TargetName={name}\0".encode()
    head = struct.pack(">BBBBI6sHIHHII16x", 0x43, 0x87, 0, 0, len(keys), b"\x80nephs", 0, 1, 0, 0, 1, 0)
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(head + keys + bytes(-len(keys) % 4))
        answer = connection.recv(48, socket.MSG_WAITALL)
        assert (answer[0] & 0x3F, answer[36]) == (0x23, 0), answer
        yield


def test_all_is_well_and_an_initiator_comes(check, target):
    told(check(), f"OK - 2 targets serve 2 units{FIRST}", "targets=2 luns=2 initiators=0")
    with login(target[1], IQN.format(1)):
        told(check(), "OK - 2 targets serve 2 units", "targets=2 luns=2 initiators=1 restarts=0;0")
    told(check(), "OK - 2 targets serve 2 units", "targets=2 luns=2 initiators=0 restarts=0;0")


def test_what_is_expected(check, target):
    assert check("--expect", IQN.format("*") + "=2").state == OK
    told(
        check("--expect", IQN.format(3)),
        f"CRITICAL - {IQN.format(3)} has 0 of 1 targets that serve",
        "targets=2 luns=2 initiators=0",
    )


def test_a_store_that_was_removed_is_found_though_tgtd_goes_on(check, target, folder):
    store = folder / "two.img"
    store.unlink()
    said = f"{IQN.format(2)} LUN 1 has lost its backing store {store}: No such file or directory"
    told(check(), f"CRITICAL - {said}", "targets=2 luns=2 initiators=0")


def test_a_device_without_a_medium(check, target, folder):
    need("losetup")

    def loop(*words):
        return subprocess.run(["losetup", *words], capture_output=True, text=True, timeout=20, check=False)

    image, link = folder / "loop.img", folder / "volume"
    image.write_bytes(bytes(1 << 20))
    made = loop("-f", "--show", str(image))
    if made.returncode:
        missing("this kernel gives no loop device")
    try:
        link.symlink_to(made.stdout.strip())
        export(3, link)
        told(check(), f"OK - 3 targets serve 3 units{FIRST}", "targets=3 luns=3 initiators=0")
        tgtadm("--mode", "target", "--op", "delete", "--force", "--tid", "3")
    finally:
        loop("-d", made.stdout.strip())
    link.unlink()
    export(3, image)
    # As a path may after a restart: the node is there, and nothing behind it.
    image.unlink()
    image.symlink_to(made.stdout.strip())
    said = f"{IQN.format(3)} LUN 1 has a backing store without a medium: {image}"
    told(check(), f"CRITICAL - {said}", "targets=3 luns=3 initiators=0 restarts=0;0")


def test_a_target_without_its_unit(check, target):
    """As tgt-admin leaves one when it starts, whose volume is not active: it names the store, and goes on without."""
    tgtadm("--mode", "target", "--op", "new", "--tid", "3", "--targetname", IQN.format(3))
    told(check(), f"CRITICAL - {IQN.format(3)} exports no unit", "targets=3 luns=2 initiators=0")
    outcome = check("--include", IQN.format(1), "--expect", IQN.format(4))
    told(outcome, f"CRITICAL - {IQN.format(4)} has 0 of 1 targets that serve", "targets=1 luns=1 initiators=0")


def test_a_tgtd_whose_port_was_taken(check, start, folder):
    """It takes port 3260 of every address when it can't have its own; when that is taken, too, it listens nowhere."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(socket.create_server(("0.0.0.0", 3260)))
            six = stack.enter_context(socket.socket(socket.AF_INET6))
            six.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            six.bind(("::", 3260))
            six.listen()
        except OSError as error:
            missing(f"port 3260 can't be had: {error}")
        start(("-f",))
    export(1, folder / "one.img")
    told(check(), f"CRITICAL - {IQN.format(1)} is without a portal", "targets=1 luns=1 initiators=0")


def test_a_target_and_a_unit_that_are_offline(check, target):
    tgtadm("--mode", "target", "--op", "update", "--tid", "1", "--name", "state", "--value", "offline")
    told(check(), f"CRITICAL - {IQN.format(1)} is offline", "targets=2 luns=2 initiators=0")
    tgtadm("--mode", "target", "--op", "update", "--tid", "1", "--name", "state", "--value", "ready")
    tgtadm("--mode", "logicalunit", "--op", "update", "--tid", "1", "--lun", "1", "--params", "online=0")
    told(check(), f"CRITICAL - {IQN.format(1)} LUN 1 is offline", "targets=2 luns=2 initiators=0 restarts=0;0")


def test_a_target_that_goes(check, target):
    check()
    tgtadm("--mode", "target", "--op", "delete", "--force", "--tid", "2")
    told(check(), "WARNING - 1 targets, 2 before", "targets=1 luns=1 initiators=0 restarts=0;0")
    told(check("--remember", "0"), "OK - 1 targets serve 1 units", "targets=1 luns=1 initiators=0 restarts=0;0")


def test_a_frozen_tgtd(check, target):
    daemon, _ = target
    os.kill(daemon.pid, signal.SIGSTOP)
    try:
        outcome = check("-t", "3")
    finally:
        os.kill(daemon.pid, signal.SIGCONT)
    said = "tgtd: no answer in 1.6 s (run tgtadm --lld iscsi --mode target --op …)"
    assert outcome.line == f"ISCSI_TARGET CRITICAL - {said}"
    told(check(), f"OK - 2 targets serve 2 units{FIRST}", "targets=2 luns=2 initiators=0")


def test_a_killed_tgtd_and_one_that_began_anew(check, target, start, folder):
    check()
    end(target[0])
    said = "tgtd: not running: tgtadm: failed to send request hdr to tgt daemon, Transport endpoint is not connected"
    assert check().line == f"ISCSI_TARGET CRITICAL - {said}"
    start()
    outcome = check()
    said = r"WARNING - (0 targets, 2 before, restarts 1 is above 0|restarts 1 is above 0, 0 targets, 2 before)"
    told(outcome, said, "targets=0 luns=0 initiators=0 restarts=1;0")


def test_without_the_right(check, target, folder):
    need("sudo")
    home = folder / "state"
    home.mkdir()
    os.chown(home, 65534, 65534)
    os.setresuid(65534, 65534, 0)
    try:
        outcome = check()
    finally:
        os.setresuid(0, 0, 0)
    cure = "a sudoers line for `/usr/sbin/tgtadm --lld iscsi --mode target --op show` (nephoscope export sudoers)"
    assert re.fullmatch(f"ISCSI_TARGET UNKNOWN - tgtd: sudo: [^:]+: needs {re.escape(cure)}", outcome.line), (
        outcome.line
    )
