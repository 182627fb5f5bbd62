# SPDX-License-Identifier: Apache-2.0
"""Processes in a /proc that is written here, line by line in the form of man 5 proc; the real /proc stands in tests/lab."""

from __future__ import annotations

import os
import subprocess

import pytest
from nephoscope.base import ABSENT, COLLECTING, NOT_ALLOWED, UNREADABLE, Clock, Failed, Run
from nephoscope.probes import daemons, process
from nephoscope.probes.process import Narrow, Process

PAGE = os.sysconf("SC_PAGE_SIZE")


class Proc:
    """A tree with a /proc of 1000 s uptime; ticks are 100 a second, as everywhere on Linux."""

    def __init__(self, root):
        self.root = root
        (root / "proc").mkdir()
        (root / "proc/uptime").write_text("1000.00 3000.00\n")
        self.add(1, "systemd", "/sbin/init")

    def add(
        self, pid, comm, *argv, state="S", parent=1, start=50000, pages=100, threads=1, flags=0, uid=0, cgroup="/", fds=3,
        limit="1024", size=64, switches=7,
    ):  # fmt: skip
        folder = self.root / "proc" / str(pid)
        folder.mkdir()
        (folder / "stat").write_text(
            f"{pid} ({comm}) {state} {parent} {pid} {pid} 0 -1 {flags} 0 0 0 0 1 2 0 0 20 0 {threads} 0 {start} 9999 {pages}"
            f" {2**64 - 1} 1 1 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0\n"
        )
        (folder / "cmdline").write_text("".join(word + "\0" for word in argv))
        (folder / "status").write_text(
            f"Name:\t{comm}\nUid:\t0\t{uid}\t0\t0\nFDSize:\t{size}\n"
            f"voluntary_ctxt_switches:\t{switches}\nnonvoluntary_ctxt_switches:\t2\n"
        )
        (folder / "limits").write_text(
            "Limit                     Soft Limit           Hard Limit           Units     \n"
            f"Max open files            {limit:20} 524288               files     \n"
        )
        (folder / "cgroup").write_text(f"0::{cgroup}\n")
        (folder / "wchan").write_text("0" if state != "D" else "rpc_wait_bit_killable")
        (folder / "fd").mkdir()
        for number in range(fds):
            (folder / "fd" / str(number)).touch()
        return folder

    def scan(self, *names, before=None, shift=0.0, **words):
        run = Run(before=before, root=str(self.root), clock=Clock(shift=shift))
        return process.scan(run, [(name, 1) for name in names], **words)


@pytest.fixture
def proc(tmp_path):
    return Proc(tmp_path)


def pids(table):
    return [[one.pid for one in group.processes] for group in table.groups]


def test_one_process(proc):
    proc.add(7, "nova (x) compute", "/usr/bin/nova-compute", pages=10, threads=4, start=40000, fds=5)
    (group,) = proc.scan("nova-compute").groups
    assert group.processes == (Process(7, 40000, "S", 4, 10 * PAGE, 600.0, 5, 64, 1024),)
    assert (group.need, group.others, group.guests, group.growth) == (1, 0, False, COLLECTING)


@pytest.mark.parametrize(
    "comm, argv, expected",
    [
        ("nova-compute", ["/usr/bin/python3", "/usr/bin/nova-compute", "--config-file=/x"], {"nova-compute", "python3"}),
        ("python3", ["/usr/bin/python3", "-u", "-m", "chaperone"], {"python3", "chaperone"}),
        ("python3.11", ["python3.11", "-c", "import nova-compute"], {"python3.11"}),
        ("postgres", ["postgres: checkpointer "], {"postgres"}),
        ("neutron-server", ["neutron-server: api worker (/usr/bin/python3 /usr/bin/neutron-server)"], {"neutron-server"}),
        ("neutron-openvsw", ["neutron-openvswitch-agent (/usr/bin/python3 /usr/bin/x)"],
            {"neutron-openvsw", "neutron-openvswitch-agent"}),
        ("bash", ["-bash"], {"bash"}),
        ("tail", ["tail", "-f", "/var/log/nova-compute"], {"tail"}),
        ("vi", ["vi", "/usr/bin/nova-compute"], {"vi"}),
        ("kworker/0:1", [], {"kworker/0:1"}),
        ("x", [""], {"x"}),
    ],
)  # fmt: skip
def test_names(comm, argv, expected):
    assert process.names(comm, argv) == expected


