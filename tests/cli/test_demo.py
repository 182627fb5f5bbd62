# SPDX-License-Identifier: Apache-2.0
"""`nephoscope demo` as people and scripts use it: a process that serves, another that tells it what to do."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from nephoscope.demo import Demo, sample

COMMAND = [sys.executable, "-c", "from nephoscope.cli import main; main()", "demo"]


def start(*argv: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, "--folder", str(folder), *argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def told(folder: Path, *words: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [*COMMAND, "--folder", str(folder), "tell", *words], capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout, done.stderr


def end(process: subprocess.Popen[str], number: int = signal.SIGTERM) -> tuple[int, str, str]:
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    return process.returncode, out, err


def heartbeat(address: str) -> str:
    link = http.client.HTTPConnection(address, 8773, timeout=10)
    try:
        link.request("GET", "/services/Heartbeat")
        return link.getresponse().read().decode()
    finally:
        link.close()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "demo"


def printed(process: subprocess.Popen[str]) -> list[str]:
    """The lines that it prints when it is up."""
    lines = []
    for line in process.stdout:
        lines.append(line.rstrip("\n"))
        if line == "Control-C ends it.\n":
            return lines
    pytest.fail(f"it ended: {process.stderr.read()}")


@pytest.fixture
def running(folder):
    """What a demo that runs has printed, the address of its cloud controller, and the process."""
    process = start(folder=folder)
    lines = printed(process)
    yield lines, lines[1].split()[1], process
    if process.poll() is None:
        end(process)
    process.stdout.close()
    process.stderr.close()


def test_it_says_what_to_try_and_leaves_nothing(running, folder):
    lines, clc, process = running
    assert lines[0] == f"A cloud of Eucalyptus 4.4.2 is up: 1 zone, 2 nodes. Its files are in {folder}."
    assert [line.split()[0] for line in lines[1:5]] == ["clc", "one-cc", "one-nc-1", "one-nc-2"]
    assert f"  check_euca_services -H {clc} --credentials {folder}/admin.ini --topology {folder}/topology.toml" in lines
    assert f"  nephoscope demo --folder {folder} tell state one-sc-1 BROKEN no backend is configured" in lines
    assert "name=eucalyptus           enabled=true " in heartbeat(clc)
    assert end(process, signal.SIGINT) == (0, "The cloud is down.\n", "")
    assert not folder.exists()
    with pytest.raises(ConnectionRefusedError):
        heartbeat(clc)


def test_its_folder_is_its_owner_s_alone(running, folder):
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "socket").stat().st_mode) == 0o600
    for name in ("admin", "monitor", "nobody", "owner"):
        assert stat.S_IMODE((folder / f"{name}.ini").stat().st_mode) == 0o600
    assert (folder / "certificate.pem").read_text().startswith("-----BEGIN CERTIFICATE-----")
    assert 'version = "4.4.2"' in (folder / "topology.toml").read_text()
    assert sorted(path.name for path in (folder / "hosts").iterdir()) == ["clc", "one-cc", "one-nc-1", "one-nc-2"]
    assert (folder / "hosts/one-cc/etc/eucalyptus/eucalyptus.conf").is_file()


def test_telling_it_changes_it(running, folder):
    _, clc, _ = running
    assert told(folder, "state", "eucalyptus@clc", "NOTREADY") == (0, "", "")
    assert "name=eucalyptus           enabled=false" in heartbeat(clc)
    assert told(folder, "skew", "-31") == (0, "", "")
    assert told(folder, "stop", "clc") == (0, "", "")
    with pytest.raises(ConnectionRefusedError):
        heartbeat(clc)
    assert told(folder, "heal", "clc") == (0, "", "")
    assert heartbeat(clc)


def test_a_host_s_files_follow(running, folder):
    def log() -> str:
        return "".join(path.read_text() for path in (folder / "hosts/one-nc-1/var/log/eucalyptus").glob("*fault.log"))

    assert "ERR-1008" not in log()
    assert told(folder, "fault", "one-nc-1", "1008", "daemon=eucanetd", "3600") == (0, "", "")
    assert "eucanetd is not running" in log()
    node = folder / "hosts/one-nc-1"
    assert "60 sec" in (node / "run/eucalyptus/status/euca/components/nc/state").read_text()
    assert told(folder, "sensors", "one-nc-1", "half") == (0, "", "")
    assert not (node / "run/eucalyptus/status/euca/components/nc/state").read_text().endswith("}")
    # A host that falls silent has no processes any more, which its files show though nobody spoke of files.
    assert (node / "proc/1501").exists()
    assert told(folder, "silent", "one-nc-1") == (0, "", "")
    assert not (node / "proc/1501").exists()


def test_files_stay_fresh_while_nobody_says_anything(tmp_path, monkeypatch):
    import socket as sockets

    from nephoscope.cli import demo

    monkeypatch.setattr(demo, "AGAIN", 0.0)
    listener = sockets.socket()
    listener.settimeout(0.01)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    with Demo(sample()) as cloud:
        calls = iter([False, False, True])
        demo._attend(cloud, tmp_path, listener, lambda: next(calls))
        sensor = tmp_path / "hosts/one-nc-1/run/eucalyptus/status/euca/components/nc/state"
        first = json.loads(sensor.read_text())["timestamp"]
        cloud.tell("skew", 100)
        calls = iter([False, True])
        demo._attend(cloud, tmp_path, listener, lambda: next(calls))
        assert json.loads(sensor.read_text())["timestamp"] >= first + 100
    listener.close()


def test_telling_nonsense(running, folder):
    assert told(folder, "stat", "x") == (3, "", "nephoscope: demo tell stat x: no word stat: did you mean state?\n")
    assert told(folder, "state", "x", "y") == (3, "", "nephoscope: demo tell state x y: no service x in this cloud\n")
    assert told(folder, "state") == (3, "", "nephoscope: demo tell state: write state SERVICE STATE [MESSAGE...]\n")
    assert told(folder, "fault", "one-nc-1", "1007")[2].startswith(
        "nephoscope: demo tell fault one-nc-1 1007: no fault 1007: 1002"
    )
    status, out, err = told(folder)
    assert (status, err) == (0, "")
    assert out.startswith("state SERVICE STATE [MESSAGE...]")
    for line in out.splitlines():
        usage, gap, about = line.partition("  ")
        assert gap and about.strip(), f"{usage}: what does it do?"


@pytest.mark.parametrize("data", [b"", b"nonsense", b"{}", b"[1]", b"[" * 60_000, b"[" * 70_000])
def test_who_talks_nonsense_to_its_socket_does_no_harm(running, folder, data):
    _, clc, _ = running
    with socket.socket(socket.AF_UNIX) as talk:
        talk.connect(str(folder / "socket"))
        try:
            talk.sendall(data)
            talk.shutdown(socket.SHUT_WR)
            assert b'"error"' in talk.recv(65536)
        except OSError:
            assert len(data) > 65536  # hung up on in the middle
    assert told(folder, "heal", "clc") == (0, "", "")
    assert heartbeat(clc)


def test_one_demo_to_a_folder(running, folder):
    done = start(folder=folder)
    out, err = done.communicate(timeout=30)
    assert (done.returncode, out) == (3, "")
    assert err == f"nephoscope: a demo runs already in {folder}: end it, or choose another --folder\n"


def test_what_a_killed_one_left_is_cleared_away(running, folder):
    _, _, process = running
    end(process, signal.SIGKILL)
    assert told(folder, "heal", "clc")[2].startswith(f"nephoscope: no demo answers in {folder} (")
    again = start(folder=folder)
    assert printed(again)[0].startswith("A cloud of Eucalyptus")
    assert end(again)[0] == 0


def test_a_folder_of_somebody_s_own_is_not_touched(folder):
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    process = start(folder=folder)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (3, "")
    assert err == f"nephoscope: {folder} is not empty, and nothing of a demo: choose another --folder\n"
    assert (folder / "thesis.txt").read_text() == "years of work"


def test_the_default_folder(tmp_path, monkeypatch):
    from nephoscope.cli import demo

    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert demo.default_folder() == tmp_path / "nephoscope-demo"
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert demo.default_folder() == Path(f"/tmp/nephoscope-demo-{os.getuid()}")


def test_a_cloud_of_a_file(folder, tmp_path):
    with Demo(sample(version="3.4.3", zones=2, nodes=1)) as demo:
        path = demo.topology(tmp_path / "topology.toml")
    process = start("--topology", str(path), folder=folder)
    lines = printed(process)
    assert lines[0].startswith("A cloud of Eucalyptus 3.4.3 is up: 2 zones, 2 nodes.")
    assert lines[1].split()[1] == demo.address("clc")
    assert end(process)[0] == 0


def test_versions_zones_and_hosts_of_their_own(folder):
    process = start("--version", "5.1.0", "--zones", "2", "--nodes", "3", "--split", folder=folder)
    lines = printed(process)
    assert lines[0].startswith("A cloud of Eucalyptus 5.1.0 is up: 2 zones, 6 nodes.")
    assert [line.split()[0] for line in lines[1:4]] == ["clc", "ufs", "walrus"]
    assert end(process)[0] == 0


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--version", "9"], "no Eucalyptus version 9: 3.1 to 5.x, for example 3.4.3, 4.1.2, 4.4.2, 5.1.0"),
        (["--zones", "0"], "1 to 10 zones, not 0"),
        (["--nodes", "9999"], "too many nodes for a sample: at most 700 in a zone"),
        (["--topology", "/nowhere"], "[Errno 2] No such file or directory: '/nowhere'"),
        (["start"], "demo start: there is `demo` and `demo tell WORDS`"),
    ],
)
def test_what_cannot_be_had(folder, argv, said):
    process = start(*argv, folder=folder)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (3, "", f"nephoscope: {said}\n")
    assert not folder.exists()


def test_a_signal_that_comes_early_ends_it_too(folder):
    process = start(folder=folder)
    stop = time.monotonic() + 30
    while not (folder / "socket").exists() and time.monotonic() < stop:
        time.sleep(0.01)
    assert end(process)[0] == 0
    assert not folder.exists()


def test_it_ends_cleanly_when_its_terminal_goes(folder):
    """As a closed window does it: SIGHUP to the process, and nothing takes what it says."""
    main, terminal = os.openpty()
    process = subprocess.Popen(
        [*COMMAND, "--folder", str(folder)],
        stdin=terminal,
        stdout=terminal,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    os.close(terminal)
    text = b""
    while b"Control-C ends it." not in text:
        text += os.read(main, 4096)
    os.close(main)
    process.send_signal(signal.SIGHUP)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, b"")
    assert not folder.exists()


def test_a_killed_one_leaves_its_folder_alone(tmp_path, folder):
    """No key in another place, which the next one would not clear away."""
    process = subprocess.Popen(
        [*COMMAND, "--folder", str(folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    printed(process)
    end(process, signal.SIGKILL)
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_two_demos_at_once(tmp_path):
    first, second = (start(folder=tmp_path / name) for name in ("a", "b"))
    places = [printed(each)[1].split()[1] for each in (first, second)]
    assert places[0] != places[1]
    assert told(tmp_path / "a", "stop", "clc") == (0, "", "")
    assert heartbeat(places[1])
    assert [end(each)[0] for each in (first, second)] == [0, 0]


def test_an_address_that_is_taken(folder, tmp_path):
    with Demo(sample()) as demo:
        path = demo.topology(tmp_path / "topology.toml")
        process = start("--topology", str(path), folder=folder)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (3, "")
    assert err == "nephoscope: the cloud cannot listen: [Errno 98] Address already in use\n"
    assert not folder.exists()
