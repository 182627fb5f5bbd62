# SPDX-License-Identifier: Apache-2.0
"""check_euca_sensors over status directories made by hand, after the source of 4.4.2.

Values: stats/sensors/{ComponentsSensor,DbPoolSensor,JvmMemorySensor,JvmThreadSensor}.java and util/stats/{message_stats,
service_sensor}.c; the pools' names are those of a Java 7 and a Java 8 JVM.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from nephoscope.base import ABSENT, COLLECTING, Clock, Failed
from nephoscope.checks.eucalyptus.check_euca_sensors import CHECK
from nephoscope.demo import Demo, sample
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, Finding, Metric
from nephoscope.probes.euca_sensors import Health, Readings, Sensor, Value

from tests.probes.unprivileged import as_nobody

NOW = int(time.time())
SWITCH = (
    "switch them on: property stats.enable_stats=true or CLOUD_OPTS=-Deuca.enable_stats=true (JVM), "
    'ENABLED_SENSORS="messages service_state" in eucalyptus.conf (CC, NC)'
)


class Fixed(Clock):
    def time(self):
        return NOW + self.shift


class Host:
    def __init__(self, root):
        self.root = Path(root)
        self.status = self.root / "run/eucalyptus/status"
        self.status.mkdir(parents=True)
        (self.root / "etc/eucalyptus").mkdir(parents=True)
        (self.root / "etc/eucalyptus/eucalyptus.conf").write_text('EUCALYPTUS="/"\n')

    def sensor(self, name, values, age=6, ttl=60, text=None):
        path = self.status / name.replace(".", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        data = {"sensor": name, "timestamp": NOW - age, "ttl": ttl, "tags": ["period: 60"], "values": values}
        path.write_text(json.dumps(data) if text is None else text)
        return path

    def heap(self, used=40.0, **more):
        pools = {
            "PS Eden Space.PercentOfMaxUsed": 99.9,
            "Metaspace.PercentOfMaxUsed": -8.1e9,
            "PS Old Gen.UsedByes": 1431830528,
            "PS Old Gen.PercentOfMaxUsed": used,
        }
        self.sensor("euca.jvm.memory.pools", pools, **more)

    def gc(self, milliseconds, at=0):
        values = {"PS MarkSweep.CollectionTimeMSec": milliseconds, "PS Scavenge.CollectionTimeMSec": 1000}
        values["PS Scavenge.CollectionCount"] = 7
        self.sensor("euca.jvm.memory.gc", values, age=-at)

    def pools(self, active=10, check="OK"):
        values = {"MaxConnectionCount": 100, "ActiveConnectionCount": active, "CapacityCheck": check}
        self.sensor("euca.db.connection_pools", {f"database_events.{name}": value for name, value in values.items()})

    def messages(self, count=10, failed=0, mean=500, enabled=True, component="nc", at=0):
        """As update_message_stats counts: since the start, and `failure_count` begins again from `count` at each failure."""
        message = {
            "count": count, "failure_count": count if failed else 0, "success_count": count - failed, "mean": mean,
            "min": -1, "max": 900,
        }  # fmt: skip
        values = {"enabled": enabled, "ncDescribeResource": message}
        self.sensor(f"euca.components.{component}.msgs.stats", values, age=-at)

    def java(self, component, state="ENABLED", check="OK", **more):
        self.sensor(f"euca.components.{component}.state", {"Check": check, "State": state}, **more)

    def c(self, component, state="ENABLED", check="OK", **more):
        self.sensor(f"euca.components.{component}.state", {"check": check, "state": state}, **more)


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path)


@pytest.fixture
def run(host, tmp_path):
    def once(*argv, shift=0.0):
        return CHECK.run(["--state-dir", str(tmp_path / "state"), *argv], root=str(tmp_path), clock=Fixed(shift))

    return once


def judged(found, *argv):
    return list(CHECK._judge(found, CHECK.parse(*argv)))


def test_the_judge():
    gone = Failed(ABSENT, "euca.x", "", "is gone")
    fresh = Sensor("euca.jvm.memory.pools", 10.0, 61.0, {})
    found = Readings(
        (fresh, Sensor("euca.old", 610.0, 61.0, {}, stuck=True)),
        (gone,),
        (Value("heap", 12.5), Value("gc", COLLECTING), Value("msg_fail", 7.0, "nc", "1 of 14 x")),
        (
            Health("state", "storage", "standby", "is DISABLED"),
            Health("state", "cluster", "standby", "is DISABLED"),
            Health("state", "dns", "unknown", "is BUGGY"),
            Health("state", "imagingbackend", "worker", "is NOTREADY"),
            Health("dbpool", "a", "failed", "FAILED"),
        ),
        ("threads",),
        ("messages",),
    )
    assert judged(found, "--standby", "storage") == [
        gone,
        Finding(OK, "", "2 sensors, 1 of them too old to be believed"),
        Metric("stale", 1000 / 61, of="euca.jvm.memory.pools", detail="10 s old, holds for 61 s"),
        Metric("stale", 1000.0, of="euca.old", detail="610 s old, holds for 61 s"),
        Finding(WARNING, "euca.old", "is not written: a crash left its .new file behind, remove that"),
        Metric("heap", 12.5),
        Metric("gc", COLLECTING),
        Metric("msg_fail", 7.0, of="nc", detail="1 of 14 x"),
        Finding(OK, "storage", "is DISABLED"),
        Finding(WARNING, "cluster", "is DISABLED"),
        Finding(UNKNOWN, "dns", "is BUGGY"),
        Finding(WARNING, "imagingbackend", "is NOTREADY"),
        Finding(CRITICAL, "a", "FAILED"),
        Finding(OK, "threads", "no sensor of it is here"),
        Finding(UNKNOWN, "messages", "is not known: its sensors are too old to be believed"),
    ]
    only = judged(found, "--mode", "threads")
    assert (only[-1], len(only)) == (Failed(ABSENT, "threads", "", "no sensor of it is here"), 9)


def test_green_on_a_cloud_controller(host, run):
    host.heap()
    host.sensor("euca.jvm.memory.general", {"HeapUsageBytes": 1000, "NonHeapUsageBytes": 5})
    host.gc(5000)
    host.sensor("euca.jvm.threads.state", {"DeadlockedThreadCount": "", "ThreadCount": 345})
    host.pools()
    host.java("eucalyptus")
    outcome = run()
    assert outcome.line == (
        "EUCA_SENSORS OK - 6 sensors, rates collecting | stale=10%;200;500 heap=40%;80;90 heap_used=1000B "
        "deadlocked=0;;0 threads=345 database_events_pool=10%;80;95"
    )
    assert "messages no sensor of it is here" in outcome.text


def test_green_on_a_node(host, run):
    host.messages()
    host.c("nc")
    assert run().line == (
        "EUCA_SENSORS OK - 2 sensors, rates collecting | stale=10%;200;500 nc_ncDescribeResource_msg_mean=0.5s;5;30"
    )


@pytest.mark.parametrize(
    "used, state, text",
    [
        (80.5, WARNING, "heap 80.5 % is above 80 %"),
        (95.0, CRITICAL, "heap 95 % is above 90 %"),
    ],
)
def test_heap(host, run, used, state, text):
    host.heap(used)
    outcome = run("--mode", "heap")
    assert (outcome.state, outcome.line) == (
        state,
        f"EUCA_SENSORS {('OK', 'WARNING', 'CRITICAL')[state]} - {text} | stale=10%;200;500 heap={used:g}%;80;90",
    )


def test_a_full_eden_is_none_and_a_full_permanent_generation_is_one(host, run):
    values = {
        "PS Eden Space.PercentOfMaxUsed": 100.0,
        "PS Old Gen.PercentOfMaxUsed": 5.0,
        "PS Perm Gen.PercentOfMaxUsed": 96.0,
    }
    host.sensor("euca.jvm.memory.pools", values)
    assert run("--mode", "heap").line == (
        "EUCA_SENSORS CRITICAL - perm 96 % is above 95 % | stale=10%;200;500 heap=5%;80;90 perm=96%;90;95"
    )


def test_a_collector_that_is_not_known_is_not_measured(host, run):
    host.sensor("euca.jvm.memory.pools", {"ZHeap.UsedByes": 7})
    assert run("--mode", "heap").line == "EUCA_SENSORS UNKNOWN - heap was not measured | stale=10%;200;500"


def test_collections_as_a_share_of_time(host, run):
    host.gc(5000)
    assert run("--mode", "gc").line == "EUCA_SENSORS OK - 1 sensor, rates collecting | stale=0%;200;500"
    host.gc(5000 + 6000, at=60)
    assert run("--mode", "gc", shift=60).line == "EUCA_SENSORS OK - 1 sensor | stale=0%;200;500 gc=10%;10;30"
    host.gc(11000 + 60000, at=120)
    assert (
        run("--mode", "gc", shift=120).line
        == "EUCA_SENSORS CRITICAL - gc 55 % is above 30 % | stale=0%;200;500 gc=55%;10;30"
    )
    host.gc(100, at=180)  # the JVM was restarted
    assert run("--mode", "gc", shift=180).line == "EUCA_SENSORS OK - 1 sensor, rates collecting | stale=0%;200;500"


def test_deadlock(host, run):
    host.sensor("euca.jvm.threads.state", {"DeadlockedThreadCount": 2, "ThreadCount": 345})
    assert run("--mode", "threads").line == (
        "EUCA_SENSORS CRITICAL - deadlocked 2 is above 0 | stale=10%;200;500 deadlocked=2;;0 threads=345"
    )


def test_no_deadlock_told_is_not_no_deadlock(host, run):
    host.sensor("euca.jvm.threads.state", {"ThreadCount": 345})
    assert (
        run("--mode", "threads").line
        == "EUCA_SENSORS UNKNOWN - deadlocked was not measured | stale=10%;200;500 threads=345"
    )


def test_pools(host, run):
    host.pools(96, "OK")
    assert run("--mode", "dbpool").line == (
        "EUCA_SENSORS CRITICAL - database_events pool 96 % is above 95 % | stale=10%;200;500 database_events_pool=96%;80;95"
    )
    host.pools(85, "FAILED")
    assert run("--mode", "dbpool").line == (
        "EUCA_SENSORS CRITICAL - database_events its CapacityCheck is FAILED, WARNING: database_events pool 85 % is above 80 % "
        "| stale=10%;200;500 database_events_pool=85%;80;95"
    )
    host.sensor("euca.db.connection_pools", {})  # ProxoolFacade threw: the map is empty
    assert run("--mode", "dbpool").line == (
        "EUCA_SENSORS UNKNOWN - pool was not measured, its CapacityCheck is missing | stale=10%;200;500"
    )


def test_messages(host, run):
    """One that failed long ago is no news, though `failure_count` then holds what `count` was."""
    host.messages(count=1000, failed=1)
    mean = "stale=0%;200;500 nc_ncDescribeResource_msg_mean=0.5s;5;30"
    assert run("--mode", "messages").line == f"EUCA_SENSORS OK - 1 sensor, rates collecting | {mean}"
    host.messages(count=1100, failed=1, at=300)
    assert run("--mode", "messages", shift=300).line == f"EUCA_SENSORS OK - 1 sensor | {mean} nc_msg_fail=0%;5;20"
    host.messages(count=1200, failed=11, at=600)
    assert run("--mode", "messages", shift=600).line == (
        f"EUCA_SENSORS WARNING - nc msg fail 10 % is above 5 % (10 of 100 ncDescribeResource) | {mean} nc_msg_fail=10%;5;20"
    )
    host.messages(count=5, failed=5, at=900)  # the node controller was restarted
    assert run("--mode", "messages", shift=900).line == f"EUCA_SENSORS OK - 1 sensor, rates collecting | {mean}"


def test_the_first_failure_after_a_restart(host, run):
    """Fewer messages than before, more failures: the one is a new beginning, the other looks like a rise."""
    host.messages(count=100, failed=0)
    run("--mode", "messages")
    host.messages(count=5, failed=2, at=300)
    assert run("--mode", "messages", shift=300).line == (
        "EUCA_SENSORS OK - 1 sensor, rates collecting | stale=0%;200;500 nc_ncDescribeResource_msg_mean=0.5s;5;30"
    )


def test_messages_that_take_long_or_are_not_counted(host, run):
    host.messages(mean=31000)
    assert run("--mode", "messages").line == (
        "EUCA_SENSORS CRITICAL - nc_ncDescribeResource msg mean 31 s is above 30 s"
        " | stale=0%;200;500 nc_ncDescribeResource_msg_mean=31s;5;30"
    )
    host.messages(count=0, mean=0)
    assert run("--mode", "messages").state == OK
    host.messages(enabled=False)
    assert run("--mode", "messages").line == (
        "EUCA_SENSORS UNKNOWN - euca.components.nc.msgs.stats: it counts no messages | stale=0%;200;500"
    )


# check_component_health of 4.1 to 4.4 left with 0 when Check was FAILED, and with a KeyError for cc and nc.
@pytest.mark.parametrize(
    "component, check, state, expected",
    [
        ("storage", "FAILED", "ENABLED", "CRITICAL - storage is ENABLED, its check says FAILED"),
        ("storage", "OK", "BROKEN", "CRITICAL - storage is BROKEN, its check says OK"),
        ("storage", "OK", "NOTREADY", "CRITICAL - storage is NOTREADY, its check says OK"),
        ("storage", "OK", "n/a: boom", "CRITICAL - storage is n/a: boom, its check says OK"),
        ("storage", "OK", "DISABLED", "WARNING - storage is DISABLED, its check says OK"),
        ("storage", "OK", "STOPPED", "WARNING - storage is STOPPED, its check says OK"),
        ("storage", "OK", "LOADED", "WARNING - storage is LOADED, its check says OK"),
        ("imagingbackend", "FAILED", "NOTREADY", "WARNING - imagingbackend is NOTREADY, its check says FAILED"),
        ("storage", "OK", "SPLENDID", "UNKNOWN - storage is SPLENDID, its check says OK"),
        ("storage", "PERHAPS", "ENABLED", "UNKNOWN - storage is ENABLED, its check says PERHAPS"),
    ],
)
def test_states(host, run, component, check, state, expected):
    host.java(component, state, check)
    assert run("--mode", "state").line == f"EUCA_SENSORS {expected} | stale=10%;200;500"


def test_the_lower_case_keys_of_c(host, run):
    host.c("nc", "DISABLED", "FAILED")
    assert run("--mode", "state").line == (
        "EUCA_SENSORS CRITICAL - nc is DISABLED, its check says FAILED | stale=10%;200;500"
    )
    host.c("nc")
    host.sensor("euca.components.cc.state", {})
    assert run("--mode", "state").line == (
        "EUCA_SENSORS UNKNOWN - cc is in no state that it tells, its check says nothing | stale=10%;200;500"
    )


def test_a_declared_standby(host, run):
    host.java("storage", "DISABLED")
    assert run("--mode", "state", "--standby", "storage").state == OK
    host.java("storage", "DISABLED", "FAILED")
    assert run("--mode", "state", "--standby", "storage").state == CRITICAL


@pytest.mark.parametrize(
    "age, line",
    [
        (
            120,
            "OK - 1 sensor | stale=200%;200;500 heap=40%;80;90",
        ),
        (
            123,
            "WARNING - euca.jvm.memory.pools stale 205 % is above 200 % (123 s old, holds for 60 s), "
            "UNKNOWN: heap is not known: its sensors are too old to be believed | stale=205%;200;500",
        ),
        (
            306,
            "CRITICAL - euca.jvm.memory.pools stale 510 % is above 500 % (306 s old, holds for 60 s), "
            "UNKNOWN: heap is not known: its sensors are too old to be believed | stale=510%;200;500",
        ),
    ],
)
def test_a_process_that_stopped_is_not_shown_as_healthy(host, run, age, line):
    host.heap(age=age)
    assert run("--mode", "heap").line == f"EUCA_SENSORS {line}"


def test_what_is_too_old_stays_unknown_whatever_the_limit(host, run):
    host.heap(age=6000)
    assert run("--mode", "heap", "-w", "stale=99999", "-c", "stale=99999").line == (
        "EUCA_SENSORS UNKNOWN - heap is not known: its sensors are too old to be believed | stale=10000%;99999;99999"
    )


def test_one_that_holds_for_ever(host, run):
    host.heap(age=99999, ttl=-1)
    assert run("--mode", "heap").line == "EUCA_SENSORS OK - 1 sensor | stale=0%;200;500 heap=40%;80;90"


def test_a_sensor_that_an_earlier_run_saw(host, run):
    host.heap()
    host.java("storage")
    assert run().state == OK
    path = host.status / "euca/components/storage/state"
    path.unlink()
    gone = "EUCA_SENSORS UNKNOWN - euca.components.storage.state: is gone, an earlier run saw it: does its process run?"
    assert run("--mode", "heap", "--state-id", "").line.startswith("EUCA_SENSORS OK")
    assert run().line == f"{gone} | stale=10%;200;500 heap=40%;80;90"
    host.heap(age=-604800)
    assert run(shift=604801).state == OK


def test_all_sensors_gone_after_a_reboot(host, run):
    host.heap()
    run()
    (host.status / "euca/jvm/memory/pools").unlink()
    assert run().line == (
        "EUCA_SENSORS UNKNOWN - euca.jvm.memory.pools: is gone, an earlier run saw it: does its process run?"
    )


def test_switched_off(host, run):
    assert run().line == (
        f"EUCA_SENSORS UNKNOWN - sensors: no sensor is written (look through /run/eucalyptus/status): {SWITCH}"
    )
    host.status.rmdir()
    assert run().state == UNKNOWN


def test_not_installed(tmp_path):
    assert CHECK.run([], root=str(tmp_path)).line == (
        "EUCA_SENSORS UNKNOWN - eucalyptus.conf: Eucalyptus is not installed here (read /etc/eucalyptus/eucalyptus.conf)"
    )


def test_a_mode_that_this_host_has_no_sensor_of(host, run):
    host.c("nc")
    assert run("--mode", "heap").line == "EUCA_SENSORS UNKNOWN - heap: no sensor of it is here | stale=10%;200;500"


NOT = "is no sensor: timestamp, ttl, values and its name must be there"
NAME, PATH = "euca.jvm.memory.pools", "/run/eucalyptus/status/euca/jvm/memory/pools"


@pytest.mark.parametrize(
    "text, said",
    [
        ('{"sensor": "euca.jvm.memory.pools", "timesta', "is no JSON: Unterminated string starting at: line 1 column 37 (char 36)"),
        ("", "is empty"),
        ("<html>", "is no JSON: Expecting value: line 1 column 1 (char 0)"),
        ("[]", NOT),
        ('{"sensor": "x", "timestamp": 1, "ttl": 61}', NOT),
        ('{"sensor": "x", "timestamp": 1, "ttl": 61, "values": []}', NOT),
        ('{"sensor": "x", "timestamp": 1e300, "ttl": 61, "values": {}}', NOT),
        ('{"sensor": "x", "timestamp": NaN, "ttl": 61, "values": {}}', NOT),
        ('{"sensor": 7, "timestamp": 1, "ttl": 61, "values": {}}', NOT),
        ('{"sensor": "x", "timestamp": true, "ttl": 61, "values": {}}', NOT),
    ],
)  # fmt: skip
def test_garbage(host, run, text, said):
    host.sensor(NAME, {}, text=text)
    assert run().line == f"EUCA_SENSORS UNKNOWN - {NAME}: {said} (read {PATH})"


def test_a_clock_that_is_ahead(host, run):
    host.heap(age=-90)
    assert run().line == f"EUCA_SENSORS UNKNOWN - {NAME}: is 90 s in the future: compare the clocks (read {PATH})"


def test_a_new_file_is_none_and_a_left_over_one_is_told(host, run):
    new = host.status / "euca/jvm/memory/pools.new"
    host.heap(age=10)
    new.write_text("{half")
    assert run("--mode", "heap").state == OK
    host.heap(age=200)
    os.utime(new, (NOW - 200, NOW - 200))
    assert (
        "euca.jvm.memory.pools is not written: a crash left its .new file behind, remove that"
        in run("--mode", "heap").text
    )


def test_only_a_left_over_was_ever_written(host, run):
    new = host.status / "euca/jvm/memory/pools.new"
    new.parent.mkdir(parents=True)
    new.write_text("{half")
    os.utime(new, (NOW - 200, NOW - 200))
    assert run("--mode", "heap").line == (
        f"EUCA_SENSORS UNKNOWN - {NAME}: was never written; {PATH}.new is a left-over of a crash that keeps it from being "
        f"written: remove it (read {PATH})"
    )


def test_far_too_many_files_are_refused(host, run):
    for number in range(30):
        for other in range(20):
            host.sensor(f"euca.x{number}.y{other}", {})
    assert run().line == "EUCA_SENSORS UNKNOWN - sensors: more than 500 files (look through /run/eucalyptus/status)"


def test_left_out(host, run):
    host.java("storage", "BROKEN")
    host.java("dns")
    outcome = run("--mode", "state", "--exclude", "euca.components.storage.*", "--exclude", "storage")
    assert outcome.line == "EUCA_SENSORS OK - 1 sensor | stale=10%;200;500"


def test_no_permission():
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o755)
        host = Host(folder)
        host.heap()
        os.chmod(host.status, 0)  # 0750 for another user
        state, line = as_nobody(CHECK, [], root=folder)
        os.chmod(host.status, 0o755)
    assert (state, line) == (
        UNKNOWN,
        "EUCA_SENSORS UNKNOWN - /run/eucalyptus/status: Permission denied (list /run/eucalyptus/status): "
        "needs membership of group eucalyptus-status (usermod -aG eucalyptus-status nagios)",
    )


def test_a_writer_that_renames_all_the_time(host, run):
    """The JVM's way (create .new, write, rename), as fast as it can: no run may see half a file."""
    host.heap()
    script = (
        "import os, sys\npath, text = sys.argv[1:]\nwhile True:\n"
        "    file = os.open(path + '.new', os.O_CREAT | os.O_EXCL | os.O_WRONLY)\n"
        "    for at in range(0, len(text), 7): os.write(file, text[at:at + 7].encode())\n"
        "    os.close(file); os.rename(path + '.new', path)\n"
    )
    path = host.status / "euca/jvm/memory/pools"
    writer = subprocess.Popen([sys.executable, "-c", script, str(path), path.read_text()])
    try:
        lines = {run("--mode", "heap").line for _ in range(30)}
    finally:
        writer.kill()
        writer.wait()
    assert lines == {"EUCA_SENSORS OK - 1 sensor | stale=10%;200;500 heap=40%;80;90"}