@pytest.mark.parametrize(
    "name, argv, found",
    [
        ("keystone", ["uwsgi_python3", "--ini", "/etc/keystone/keystone-uwsgi-public.ini"], True),
        ("keystone", ["keystone-publicuWSGI worker 1"], True),  # --procname-prefix; comm is uwsgi
        ("keystone", ["(wsgi:keystone-pu", "-k", "start"], True),  # mod_wsgi, display-name=%{GROUP}
        ("keystone", ["/usr/sbin/apache2", "-k", "start"], False),
        ("keystone", ["less", "/var/log/keystone.log"], False),
        ("nova-api", ["uwsgi", "--ini", "/etc/nova/nova-api-uwsgi.ini"], True),
        ("nova-api", ["/usr/bin/python3", "/usr/bin/nova-api"], True),
        ("nova-api", ["(wsgi:nova-compute-api", "-k"], True),
        ("nova-api", ["uwsgi", "--ini", "/etc/nova/nova-api-metadata-uwsgi.ini"], True),
        ("heat-api", ["uwsgi", "--pyargv", "heat-api-cfn"], False),
        ("heat-api", ["uwsgi", "--pyargv", "heat-api"], True),
        ("neutron-server", ["/usr/bin/python3", "/usr/bin/neutron-server"], True),
        ("neutron-agent", ["/usr/bin/ovn-controller", "unix:/run/openvswitch/db.sock"], True),
        ("libvirt", ["/usr/sbin/virtqemud"], True),
        ("qemu", ["/usr/bin/qemu-system-x86_64", "-name", "guest=instance-00000001"], True),
        ("qemu", ["/usr/libexec/qemu-kvm", "-name", "i-12345678"], True),
        ("rabbitmq", ["/usr/lib/erlang/erts-13/bin/beam.smp", "-W", "w", "-s", "rabbit", "boot"], True),
        ("rabbitmq", ["/usr/lib/erlang/erts-13/bin/beam.smp", "-noshell", "ejabberd"], False),
        ("eucalyptus-nc", ["/usr/sbin/httpd", "-f", "/var/run/eucalyptus/httpd-nc.conf"], True),
        ("eucalyptus-nc", ["/usr/sbin/httpd", "-f", "/var/run/eucalyptus/httpd-cc.conf"], False),
        ("eucalyptus-cc", ["/usr/sbin/httpd", "-f", "/var/run/eucalyptus/httpd-cluster.conf"], True),
        ("eucalyptus-cc", ["/usr/sbin/httpd", "-DFOREGROUND"], False),
        ("eucalyptus-cloud", ["/usr/sbin/eucalyptus-cloud", "-h", "/", "-u", "eucalyptus"], True),
        ("eucalyptus-cloud", ["/usr/bin/java", "-jar", "jenkins.war"], False),
        ("eucalyptus-postgres", ["/usr/pgsql/bin/postgres", "-D", "/var/lib/eucalyptus/db/data"], True),
        ("eucalyptus-postgres", ["/usr/bin/postgres", "-D", "/var/lib/pgsql/data"], False),
        ("sshd", ["sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups"], True),
        ("neutron-*-agent", ["/usr/bin/python3", "/usr/bin/neutron-l3-agent"], True),
    ],
)
def test_rules(name, argv, found):
    comm = "uwsgi" if "uWSGI" in argv[0] else argv[0].rpartition("/")[2][:15]
    assert process.matches(daemons.rule(name), process.names(comm, argv), " ".join(argv)) is found


def test_roles_name_what_the_rules_know_or_programs():
    programs = {name.partition("=")[0] for _, *names in daemons.ROLES.values() for name in names} - set(daemons.KNOWN)
    assert programs == {
        "nova-scheduler", "nova-conductor", "cinder-scheduler", "cinder-volume", "nova-compute", "nova-network",
        "neutron-l3-agent", "neutron-dhcp-agent", "neutron-metadata-agent", "tgtd", "eucanetd", "dhcpd", "memcached",
    }  # fmt: skip


def test_kernel_threads_are_no_daemons(proc):
    proc.add(9, "chronyd", flags=process.KTHREAD)
    assert pids(proc.scan("chronyd")) == [[]]


