# SPDX-License-Identifier: Apache-2.0
"""check_euca_net over trees of a host of Eucalyptus (files as eucanetd of 4.4 leaves them), with stand-ins of iptables and ipset."""

from __future__ import annotations

import os
import sys

import pytest
from nephoscope.base import UNREADABLE, Clock, Failed
from nephoscope.checks.eucalyptus.check_euca_net import CHECK, judge
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, Finding, Metric
from nephoscope.probes.eucanetd import Network, Sign

from tests.probes import stand_ins
from tests.probes.test_multicast import HEAD, LO
from tests.probes.test_netfilter import NAMES, SAVED

pytestmark = pytest.mark.skipif(sys.byteorder != "little", reason="recorded on a little-endian machine")

SOCKETS = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n"
LOCK = "  614: 0100007F:F94E 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 20000 2 0000000000000000 0\n"
STAT = (
    "{0} ({1}) S 1 {0} {0} 0 -1 4194304 0 0 0 0 0 0 0 0 20 0 1 0 {2} 4096 100 18446744073709551615" + " 0" * 25 + "\n"
)
UPTIME = 100_000
NOW = 1_800_000_000.0
DHCP = "shared-network euca {{\nsubnet 192.0.2.0 netmask 255.255.255.0 {{\n}}\n{}}}\n"
VIEW = '<?xml version="1.0"?><network-data applied-version="00000000" version="{}"><configuration/></network-data>'
LEASE = "\nhost node-192.0.2.{0} {{\n  hardware ethernet d0:0d:00:00:00:{0};\n  fixed-address 192.0.2.{0};\n}}\n"


class Still(Clock):
    """It is always NOW, so that every age is what the test made it."""

    def time(self):
        return NOW


class Host:
    """A node controller in EDGE mode that is well: two instances, the view 20 s old and applied, eucanetd and dhcpd run."""

    def __init__(self, root, mode="EDGE", role="nc"):
        self.root = root
        signs = {
            "nc": "var/lib/eucalyptus/instances",
            "cc": "var/lib/eucalyptus/CC",
            "clc": "var/lib/eucalyptus/db/data",
        }
        for path in (signs[role], "tmp", "proc/net", "run/eucalyptus/net", "usr/sbin"):
            (root / path).mkdir(parents=True)
        if role == "clc":
            (root / "usr/sbin/euca-lictool").write_text("")
        self.conf(f'EUCALYPTUS="/"\nVNET_MODE="{mode}"\n')
        (root / "sys/class/net/vn_i-1A2B3C4D").mkdir(parents=True)  # the interface of an instance
        self.put("proc/uptime", f"{UPTIME}.00 {UPTIME}.00\n")
        self.put("proc/net/udp", SOCKETS + LOCK)
        self.put("proc/net/igmp", HEAD + LO)
        self.process(640, "eucanetd", 50_000)
        self.put("run/eucalyptus/eucanetd.pid", "640\n")
        self.process(801, "dhcpd", 60)
        self.put("run/eucalyptus/net/euca-dhcp.pid", "801\n")
        self.put("run/eucalyptus/net/euca-dhcp.conf", DHCP.format(LEASE.format(11) + LEASE.format(12)), age=65)
        self.put("run/eucalyptus/global_network_info.xml", "<network-data/>", age=20)
        self.put("run/eucalyptus/eucanetd_global_network_info.xml", VIEW.format("1f2e3d4c"), age=70)
        self.put("run/eucalyptus/global_network_info.version", "1f2e3d4c", age=66)

    def conf(self, text):
        self.put("etc/eucalyptus/eucalyptus.conf", text)

    def put(self, path, text, age=None):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        if age is not None:
            os.utime(file, (NOW - age,) * 2)

    def process(self, pid, name, age):
        self.put(f"proc/{pid}/stat", STAT.format(pid, name, (UPTIME - age) * os.sysconf("SC_CLK_TCK")))
        self.put(f"proc/{pid}/comm", name + "\n")
        self.put(f"proc/{pid}/cmdline", f"/usr/sbin/{name}\0-x\0")

    def kill(self, pid):
        for name in ("stat", "comm", "cmdline"):
            (self.root / f"proc/{pid}/{name}").unlink()


@pytest.fixture
def check(tmp_path, monkeypatch):
    def run(host, *argv, **tools):
        tools = {"iptables_save": stand_ins.says(SAVED), "ipset": stand_ins.says(NAMES), **tools}
        stand_ins.put(tmp_path / "bin", monkeypatch, **tools)
        return CHECK.run([*argv, "--state-dir", str(tmp_path / "state")], root=str(host.root), clock=Still())

    return run


