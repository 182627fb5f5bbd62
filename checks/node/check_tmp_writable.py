# SPDX-License-Identifier: Apache-2.0
"""Can an ordinary process create, sync, read back and remove a file in every temporary directory?

A free-space figure does not say so: a file system may be read-only, frozen, out of inodes, over quota, or its disk may hang.
So every directory is really written to, in a process of its own that is given up after five seconds. When the check runs as
root the trial is made as nobody, because root may write anywhere. Under a scheduler whose unit has PrivateTmp= it is the
scheduler's private /tmp that is tried.
"""

from __future__ import annotations

from nephoscope.base import Failed
from nephoscope.plugin import CRITICAL, WARNING, Check, Finding, Metric, Threshold, directory
from nephoscope.probes import filesystem


def options(add):
    add("--path", repeat=True, default=("/tmp", "/var/tmp"), type=directory, metavar="DIR", help="directory to try")  # noqa: S108
    add(
        "--user",
        default="",
        metavar="NAME",
        help="try as this account (as root, or when the check runs as that account)",
    )
    add("--private", flag=True, help="the directories need not be open to all (mode 1777)")


def probe(options, run):
    return filesystem.write_trials(options.path, run, user=options.user)


def judge(trials, options):
    for trial in trials:
        if isinstance(trial, Failed):
            yield trial
            continue
        if trial.error:
            yield Finding(CRITICAL, trial.path, f"{trial.step} failed: {trial.error}")
        else:
            yield Metric("write", trial.seconds, of=trial.path)
        if trial.mode not in (0, 0o1777) and not options.private:
            yield Finding(WARNING, trial.path, f"mode is {trial.mode:04o}, not 1777")
        if trial.free is not None:
            yield Metric("free", trial.free, of=trial.path)
        if trial.inodes_free is not None:
            yield Metric("inodes_free", trial.inodes_free, of=trial.path)


RUNBOOK = """
By hand, as the account that has the trouble:
`f=$(mktemp -p /tmp) && dd if=/dev/zero of=$f bs=4k count=1 conv=fsync; rm $f`
then `df -h /tmp; df -i /tmp; findmnt -T /tmp; ls -ld /tmp; dmesg | tail`.
No space or inodes: `du -xsh /tmp/* | sort -h`, deleted files that are still open: `lsof +L1 /tmp`. Read-only: the kernel
found an error, see dmesg before remounting. Hung: the disk or server below does not answer; look at it, not at the
process. Wrong mode: `chmod 1777 /tmp`.
"""

CHECK = Check(
    options,
    probe,
    judge,
    where=("node",),
    runbook=RUNBOOK,
    thresholds=[
        Threshold("free", "%", "10:", "2:", main=True, help="free space, as a share of what this account may use"),
        Threshold("inodes_free", "%", "10:", help="free inodes"),
        Threshold("write", "s", "1", "5", help="time of the whole trial"),
    ],
)
main = CHECK.main