def test_narrowed_by_user_command_line_and_control_group(proc):
    proc.add(5, "httpd", "/usr/sbin/httpd", "-f", "a.conf", uid=48, cgroup="/system.slice/httpd.service")
    proc.add(6, "httpd", "/usr/sbin/httpd", "-f", "b.conf", uid=0, cgroup="/system.slice/other.service")
    assert pids(proc.scan("httpd")) == [[5, 6]]
    by_user = proc.scan("httpd", narrow=Narrow(user="48"))
    assert (pids(by_user), by_user.groups[0].others) == ([[5]], 1)
    assert pids(proc.scan("httpd", narrow=Narrow(user="root"))) == [[6]]
    assert pids(proc.scan("httpd", narrow=Narrow(cmdline=r"b\.conf$"))) == [[6]]
    assert pids(proc.scan("httpd", narrow=Narrow(cgroup="*/httpd.service"))) == [[5]]


def test_no_such_user(proc):
    with pytest.raises(Failed) as caught:
        proc.scan("httpd", narrow=Narrow(user="no-such-user"))
    assert (caught.value.kind, caught.value.of) == (ABSENT, "no-such-user")


def test_hidden_processes_are_not_none(proc):
    """With hidepid=2 only our own are there: pid 1 is missing."""
    proc.add(70, "ours", "/usr/bin/ours")
    subprocess.run(["rm", "-r", str(proc.root / "proc/1")], check=True)
    table = proc.scan("ours", "theirs")
    assert [(failed.kind, failed.of) for failed in (*table.groups, table.stuck)] == [
        (NOT_ALLOWED, "ours"), (NOT_ALLOWED, "theirs"), (NOT_ALLOWED, "/proc"),
    ]  # fmt: skip


def test_a_process_that_ends_while_we_look(proc):
    folder = proc.add(8, "gone", "/usr/bin/gone")
    (folder / "cmdline").unlink()
    (proc.add(9, "half", "/usr/bin/half") / "stat").write_text("")
    table = proc.scan("gone", "half")
    assert (pids(table), [group.others for group in table.groups]) == ([[], []], [0, 0])


def test_a_proc_that_is_no_proc(tmp_path):
    with pytest.raises(Failed) as caught:
        process.scan(Run(root=str(tmp_path)), [("x", 1)])
    assert caught.value.kind == ABSENT
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/uptime").write_text("soon\n")
    with pytest.raises(Failed) as caught:
        process.scan(Run(root=str(tmp_path)), [("x", 1)])
    assert caught.value.kind == UNREADABLE


def test_descriptors_without_a_limit_and_without_the_right(proc):
    proc.add(5, "free", "/usr/bin/free", limit="unlimited")
    (free,) = proc.scan("free").groups[0].processes
    assert (free.fds, free.fds_most, free.fds_limit) == (3, 64, process.UNLIMITED)
    folder = proc.add(6, "bare", "/usr/bin/bare")
    for name in ("limits", "status"):
        (folder / name).unlink()
    subprocess.run(["rm", "-r", str(folder / "fd")], check=True)
    (bare,) = proc.scan("bare").groups[0].processes
    assert (bare.fds, bare.fds_most, bare.fds_limit) == (None, None, None)


def test_stuck_since_the_first_run_that_saw_it(proc):
    proc.add(5, "ls", "ls", "/nfs", state="D", switches=7)
    proc.add(6, "worker", state="Z", parent=5)
    first = proc.scan()
    assert [(item.pid, item.state, item.seconds) for item in first.stuck] == [(5, "D", 0), (6, "Z", 0)]
    again = proc.scan(before=first.kept, shift=300)
    assert [round(item.seconds) for item in again.stuck] == [300, 300]
    assert [(item.name, item.detail) for item in again.stuck] == [
        ("ls", "in rpc_wait_bit_killable"), ("worker", "its parent is ls 5"),
    ]  # fmt: skip


def test_a_process_that_ran_in_between_was_not_stuck_all_the_time(proc):
    folder = proc.add(5, "dd", "dd", state="D", switches=7)
    first = proc.scan()
    (folder / "status").write_text("voluntary_ctxt_switches:\t8\nnonvoluntary_ctxt_switches:\t2\n")
    assert [item.seconds for item in proc.scan(before=first.kept, shift=300).stuck] == [0]