@pytest.fixture
def nc(tmp_path):
    return Host(tmp_path / "nc")


def test_the_judge():
    failed = Failed(UNREADABLE, "view", "", "x")
    network = Network(
        (Sign("failed", "a", "b"), Sign("degraded", "c", "d"), Sign("ok", "e", "f")), (failed,), 1.0, None, 0, 2
    )
    assert list(judge(network, CHECK.parse())) == [
        failed,
        Finding(CRITICAL, "a", "b"),
        Finding(WARNING, "c", "d"),
        Finding(OK, "e", "f"),
        Metric("view_age", 1.0),
        Metric("rules", 0),
        Metric("leases", 2),
    ]


def test_a_node_controller_that_is_well(check, nc):
    outcome = check(nc)
    assert (outcome.state, outcome.reason) == (
        OK,
        "view age 20 s, apply wait 0 s, rules 3, leases 2, dhcpd runs, eucanetd runs",
    )
    assert [item.partition("=")[0] for item in outcome.perfdata] == ["view_age", "apply_wait", "rules", "leases"]


# eucanetd


def test_a_dead_eucanetd(check, nc):
    nc.kill(640)
    nc.put("proc/net/udp", SOCKETS)
    outcome = check(nc)
    said = "eucanetd does not run: what instances have now stays, and nothing new comes"
    assert (outcome.state, outcome.reason) == (CRITICAL, said)
    (nc.root / "run/eucalyptus/eucanetd.pid").unlink()
    assert check(nc, "--mode", "daemon").reason == said


def test_a_pid_that_is_another_programs_now(check, nc):
    nc.kill(640)
    nc.process(640, "bash", 10)
    nc.put("proc/net/udp", SOCKETS)
    assert check(nc, "--mode", "daemon").state == CRITICAL


def test_somebody_else_holds_the_lock(check, nc):
    nc.kill(640)
    outcome = check(nc, "--mode", "daemon")
    said = "eucanetd runs, but not as its pid file says (640): who holds UDP 63822?"
    assert (outcome.state, outcome.reason) == (WARNING, said)


def test_before_4_3_there_is_no_lock(check, nc):
    nc.put("proc/net/udp", SOCKETS)
    outcome = check(nc, "--mode", "daemon")
    assert (outcome.state, outcome.reason) == (OK, "eucanetd runs, without its lock (before 4.3 there is none)")
    (nc.root / "run/eucalyptus/eucanetd.pid").rename(nc.root / "run/eucalyptus/eucalyptus-eucanetd.pid")  # 3.4
    assert check(nc, "--mode", "daemon").state == OK


def test_the_lock_of_another_address_is_not_ours(check, nc):
    nc.kill(640)
    nc.put("proc/net/udp", SOCKETS + LOCK.replace("0100007F", "0200000A"))
    assert check(nc, "--mode", "daemon").state == CRITICAL


# dhcpd


def test_a_dead_dhcpd(check, nc):
    nc.kill(801)
    outcome = check(nc)
    said = "dhcpd does not run: 2 instances get no address when theirs runs out"
    assert (outcome.state, outcome.reason) == (CRITICAL, said)


def test_the_last_instance_takes_dhcpd_with_it(check, nc):
    """eucanetd of 4.4 stops it then, and leaves its configuration with all who were there (update_private_ips, eucanetd_edge.c)."""
    nc.kill(801)
    (nc.root / "sys/class/net/vn_i-1A2B3C4D").rename(nc.root / "sys/class/net/eth0")
    outcome = check(nc, "--mode", "dhcp")
    assert (outcome.state, outcome.reason) == (OK, "leases 0, dhcpd has nothing to give")


def test_without_an_instance_there_need_be_none(check, nc):
    nc.kill(801)
    nc.put("run/eucalyptus/net/euca-dhcp.conf", DHCP.format(""))
    outcome = check(nc, "--mode", "dhcp")
    assert (outcome.state, outcome.reason) == (OK, "leases 0, dhcpd has nothing to give")
    (nc.root / "run/eucalyptus/net/euca-dhcp.conf").unlink()
    assert check(nc, "--mode", "dhcp").reason == "dhcpd has nothing to give yet"


