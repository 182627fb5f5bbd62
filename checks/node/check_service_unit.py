# SPDX-License-Identifier: Apache-2.0
"""Is every service that should be up active and enabled, is anything failed or flapping, and did the host reboot unannounced?

It asks systemd (any user may): required units (`--unit`, globs allowed), failed units, units that are enabled and not active,
restarts over a period (automatic ones, and those by hand or by an upgrade), and how long ago this machine was booted. A unit
that rests by design is no finding: a oneshot that succeeded, an unmet condition, one whose timer, socket or path waits for it.
"""

from __future__ import annotations

from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, BadOption, Check, Finding, Metric, Threshold, duration
from nephoscope.probes import systemd

STATES = {"active": OK, "reloading": OK, "refreshing": OK, "activating": WARNING, "maintenance": WARNING}
STATES.update(dict.fromkeys(("inactive", "failed", "deactivating"), CRITICAL))
MANAGER = {"": OK, "running": OK, "degraded": OK, "maintenance": CRITICAL}
MANAGER.update(dict.fromkeys(("initializing", "starting", "stopping"), WARNING))
YOUNG = 1800  # seconds
ENDED = {"none": ", no shutdown is on record: crash, reset or power cut", "clean": " after a shutdown"}


def options(add):
    add(
        "--unit",
        repeat=True,
        metavar="GLOB",
        help="unit that must be active; .service may be left out; for restarts: only these",
    )
    add("--period", type=duration, default=3600.0, looks=False, help="over which restarts are counted")


def probe(options, run):
    if options.mode_given and "units" in options.mode and not options.unit:
        raise BadOption("--mode units needs --unit: which ones must be active?")
    return systemd.look(run, options.mode, options.unit, options.period)


def judge(host, options):
    if MANAGER.get(host.state, UNKNOWN) != OK:
        yield Finding(MANAGER.get(host.state, UNKNOWN), "systemd", f"is in state {host.state}")
    for unit in host.required:
        state = CRITICAL if unit.load != "loaded" or unit.sub == "auto-restart" else STATES.get(unit.active, UNKNOWN)
        if state != OK and not (unit.load == "loaded" and unit.rests):
            yield Finding(state, unit.name, unit.words)
        if unit.load == "loaded" and unit.file == "disabled" and not unit.waits_for and not unit.wanted_by:
            yield Finding(WARNING, unit.name, "is disabled: it will not start at the next boot")
    required = {unit.name for unit in host.required}
    for unit in (*host.failed, *host.enabled):
        if unit.name not in required:
            text = f"is enabled for {unit.wanted_by[0]} and {unit.active}" if unit.active != "failed" else unit.words
            yield Finding(WARNING, unit.name, text)
    if "failed" in options.mode:
        yield Metric("failed_units", len(host.failed))
    if "enabled" in options.mode:
        yield Metric("idle_units", len(host.enabled))
    if host.lacking:
        yield host.lacking if options.mode_given else Finding(OK, host.lacking.of, host.lacking.error)
    for unit in host.restarted:
        yield Metric("restarts", unit.restarts, of=unit.name)
    if host.boot:
        yield Metric("uptime", host.boot.uptime)
        if host.boot.new or (host.boot.shutdown == "none" and host.boot.uptime < YOUNG):
            yield Finding(WARNING, "boot", f"this machine was booted anew{ENDED.get(host.boot.shutdown, '')}")
    if host.required:
        yield Finding(OK, "", f"{len(host.required)} required units looked at")


RUNBOOK = """
By hand: `systemctl --failed`, `systemctl status UNIT`, `journalctl -u UNIT -b -e`, `systemctl list-units --state=activating`.
Failed: read its last lines in the journal before `systemctl restart UNIT`; `systemctl reset-failed UNIT` takes an old failure
off the list. Restarting: `systemctl show UNIT -p NRestarts,Result`; look for out-of-memory kills (`journalctl -k`), and for an
upgrade at that time (/var/log/apt/history.log, `dnf history`). Enabled and inactive: somebody stopped it, or it ended well when
it should not. Booted anew: `last -x | head`, `journalctl -b -1 -e`; the BMC's event log tells of power and resets.
"""

CHECK = Check(
    *(options, probe, judge),
    where=("node",),
    keep=lambda host: host.kept,
    runbook=RUNBOOK,
    modes={
        "units": "units that must be active (--unit)",
        "failed": "units that failed",
        "enabled": "units that are enabled and not active",
        "restarts": "services that were started anew",
        "boot": "how long ago this machine was booted",
    },
    thresholds=[
        Threshold("failed_units", mode="failed", help="units that failed; each is a warning of its own"),
        Threshold("idle_units", mode="enabled", help="units that are enabled and not active; likewise"),
        Threshold(
            "restarts", "", "2", "9", mode="restarts", print="worst", main=True, late=True, help="starts in a --period"
        ),
        Threshold("uptime", "s", "1800:", mode="boot", help="since this machine was booted"),
    ],
)
main = CHECK.main