def test_a_pid_that_was_used_again_is_another_process(proc):
    folder = proc.add(5, "x", state="Z")
    first = proc.scan()
    (folder / "stat").write_text((folder / "stat").read_text().replace(" 50000 ", " 60000 "))
    assert [item.seconds for item in proc.scan(before=first.kept, shift=300).stuck] == [0]


def grow(proc, folder, pages, **words):
    text = (folder / "stat").read_text().split(" ")
    text[23] = str(pages)
    (folder / "stat").write_text(" ".join(text))
    return proc.scan("leak", **words)


def test_growth_is_known_after_half_a_period(proc):
    folder = proc.add(5, "leak", "/usr/bin/leak", pages=1000)
    table = proc.scan("leak")
    assert table.groups[0].growth is COLLECTING
    table = grow(proc, folder, 2000, before=table.kept, shift=1000)
    assert table.groups[0].growth is COLLECTING
    table = grow(proc, folder, 4600, before=table.kept, shift=3600)
    assert table.groups[0].growth == pytest.approx(3600 * PAGE / 3600, rel=0.01)


def test_growth_never_falls_below_0_and_forgets_the_dead(proc):
    folder = proc.add(5, "leak", "/usr/bin/leak", pages=1000)
    table = proc.scan("leak")
    table = grow(proc, folder, 10, before=table.kept, shift=3600)
    assert table.groups[0].growth == 0
    subprocess.run(["rm", "-r", str(folder)], check=True)
    table = proc.scan("leak", before=table.kept, shift=3700)
    assert (table.groups[0].growth, table.kept["growth"]) == (None, {})


def test_samples_stay_few_and_damaged_ones_are_dropped():
    ring = [[float(at), 5.0] for at in range(0, 10000, 10)]
    kept = process.samples_of(ring, 10000.0, 3600.0)
    assert (len(kept), kept[-1]) == (16, [9990.0, 5.0])
    assert process.samples_of([[20, 5], ["x", 1], [3], None, [999999, 5]], 100.0, 3600.0) == [[20.0, 5.0]]
    assert process.samples_of("foreign", 100.0, 3600.0) == []


def test_samples_span_a_period_when_run_every_minute(proc):
    """One sample in a thirteenth of a period is kept, so sixteen of them reach back over one."""
    folder = proc.add(5, "leak", "/usr/bin/leak", pages=1000)
    before = None
    for minute in range(100):
        table = grow(proc, folder, 1000 + minute, before=before, shift=minute * 60)
        before = table.kept
    ((ring),) = before["growth"].values()
    assert len(ring) <= 16
    assert table.groups[0].growth == pytest.approx(PAGE / 60, rel=0.05)


def test_state_of_thousands_is_bounded(proc, monkeypatch):
    monkeypatch.setattr(process, "KEPT", 3)
    for pid in range(10, 20):
        proc.add(pid, "leak", "/usr/bin/leak", pages=pid)
    assert set(proc.scan("leak").kept["growth"]) == {"17:50000", "18:50000", "19:50000"}


def test_guests_are_counted_and_not_followed(proc):
    proc.add(5, "qemu-system-x86", "/usr/bin/qemu-system-x86_64")
    (group,) = proc.scan("qemu").groups
    assert (group.guests, group.growth, group.processes[0].fds) == (True, None, None)


def test_what_is_left_out_is_not_looked_for(proc):
    run = Run(root=str(proc.root), exclude=("b*",))
    assert [group.name for group in process.scan(run, [("a", 1), ("bb", 1)]).groups] == ["a"]
    assert run.left_out == {"bb"}


def test_ourselves_and_our_wrappers_are_no_daemons():
    """The real /proc: a name that stands only in our own command line is not found."""
    script = (
        "from nephoscope.base import Run; from nephoscope.probes import process;"
        "table = process.scan(Run(), [('*', 0)], process.Narrow(cmdline='a-word-of-ours'), ourselves='check_ours');"
        "print(len(table.groups[0].processes), table.total > 1)"
    )
    import sys

    shell = f'{sys.executable} -c "$0" a-word-of-ours; : check_ours a-word-of-ours'
    answer = subprocess.run(["sh", "-c", shell, script], capture_output=True, text=True, timeout=20)
    assert answer.stdout == "0 True\n", answer.stderr