def test_a_dhcpd_with_an_old_configuration(check, nc):
    nc.process(801, "dhcpd", 3600)
    nc.put("run/eucalyptus/net/euca-dhcp.conf", DHCP.format(LEASE.format(11)), age=600)
    outcome = check(nc, "--mode", "dhcp")
    said = "dhcpd was started before its configuration, 10 min ago, was written: new instances get no address"
    assert (outcome.state, outcome.reason) == (WARNING, said)
    nc.put(
        "run/eucalyptus/net/euca-dhcp.conf", DHCP.format(LEASE.format(11)), age=20
    )  # eucanetd is about to restart it
    assert check(nc, "--mode", "dhcp").state == OK


# the view


@pytest.mark.parametrize(
    "age, state, said",
    [(720, WARNING, "view age 12 min is above 10 min"), (1980, CRITICAL, "view age 33 min is above 30 min")],
)
def test_a_view_that_grows_old(check, nc, age, state, said):
    nc.put("run/eucalyptus/global_network_info.xml", "<network-data/>", age=age)
    outcome = check(nc)
    assert (outcome.state, outcome.reason) == (state, said)


@pytest.mark.parametrize(
    "age, state, said",
    [
        (30, OK, ""),
        (300, WARNING, "apply wait 5 min is above 2 min"),
        (900, CRITICAL, "apply wait 15 min is above 10 min"),
    ],
)
def test_a_changed_view_that_is_not_applied(check, nc, age, state, said):
    nc.put("run/eucalyptus/eucanetd_global_network_info.xml", VIEW.format("5a6b7c8d"), age=age)
    nc.put("run/eucalyptus/global_network_info.version", "1f2e3d4c", age=5000)
    outcome = check(nc)
    assert (outcome.state, said in outcome.reason) == (state, True), outcome.text


def test_a_changed_view_of_the_same_version_is_applied(check, nc):
    """A node that comes or goes changes the view and not its version: eucanetd of 4.4 skips it, and writes no .version."""
    nc.put("run/eucalyptus/eucanetd_global_network_info.xml", VIEW.format("1f2e3d4c"), age=900)
    nc.put("run/eucalyptus/global_network_info.version", "1f2e3d4c\n", age=5000)
    outcome = check(nc, "--mode", "view")
    assert (outcome.state, outcome.reason) == (OK, "view age 20 s, apply wait 0 s")


def test_nothing_was_applied_since_the_host_came_up(check, nc):
    (nc.root / "run/eucalyptus/global_network_info.version").unlink()
    nc.put("run/eucalyptus/eucanetd_global_network_info.xml", VIEW.format("1f2e3d4c"), age=900)
    outcome = check(nc, "--mode", "view")
    assert (outcome.state, outcome.reason) == (CRITICAL, "apply wait 15 min is above 10 min")


def test_a_version_that_may_not_be_read(check, nc):
    nc.put("run/eucalyptus/global_network_info.version", "1f2e3d4c", age=5000)
    outcome = check(nc, "--mode", "view", sudo=stand_ins.REFUSES)
    assert outcome.state == UNKNOWN
    assert outcome.reason.startswith(
        "view: sudo: a password is required: needs a sudoers line for `/usr/bin/head -c 4096 "
    )


@pytest.mark.parametrize("view", ["", "<html>", "<network-data applied-version='1f2e3d4c'>"])
def test_a_view_without_a_version(check, nc, view):
    nc.put("run/eucalyptus/eucanetd_global_network_info.xml", view, age=900)
    nc.put("run/eucalyptus/global_network_info.version", "1f2e3d4c", age=5000)
    outcome = check(nc, "--mode", "view")
    said = "view: eucanetd_global_network_info.xml has no version"
    assert (outcome.state, outcome.reason.partition(" (")[0]) == (UNKNOWN, said)


def test_no_view_yet(check, nc):
    (nc.root / "run/eucalyptus/global_network_info.xml").unlink()
    outcome = check(nc, "--mode", "view")
    said = "view: no view of the network has arrived yet (look for /run/eucalyptus/global_network_info.xml)"
    assert (outcome.state, outcome.reason, outcome.absent) == (UNKNOWN, said, True)


def test_before_4_2_nobody_tells_what_is_applied(check, nc):
    (nc.root / "run/eucalyptus/global_network_info.version").unlink()
    nc.put("proc/net/udp", SOCKETS)  # nor is there a lock
    outcome = check(nc, "--mode", "view")
    assert (outcome.state, outcome.reason) == (OK, "view age 20 s")


# rules


