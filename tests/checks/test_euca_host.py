# SPDX-License-Identifier: Apache-2.0
"""check_euca_host over the files of simulated hosts (nephoscope.demo), and over what was taken from or added to them."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path

import pytest
from nephoscope.base import NOT_ALLOWED, Clock, Failed
from nephoscope.checks.eucalyptus.check_euca_host import CHECK
from nephoscope.demo import Demo, sample
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, Finding, Metric
from nephoscope.probes.euca_faults import Fault
from nephoscope.probes.euca_host import Host, Role, Sign

from tests.probes.fault_logs import in_c, stamp
from tests.probes.unprivileged import as_nobody

LOG = "/var/log/eucalyptus"


@pytest.fixture(scope="module")
def demo():
    with Demo(sample(version="4.4.2", zones=1, nodes=1)) as cloud:
        yield cloud


class Tree:
    """The files of one host, and runs of the check over them."""

    def __init__(self, demo, name, root, state):
        self.demo, self.name, self.root, self.state = demo, name, Path(root), str(state)
        self.write()
        (self.root / "tmp").mkdir(mode=0o777)
        (self.root / "tmp").chmod(0o1777)

    def write(self):
        self.demo.write(self.name, self.root)

    def __call__(self, *argv, shift=0.0):
        return CHECK.run(["--state-dir", self.state, *argv], root=str(self.root), clock=Clock(shift))

    def log(self, name, level, text="boom"):
        with (self.root / "var/log/eucalyptus" / name).open("a") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {level:>5} | {text}\n")

    def end(self, number):
        shutil.rmtree(self.root / f"proc/{number}")


@pytest.fixture
def node(demo, tmp_path):
    return Tree(demo, "one-nc-1", tmp_path / "root", tmp_path / "state")


@pytest.fixture
def clc(demo, tmp_path):
    return Tree(demo, "clc", tmp_path / "root", tmp_path / "state")


def judged(host, *argv):
    return list(CHECK._judge(host, CHECK.parse(*argv)))


def test_the_judge():
    refused = Failed(NOT_ALLOWED, "/x", "read /x", "no")
    fault = Fault(1008, "nc", "eucanetd is not running", since="T")
    switched = Fault(1500, "cloud", "CloudWatch is off", since="T", kind="intended")
    seen = Fault(1003, "cloud", "disk", since="T", acknowledged="by anna")
    host = Host(
        (refused,),
        (Role("clc", ("a",), ("b",), ("tcp 8773",), ("tcp 8777",)), Role("nc", ("c",), (), ("tcp 8775",), ())),
        *(12, 1, "12 in nc.log", "1 in nc.log", (("/y", "has a gap: gone"),), (fault, switched, seen)),
        (Sign("wrapper", "/w", "is missing"), Sign("tmp", "/tmp", "odd"), Sign("heap dump", "/h", "is one")),
    )
    assert judged(host) == [
        refused,
        Finding(OK, "", "2 components: clc, nc"),
        Metric("roles", 2),
        Finding(CRITICAL, "clc", "has no process b and no listener on tcp 8777"),
        Finding(OK, "nc", "runs c, listens on tcp 8775"),
        Metric("missing_procs", 1),
        Metric("missing_ports", 1),
        Metric("errors", 12, detail="12 in nc.log"),
        Metric("fatals", 1, detail="1 in nc.log"),
        Metric("faults", 3),
        Finding(CRITICAL, "ERR-1008@nc", "eucanetd is not running, since T"),
        Finding(WARNING, "ERR-1500@cloud", "CloudWatch is off, since T"),
        Finding(WARNING, "ERR-1003@cloud", "disk, since T"),
        Finding(UNKNOWN, "/y", "has a gap: gone"),
        Finding(CRITICAL, "/w", "is missing"),
        Finding(WARNING, "/tmp", "odd"),
        Finding(WARNING, "/h", "is one"),
    ]


def test_what_was_not_looked_at_is_not_nothing():
    assert judged(Host(roles=(Role("nc"),))) == [
        Finding(OK, "", "1 component: nc"),
        Metric("roles", 1),
        Finding(OK, "nc", "was found"),
        Finding(OK, "logs", "no log is looked at here"),
    ]


GREEN = " | roles={} missing_procs=0 missing_ports=0 errors=0;10 fatals=0;;0 faults=0"


def test_green_node(node):
    outcome = node()
    assert outcome.line == "EUCA_HOST OK - 2 components: nc, eucanetd" + GREEN.format(2)
    assert "nc runs eucalyptus-nc, libvirt, listens on tcp 8775" in outcome.text
    assert "eucanetd runs eucanetd, listens on udp 63822" in outcome.text


def test_green_cloud_controller_and_zone(clc, demo, tmp_path):
    assert clc().line == "EUCA_HOST OK - 2 components: clc, walrus" + GREEN.format(2)
    zone = Tree(demo, "one-cc", tmp_path / "zone", tmp_path / "state2")
    outcome = zone()
    assert outcome.state == OK
    assert "cc runs eucalyptus-cc, listens on tcp 8774" in outcome.text
    assert "sc runs eucalyptus-cloud, listens on tcp 8773" in outcome.text


@pytest.mark.parametrize("version", ["3.4.3", "4.1.2", "5.1.0"])
@pytest.mark.parametrize("host", ["clc", "one-cc", "one-nc-1"])
def test_every_version_is_green(version, host, tmp_path):
    with Demo(sample(version=version, zones=1, nodes=1)) as cloud:
        outcome = Tree(cloud, host, tmp_path / "root", tmp_path / "state")()
    assert (outcome.state, outcome.line.partition(" - ")[0]) == (OK, "EUCA_HOST OK"), outcome.text


def test_the_cluster_controller_of_5_is_looked_for_in_the_jvm(tmp_path):
    with Demo(sample(version="5.1.0", zones=1, nodes=1)) as cloud:
        tree = Tree(cloud, "one-cc", tmp_path / "root", tmp_path / "state")
    shutil.rmtree(tree.root / "var/lib/eucalyptus/CC", ignore_errors=True)
    (tree.root / "usr/sbin/eucalyptus-cluster").unlink(missing_ok=True)
    (tree.root / "usr/sbin/clusteradmin-register-nodes").touch()
    assert "cc runs eucalyptus-cloud, listens on tcp 8773" in tree().text


# check_euca_proc of 4.1 to 4.4 said UP for any process with the number in the pid file, and knew one installation folder only.
def test_a_pid_file_alone_is_no_process(node):
    for number in (1501, 1502):
        node.end(number)
    assert (node.root / "run/eucalyptus/eucalyptus-node.pid").exists()
    assert node("--mode", "processes").line == (
        "EUCA_HOST CRITICAL - nc has no process eucalyptus-nc | roles=2 missing_procs=1"
    )


def test_eucanetd_is_dead(node):
    node.end(1601)
    assert (
        node("--mode", "processes").line
        == "EUCA_HOST CRITICAL - eucanetd has no process eucanetd | roles=2 missing_procs=1"
    )


def test_the_database_is_dead(clc):
    clc.end(1310)
    assert clc("--mode", "processes").line == (
        "EUCA_HOST CRITICAL - clc has no process eucalyptus-postgres | roles=2 missing_procs=1"
    )


def test_one_dead_process_of_two_components_counts_once(clc):
    clc.end(1203)
    assert clc("--mode", "processes").line == (
        "EUCA_HOST CRITICAL - clc has no process eucalyptus-cloud, walrus has no process eucalyptus-cloud "
        "| roles=2 missing_procs=1"
    )


def test_a_port_that_nothing_listens_on(node):
    for name in ("tcp", "tcp6", "udp"):
        path = node.root / f"proc/net/{name}"
        path.write_text(path.read_text().splitlines(keepends=True)[0])
    assert node("--mode", "ports").line == (
        "EUCA_HOST CRITICAL - eucanetd has no listener on udp 63822, nc has no listener on tcp 8775 | roles=2 missing_ports=2"
    )


def test_a_port_of_its_own(node):
    conf = node.root / "etc/eucalyptus/eucalyptus.conf"
    conf.write_text(conf.read_text() + 'NC_PORT="18775"\n')
    assert node("--mode", "ports").line == (
        "EUCA_HOST CRITICAL - nc has no listener on tcp 18775 | roles=2 missing_ports=1"
    )
    conf.write_text(conf.read_text() + 'NC_PORT="http"\n')
    assert node("--mode", "ports").line == (
        "EUCA_HOST UNKNOWN - NC_PORT: NC_PORT is not a port: http (read eucalyptus.conf)"
    )


def test_lines_of_level_error_and_fatal(node):
    node()
    for _ in range(11):
        node.log("nc.log", "ERROR")
    assert node("--mode", "logs").line == (
        "EUCA_HOST WARNING - errors 11 is above 10 (11 in nc.log) | roles=2 errors=11;10 fatals=0;;0"
    )
    node.log("eucanetd.log", "FATAL")
    assert node("--mode", "logs").line == (
        "EUCA_HOST CRITICAL - fatals 1 is above 0 (1 in eucanetd.log), "
        "WARNING: errors 12 is above 10 (1 in eucanetd.log, 11 in nc.log) | roles=2 errors=12;10 fatals=1;;0"
    )
    assert node("--mode", "logs", shift=3700).line == (
        "EUCA_HOST OK - 2 components: nc, eucanetd | roles=2 errors=0;10 fatals=0;;0"
    )


def test_a_fault_counts_for_one_period(node, demo):
    node()
    log = node.root / "var/log/eucalyptus/nc-fault.log"
    at = time.time() - 5
    log.write_text(in_c("1008", at))
    text = f"ERR-1008@nc eucanetd is not running (eucanetd daemon on localhost), since {stamp(at)}"
    assert node("--mode", "faults").line == f"EUCA_HOST CRITICAL - {text} | roles=2 faults=1"
    assert node("--mode", "faults", shift=3700).line == "EUCA_HOST OK - 2 components: nc, eucanetd | roles=2 faults=0"


def test_an_old_fault_is_no_news_on_a_first_look(node):
    (node.root / "var/log/eucalyptus/nc-fault.log").write_text(in_c("1008", time.time() - 86400))
    assert node("--mode", "faults").state == OK


def test_a_fault_that_was_rotated_away_between_two_runs(node):
    node()
    log = node.root / "var/log/eucalyptus/nc-fault.log"
    with log.open("a") as file:
        file.write(in_c("1008", time.time() - 5))
    log.rename(log.with_name("nc-fault.log.0"))
    log.touch()
    assert node("--mode", "faults").state == CRITICAL


def test_a_heap_dump(clc):
    dump = clc.root / "var/log/eucalyptus/java_pid1203.hprof"
    dump.write_text("JAVA PROFILE 1.0.2\0")
    os.utime(dump, (time.time() - 7300, time.time() - 7300))
    assert clc("--mode", "files").line == (
        f"EUCA_HOST WARNING - {LOG}/java_pid1203.hprof is a heap dump: the JVM ran out of memory 2 h ago | roles=2"
    )
    os.utime(dump, (0, 0))
    assert "d ago" in clc("--mode", "files").line


def test_the_wrapper(node):
    wrapper = node.root / "usr/lib/eucalyptus/euca_rootwrap"
    wrapper.chmod(0o644)
    path = "/usr/lib/eucalyptus/euca_rootwrap"
    assert node("--mode", "files").line == f"EUCA_HOST CRITICAL - {path} is not a program | roles=2"
    wrapper.unlink()
    assert node("--mode", "files").line == f"EUCA_HOST CRITICAL - {path} is missing | roles=2"


def test_keys(node):
    key = node.root / "var/lib/eucalyptus/keys/node-pk.pem"
    key.write_text("secret")
    key.chmod(0o644)
    key.parent.chmod(0o755)
    path = "/var/lib/eucalyptus/keys"
    assert node("--mode", "files").line == (
        f"EUCA_HOST CRITICAL - {path}/node-pk.pem has mode 644: others may read a private key | roles=2"
    )
    key.parent.chmod(0o700)  # as it is installed: nobody gets as far as the file
    assert node("--mode", "files").state == OK
    key.parent.chmod(0o710)
    assert node("--mode", "files").state == CRITICAL
    key.chmod(0o604)
    assert node("--mode", "files").state == OK
    key.parent.chmod(0o755)
    key.chmod(0o600)
    assert node("--mode", "files").state == OK
    shutil.rmtree(key.parent)
    assert node("--mode", "files").line == (
        f"EUCA_HOST CRITICAL - {path} is missing: no message of another component can be verified | roles=2"
    )


def test_the_temporary_directory(node):
    (node.root / "tmp").chmod(0o755)
    assert node("--mode", "files").line == "EUCA_HOST WARNING - /tmp has mode 755, not 1777 | roles=2"
    (node.root / "tmp").rmdir()
    assert node("--mode", "files").line == "EUCA_HOST WARNING - /tmp is missing | roles=2"


def test_not_installed(tmp_path):
    assert CHECK.run([], root=str(tmp_path)).line == (
        "EUCA_HOST UNKNOWN - eucalyptus: no component of Eucalyptus is installed here "
        "(look for its programs and /var/lib/eucalyptus)"
    )


def test_a_component_that_is_declared_and_not_here(node):
    assert node("--role", "cc", "--mode", "processes", "--mode", "ports").line == (
        "EUCA_HOST CRITICAL - cc has no process eucalyptus-cloud and no listener on tcp 8773 | "
        "roles=1 missing_procs=1 missing_ports=1"
    )
    assert node("--role", "nurse").state == UNKNOWN


def test_a_log_that_is_missing(node):
    (node.root / "var/log/eucalyptus/nc.log").unlink()
    assert node("--mode", "logs").line == (
        f"EUCA_HOST UNKNOWN - {LOG}/nc.log: No such file or directory (read {LOG}/nc.log) | roles=2 errors=0;10 fatals=0;;0"
    )


def test_proc_that_does_not_answer(node):
    shutil.rmtree(node.root / "proc/net")
    outcome = node("--mode", "ports")
    assert (outcome.state, "missing_ports" in outcome.line) == (UNKNOWN, False)


def test_processes_that_are_hidden(node):
    node.end(1)  # hidepid shows only our own
    outcome = node("--mode", "processes")
    assert outcome.line == (
        "EUCA_HOST UNKNOWN - eucalyptus-nc: it hides the processes of other users (hidepid) (look through /proc): needs "
        "membership of the group that the option gid= of the /proc mount names, or a /proc without hidepid | roles=2"
    )


def test_without_rights(demo):
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o755)
        tree = Tree(demo, "clc", f"{folder}/root", f"{folder}/state")
        os.chmod(tree.root / "var/lib/eucalyptus/db", 0)  # 0700 for another user
        for name in ("tcp", "tcp6"):
            path = tree.root / f"proc/net/{name}"
            path.write_text("".join(line for line in path.open() if ":2249" not in line))  # 8777
        state, line = as_nobody(CHECK, [], root=str(tree.root))
        os.chmod(tree.root / "var/lib/eucalyptus/db", 0o755)
    assert state == UNKNOWN
    assert line.startswith(
        "EUCA_HOST UNKNOWN - cloud: is a CLC or user services alone: that is not to be seen: needs the right to look into its "
        "db directory, or --role clc or --role ufs"
    )


def test_left_out(node):
    outcome = node("--exclude", "eucanetd", "--mode", "processes")
    assert outcome.line == "EUCA_HOST OK - 1 component: nc | roles=1 missing_procs=0"


def test_a_folder_that_hides_components(demo):
    """Walrus is known by its folder alone: below one that is closed there may be one, and nobody would have looked at it."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o755)
        tree = Tree(demo, "clc", f"{folder}/root", f"{folder}/state")
        os.chmod(tree.root / "var/lib/eucalyptus", 0)  # 0700, as the JVM makes it where it is not there
        found, line = as_nobody(CHECK, ["--mode", "processes"], root=str(tree.root))
        declared, other = as_nobody(
            CHECK, ["--mode", "processes", "--role", "clc", "--role", "walrus"], root=str(tree.root)
        )
        os.chmod(tree.root / "var/lib/eucalyptus", 0o755)
    assert (found, line) == (
        UNKNOWN,
        "EUCA_HOST UNKNOWN - /var/lib/eucalyptus: Permission denied (look for components in /var/lib/eucalyptus): needs "
        "membership of group eucalyptus, which may look into it, or --role for each component | roles=1 missing_procs=0",
    )
    assert (declared, other) == (OK, "EUCA_HOST OK - 2 components: clc, walrus | roles=2 missing_procs=0")


