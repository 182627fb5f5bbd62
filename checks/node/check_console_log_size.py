# SPDX-License-Identifier: Apache-2.0
"""Is a guest's console log growing into a weapon against the message bus and the disk?

A guest writes its serial console into console.log on its host without any limit of its own, and whoever opens the console page
sends it over the message bus: 5.5 GB once brought a whole cloud's broker down, twice, with every usual check green. This one
names the largest and the fastest growing log of Nova's and Eucalyptus' instance directories, while it is still a question of
one guest on one host; and where none of them is large it adds them up, and counts those over --large.
"""

from __future__ import annotations

from nephoscope.base import ABSENT, Failed
from nephoscope.plugin import OK, Check, Finding, Group, Metric, Threshold, directory, size
from nephoscope.probes import console_log

LARGE = 50 * 2**20  # bytes: half of the size that alarms by itself


def options(add):
    add(
        "--path",
        repeat=True,
        type=directory,
        metavar="DIR",
        help=f"instance store (default: {console_log.NOVA} and {console_log.EUCALYPTUS}, those that are here)",
    )
    add(
        "--large",
        type=size,
        looks=False,
        default=LARGE,
        metavar="SIZE",
        help="logs larger than this are counted as over",
    )


def probe(options, run):
    return console_log.survey(run, options.path)


def judge(survey, options):
    logs = []
    for store in survey.stores:
        if isinstance(store, Failed):
            yield store
            continue
        if store.hidden:
            yield store.hidden
        if store.instances > len(store.odd) and not store.logs:
            error = f"{store.instances} instances and no console.log (serial console on TCP, or another place)"
            yield Failed(ABSENT, store.path, console_log.TRIED, error)
        elif not store.instances and not store.hidden:
            yield Finding(OK, store.path, "holds no instances")
        for instance, kind in store.odd.items():
            yield Failed(ABSENT, instance, console_log.TRIED, f"its console.log is {kind}: nobody knows its size")
        for log in store.logs:
            logs.append(log)
            yield Metric("size", log.size, log.instance)
            yield Metric("growth_rate", log.growth, log.instance)
    if logs:
        yield Metric("total", sum(log.size for log in logs))
        yield Metric("over", sum(log.size > options.large for log in logs))
        top = max(logs, key=lambda log: log.size)
        yield Finding(
            OK, "", f"{len(logs)} console logs, {top.instance} has the largest with {top.size / 2**20:.3g} MiB"
        )


RUNBOOK = """
By hand: `ls -lS /var/lib/nova/instances/*/console.log | head`, `tail -c 2000` of the one that is named.
It can be cut while the guest runs: `truncate -s 0 console.log` (QEMU appends). Until then nobody should open that console page.
Whose it is: `openstack server show UUID`. For good: virtlogd (max_size in /etc/libvirt/virtlogd.conf) with Nova from Ocata
on, a smaller log level in the guest, and a look at the broker: `rabbitmqctl list_queues name messages message_bytes`.
"""

CHECK = Check(
    options,
    probe,
    judge,
    where=("node",),
    needs=[Group("nova"), Group("eucalyptus")],
    runbook=RUNBOOK,
    keep=console_log.Survey.keep,
    thresholds=[
        Threshold("total", "B", "1073741824", "10737418240", help="size of all logs; 1 and 10 GiB"),
        Threshold("over", "", "10", help="number of logs over --large"),
        Threshold("size", "B", "104857600", "1073741824", main=True, print="worst", help="size; 100 MiB and 1 GiB"),
        Threshold("growth_rate", "B", "174763", "1747627", print="worst", help="growth; 10 and 100 MiB a minute"),
    ],
)
main = CHECK.main