@pytest.mark.parametrize(
    "saved, said",
    [
        (
            "*filter\n:FORWARD ACCEPT [0:0]\nCOMMIT\n",
            "iptables chains are missing: EUCA_FILTER_FWD (filter), EUCA_NAT_PRE (nat), EUCA_NAT_POST (nat), EUCA_NAT_OUT (nat)",
        ),
        (
            SAVED.replace("[0:0] -A FORWARD -j EUCA_FILTER_FWD\n", ""),
            "iptables FORWARD of table filter does not lead to EUCA_FILTER_FWD",
        ),
        (
            SAVED.replace("-A OUTPUT -j EUCA_NAT_OUT\n", "-A OUTPUT -d 192.0.2.1/32 -j EUCA_NAT_OUT\n"),
            "iptables OUTPUT of table nat does not lead to EUCA_NAT_OUT",
        ),
        (
            "",
            "iptables chains are missing: EUCA_FILTER_FWD (filter), EUCA_NAT_PRE (nat), EUCA_NAT_POST (nat), EUCA_NAT_OUT (nat)",
        ),
    ],
)
def test_rules_that_somebody_flushed(check, nc, saved, said):
    outcome = check(nc, iptables_save=stand_ins.says(saved))
    assert (outcome.state, outcome.reason) == (CRITICAL, said)


def test_a_security_group_without_its_set(check, nc):
    outcome = check(nc, ipset=stand_ins.says("EUCA_ALLPRIVATE"))
    assert (outcome.state, outcome.reason) == (CRITICAL, "ipset 1 of 1 security groups have no set: EU_Xb3dQ2")


@pytest.mark.parametrize(
    "tools, state, said",
    [
        (
            {"sudo": stand_ins.REFUSES},
            UNKNOWN,
            "iptables: sudo: a password is required: needs a sudoers line for `/usr/sbin/iptables-save -c` (nephoscope export sudoers)",
        ),
        ({"iptables_save": stand_ins.says("garbage")}, UNKNOWN, "iptables: not understood: 'garbage' (iptables-save)"),
        ({"iptables_save": "exec sleep 30"}, CRITICAL, "iptables: no answer in 1 s (run iptables-save -c)"),
    ],
)
def test_rules_that_cannot_be_listed(check, nc, tools, state, said):
    outcome = check(nc, "-t", "3", **tools)
    assert (outcome.state, outcome.reason) == (state, said)
    assert "eucanetd runs" in outcome.text


# what the kernel refused


def test_what_the_kernel_refused(check, nc):
    nc.put("tmp/euca_ipt_file_failed", "*filter\n", age=120)
    nc.put("run/eucalyptus/global_network_info.version", "1f2e3d4c", age=5000)
    outcome = check(nc, "--mode", "leftovers")
    said = "/tmp/euca_ipt_file_failed 2 min old: rules that the kernel refused, and nothing was applied since"
    assert (outcome.state, outcome.reason) == (WARNING, said)
    nc.put("tmp/euca_ipt_file_failed", "*filter\n", age=6000)
    nc.put("tmp/euca_other", "", age=3)
    assert (
        check(nc, "--mode", "leftovers").reason == "/tmp/euca_ipt_file_failed is of a failure that was made good since"
    )


# membership, and other hosts and modes

JOINED = "4\teth0      :     2      V3\n\t\t\t\t{}     1 0:00000000\t\t0\n"


@pytest.mark.parametrize(
    "options, igmp, state, said",
    [
        ("", "0307C1EF", OK, "membership joined 239.193.7.3 on eth0"),
        ("", "030707E4", OK, "membership joined 228.7.7.3 on eth0"),
        (
            "",
            "FB0000E0",
            CRITICAL,
            "membership no interface has joined 239.193.7.3 or 228.7.7.3: this host is out of the cloud, or its JVM does not run",
        ),
        ("--mcast-addr=239.1.2.3", "030201EF", OK, "membership joined 239.1.2.3 on eth0"),
        (
            "--mcast-addr=239.1.2.3",
            "0307C1EF",
            CRITICAL,
            "membership no interface has joined 239.1.2.3: this host is out of the cloud, or its JVM does not run",
        ),
        ("--bootstrap-host=192.0.2.1", "FB0000E0", OK, "membership by TCP, without multicast"),
    ],
)
def test_membership(check, tmp_path, options, igmp, state, said):
    clc = Host(tmp_path / "clc", role="clc")
    clc.conf(f'VNET_MODE="EDGE"\nCLOUD_OPTS="{options}"\n')
    clc.put("proc/net/igmp", HEAD + LO + JOINED.format(igmp))
    outcome = check(clc)
    assert (outcome.state, outcome.reason) == (state, said)