def test_a_fault_log_that_is_not_understood_or_not_read_whole(node):
    log = node.root / "var/log/eucalyptus/nc-fault.log"
    log.write_text("java.lang.NullPointerException\n")
    assert node("--mode", "faults").line == (
        f"EUCA_HOST UNKNOWN - {LOG}/nc-fault.log has 1 line of no fault block | roles=2 faults=0"
    )
    log.write_text("".join(in_c("1008", time.time() - 90000 + number) for number in range(45000)))
    assert "bytes are not read yet" in node("--mode", "faults", "--state-id", "b").text


def test_a_host_without_logs_has_no_number_of_errors(tmp_path):
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp").chmod(0o1777)
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "usr/bin/eucaconsole").touch()
    argv = ["--state-dir", str(tmp_path / "state"), "--role", "console", "--mode"]
    asked = CHECK.run([*argv, "logs"], root=str(tmp_path))
    assert asked.line == "EUCA_HOST UNKNOWN - logs: no log is looked at here | roles=1"
    assert judged(Host(roles=(Role("console"),)))[-1] == Finding(OK, "logs", "no log is looked at here")


# check_euca_proc of 4.1 to 4.4 knew /opt/eucalyptus only, whatever EUCALYPTUS said, and the names of pid files up to 4.2.
def test_a_home_of_its_own(demo, tmp_path):
    home = tmp_path / "root/opt/eucalyptus"
    demo.write("one-nc-1", home)
    (home / "proc").rename(tmp_path / "root/proc")
    (tmp_path / "root/tmp").mkdir()
    (tmp_path / "root/tmp").chmod(0o1777)
    (home / "etc/eucalyptus/eucalyptus.conf").write_text('EUCALYPTUS="/opt/eucalyptus"\n')
    outcome = CHECK.run(["--state-dir", str(tmp_path / "state")], root=str(tmp_path / "root"))
    assert outcome.line.startswith("EUCA_HOST OK - "), outcome.text
    assert "nc runs eucalyptus-nc, libvirt, listens on tcp 8775" in outcome.text
    (home / "var/log/eucalyptus/nc.log").unlink()
    assert "/opt/eucalyptus/var/log/eucalyptus/nc.log" in CHECK.run([], root=str(tmp_path / "root")).line