@pytest.mark.parametrize("host", ["clc", "one-cc", "one-nc-1"])
def test_sensors_of_a_simulated_cloud(host, tmp_path):
    """Files that nephoscope.demo writes after the source, by a writer of its own."""
    with Demo(sample(version="4.4.2", zones=1, nodes=1)) as demo:

        def run(*words):
            if words:
                demo.tell("sensors", host, *words)
            demo.write(host, tmp_path / "root")
            argv = ["--state-dir", str(tmp_path / "state"), "--exclude", "imagingbackend"]  # its image is not installed
            return CHECK.run(argv, root=str(tmp_path / "root"))

        assert run().state == OK, run().text
        assert run("stale", 150).state == WARNING
        assert run("stale", 600).state == CRITICAL
        assert run("half").state == UNKNOWN
        assert run("off").line.startswith("EUCA_SENSORS UNKNOWN - ")
        assert run("fresh").state == OK


def test_heap_of_a_simulated_cloud(tmp_path):
    with Demo(sample(version="4.4.2", zones=1, nodes=1)) as demo:
        demo.tell("sensor", "clc", "euca.jvm.memory.pools", "PS Old Gen.PercentOfMaxUsed", 97.0)
        demo.write("clc", tmp_path)
        outcome = CHECK.run(["--mode", "heap", "--state-dir", str(tmp_path / "state")], root=str(tmp_path))
    assert outcome.line.startswith("EUCA_SENSORS CRITICAL - heap 97 % is above 90 % | ")