def test_a_cloud_controller_of_vpcmido(check, tmp_path):
    clc = Host(tmp_path / "clc", "VPCMIDO", "clc")
    (clc.root / "run/eucalyptus/global_network_info.xml").unlink()
    for name in ("global_network_info.xml", "eucanetd_global_network_info.xml"):
        clc.put(f"var/lib/eucalyptus/{name}", "<network-data/>", age=25 if name[0] == "g" else 80)
    clc.put("proc/net/igmp", HEAD + JOINED.format("0307C1EF"))
    outcome = check(clc)
    assert (outcome.state, outcome.reason) == (
        OK,
        "view age 25 s, apply wait 0 s, eucanetd runs, membership joined 239.193.7.3 on eth0",
    )
    clc.kill(640)
    clc.put("proc/net/udp", SOCKETS)
    assert check(clc).state == CRITICAL


def test_a_node_of_vpcmido_keeps_the_view_alone(check, tmp_path):
    nc = Host(tmp_path / "nc", "VPCMIDO")
    (nc.root / "run/eucalyptus/eucanetd.pid").unlink()
    nc.kill(640)
    outcome = check(nc)
    assert (outcome.state, outcome.reason) == (OK, "view age 20 s")


def test_a_cluster_controller_of_managed_mode(check, tmp_path):
    cc = Host(tmp_path / "cc", "MANAGED-NOVLAN", "cc")
    (cc.root / "run/eucalyptus/global_network_info.xml").unlink()
    saved = (
        "*filter\n:FORWARD DROP [0:0]\n:EUCA_COUNTERS_IN - [0:0]\n-A FORWARD -j EUCA_COUNTERS_IN\n"
        "-A EUCA_COUNTERS_IN -d 192.0.2.0/24\nCOMMIT\n"
    )
    outcome = check(cc, iptables_save=stand_ins.says(saved))
    assert (outcome.state, outcome.reason) == (OK, "rules 1, leases 2, dhcpd runs")
    outcome = check(cc, "--mode", "rules")
    assert (outcome.state, outcome.reason) == (CRITICAL, "iptables chains are missing: EUCA_COUNTERS_IN (filter)")


def test_the_operator_may_say_the_mode(check, nc):
    nc.conf('EUCALYPTUS="/"\n')
    outcome = check(nc, "--network", "edge", "--mode", "rules")
    assert (outcome.state, outcome.reason) == (OK, "rules 3")


@pytest.mark.parametrize(
    "mode, said, absent",
    [
        ("SYSTEM", "network: VNET_MODE SYSTEM is not one that Eucalyptus keeps (read eucalyptus.conf)", True),
        ("EGDE", "network: VNET_MODE EGDE is not known (read eucalyptus.conf)", False),
    ],
)
def test_other_modes(check, nc, mode, said, absent):
    nc.conf(f'VNET_MODE="{mode}"\n')
    outcome = check(nc)
    assert (outcome.state, outcome.reason, outcome.absent) == (UNKNOWN, said, absent)


def test_a_host_with_no_part_in_it(check, nc):
    outcome = check(nc, "--mode", "membership")
    said = "nothing of this is kept on this host with nc, network mode edge"
    assert (outcome.state, outcome.reason, outcome.absent) == (UNKNOWN, said, True)


def test_no_eucalyptus(check, nc):
    (nc.root / "etc/eucalyptus/eucalyptus.conf").unlink()
    outcome = check(nc)
    said = "eucalyptus.conf: Eucalyptus is not installed here (read /etc/eucalyptus/eucalyptus.conf)"
    assert (outcome.state, outcome.reason, outcome.absent) == (UNKNOWN, said, True)


def test_a_view_that_may_not_be_looked_at(check, nc, monkeypatch):
    real = os.stat

    def refuse(path, *words, **more):
        if "global_network_info" in str(path):
            raise PermissionError(13, "Permission denied", path)
        return real(path, *words, **more)

    monkeypatch.setattr(os, "stat", refuse)
    outcome = check(nc, "--mode", "view")
    assert (outcome.state, outcome.reason) == (
        UNKNOWN,
        "view: Permission denied (look at /run/eucalyptus/global_network_info.xml): needs membership of group eucalyptus,"
        " which may look into the run directory",
    )
