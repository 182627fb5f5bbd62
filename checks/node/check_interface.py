# SPDX-License-Identifier: Apache-2.0
"""Are the network interfaces up, at the right speed and MTU, without errors and drops, and how full are they?

Looked at are interfaces with a device behind them, bonds, and what a default route goes out by. Those that come and go with
guests (tap, veth, qvo, virbr0) and virtual functions are not, unless --include or --expect names them; neither are devices
that nobody switched on, unless expected.

`--expect NAME[=SPEED][/MTU]` says what must be there: by the kernel's name or by its alias (`ip link set dev ens1f0 alias
storage`), at least that fast (`10G`, `2500M`; where the driver tells no speed, this one counts), with exactly that MTU:
`--expect storage=25G/9000 --expect management`. Use is that of the fuller direction, over the last five minutes; so are
errors and drops.
"""

from __future__ import annotations

from nephoscope.base import ABSENT, COLLECTING, Failed
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
    failed = [part for part in survey.interfaces if isinstance(part, Failed)]
    ports = [part for part in survey.interfaces if not isinstance(part, Failed)]
    yield from failed
    present = {part.of for part in failed} | {port.name for port in ports} | {port.alias for port in ports}
    yield from (Finding(CRITICAL, wish.name, "does not exist") for wish in options.expect if wish.name not in present)
    wishes = {wish.name: wish for wish in options.expect}
    for port in ports:
        if port.on:
            wish = wishes.get(port.name) or wishes.get(port.alias) or interface.Wish(port.name)
            for mode in options.mode:
                if port.carrier is not False or mode not in ("speed", "use"):
                    yield from QUESTIONS[mode](port, wish, options)
                elif "carrier" not in options.mode:
                    yield Finding(CRITICAL, port.name, "has no carrier")
        elif port.asked:
            yield Finding(CRITICAL, port.name, "is switched off")
    up = [f"{port.name} {port.speed} Mbit/s" if port.speed else port.name for port in ports if port.on]
    off = [port.name for port in ports if not port.on and not port.asked]
    rest = f"{len(off)} switched off, {survey.others} others" if off else f"{survey.others} others"
    if up:
        yield Finding(OK, "", f"{len(up)} looked at: {', '.join(up[:6])}{' …' if len(up) > 6 else ''}; not: {rest}")
    elif off:
        yield Finding(UNKNOWN, "", f"none is switched on: {', '.join(off[:6])}")


def carrier(port, wish, options):
    if port.carrier is False:
        yield Finding(CRITICAL, port.name, "has no carrier")
    elif port.carrier is None:
        yield Finding(UNKNOWN, port.name, "does not tell whether it has a carrier")
    elif port.state not in ("up", "unknown"):
        yield Finding(CRITICAL, port.name, f"has a carrier and is {port.state}")
    if port.changes is not None:
        yield Metric("carrier_changes", port.changes, port.name)


def speed(port, wish, options):
    if port.speed:
        yield Metric("speed", port.speed, port.name)
        if wish.speed and port.speed < wish.speed:
            yield Finding(CRITICAL, port.name, f"runs at {port.speed} Mbit/s, expected {wish.speed:g}")
    elif options.mode_given:
        yield Failed(ABSENT, port.name, "read its speed", "the driver tells none")
    if port.duplex == "half":
        yield Finding(WARNING, port.name, "runs at half duplex")


def mtu(port, wish, options):
    yield Metric("mtu", port.mtu, port.name)
    if wish.mtu is not None and port.mtu != wish.mtu:
        yield Finding(CRITICAL, port.name, f"has MTU {port.mtu}, expected {wish.mtu}")


def errors(port, wish, options):
    yield Metric("errors_rate", port.rates["errors"], port.name)
    yield Metric("error_share", port.rates["error_share"], port.name)


def drops(port, wish, options):
    if not port.standby:
        yield Metric("drops_rate", port.rates["drops"], port.name)


def use(port, wish, options):
    yield Metric("in", port.rx, port.name)
    yield Metric("out", port.tx, port.name)
    fastest = port.speed or wish.speed
    if fastest:
        rates = (port.rates["rx"], port.rates["tx"])
        share = COLLECTING if COLLECTING in rates else 100 * max(rates) * 8 / (fastest * 1e6)
        yield Metric("use", share, port.name)
    elif options.mode_given:
        yield Failed(ABSENT, port.name, "read its speed", "the driver tells none", "say it by --expect NAME=SPEED")


QUESTIONS = {"carrier": carrier, "speed": speed, "mtu": mtu, "errors": errors, "drops": drops, "use": use}

RUNBOOK = """
By hand: `ip -s -s link show dev NAME; ethtool NAME; ethtool -S NAME | grep -v ': 0$'; ethtool -m NAME` (the light of the
optics), `dmesg | grep NAME`. No carrier: is the port of the switch up, the cable or optic in place? Slower than expected or
half duplex: both ends must negotiate, or neither; a damaged pair of a cable gives 100 Mbit/s. CRC errors: cable, optic, or
dirt. Drops while not full: ring too small (`ethtool -G`), one processor busy (`/proc/net/softnet_stat`), or protocols that
nobody takes. Full: check_noisy_neighbour, `iftop -i NAME`. MTU: everything on the path must agree, check_path_mtu.
"""

CHECK = Check(
    options,
    probe,
    judge,
    where=("node",),
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
        Threshold("carrier_changes", "", "2", mode="carrier", main=True, help="carrier lost or found in the last hour"),
        Threshold("speed", mode="speed", main=True, help="Mbit/s"),
        Threshold("mtu", mode="mtu", main=True, help="bytes"),
        Threshold("in", "c", mode="use", help="bytes received"),
        Threshold("out", "c", mode="use", help="bytes sent"),
        Threshold("error_share", "%", "0.001", mode="errors", help="damaged packets, as a share"),
        Threshold("use", "%", "80", mode="use", main=True, help="the fuller direction, as a share of the speed"),
        Threshold("errors_rate", "", "0.1", "10", mode="errors", main=True, help="damaged packets, both directions"),
        Threshold("drops_rate", "", "50", mode="drops", main=True, help="packets dropped, both directions"),
    ],
)
main = CHECK.main
