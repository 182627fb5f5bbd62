# SPDX-License-Identifier: Apache-2.0
"""Are the Fibre Channel ports up, at their usual speed, without errors, and do they see all the targets they saw before?

It reads /sys/class/fc_host and /sys/class/fc_remote_ports, without any right; each port in a child of its own, since a driver
may wait for its firmware. Ports are called by their WWPN, which outlives a reboot. A port that an earlier run saw and that is
gone, one that runs slower than before or than another one that supports the same speeds, and one that sees fewer target ports
than before, is a warning for a week (`--remember`). Errors are damaged frames and words, lost synchronisation, lost signal and
failed links, over the last five minutes. A port without a cable is Linkdown, and critical: `--exclude` its WWPN. How many must
be up: `-c ports_up=2:`; which: `--expect WWPN`. A host without Fibre Channel: `--absent-state ok`.
"""

from __future__ import annotations

from nephoscope.base import Failed
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, Check, Finding, Metric, Threshold, duration
from nephoscope.probes import fc_host

STATES = {"ok": OK, "degraded": WARNING, "failed": CRITICAL, "unknown": UNKNOWN}


def options(add):
    add(
        "--expect",
        repeat=True,
        type=fc_host.wwpn,
        metavar="WWPN",
        help="a port that must be there, by WWPN or the kernel's name (host3)",
    )
    add("--remember", type=duration, default=604800.0, looks=False, help="how long what was there before is missed")


def probe(options, run):
    return fc_host.survey(run, options.expect, options.remember)


def judge(survey, options):
    yield from (port for port in survey.ports if isinstance(port, Failed))
    missing = [name for name in options.expect if name not in survey.names]
    state, said = (CRITICAL, "does not exist") if survey.named else (UNKNOWN, "was not found")
    yield from (Finding(state, name, said) for name in missing)
    for name in sorted(set(survey.gone) - set(missing)):
        yield Finding(WARNING, name, f"is gone, it was there {survey.gone[name] / 60:.0f} min ago")
    for port in survey.good:
        yield from _port(port)
    up = [port for port in survey.good if port.health in ("ok", "degraded")]
    if not any(isinstance(port, Failed) or port.health == "unknown" for port in survey.ports):
        yield Metric("ports_up", len(up))
    if up:
        speeds = ", ".join(f"{port.host} {port.speed:g} Gbit/s" if port.speed else port.host for port in up[:6])
        yield Finding(OK, "", f"{len(up)} of {len(survey.ports)} ports up: {speeds}")


def _port(port):
    unknown = "" if port.health != "unknown" else ", which is not understood"
    yield Finding(STATES[port.health], port.name, f"({port.host}) is {port.state}{unknown}")
    if port.health not in ("ok", "degraded"):
        return
    if port.speed and port.usual and port.speed < port.usual:
        yield Finding(WARNING, port.name, f"({port.host}) runs at {port.speed:g} Gbit/s, {port.usual:g} is usual")
    if port.usual and not port.speed:
        yield Finding(UNKNOWN, port.name, f"({port.host}) tells no speed, {port.usual:g} Gbit/s is usual")
    if port.strange:
        yield Finding(UNKNOWN, port.name, f"({port.host}) sees what is not understood: {', '.join(port.strange)}")
    if port.others or port.targets < port.most:
        others = f": {', '.join(port.others)}" if port.others else ""
        yield Finding(WARNING, port.name, f"({port.host}) sees {port.targets} targets, {port.most} at most{others}")
    yield Metric("targets", port.targets, port.name)
    if port.speed:
        yield Metric("speed", port.speed, port.name)
    if port.rate is not None:
        yield Metric(
            "errors_rate", port.rate, port.name, detail=", ".join(f"{k} {n:g}" for k, n in port.errors.items())
        )


RUNBOOK = """
By hand: `grep . /sys/class/fc_host/host*/{port_name,port_state,speed,port_type} /sys/class/fc_host/host*/statistics/*`,
`dmesg -T | grep -i -e lpfc -e qla2xxx -e fc`. Linkdown: cable, optic, the switch's port (is it enabled, has it light:
`sfpshow` on the switch). Slower than usual: a dirty optic or a bad cable makes both ends agree on less; clean or change it,
and reset the port. invalid_tx_word and invalid_crc on one port: the optic or cable between it and the switch; error_frames on
all: look further into the fabric. loss_of_sync and link_failure that keep coming: the link flaps. Fewer targets while the
port is up: zoning, or the array's port or controller (check_san_health); Blocked is the wait before the kernel gives up on it
(dev_loss_tmo). Gone: `lspci | grep -i fibre`, `dmesg | grep -i pci`; taken out on purpose: run the check once with
`--remember 0 --save` as the monitoring user. What still works of each LUN: check_multipath.
"""

CHECK = Check(
    *(options, probe, judge),
    keep=lambda survey: survey.kept,
    runbook=RUNBOOK,
    thresholds=[
        Threshold("ports_up", "", None, "1:", main=True, help="ports that are Online"),
        Threshold("targets", help="ports of targets that are Online, as a port sees them"),
        Threshold("speed", help="speed of a port, Gbit/s"),
        Threshold(
            "errors_rate",
            "",
            "0",
            "0.1667",
            help="errors of a port per second, all counters; critical is 10 in a minute",
        ),
    ],
)
main = CHECK.main
