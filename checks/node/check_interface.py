# SPDX-License-Identifier: Apache-2.0
"""Are the network interfaces up, at the right speed and MTU, without errors and drops, and how full are they?

Looked at are interfaces with a device behind them, bonds, and what a default route goes out by. Those that come and go with
guests (tap, veth, qvo, virbr0) and virtual functions are not, unless --include or --expect names them; neither are devices
that nobody switched on, unless expected. A device that an earlier run saw and that is gone is a warning for a week.

`--expect NAME[=SPEED][/MTU]` says what must be there: by the kernel's name or by its alias (`ip link set dev ens1f0 alias
storage`), at least that fast (`10G`, `2500M`; where the driver tells no speed, this one counts), with exactly that MTU:
`--expect storage=25G/9000 --expect management`. Use is that of the fuller direction, over the last five minutes; so are
errors and drops.
"""

from __future__ import annotations

from nephoscope.base import ABSENT, Failed
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, Check, Finding, Metric, Threshold
from nephoscope.probes import interface


def options(add):
    add(
        "--expect",
        repeat=True,
        type=interface.Wish.parse,
        metavar="NAME[=SPEED][/MTU]",
        help="an interface that must be there",
    )


def probe(options, run):
    return interface.survey(run, [wish.name for wish in options.expect])


def judge(survey, options):
    yield from (part for part in survey.interfaces if isinstance(part, Failed))
    missing = [wish.name for wish in options.expect if wish.name not in survey.names]
    yield from (Finding(CRITICAL, name, "does not exist") for name in missing)
    for name in sorted(set(survey.gone) - set(missing) if "carrier" in options.mode else ()):
        yield Finding(WARNING, name, f"is gone, it was there {survey.gone[name] / 60:.0f} min ago")
    for port in survey.ports:
        if port.on:
            wish = next((wish for wish in options.expect if wish.name in (port.name, port.alias)), interface.Wish(""))
            yield from faults(port, wish, options)
            values = port.measured(wish.speed)
            names = [limit.name for limit in CHECK.thresholds if limit.mode in options.mode and limit.name in values]
            yield from (Metric(name, values[name], port.name) for name in names)
        elif port.asked:
            yield Finding(CRITICAL, port.name, "is switched off")
    if survey.summary():
        yield Finding(OK if any(port.on for port in survey.ports) else UNKNOWN, "", survey.summary())


def faults(port, wish, options):
    asked = set(options.mode)
    if port.link != "up" and asked & {"carrier", "speed", "use"}:
        yield Finding(CRITICAL if port.link else UNKNOWN, port.name, f"is not up: {port.link or 'link not told'}")
    elif options.mode_given and not port.speed and ("speed" in asked or ("use" in asked and not wish.speed)):
        yield Failed(ABSENT, port.name, "read its speed", "the driver tells none", "--expect NAME=SPEED serves for use")
    elif "speed" in asked:
        if port.speed and wish.speed and port.speed < wish.speed:
            yield Finding(CRITICAL, port.name, f"runs at {port.speed} Mbit/s, expected {wish.speed:g}")
        if port.duplex == "half":
            yield Finding(WARNING, port.name, "runs at half duplex")
    if "mtu" in asked and wish.mtu not in (None, port.mtu):
        yield Finding(CRITICAL, port.name, f"has MTU {port.mtu}, expected {wish.mtu}")


RUNBOOK = """
By hand: `ip -s -s link show dev NAME; ethtool NAME; ethtool -S NAME | grep -v ': 0$'; ethtool -m NAME` (the light of the
optics), `dmesg | grep NAME`. No carrier: is the port of the switch up, the cable or optic in place? Slower than expected or
half duplex: both ends must negotiate, or neither; a damaged pair of a cable gives 100 Mbit/s. CRC errors: cable, optic, or
dirt. Drops while not full: ring too small (`ethtool -G`), one processor busy (`/proc/net/softnet_stat`), or protocols that
nobody takes. Gone: `lspci`, `dmesg | grep -i -e pci -e NAME`; where it was meant to go, `--exclude` it. Full:
check_noisy_neighbour, `iftop -i NAME`. MTU: everything on the path must agree, check_path_mtu.
"""

CHECK = Check(
    options,
    probe,
    judge,
    answers=("W6",),
    runbook=RUNBOOK,
    keep=interface.Survey.keep,
    modes={
        "carrier": "is there a link, and does it come and go",
        "speed": "did it negotiate full duplex and the speed expected",
        "mtu": "has it the MTU expected",
        "errors": "is what it receives damaged",
        "drops": "does it throw packets away",
        "use": "how full is it",
    },
    thresholds=[
        Threshold(
            "carrier_changes", "", "2", mode="carrier", main=True, late=True, help="carrier lost or found in 1 h"
        ),
        Threshold("speed", mode="speed", main=True, help="Mbit/s"),
        Threshold("mtu", mode="mtu", main=True, help="bytes"),
        Threshold("in", "c", mode="use", help="bytes received"),
        Threshold("out", "c", mode="use", help="bytes sent"),
        Threshold("error_share", "%", "0.001", mode="errors", late=True, help="damaged packets, as a share"),
        Threshold("use", "%", "80", mode="use", main=True, late=True, help="the fuller direction, of the speed"),
        Threshold("errors_rate", "", "0.1", "10", mode="errors", main=True, help="damaged packets, both directions"),
        Threshold("drops_rate", "", "50", mode="drops", main=True, help="packets dropped, both directions"),
    ],
)
main = CHECK.main
