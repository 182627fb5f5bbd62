# SPDX-License-Identifier: Apache-2.0
"""Do the disks answer in time, as the kernel counts it and, on request, as a real write and fsync see it?

Looked at are all disks and device-mapper maps that were ever used; not their partitions, loop and nbd devices, disks in memory,
optical drives, nor the paths of multipath maps (check_multipath), unless --include or --expect names them. Maps go by their own
names.
No device is opened: /proc/diskstats is read, which serves every Linux since 2.6, and no right is needed.

`await` is the time for an I/O, of reads and writes the slower, and of the last two intervals (from run to run, a minute at
least) the better: one slow moment is noise, and alarms nobody. An interval with fewer than --least I/Os a second tells nothing,
unless the disk was busy for a tenth of it. That a disk is busy (`util`) is no fault: one that works in parallel is busy and
quick. A disk that answers nothing from run to run while I/Os wait for it hangs, which is CRITICAL. A disk whose I/Os the kernel
does not count (queue/iostats is 0) is UNKNOWN.

--path writes 4 KiB into a file, syncs it and removes it, in a child that may hang without holding this check up; as nobody
where the check runs as root. --include and --exclude hold for these directories as well.
"""

from __future__ import annotations

from nephoscope.base import NOT_ALLOWED, Failed
from nephoscope.plugin import CRITICAL, OK, Check, Finding, Metric, Threshold, count, directory
from nephoscope.probes import diskstats


def options(add):
    add("--expect", repeat=True, metavar="NAME", help="a disk or map that must be there, or a partition")
    add(
        "--least",
        type=count,
        default=10,
        metavar="N",
        looks=False,
        help="I/Os a second from which on their time is judged",
    )
    add("--path", repeat=True, type=directory, metavar="DIR", help="write and sync a file in DIR, and remove it")


def probe(options, run):
    return diskstats.survey(run, options.expect, options.least, options.path)


def judge(survey, options):
    yield from (Finding(CRITICAL, name, "is not there") for name in survey.missing)
    for device in survey.devices:
        if isinstance(device, Failed):
            yield device
            continue
        if device.stuck is not None:
            said = f"hangs: {device.in_flight} I/Os wait, and none was answered for {device.stuck:.0f} s"
            yield Finding(CRITICAL, device.name, said)
        yield Metric("in_flight", device.in_flight, device.name)
        also = f"this is {device.kernel}" if device.kernel != device.name else ""
        yield from (Metric(name, value, device.name, detail=also) for name, value in device.values.items())
    for trial in survey.trials:
        yield from [trial] if isinstance(trial, Failed) else _trial(trial)
    if survey.summary():
        yield Finding(OK, "", survey.summary())


def _trial(trial):
    if trial.denied:
        yield Failed(NOT_ALLOWED, trial.path, f"{trial.step} a file", trial.error, "the right to write there")
    elif trial.error:
        yield Finding(CRITICAL, trial.path, f"{trial.step} failed: {trial.error}")
    if trial.synced is not None:
        yield Metric("fsync", trial.synced, trial.path)


RUNBOOK = """
By hand: `iostat -x 5 3` (package sysstat), `cat /proc/diskstats`, `dmesg -T | tail -50`, `iotop -o`, `cat /proc/pressure/io`.
Slow and full of work (ios_rate, util high): somebody writes much; `iotop -o`, check_noisy_neighbour, a rebuild or a scrub
(`cat /proc/mdstat`), a snapshot that copies. Slow and little to do: the disk, its cable, its controller's cache battery, or the
array: check_disk_health, check_san_health, check_multipath. A map is slow as what lies below it: `lsblk -s /dev/mapper/NAME`.
Hangs: `cat /sys/block/DEV/device/state`, `multipath -ll`, `dmesg`; processes in state D (`ps -eo state,pid,wchan:30,cmd | grep
^D`) wait for it and can't be killed. Look for the path or the array before a reboot: it would hang in unmounting.
fsync slow and await good: the file system's journal or a quota; both slow: the disk.
"""

CHECK = Check(
    options,
    probe,
    judge,
    runbook=RUNBOOK,
    keep=diskstats.Survey.keep,
    thresholds=[
        Threshold("in_flight", print="apart", help="I/Os given and not answered, just now"),
        Threshold("fsync", "s", "0.1", "1", help="time to write and sync 4 KiB below --path"),
        Threshold(
            "await", "s", "0.05", "0.2", main=True, late=True, print="apart", help="time for an I/O, over two intervals"
        ),
        Threshold("read_await", "s", late=True, print="apart", help="time for a read, last interval"),
        Threshold("write_await", "s", late=True, print="apart", help="time for a write, last interval"),
        Threshold("util", "%", late=True, print="apart", help="time with an I/O in flight, as a share"),
        Threshold("ios_rate", print="apart", help="reads and writes"),
    ],
)
main = CHECK.main
