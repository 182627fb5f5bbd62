# SPDX-License-Identifier: Apache-2.0
"""Is there memory left, is the host swapping, and did the kernel kill anything for want of it?

Available is what the kernel says that programs can still get without swapping, as a share of what is not in a pool of huge
pages, and in a container with a limit what is left below it. On a hypervisor the guests own the memory and a share says
little: `--preset hypervisor` asks for an absolute reserve instead, and any other is `-c available_size=4294967296:`.
Swapping is judged by pages that come back in, not by swap in use. Kills are those of the last hour, on a first run those that
the kernel's log has of it; who was killed stands there, too, and a service named by --vital makes it critical. A full pool of
huge pages is what a full hypervisor looks like: it has no limits unless you give some.
"""

from __future__ import annotations

from nephoscope.base import ABSENT, Failed
from nephoscope.plugin import CRITICAL, OK, Check, Finding, Group, Metric, Preset, Threshold
from nephoscope.probes import memory


def options(add):
    add(
        "--vital",
        repeat=True,
        metavar="GLOB",
        default=(
            *("qemu*", "libvirtd", "virt*d", "nova-compute", "eucalyptus*", "ovs-vswitchd", "ovn-*", "ceph-*"),
            *("mysqld", "mariadbd", "postgres", "ovsdb-*", "beam.smp", "java", "httpd", "apache2", "haproxy"),
        ),
        looks=False,
        help="killing one of these is critical",
    )


def probe(options, run):
    asked = options.mode
    return memory.look(
        run, room="available" in asked, swap="swap" in asked, kills="oom" in asked, pools="hugepages" in asked
    )


def judge(seen, options):
    for part in (seen.room, seen.swap, seen.kills, seen.pools):
        if isinstance(part, Failed):
            if part.kind != ABSENT or part.of not in ("oom", "hugepages") or options.mode_given:
                yield part
            elif part.of == "oom" or options.verbose:  # most hosts have no pools: no news
                yield Finding(OK, part.of, part.error)
    if isinstance(seen.room, memory.Room):
        yield Metric("available", 100 * seen.room.available / seen.room.total, least=0, most=100)
        yield Metric("available_size", seen.room.available, least=0, most=seen.room.total)
    if isinstance(seen.swap, memory.Swap):
        yield Metric("swap_used", seen.swap.used, least=0, most=seen.swap.total)
        yield Metric("swap_in_rate", seen.swap.in_rate)
        yield Metric("swap_out_rate", seen.swap.out_rate)
    if isinstance(seen.kills, memory.Kills):
        yield Metric("oom_kills", seen.kills.number)
        yield from victims(seen.kills, options.vital)
    for pool in seen.pools if isinstance(seen.pools, tuple) else ():
        yield Metric("hugepages_total", pool.total, pool.name)
        yield Metric("hugepages_free", pool.free, pool.name, 0, pool.total)


def victims(kills, vital):
    from fnmatch import fnmatchcase

    if isinstance(kills.victims, Failed):
        yield kills.victims
    elif not kills.victims and kills.number:
        yield Finding(OK, "oom", "the kernel's log no longer says who was killed")
    else:
        for name in sorted(set(kills.victims)):
            # The kernel keeps 15 characters of a name: those of a longer one without wildcards do.
            state = CRITICAL if any(fnmatchcase(name, glob) or name == glob[:15] for glob in vital) else OK
            yield Finding(state, name, f"was killed for want of memory ({kills.victims.count(name)} in the last hour)")


RUNBOOK = """
By hand: `free -m; vmstat 5 5; cat /proc/pressure/memory; ps -eo rss,user,cmd --sort=-rss | head`, and in a container
`cat /sys/fs/cgroup/memory.{max,current,events}`. Killed: `journalctl -k -g "Killed process"` shows who and how large; a kill
in a control group hits a limit of that group, not the host. Restart the victim, then find who grew: check_process --mode
rss. Swapping on a hypervisor: overcommitted memory, move guests away. Huge pages: `grep Huge /proc/meminfo`, and by NUMA node
below /sys/devices/system/node/; a guest of huge pages needs them free on one node.
"""

CHECK = Check(
    *(options, probe, judge),
    answers=("W3", "W4"),
    where=("node",),
    needs=[Group("systemd-journal")],
    runbook=RUNBOOK,
    keep=memory.Memory.keep,
    modes={
        "available": "is there memory left",
        "swap": "is the host swapping",
        "oom": "did the kernel kill anything in the last hour",
        "hugepages": "what is left in the pools of huge pages",
    },
    presets={
        "hypervisor": Preset(
            "guests own the memory: a reserve of 2 GiB, critical 1 GiB, instead of a share",
            limits={"available": (None, None), "available_size": ("2147483648:", "1073741824:")},
        )
    },
    thresholds=[
        Threshold("available", "%", "10:", "5:", mode="available", main=True, help="what programs can still get"),
        Threshold("available_size", "B", mode="available", help="the same, absolute"),
        Threshold("swap_used", "B", mode="swap", help="swap space in use"),
        Threshold("hugepages_total", mode="hugepages", help="huge pages of a pool"),
        Threshold("hugepages_free", mode="hugepages", main=True, help="huge pages neither used nor reserved"),
        Threshold("oom_kills", "", "0", mode="oom", main=True, late=True, help="processes killed in the last hour"),
        Threshold("swap_in_rate", "", "100", "1000", mode="swap", main=True, help="pages read back from swap"),
        Threshold("swap_out_rate", mode="swap", help="pages written to swap"),
    ],
)
main = CHECK.main
