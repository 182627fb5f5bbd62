# SPDX-License-Identifier: Apache-2.0
"""Did a run-time property of the Eucalyptus cloud drift from the recorded baseline?

For Eucalyptus 3.1 to 5.x: one DescribeProperties, read by its local names, which are the same in all of them. Half of a cloud's
configuration lies in files, half in these properties, which whoever has the right can change without a trace. The baseline
is what `euctl > FILE` wrote, or a JSON object of names and values; what it does not list is not compared, unless with `--all`.
A value that the cloud hides (********) can't be compared, and this is said.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, Check, Finding, Grant, Metric, Threshold
from nephoscope.probes import euca_api, euca_properties

GRAVE = ("*.storage.blockstoragemanager", "objectstorage.providerclient", "bootstrap.webservices.*", "*dns.*")


def options(add):
    add("--baseline", default="/etc/nephoscope/euca_properties", metavar="FILE", help="what was recorded")
    add("--all", flag=True, help="a property that is not recorded is a finding, too")
    add("--grave", repeat=True, default=GRAVE, metavar="GLOB", help="properties whose change is CRITICAL", looks=False)
    euca_api.options(add)


def probe(options, run):
    return euca_properties.look(run, options)


def judge(found, options):
    for each in found.compared:
        bad = CRITICAL if any(fnmatchcase(each.name, glob) for glob in options.grave) else WARNING
        if each.value is None:
            yield Finding(bad, each.name, "is recorded and is absent from the cloud")
        elif each.recorded is None:
            yield Finding(WARNING, each.name, "is not recorded")
        elif each.changed:
            yield Finding(bad, each.name, each.text)
        else:
            yield Finding(OK, each.name, "is hidden, not compared" if each.hidden else "is as recorded")
    for name in ("changed", "absent", "hidden", "unknown"):
        yield Metric(name, getattr(found, name))
    text = f"{found.same} {'property is' if found.same == 1 else 'properties are'} as recorded"
    text += f", {found.hidden} hidden and not compared" if found.hidden else ""
    text += f", {found.others} not in the baseline" if found.others else ""
    yield Finding(OK if found.same or found.changed or found.absent else UNKNOWN, "", text)


CHECK = Check(
    *(options, probe, judge),
    where=("remote",),
    uses=("http", "cloud"),
    needs=[Grant(euca_api.right("euprop:DescribeProperties"))],
    thresholds=[
        Threshold(
            "changed",
            main=True,
            help="properties with another value than the recorded one; each is a finding by itself",
        ),
        Threshold("absent", help="recorded properties that the cloud does not have"),
        Threshold("hidden", help="properties that could not be compared"),
        Threshold("unknown", help="properties that are not recorded (--all)"),
    ],
    runbook="""
By hand: `euctl NAME`; `euctl -r NAME` would reset it to its default. Ask who changed it, and why, before you set it back: a CLC
logs ModifyPropertyValue in cloud-output.log. Was it meant? Record it: `euctl > FILE` on a host with administrator's keys (what
the cloud hides stays hidden), keep the file with the other configuration, mode 0640.
blockstoragemanager changed: do NOT set it back without looking; volumes of one back-end can't be served by the other.
clock_skew_sec, DNS: requests are refused, or names lead nowhere, from the next minute on.
Absent after an upgrade: properties come and go with versions; record anew when the upgrade is done.
A recorded value that is hidden: whoever may see it records and compares it, or `--exclude NAME`.
""",
)
main = CHECK.main
