# SPDX-License-Identifier: Apache-2.0
"""Is this host's clock synchronised, and close enough for signed requests, replication and reading logs side by side?

The time daemon is asked (chronyd by chronyc, else ntpd by ntpq, else the kernel by adjtimex) how far the clock is off, whom it
follows and when it last heard of him. A daemon that follows nobody prints an offset of zero: that is no measurement, so the
offset is then unknown, and the time without a source is what alerts. With `--peer`, other hosts' NTP servers are asked as well
and compared with this clock and with each other; from the monitoring server, `--mode peers` does only this.
"""

from __future__ import annotations

from nephoscope.base import Failed
from nephoscope.plugin import OK, UNKNOWN, WARNING, BadOption, Check, Finding, Metric, Preset, Threshold
from nephoscope.probes import ntp

TIGHT = {
    "offset": ("0.05", "0.5"),
    "peer_offset": ("0.05", "0.5"),
    "spread": ("0.1", "0.5"),
    "error": ("0.5", "5"),
    "sources": ("2:", None),
}
WIDE = dict.fromkeys(("offset", "peer_offset", "spread"), ("5", "15"))


def options(add):
    add("--daemon", default="auto", choices=("auto", "chronyd", "ntpd", "kernel"), help="who is asked (default auto)")
    add(
        "--control",
        default="",
        metavar="ADDRESS",
        help="where chronyc or ntpq asks: HOST, HOST:PORT or a socket's path",
    )
    add("--allow-alone", flag=True, help="a clock that follows only itself counts as synchronised (closed networks)")
    add("--peer", repeat=True, metavar="HOST[:PORT]", help="NTP server of another host, to be compared with this clock")


def probe(options, run):
    if options.mode_given and "peers" in options.mode and not options.peer:
        raise BadOption("--mode peers compares nothing without --peer")
    peers = ntp.peers(run, options.peer) if "peers" in options.mode else []
    if "daemon" not in options.mode:
        return ntp.Clocks(peers)
    return ntp.since(run, peers, options.daemon, options.control, options.allow_alone)


def judge(facts, options):
    if isinstance(facts.clock, Failed):
        yield facts.clock
    elif facts.clock:
        yield from _own(facts.clock, facts.at, facts.unsynchronised)
    seen = [peer for peer in facts.peers if not isinstance(peer, Failed)]
    for peer in facts.peers:
        if isinstance(peer, Failed):
            yield peer
            continue
        if not peer.synchronised:
            yield Finding(WARNING, peer.host, "is not synchronised, by its own account")
        yield Metric("peer_offset", abs(peer.offset), of=peer.host)
    if len(seen) > 1:
        yield Metric("spread", max(peer.offset for peer in seen) - min(peer.offset for peer in seen))


def _own(clock, at, unsynchronised):
    yield Metric("unsynchronised", unsynchronised or 0.0)
    if unsynchronised is not None:
        why = "follows only itself" if clock.alone else "is not synchronised"
        yield Finding(UNKNOWN, "", f"{clock.daemon} {why}: how far the clock is off is not known")
    elif clock.offset is not None:
        side = "behind" if clock.offset > 0 else "ahead"
        whom = clock.source or "a source"
        yield Finding(OK, "", f"{clock.daemon} follows {whom}, the clock is {abs(clock.offset):.3g} s {side}")
        yield Metric("offset", abs(clock.offset))
    else:
        yield Finding(OK, "", f"{clock.daemon} says synchronised, the offset it does not tell")
    if unsynchronised is None and clock.error is not None:
        yield Metric("error", clock.error)
    if unsynchronised is None and clock.stratum is not None:
        yield Metric("stratum", clock.stratum)
    if clock.synced_at is not None:
        yield Metric("last_sync", max(0.0, at - clock.synced_at))
    if clock.sources:
        yield Metric("sources", clock.reachable, most=clock.sources)


def keep(facts):
    return facts.kept


CHECK = Check(
    options,
    probe,
    judge,
    keep=keep,
    where=("node", "remote"),
    modes={"daemon": "what this host's time daemon says", "peers": "the clocks of other hosts, by SNTP"},
    thresholds=[
        Threshold(
            "offset", "s", "1", "5", mode="daemon", main=True, help="how far the clock is off, in either direction"
        ),
        Threshold("unsynchronised", "s", "600", "3600", mode="daemon", help="how long the clock has followed nobody"),
        Threshold(
            "error", "s", "4", "16", mode="daemon", help="how far it may be off at most, by the daemon's account"
        ),
        Threshold("stratum", "", "9", mode="daemon", help="steps to a reference clock"),
        Threshold("last_sync", "s", mode="daemon", help="age of the last update from a source"),
        Threshold("sources", "", "1:", mode="daemon", help="sources that answered one of the last eight times"),
        Threshold("spread", "s", "1", "5", mode="peers", help="between the peers that differ most"),
        Threshold("peer_offset", "s", "1", "5", mode="peers", help="between a peer's clock and this one"),
    ],
    presets={
        "eucalyptus": Preset("Eucalyptus, which refuses messages whose time is 20 s off", limits=WIDE),
        "openstack": Preset("OpenStack and Galera: tokens and replication", limits=TIGHT),
        "ceph": Preset("Ceph, whose monitors complain from 50 ms on", limits=TIGHT),
    },
    runbook="""
See it by hand: `chronyc tracking` and `chronyc -n sources -v`; ntpd: `ntpq -pn`; systemd-timesyncd: `timedatectl
timesync-status`.
Reach 0 at every source: a firewall on UDP 123, or the servers are down; `chronyc -n activity` says how many are off line.
An "x" before a source: the sources contradict each other, so find out which of them lies before anything is stepped.
No answer from chronyd: `systemctl status chrony` (`chronyd` on Red Hat), then its log.
To mend a large offset: stop what cannot bear a jump (databases, Ceph monitors), then `chronyc makestep`. Guests have clocks of
their own: after a pause or a migration look there as well.
""",
)
main = CHECK.main
