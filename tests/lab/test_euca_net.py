# SPDX-License-Identifier: Apache-2.0
"""check_euca_net against the kernel's own rules, sets, sockets and groups, in a network name space of its own.

The files are a tree; /proc is the kernel's. eucanetd itself can't be had: a program of its name stands in for its process, and the
lock, chains, sets and group are made as its source makes them (net/eucanetd.c, eucanetd_edge.c of 4.4).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time

import pytest
from nephoscope.plugin import CRITICAL, OK

from tests.lab.support import Daemon, missing, need, need_root

pytestmark = pytest.mark.lab

CHAINS = """
iptables -N EUCA_FILTER_FWD
iptables -A FORWARD -j EUCA_FILTER_FWD
ipset create EUCA_ALLPRIVATE hash:net family inet hashsize 2048 maxelem 65536
ipset create EU_Xb3dQ2 hash:net family inet hashsize 2048 maxelem 65536
iptables -N EU_Xb3dQ2
iptables -A EUCA_FILTER_FWD -m set --match-set EU_Xb3dQ2 dst -j EU_Xb3dQ2
iptables -A EU_Xb3dQ2 -p tcp --dport 22 -j ACCEPT
for way in PRE:PREROUTING POST:POSTROUTING OUT:OUTPUT; do
    iptables -t nat -N EUCA_NAT_${way%%:*}
    iptables -t nat -A ${way##*:} -j EUCA_NAT_${way%%:*}
done
"""
INSIDE = """
import json, socket, subprocess, sys
steps, lock, group, argv, root = json.loads(sys.argv[1])
subprocess.run(["sh", "-ec", "ip link set lo up\\n" + steps], check=True)
held = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
if lock:
    held.bind(("127.0.0.1", 63822))
joined = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
if group:
    words = socket.inet_aton(group) + socket.inet_aton("127.0.0.1")
    joined.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, words)
from nephoscope.checks.eucalyptus.check_euca_net import CHECK
outcome = CHECK.run(argv, root=root)
print(json.dumps([outcome.state, outcome.reason, outcome.text]))
"""


@pytest.fixture
def node(folder):
    """A node controller in EDGE mode, whose files are a tree and whose /proc is this machine's."""
    need("unshare", "iptables", "iptables-save", "ipset", "ip")
    need_root("a network name space")
    root = folder / "root"
    for path in ("etc/eucalyptus", "var/lib/eucalyptus/instances", "run/eucalyptus/net", "tmp"):
        (root / path).mkdir(parents=True)
    (root / "proc").symlink_to("/proc")
    (root / "etc/eucalyptus/eucalyptus.conf").write_text('EUCALYPTUS="/"\nVNET_MODE="EDGE"\n')
    now = time.time()
    for name, age in (
        ("global_network_info.xml", 10),
        ("eucanetd_global_network_info.xml", 50),
        ("global_network_info.version", 40),
    ):
        file = root / "run/eucalyptus" / name
        file.write_text("x")
        os.utime(file, (now - age, now - age))
    program = folder / "eucanetd"
    shutil.copy(need("sleep")[0], program)
    with Daemon([program, "1000"]) as daemon:
        (root / "run/eucalyptus/eucanetd.pid").write_text(f"{daemon.pid}\n")

        def run(steps=CHAINS, *argv, lock=True, group="", user=None):
            words = json.dumps([steps, lock, group, [*argv, "--state-dir", str(folder / "state")], str(root)])
            line = ["unshare", "--net", sys.executable, "-c", INSIDE, words]
            done = subprocess.run(line, capture_output=True, text=True, timeout=60)
            if done.returncode:
                missing(f"this kernel does not do it: {done.stderr[-300:]}")
            return json.loads(done.stdout)

        run.root, run.daemon = root, daemon
        yield run


def test_a_node_that_is_well(node):
    state, reason, text = node()
    said = "apply wait 0 s, rules 2, dhcpd has nothing to give yet, eucanetd runs"
    assert (state, reason.partition(" s, ")[2]) == (OK, said), text


def test_somebody_flushes_the_rules(node):
    state, reason, _ = node(f"{CHAINS}\niptables -F FORWARD", "--mode", "rules")
    assert (state, reason) == (CRITICAL, "iptables FORWARD of table filter does not lead to EUCA_FILTER_FWD")
    state, reason, _ = node(
        f"{CHAINS}\niptables -F\niptables -X\niptables -t nat -F\niptables -t nat -X", "--mode", "rules"
    )
    said = "iptables chains are missing: EUCA_FILTER_FWD (filter), EUCA_NAT_PRE (nat), EUCA_NAT_POST (nat), EUCA_NAT_OUT (nat)"
    assert (state, reason) == (CRITICAL, said)


def test_a_set_is_gone(node):
    away = "iptables -D EUCA_FILTER_FWD -m set --match-set EU_Xb3dQ2 dst -j EU_Xb3dQ2; ipset destroy EU_Xb3dQ2"
    state, reason, _ = node(f"{CHAINS}\n{away}", "--mode", "rules")
    assert (state, reason) == (CRITICAL, "ipset 1 of 1 security groups have no set: EU_Xb3dQ2")


def test_the_lock_and_the_process(node):
    state, reason, _ = node("", "--mode", "daemon", lock=False)
    assert (state, reason) == (OK, "eucanetd runs, without its lock (before 4.3 there is none)")
    node.daemon.stop()
    state, reason, _ = node("", "--mode", "daemon", lock=False)
    assert (state, reason) == (CRITICAL, "eucanetd does not run: what instances have now stays, and nothing new comes")


def test_a_group_is_joined(node):
    (node.root / "var/lib/eucalyptus/volumes").mkdir()
    state, reason, _ = node("", "--mode", "membership", group="239.193.7.3")
    assert (state, reason) == (OK, "membership joined 239.193.7.3 on lo")
    state, reason, _ = node("", "--mode", "membership")
    assert (state, reason.partition(":")[0]) == (
        CRITICAL,
        "membership no interface has joined 239.193.7.3 or 228.7.7.3",
    )
