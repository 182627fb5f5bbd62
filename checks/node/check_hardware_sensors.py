# SPDX-License-Identifier: Apache-2.0
"""Do power, temperature, fans, drives and memory modules of this node read healthy?

It reads what there is: the kernel's sensors (hwmon) and memory error counters (EDAC) without any right; the management
controller (BMC) by IPMI with sudo on the node; by IPMI over LAN or by Redfish from afar (`-H BMC --mode redfish`). Each
sensor is held against its own limits, each part against the health that its controller gives it; a word that is not known is
UNKNOWN. A part that an earlier run saw and that is missing now is a warning. A source that does not exist is named; without any
source nothing is OK.
"""

from __future__ import annotations

from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, BadOption, Check, Finding, Metric, Sudo, Threshold
from nephoscope.plugin.options import duration
from nephoscope.probes import hardware, ipmi

HERE, AFAR = ("hwmon", "edac", "ipmi"), ("ipmi", "redfish")
STATES = {"degraded": WARNING, "failed": CRITICAL, "unknown": UNKNOWN}


def options(add):
    add("--user", default="", help="account on the BMC; USER (IPMI) or ReadOnly (Redfish) suffices")
    add("--password", secret=True, help="its password")
    add("--ipmi-config", default="", metavar="FILE", help="FreeIPMI configuration with the credentials, mode 0600")
    add("--cipher", type=int, default=3, help="IPMI cipher suite")
    add("--workaround", repeat=True, metavar="FLAG", help="FreeIPMI workaround flag, as opensesspriv", looks=False)
    add("--plain", flag=True, help="Redfish without TLS: only for a tunnel or a test")
    add("--period", type=duration, default=86400.0, looks=False, help="how long an event of the BMC's log counts")
    add("--remember", type=duration, default=604800.0, looks=False, help="how long a part that vanished is missed")


def probe(options, run):
    possible = AFAR if options.hostname else HERE
    sources = options.mode if options.mode_given or options.hostname else HERE
    if not set(sources) <= set(possible):
        raise BadOption(f"{'with' if options.hostname else 'without'} -H, --mode must be {' or '.join(possible)}")
    return hardware.look(run, sources, options)


def judge(found, options):
    yield from found.failures
    for part in (*found.parts, *found.signs):
        for health, text in ((part.health, part.text), part.beyond()):
            if health in STATES:
                yield Finding(STATES[health], part.of, text or health)
        if part.quantity:
            yield Metric(part.quantity, part.value, of=part.of)
    for module in found.memory:
        yield Metric("ecc_ue", module.uncorrected, of=module.name)
        yield Metric("ecc_ce", module.corrected, of=module.name)
        yield Metric("ecc_ce_day", found.corrected.rise(module.name), of=module.name)
    if found.log_used is not None:
        yield Metric("log_used", found.log_used)
    if found.summary:
        yield Finding(OK if found.alive else UNKNOWN, "", found.summary)


RUNBOOK = """
By hand: `sensors`; `grep . /sys/devices/system/edac/mc/mc*/*_count`; `ipmi-sensors --output-sensor-state`,
`ipmi-sel --output-event-state --tail=20`; from afar the BMC's web page or `curl -k -u USER https://BMC/redfish/v1/Chassis`.
Failed supply or lost redundancy: look at the cord and the other feed before the part; do not pull the good one. Temperature:
room first (are the neighbours warm?), then fans, then dust. Uncorrectable memory error: move the guests away, then change
the module that is named. Corrected ones that keep coming: plan its change. Missing part: was it replaced or moved? `--exclude`
it, or wait until it is forgotten. An event that has been dealt with: it counts for one --period, or until
the log is cleared.
"""

CHECK = Check(
    *(options, probe, judge),
    where=("node", "remote"),
    uses=("https",),
    needs=[Sudo(*line) for line in ipmi.LINES],
    keep=lambda found: found.kept,
    deadline=25,  # a BMC is slow: 5 to 20 s for all its sensors
    runbook=RUNBOOK,
    modes={
        "hwmon": "the kernel's sensors",
        "edac": "the kernel's counters of memory errors",
        "ipmi": "the BMC by IPMI, local or by -H",
        "redfish": "the BMC by Redfish, by -H only",
    },
    thresholds=[
        Threshold("temp_celsius", main=True, help="temperature; the sensor's own limits hold beside yours"),
        Threshold("fan_rpm", help="revolutions of a fan"),
        Threshold("fan_percent", "%", help="speed of a fan that is told as a share"),
        Threshold("power_watts", help="power, of a supply or of the whole"),
        Threshold("volts", help="voltage"),
        Threshold("media_life", "%", "20:", "10:", mode="redfish", help="what is left of a flash drive's life"),
        Threshold("ecc_ue", "", None, "0", mode="edac", print="worst", help="uncorrectable memory errors since boot"),
        Threshold("ecc_ce", "c", mode="edac", print="worst", help="corrected memory errors since boot"),
        Threshold(
            "ecc_ce_day", "", "24", "240", mode="edac", print="worst", late=True, help="corrected errors of a day"
        ),
        Threshold("log_used", "%", "90", mode="ipmi", help="how full the BMC's event log is"),
    ],
)
main = CHECK.main
