# SPDX-License-Identifier: Apache-2.0
"""Is this host's clock synchronised, and close enough for signed requests, replication and reading logs side by side?

The time daemon is asked (chronyd by chronyc, else ntpd by ntpq, else the kernel by adjtimex) how far the clock is off, whom it
follows and when it last heard of him. A daemon that follows nobody prints an offset of zero: that is no measurement, so the
offset is then unknown, and the time without a source is what alerts.

The kernel alone (systemd-timesyncd) knows no offset, only a bound, `error`. systemd-timesyncd makes it 0 at each update and
never calls the clock unsynchronised when its servers fall silent: the kernel adds 1.8 s an hour, and calls it so by itself at
16 s, after nine hours. So `error` warns after two hours without an update and is critical after seven; presets that ask for
50 ms are UNKNOWN there.

With `--peer`, other hosts' NTP servers are asked as well
and compared with this clock and with each other; from the monitoring server, `--mode peers` does only this.
"""

from __future__ import annotations

from nephoscope.base import Failed
from nephoscope.plugin import OK, UNKNOWN, WARNING, BadOption, Check, Finding, Metric, Preset, Threshold
from nephoscope.probes import ntp

PRESETS = {
    "eucalyptus": Preset(
        "Eucalyptus, which refuses messages whose time is 20 s off",
        limits={"offset": ("5", "15"), "peer_offset": ("5", "15"), "spread": ("5", "15")},
    ),
    # 50 ms: where Ceph's monitors complain (mon_clock_drift_allowed); replication and tokens suffer later.
    "openstack": Preset(
        "OpenStack, Galera and Ceph, whose monitors complain from 50 ms on",
        limits={
            "offset": ("0.05", "0.5"),
            "peer_offset": ("0.05", "0.5"),
            "spread": ("0.1", "0.5"),
            "error": ("1.5", "5"),  # systemd-timesyncd asks every 2048 s at the least, and may have 1.02 s by then
            "sources": ("2:", None),
        },
    ),
}
PRESETS["ceph"] = PRESETS["openstack"]
FINE = {"openstack", "ceph"}


def options(add):
    add("--daemon", default="auto", choices=("auto", "chronyd", "ntpd", "kernel"), help="who is asked (default auto)")
    add(
        "--control", default="", metavar="ADDRESS", help="where the daemon is asked: HOST, HOST:PORT or a socket's path"
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
    yield from (one for one in (facts.clock, *facts.peers) if isinstance(one, Failed))
    if facts.clock and not isinstance(facts.clock, Failed):
        yield from _own(facts.clock, facts.at, facts.unsynchronised)
        if facts.clock.daemon == "kernel" and FINE & set(options.preset):
            yield Finding(UNKNOWN, "", "the kernel tells no offset, which this preset limits: run chronyd or ntpd")
    peers = [peer for peer in facts.peers if not isinstance(peer, Failed)]
    for peer in peers:
        if not peer.synchronised:
            yield Finding(WARNING, peer.host, "is not synchronised, by its own account")
        yield Metric("peer_offset", abs(peer.offset), of=peer.host)
    if len(peers) > 1:
        yield Metric("spread", max(peer.offset for peer in peers) - min(peer.offset for peer in peers))


def _own(clock, at, unsynchronised):
    yield Finding(OK if unsynchronised is None else UNKNOWN, "", clock.said)
    yield Metric("unsynchronised", unsynchronised or 0.0)
    values = {
        "offset": None if clock.offset is None else abs(clock.offset),
        "error": clock.error,
        "stratum": clock.stratum,
        "last_sync": None if clock.synced_at is None else max(0.0, at - clock.synced_at),
        "sources": clock.reachable if clock.sources else None,
    }
    # What this daemon does not tell was not asked for: without a source, the finding says so.
    yield from (Metric(name, value) for name, value in values.items() if value is not None)


CHECK = Check(
    options,
    probe,
    judge,
    keep=lambda facts: facts.kept,
    where=("node", "remote"),
    modes={"daemon": "what this host's time daemon says", "peers": "the clocks of other hosts, by SNTP"},
    thresholds=[
        Threshold("offset", "s", "1", "5", mode="daemon", main=True, help="how far the clock is off, either way"),
        Threshold("unsynchronised", "s", "600", "3600", mode="daemon", help="how long the clock has followed nobody"),
        # 16 s would never be seen from the kernel, see above.
        Threshold("error", "s", "4", "12", mode="daemon", help="how far it may be off, by the daemon's account"),
        Threshold("stratum", "", "9", mode="daemon", help="steps to a reference clock"),
        Threshold("last_sync", "s", mode="daemon", help="age of the last update from a source"),
        Threshold("sources", "", "1:", mode="daemon", help="sources that answered one of the last eight times"),
        Threshold("spread", "s", "1", "5", mode="peers", help="between the peers that differ most"),
        Threshold("peer_offset", "s", "1", "5", mode="peers", help="between a peer's clock and this one"),
    ],
    presets=PRESETS,
    runbook="""
See it by hand: `chronyc tracking` and `chronyc -n sources -v`; ntpd: `ntpq -pn`; systemd-timesyncd: `timedatectl
timesync-status`; the kernel: `adjtimex --print`, `ntptime` or `timedatectl`.
Only the kernel was asked and its bound grows: systemd-timesyncd hears from no server (`journalctl -u systemd-timesyncd`). With
the hardware clock in local time (`timedatectl`, "RTC in local TZ: yes") it leaves the kernel's clock marked unsynchronised.
Reach 0 at every source: a firewall on UDP 123, or the servers are down; `chronyc -n activity` says how many are off line.
An "x" before a source: the sources contradict each other, so find out which of them lies before anything is stepped.
No answer from chronyd: `systemctl status chrony` (`chronyd` on Red Hat), then its log.
To mend a large offset: stop what cannot bear a jump (databases, Ceph monitors), then `chronyc makestep`. Guests have clocks of
their own: after a pause or a migration look there as well.
""",
)
main = CHECK.main
