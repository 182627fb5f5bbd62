# SPDX-License-Identifier: Apache-2.0
"""check_euca_faults: the judge by equality, and the first line of everything that can happen."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from nephoscope.base import NOT_ALLOWED, Failed
from nephoscope.checks.eucalyptus.check_euca_faults import CHECK
from nephoscope.demo import Demo, sample
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, Finding, Metric
from nephoscope.probes import euca_api
from nephoscope.probes.euca_faults import Fault, Faults, Silenced

from tests.probes.fault_logs import NOW, Fixed, Host, in_c, in_java, stamp
from tests.probes.unprivileged import as_nobody


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path)


class Runs:
    def __init__(self, host, state):
        self.host, self.state = host, str(state)

    def __call__(self, *argv, shift=0.0, **words):
        return CHECK.run(["--state-dir", self.state, *argv], root=str(self.host.root), clock=Fixed(shift), **words)


@pytest.fixture
def run(host, tmp_path):
    return Runs(host, tmp_path / "state")


def perf(faults=0, new=0, silenced=0, oldest=0):
    return f" | faults={faults} new={new} silenced={silenced};0 oldest={oldest}s"


def judged(found, *argv):
    return list(CHECK._judge(found, CHECK.parse(*argv)))


LOGS = "2 fault logs"


def test_the_judge_on_a_quiet_host():
    assert judged(Faults(LOGS)) == [
        Finding(OK, "", "no open faults in 2 fault logs"),
        Metric("faults", 0),
        Metric("new", 0),
        Metric("silenced", 0),
        Metric("oldest", 0.0),
    ]


def test_the_judge_weighs_by_number():
    known = Fault(1008, "cc", "x is not running", since="T", age=50.0, found=10.0, cause="c", remedy="r")
    intended = Fault(1014, "cloud", "no image", since="T", age=99.0, found=7200.0, kind="intended")
    strange = Fault(4242, "cloud", "huh", since="T", kind="unknown", age=1.0, found=1.0)
    silent = Fault(1003, "cloud", "disk", since="T", silenced=True, age=1.0, found=1.0)
    known_to = Fault(2000, "sc", "tgtadm", since="T", age=9999.0, acknowledged="by anna on T: known")
    found = Faults(
        LOGS, (known, intended, strange, silent, known_to), (Silenced(1003, "/x"), Silenced(1015, "/y", "by b"))
    )
    assert judged(found) == [
        Finding(OK, "", "4 open faults in 2 fault logs, 1 acknowledged"),
        Metric("faults", 4),
        Metric("new", 3),
        Metric("silenced", 1, detail="ERR-1003"),
        Metric("oldest", 99.0),
        Finding(CRITICAL, "ERR-1008@cc", "x is not running, since T"),
        Finding(OK, "ERR-1008@cc", "cause: c; remedy: r"),
        Finding(WARNING, "ERR-1014@cloud", "no image, since T"),
        Finding(CRITICAL, "ERR-4242@cloud", "is in no document: huh, since T"),
        Finding(WARNING, "ERR-1003@cloud", "disk, since T"),
        Finding(OK, "ERR-2000@sc", "acknowledged by anna on T: known"),
        Finding(OK, "ERR-1003", "is silenced by /x, acknowledged by nobody"),
        Finding(OK, "ERR-1015", "is silenced by /y, acknowledged by b"),
    ]


def test_the_judge_says_what_was_not_seen():
    refused = Failed(NOT_ALLOWED, "/a", "read /a", "Permission denied")
    assert judged(Faults(failures=(refused,))) == [refused]
    found = Faults(LOGS, failures=(refused,), gaps=(("/b", "gone"),), behind=(("/c", 5),), strange=(("/d", 2),))
    assert [thing for thing in judged(found) if not isinstance(thing, Metric)] == [
        refused,
        Finding(OK, "", "no open faults in 2 fault logs"),
        Finding(UNKNOWN, "/b", "has a gap, a fault may have been missed: gone"),
        Finding(UNKNOWN, "/c", "5 bytes are not read yet: more than one run reads"),
        Finding(UNKNOWN, "/d", "has 2 lines of no fault block"),
    ]


def test_green(host, run):
    host.log("cc")
    host.log("cloud")
    outcome = run()
    assert outcome.line == (
        "EUCA_FAULTS OK - no open faults in 2 fault logs (first look: read from the start)" + perf()
    )
    assert run().line == "EUCA_FAULTS OK - no open faults in 2 fault logs" + perf()


def test_critical_by_what_c_logged_and_it_stays_so(host, run):
    host.log("nc", in_c("1008", NOW - 100))
    outcome = run()
    text = f"EUCA_FAULTS CRITICAL - ERR-1008@nc eucanetd is not running (eucanetd daemon on localhost), since {stamp(NOW - 100)}"
    assert (outcome.state, outcome.line) == (2, text + perf(1, 1, 0, 100))
    assert "ERR-1008@nc cause: unknown; remedy: 1) Install eucanetd 2) Run eucanetd" in outcome.text
    assert run(shift=7200).line == text + perf(1, 0, 0, 7300)


def test_a_warning_by_what_java_logged(host, run):
    image = ("Load balancer image not configured.", ("x", "y", "LoadBalancing", "LoadBalancing"), "")
    host.log("services", in_java(1014, NOW - 5, image))
    assert run().line == (
        "EUCA_FAULTS WARNING - ERR-1014@services Load balancer image not configured. (LoadBalancing), "
        f"since {stamp(NOW - 5)}" + perf(1, 1, 0, 5)
    )


def test_a_number_of_no_document_is_critical(host, run):
    host.log("cloud", in_java(4242, NOW - 5))
    assert run().line == (
        "EUCA_FAULTS CRITICAL - ERR-4242@cloud is in no document: Running very low on disk space. "
        f"(Disk partition that hosts /var/lib/eucalyptus), since {stamp(NOW - 5)}" + perf(1, 1, 0, 5)
    )


def test_the_worst_comes_first(host, run):
    host.log("cloud", in_java(1500, NOW - 5, ("CloudWatch is off.", ("", "", "", ""), "")), in_java(1003, NOW - 7))
    assert run().line == (
        "EUCA_FAULTS CRITICAL - ERR-1003@cloud Running very low on disk space. (Disk partition that hosts /var/lib/eucalyptus), "
        f"since {stamp(NOW - 7)}, WARNING: ERR-1500@cloud CloudWatch is off., since {stamp(NOW - 5)}" + perf(2, 2, 0, 7)
    )


def test_acknowledged_listed_and_open_again(host, run, monkeypatch):
    monkeypatch.setenv("SUDO_USER", "anna")
    host.log("nc", in_c("1008", NOW - 100))
    run()
    outcome = run("--ack", "ERR-1008", "--reason", "restarted | twice", shift=10, terminal=True)
    assert outcome.line == "EUCA_FAULTS OK - no open faults in 1 fault log, 1 acknowledged" + perf()
    quiet = run(shift=20)
    assert quiet.line == "EUCA_FAULTS OK - no open faults in 1 fault log, 1 acknowledged" + perf()
    assert f"ERR-1008@nc acknowledged by anna on {stamp(NOW + 10)[:-3]}: restarted" in quiet.text
    host.log("nc", in_c("1008", NOW + 25))
    assert run(shift=30).line == (
        "EUCA_FAULTS CRITICAL - ERR-1008@nc eucanetd is not running (eucanetd daemon on localhost), "
        f"since {stamp(NOW + 25)}" + perf(1, 1, 0, 5)
    )


def test_words_that_do_not_go_together(host, run):
    host.log("nc", in_c("1008", NOW - 100))
    together = "--ack and --reason belong together: who reads this tomorrow must know why"
    assert run("--ack", "1008").line == f"EUCA_FAULTS UNKNOWN - {together}"
    assert run("--reason", "x").line == f"EUCA_FAULTS UNKNOWN - {together}"
    assert run("--ack", "1008", "--reason", " ").line == f"EUCA_FAULTS UNKNOWN - {together}"
    first = (
        "EUCA_FAULTS UNKNOWN - ERR-1008: no earlier run is known: acknowledge as the scheduler's user, with the same options "
        "(acknowledge 1008)"
    )
    assert run("--ack", "1008", "--reason", "x").line == first
    run()
    host.log("nc", in_c("1013", NOW - 5))
    fresh = "EUCA_FAULTS UNKNOWN - ERR-1013: was found just now: look at it first (acknowledge 1013)"
    assert run("--ack", "1013", "--reason", "x").line == fresh
    none = "EUCA_FAULTS UNKNOWN - ERR-2000: is not among the open faults: run without --ack (acknowledge 2000@nc)"
    assert run("--ack", "2000@nc", "--reason", "x").line == none
    assert run(shift=5).state == CRITICAL


def test_silenced(host, run):
    host.log("nc")
    host.silence(1014)
    outcome = run()
    assert outcome.line == "EUCA_FAULTS WARNING - silenced 1 is above 0 (ERR-1014)" + perf(silenced=1)
    assert "ERR-1014 is silenced by /etc/eucalyptus/faults/en_US/1014.xml, acknowledged by nobody" in outcome.text
    assert run("--ack", "1014", "--reason", "no ELB").line == "EUCA_FAULTS OK - no open faults in 1 fault log" + perf()
    assert "acknowledged by" in run().text
    assert run("--state-id", "other", "-w", "silenced=1").state == 0


def test_a_fault_that_was_raised_before_it_was_silenced(host, run):
    host.log("cloud", in_java(1003, NOW - 7))
    host.silence(1003)
    assert run("-w", "silenced=1").state == WARNING


def test_nothing_here(host, run, tmp_path):
    assert run().line == (
        "EUCA_FAULTS UNKNOWN - /var/log/eucalyptus: no such file (look for /var/log/eucalyptus/*-fault.log)"
    )
    outcome = CHECK.run(["--state-dir", str(tmp_path / "s")], root=str(tmp_path / "nowhere"))
    assert outcome.line == (
        "EUCA_FAULTS UNKNOWN - eucalyptus.conf: Eucalyptus is not installed here (read /etc/eucalyptus/eucalyptus.conf)"
    )


def test_logs_elsewhere(host, run):
    host.log("nc", in_c("1008", NOW - 100)).rename(host.root / "nc-fault.log")
    assert run("--directory", "/").state == CRITICAL
    wrong = "EUCA_FAULTS UNKNOWN - option --directory: 'logs' is not an absolute path"
    assert run("--directory", "logs").line == wrong


def test_garbage(host, run):
    host.log("nc", "\x00\xff<html>| ' \"</html>\nsecond\n")
    assert run().line == (
        "EUCA_FAULTS UNKNOWN - /var/log/eucalyptus/nc-fault.log has 2 lines of no fault block" + perf()
    )


def test_half_written_then_whole(host, run):
    whole = in_c("1008", NOW - 5)
    host.log("nc", whole[:140])
    cut = f"EUCA_FAULTS CRITICAL - ERR-1008@nc eucanetd is not running, since {stamp(NOW - 5)}"
    assert run().line == cut + perf(1, 1, 0, 5)
    host.log("nc", whole[140:])
    text = f"EUCA_FAULTS CRITICAL - ERR-1008@nc eucanetd is not running (eucanetd daemon on localhost), since {stamp(NOW - 5)}"
    assert run(shift=1).line == text + perf(1, 1, 0, 6)


def test_rotated_between_two_runs_and_rotated_away(host, run):
    path = host.log("cloud")
    run()
    host.log("cloud", in_java(1003, NOW - 7)).rename(path.with_name("cloud-fault.log.1"))
    host.log("cloud")
    text = (
        "EUCA_FAULTS CRITICAL - ERR-1003@cloud Running very low on disk space. "
        f"(Disk partition that hosts /var/lib/eucalyptus), since {stamp(NOW - 7)}"
    )
    assert run().line == text + perf(1, 1, 0, 7)
    path.with_name("cloud-fault.log.1").unlink()
    host.log("other").replace(path)
    outcome = run(shift=3)
    assert outcome.line == text + " … and 1 more" + perf(1, 1, 0, 10)
    assert (
        "cloud-fault.log has a gap, a fault may have been missed: the file that was read last time is gone"
        in outcome.text
    )


def test_more_than_one_run_may_read(host, run):
    host.log("cloud", *[in_java(1003, NOW - 1000 + number) for number in range(500)])
    outcome = run("--max-read", "64KiB")
    assert (outcome.state, "bytes are not read yet: more than one run reads" in outcome.text) == (CRITICAL, True)


def test_the_deadline_holds_over_a_huge_log(host, run):
    texts = [(f"message {number}", ("a" * 3000, "b", "c", "d"), "") for number in range(3000)]
    host.log("cloud", *(in_java(1003, NOW - 5000 + number, text) for number, text in enumerate(texts)))
    begun = time.monotonic()
    outcome = run("-t", "0.5", "-v")
    assert time.monotonic() - begun < 1.0
    assert (outcome.state, "bytes are not read yet" in outcome.text) == (CRITICAL, True)


def test_left_out(host, run):
    host.log("cloud", in_java(1003, NOW - 7))
    outcome = run("--exclude", "ERR-1003@*")
    assert outcome.line == ("EUCA_FAULTS OK - no open faults in 1 fault log (first look: read from the start)" + perf())
    assert "left out by --include/--exclude: 1 (ERR-1003@cloud)" in outcome.text


def test_no_permission():
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o755)
        host = Host(Path(folder))
        path = host.log("nc", in_c("1008", NOW - 5))
        os.chmod(path, 0)
        state, line = as_nobody(CHECK, [], root=folder)
        os.chmod(path, 0o600)
    error = "/var/log/eucalyptus/nc-fault.log: Permission denied (read /var/log/eucalyptus/nc-fault.log)"
    assert (state, line.partition(": needs ")[0]) == (UNKNOWN, f"EUCA_FAULTS UNKNOWN - {error}")


def test_a_state_that_is_damaged_says_so_and_begins_from_the_logs(host, run):
    host.log("nc", in_c("1008", NOW - 100))
    run()
    (file,) = [name for name in os.listdir(run.state) if name.endswith(".json")]
    with open(f"{run.state}/{file}", "r+") as stream:
        stream.truncate(60)  # half written, as by no replace of ours
    outcome = run(shift=5)
    assert outcome.state == CRITICAL
    assert "was damaged: beginning anew" in outcome.text


def test_an_answer_that_nobody_took_is_told_again(host, run):
    """A reader that has gone before line 1 was out: what was read then is new in the next run."""
    path = host.log("nc")
    run()
    with path.open("a") as file:
        file.write(in_c("1008", NOW - 5))
    script = "import sys; from nephoscope.checks.eucalyptus.check_euca_faults import CHECK; CHECK.main()"
    argv = ["--directory", str(host.logs), "--state-dir", run.state]
    reader, writer = os.pipe()
    os.close(reader)
    subprocess.run([sys.executable, "-c", script, *argv], stdout=writer, stderr=subprocess.DEVNULL, check=False)
    os.close(writer)
    kept = [json.loads(Path(run.state, name).read_text()) for name in os.listdir(run.state) if name.endswith(".json")]
    assert all(not state["data"]["kept"]["latched"] for state in kept)
    done = subprocess.run([sys.executable, "-c", script, *argv], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("EUCA_FAULTS CRITICAL - ERR-1008@nc eucanetd is not running")


def test_faults_of_a_simulated_cloud(tmp_path):
    """Blocks that nephoscope.demo writes after the source, by a formatter of its own, C and Java, through a rotation."""
    with Demo(sample(version="4.4.2", zones=1, nodes=1)) as demo:
        argv = ["--state-dir", str(tmp_path / "state")]
        hosts = {name: tmp_path / name for name in ("one-nc-1", "clc")}

        def run(name):
            demo.write(name, hosts[name])
            return CHECK.run([*argv, "--state-id", name], root=str(hosts[name]))

        assert [run(name).state for name in hosts] == [OK, OK]
        demo.tell("fault", "one-nc-1", "1008", {"daemon": "eucanetd"})
        demo.tell("fault", "clc", 1006, {"alias": "eucalyptus_shared", "component": "cloud"})
        demo.tell("fault", "clc", 1500)
        for name, file in (("one-nc-1", "nc-fault.log"), ("clc", "cloud-fault.log")):
            demo.tell("rotate", name, file)
        node, clc = run("one-nc-1"), run("clc")
        assert (node.state, clc.state) == (CRITICAL, CRITICAL)
        assert "ERR-1008@nc eucanetd is not running (eucanetd daemon on localhost), since" in node.line
        assert "ERR-1006@cloud Running very low db connections in db pool eucalyptus_shared" in clc.line
        assert "WARNING: ERR-1500@cloud" in clc.text or "ERR-1500@cloud CloudWatch" in clc.text
        demo.tell("silence", "one-nc-1", 1013)
        assert "ERR-1013 is silenced by /etc/eucalyptus/faults/en_US/1013.xml" in run("one-nc-1").text


# ---- from afar: events of the services, from the simulator over HTTP


SEEN = "no open faults in the events of 37 services (what is only logged is not seen from here)"
# LoadBalancingServiceBootstrapper.java of 4.4.2 hands on the second line of the fault's block.
NUMBERED = f"  ERR-1015 {stamp(NOW - 60)} Imaging worker image not configured. Imaging service will not be available."


class Afar:
    def __init__(self, demo, folder):
        pytest.importorskip("botocore", reason="the extra aws is not installed")
        self.demo, self.folder = demo, folder
        self.keys = {user: str(demo.credentials(folder / f"{user}.ini", user=user)) for user in ("monitor", "nobody")}

    def __call__(self, *argv, user="monitor", shift=0.0):
        words = ["-H", self.demo.address("clc"), "--credentials", self.keys[user]]
        return CHECK.run([*words, "--state-dir", str(self.folder / "state"), *argv], clock=Fixed(shift))


@pytest.fixture
def afar(tmp_path):
    with Demo(sample(version="4.4.2", zones=1, nodes=1)) as demo:
        yield Afar(demo, tmp_path)


def test_a_quiet_cloud(afar):
    assert afar().line == f"EUCA_FAULTS OK - {SEEN} | faults=0 new=0 oldest=0s"
    assert len(afar.demo.requests) == 1


@pytest.mark.parametrize("version", ["3.4.3", "5.1.0"])
def test_other_versions(version, tmp_path):
    with Demo(sample(version=version, zones=1, nodes=1)) as demo:
        afar = Afar(demo, tmp_path)
        demo.tell("state", "one-sc-1", "BROKEN", "no back-end")
        assert afar().line.startswith("EUCA_FAULTS CRITICAL - storage one-sc-1 says: no back-end | ")


def test_an_event_without_a_number_is_told_while_it_lasts(afar):
    afar.demo.tell(
        "state", "one-sc-1", "BROKEN", "SC blockstoragemanager not configured.\nLegal values are: das,overlay"
    )
    line = "EUCA_FAULTS CRITICAL - storage one-sc-1 says: SC blockstoragemanager not configured. | faults=0 new=0 oldest=0s"
    assert afar().line == line
    afar.demo.tell("state", "one-sc-1", "ENABLED", "")
    assert afar().state == OK


def test_an_event_with_a_number_is_latched(afar, monkeypatch):
    monkeypatch.setenv("SUDO_USER", "anna")
    name = next(service.name for service in afar.demo.cloud.services if service.kind == "imagingbackend")
    afar.demo.tell("state", name, "NOTREADY", NUMBERED)
    text = (
        f"EUCA_FAULTS WARNING - ERR-1015@{name} Imaging worker image not configured. Imaging service will not be available., "
        f"since {stamp(NOW - 60)}"
    )
    assert afar().line == f"{text} | faults=1 new=1 oldest=60s"
    assert afar(shift=30).line == f"{text} | faults=1 new=1 oldest=90s"
    acknowledged = f"EUCA_FAULTS OK - {SEEN}, 1 acknowledged | faults=0 new=0 oldest=0s"
    assert afar("--ack", f"1015@{name}", "--reason", "not used here", shift=60).line == acknowledged
    assert afar(shift=90).line == acknowledged
    afar.demo.tell("state", name, "ENABLED", "")
    assert afar(shift=120).line == acknowledged
    afar.demo.tell("state", name, "NOTREADY", NUMBERED.replace(stamp(NOW - 60), stamp(NOW + 140)))
    assert afar(shift=150).state == WARNING
    assert afar("--ack", "1015@nc7.example", "--reason", "x", shift=180).state == UNKNOWN
    assert afar("--ack", f"1015@{afar.demo.address('clc')}", "--reason", "x", shift=180).line == acknowledged


def test_what_is_latched_is_told_when_nobody_answers(afar):
    name = next(service.name for service in afar.demo.cloud.services if service.kind == "imagingbackend")
    afar.demo.tell("state", name, "NOTREADY", NUMBERED.replace("1015", "1006"))
    assert afar().state == CRITICAL
    afar.demo.tell("html", "clc")
    text = f"EUCA_FAULTS CRITICAL - ERR-1006@{name} Imaging worker image not configured."
    outcome = afar(shift=30)
    assert (outcome.state, outcome.line.startswith(text), "is HTML, not XML" in outcome.text) == (CRITICAL, True, True)
    refused = afar("--ack", "1006", "--reason", "x", shift=60).line
    assert refused.startswith(f"EUCA_FAULTS UNKNOWN - {afar.demo.address('clc')}:8773: the answer is HTML")
    afar.demo.tell("heal", "clc")
    afar.demo.tell("state", name, "ENABLED", "")
    assert afar(shift=90).line.startswith(text)


def test_an_event_of_a_severity_that_is_not_known(afar, monkeypatch):
    afar.demo.tell("state", "one-sc-1", "BROKEN", "no back-end")
    ask = euca_api.ask

    def altered(*words, **more):
        root = ask(*words, **more)
        for severity in root.iter("severity"):
            severity.text = "DREADFUL" if severity.text == "ERROR" else severity.text
        return root

    monkeypatch.setattr(euca_api, "ask", altered)
    assert afar().line == (
        "EUCA_FAULTS UNKNOWN - storage one-sc-1 says: no back-end (of severity 'DREADFUL', which is not known) "
        "| faults=0 new=0 oldest=0s"
    )


def test_what_is_no_answer(afar):
    place = f"{afar.demo.address('clc')}:8773"
    assert afar(user="nobody").line == (
        f"EUCA_FAULTS UNKNOWN - {place}: HTTP 403: Forbidden (DescribeServices): "
        'needs a user of account eucalyptus, or a role of it (4.0+) with {"Effect":"Allow","Action":"euserv:Describe*","Resource":"*"}'
    )
    afar.demo.tell("html", "clc")
    assert afar().line == (
        f"EUCA_FAULTS UNKNOWN - {place}: the answer is HTML, not XML: no Eucalyptus there, or a proxy before it (DescribeServices)"
    )
    afar.demo.tell("heal", "clc")
    afar.demo.tell("stop", "clc")
    assert afar().line == f"EUCA_FAULTS CRITICAL - {place}: Connection refused (DescribeServices)"


def test_public_services_alone_are_a_missing_right():
    """Up to 3.4 who is outside the account eucalyptus is refused nothing, and told of less."""
    with Demo(sample(version="3.4.3", zones=1, nodes=1)) as demo, tempfile.TemporaryDirectory(dir="/tmp") as folder:
        outcome = Afar(demo, Path(folder))(user="nobody")
    assert (outcome.state, "needs a user of account eucalyptus" in outcome.line) == (UNKNOWN, True)


def test_modes_and_where_they_look(afar, run):
    wrong = "EUCA_FAULTS UNKNOWN - --mode logs looks at this host, events asks a cloud: give -H or --cloud with events alone"
    assert afar("--mode", "logs").line == wrong
    assert run("--mode", "events").line == wrong
    assert run("--mode", "events", "--mode", "logs").line == wrong
    assert afar("--mode", "events").state == OK
