# SPDX-License-Identifier: Apache-2.0
"""Is any disk or array failing under the service: Linux software RAID, RAID controllers, SMART and NVMe health?

It asks what there is; a source that does not exist is named, and without any nothing is OK.
md: /sys/block/md*/md, without any right. Lost redundancy is CRITICAL, redundancy that is only smaller (RAID 6 with one disk
missing) and a rebuild are WARNING.
smart: smartctl 7.0 or later, for each ATA, SCSI and NVMe disk of this machine and those behind a MegaRAID controller; run by
contrib/sbin/nephoscope-smart, which has to be installed, since sudo can't allow smartctl itself without allowing it to change
disks. A disk that sleeps is not woken, and is said; UNKNOWN when it has slept for --remember. Disks on a SAN, on virtio or of a
hypervisor, sticks and media on USB are not asked. A disk that can't be asked is UNKNOWN, never well; those beside it are told.
One that the kernel has given up (offline, dead) has failed.
raid: storcli64 or perccli64 in JSON, for MegaRAID and PERC: controller, virtual drives, disks, battery or CacheVault. Other
controllers (hpsa, smartpqi, aacraid …) have no tool with a documented JSON: they are UNKNOWN; leave the mode out by naming the
others, and ask the BMC by check_hardware_sensors.

Error logs and counters of a disk stay for ever: what alarms is that they rise, over a day (`sectors_day`, `errors_day`).
What an earlier run saw and is gone is a warning for --remember. Disks are known by their serial numbers. `--expect NAME`, or a
glob with `=N` for how many (md0, "sd*=12", "c0/e252/s*=8"), says what has to be there: less is critical.
A run starts smartctl once for each disk, sixteen side by side and for 10 s at most, and storcli64 for two to four questions.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, Check, Finding, Metric, Sudo, Threshold, duration, expect
from nephoscope.probes import disk_health, megaraid, smart

STATES = {
    "ok": OK, "spare": OK, "asleep": OK, "degraded": WARNING, "rebuilding": WARNING, "exposed": CRITICAL,
    "failed": CRITICAL, "unknown": UNKNOWN,
}  # fmt: skip


def options(add):
    add(
        "--expect", repeat=True, type=expect, metavar="NAME|GLOB[=N]", looks=False,
        help="array, disk or drive that has to be there",
    )  # fmt: skip
    add("--remember", type=duration, default=604800.0, looks=False, help="how long what vanished is missed")


def probe(options, run):
    return disk_health.look(
        run, options.mode, options.mode_given, options.remember, any(count for _, count in options.expect)
    )


def judge(survey, options):
    yield from survey.failures
    for glob, count in options.expect:
        there = sum(fnmatchcase(name, glob) for name in survey.names)
        if there < count:  # of no object: a filter would drop it
            text = f"{glob} is not there" if not there else f"{glob}: {there} of {count} are there"
            yield Finding(UNKNOWN if survey.blind else CRITICAL, "", text)
    for condition in survey.conditions:
        yield Finding(STATES[condition.health], condition.of, condition.text)
    for reading in survey.readings:
        yield Metric(reading.name, reading.value, reading.of)
    if survey.failed is not None:
        yield Metric("failed", survey.failed)
    if survey.summary:
        yield Finding(OK if survey.alive else UNKNOWN, "", f"looked at {survey.summary}")


RUNBOOK = """
By hand: `cat /proc/mdstat; mdadm --detail /dev/md0`, `smartctl -x /dev/sda`, `smartctl -x -d megaraid,8 /dev/bus/0` (bus0/8
here), `storcli64 /call show all`, `dmesg -T | grep -i -e ata -e nvme -e 'I/O error'`. Is the backup of what lies there fresh?
md lacks a disk: which (`mdadm --detail`)? Read its SMART before it is put back: a cable that fell off is not a disk that died.
New disk: partition it as its neighbour, `mdadm /dev/md0 --add /dev/sdb1`; watch /proc/mdstat. Do not touch the good one
meanwhile; no other may fail: plan no reboot. Inactive: `mdadm --assemble --scan`, with what is missing put back first.
mismatch_cnt: `echo check > /sys/block/md0/md/sync_action`, look again; mirrors with swap may differ, RAID 5 and 6 must not.
Offline, dead: the kernel has had no answer from it; dmesg tells since when. Is it the disk alone, or all of a cable or shelf?
Disk says that it is failing, sectors rising, pending: replace it, today where it has no mirror. errors_day of an ATA disk: CRC
errors (attribute 199) are the cable or backplane, not the disk. Wear: order a replacement; above 100 % it may go on for long.
Controller: `storcli64 /c0/e252/s3 start locate` lights the slot. UBad or Failed: replace it, the rebuild starts by itself.
Foreign: look where that disk came from before you import or clear it. Battery, CacheVault: writes go through, and are slow.
Missing and meant (a disk was replaced): run it once with `--remember 0 --save` as the monitoring user, else it is forgotten
after --remember. Not asked: install contrib/sbin/nephoscope-smart.
"""

CHECK = Check(
    *(options, probe, judge),
    keep=lambda survey: survey.kept,
    needs=[Sudo(*line) for line in (smart.LINE, *megaraid.LINES)],
    deadline=20,  # storcli takes seconds for each question, and many disks as long together
    runbook=RUNBOOK,
    modes={"md": "Linux software RAID", "smart": "the disks' own health", "raid": "RAID controllers"},
    thresholds=[
        Threshold("failed", help="things that have failed; each is CRITICAL by itself"),
        Threshold("rebuilding", "%", print="apart", late=True, help="how far a rebuild that runs has come"),
        Threshold("mismatches", "", mode="md", print="worst", help="sectors whose copies differ, by the last check"),
        Threshold("realloc", "", "0", "50", mode="smart", print="worst", help="sectors reallocated, defects grown"),
        Threshold("pending", "", "0", "50", mode="smart", print="worst", help="sectors that can't be read just now"),
        Threshold("reported", "", "0", "50", mode="smart", print="worst", help="errors that could not be corrected"),
        Threshold("uncorrected", "", "0", "50", mode="smart", print="worst", help="sectors lost, by the disk's own scan"),
        Threshold("wear", "%", "80", "95", mode="smart", print="top", help="how much of a flash disk's life is used"),
        Threshold("temp_celsius", mode="smart", print="top", help="temperature of a disk"),
        Threshold("media_errors", "", "10", mode="raid", print="worst", help="media errors of a controller's disk"),
        Threshold(
            "sectors_day", "", None, "0", mode="smart", print="worst", late=True, help="rise of the four counts in a day"
        ),
        Threshold(
            "errors_day", "", "0", mode="smart", print="worst", late=True,
            help="rise in a day: error log, failed self-tests, CRC, media and uncorrected errors",
        ),
    ],
)  # fmt: skip
main = CHECK.main
