# SPDX-License-Identifier: Apache-2.0
"""Is the network of instances being kept on this host, in the mode that it is set to?

Serves Eucalyptus 3.4 to 5.1 (EDGE, VPCMIDO) and up to 4.3 (MANAGED). The mode is VNET_MODE of eucalyptus.conf unless --network
says it; what is looked at follows from the mode and from the components that live here. When eucanetd dies instances keep what
they have, and nobody notices until the next change: so its process and its lock on UDP 63822 count, the age of the view of the
network that it was last sent (one comes every 30 s), how long a changed one waits to be applied, dhcpd's configuration, the
chains and what leads to them, the rules that the kernel refused, and on hosts with a JVM the multicast group of its membership.
"""

from __future__ import annotations

from nephoscope.plugin import CRITICAL, OK, WARNING, Check, Finding, Group, Metric, Sudo, Threshold
from nephoscope.probes import eucanetd, netfilter

STATES = {"ok": OK, "degraded": WARNING, "failed": CRITICAL}


def options(add):
    add("--network", choices=eucanetd.NETWORKS, help="network mode, instead of VNET_MODE in eucalyptus.conf")


def probe(options, run):
    return eucanetd.look(run, options.mode, options.network)


def judge(network, options):
    yield from network.failures
    for sign in network.signs:
        yield Finding(STATES[sign.health], sign.of, sign.text)
    for name in ("view_age", "apply_wait", "rules", "leases"):
        value = getattr(network, name)
        if value is not None:
            yield Metric(name, value)


CHECK = Check(
    *(options, probe, judge),
    needs=[*(Sudo(*line) for line in (netfilter.SAVE, netfilter.SETS, *eucanetd.HEADS)), Group("eucalyptus")],
    modes={
        "daemon": "eucanetd runs and holds its lock",
        "dhcp": "dhcpd runs with the configuration as it is now",
        "view": "the view of the network arrives and is applied",
        "rules": "chains and sets are in place, and traffic is led to them",
        "leftovers": "rules that the kernel refused",
        "membership": "the JVM's multicast group is joined",
    },
    thresholds=[
        Threshold("view_age", "s", "600", "1800", mode="view", main=True, help="since a view arrived"),
        Threshold("apply_wait", "s", "120", "600", mode="view", help="since a changed view waits to be applied"),
        Threshold("rules", mode="rules", main=True, help="rules in chains of Eucalyptus"),
        Threshold("leases", mode="dhcp", main=True, help="addresses that dhcpd has to give"),
    ],
    runbook="""
By hand: `systemctl status eucanetd`, `ss -ulpn | grep 63822`, `tail /var/log/eucalyptus/eucanetd.log`, `ls -l
/run/eucalyptus/*global_network_info*`, `iptables-save | grep -c EUCA`, `ipset list -n`, `cat /proc/net/igmp`.
eucanetd does not run: start it; it puts everything in place from the last view, and instances notice nothing. An EDGE node
without it offers no capacity.
View old: does the cluster controller reach this node (cc.log, check_euca_cc), does the cloud controller send (check_euca_clc)?
A changed view that waits: eucanetd.log says which rules fail; /tmp/euca_*_failed are their files (with PrivateTmp below
/tmp/systemd-private-*), `iptables-restore --test < FILE` names the line.
Chains missing or not led to: somebody flushed them, firewalld or an iptables service most often. Stop that, restart eucanetd.
dhcpd: eucanetd restarts it with each new instance; eucanetd.log says why it could not.
Membership: the JVM is down (check_euca_clc), or the interface lost its address. Multicast between hosts: try `omping`.
""",
)
main = CHECK.main
