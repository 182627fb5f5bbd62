# SPDX-License-Identifier: Apache-2.0
"""check_process against real processes: killed, stopped, dead, stuck, eating descriptors and memory, of another user, hidden."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess

import pytest
from nephoscope.base import Clock
from nephoscope.checks.node.check_process import CHECK
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING

from tests.lab.support import Daemon, free_port, need, need_root, wait_for

pytestmark = pytest.mark.lab

NOBODY = 65534


def state_of(pid):
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0]


@pytest.fixture
def check(folder):
    def run(*argv, shift=0.0):
        return CHECK.run(["--state-dir", str(folder / "state"), *argv], clock=Clock(shift=shift))

    return run


@pytest.fixture
def daemon(folder):
    """Return a way to start a daemon of our own: a Python script under a name that nobody else has."""
    name = f"lab{secrets.token_hex(4)}"
    with contextlib.ExitStack() as stack:

        def start(code="import time; time.sleep(600)", **words):
            path = folder / name
            path.write_text(f"#!/usr/bin/python3\nprint('up', flush=True)\n{code}\n")
            path.chmod(0o755)
            log = folder / f"{name}.{secrets.token_hex(2)}.log"
            return stack.enter_context(Daemon([path], ready=lambda: "up" in log.read_text(), log=log, **words))

        start.name = name
        yield start


def test_killed(check, daemon):
    first, second = daemon(), daemon()
    argv = ("--expect", f"{daemon.name}=2", "--mode", "count")
    assert check(*argv).reason == f"running: 2 {daemon.name}"
    second.stop()
    outcome = check(*argv)
    assert (outcome.state, outcome.reason) == (CRITICAL, f"{daemon.name} 1 running, 2 expected")
    first.stop()
    assert check(*argv).reason == f"{daemon.name} 0 running, 2 expected"


def test_stopped_and_continued(check, daemon):
    started = daemon()
    argv = ("--expect", daemon.name, "--mode", "count")
    os.kill(started.pid, signal.SIGSTOP)
    wait_for(lambda: state_of(started.pid) == "T", what="the stop")
    outcome = check(*argv)
    assert (outcome.state, outcome.reason) == (CRITICAL, f"{daemon.name} 0 running, 1 expected, 1 stopped by a signal")
    os.kill(started.pid, signal.SIGCONT)
    wait_for(lambda: state_of(started.pid) != "T", what="the continuation")
    assert check(*argv).state == OK


def test_a_zombie_is_no_daemon_and_is_found_by_its_age(check, daemon):
    started = daemon("import os, time\nif not os.fork(): os._exit(0)\ntime.sleep(600)")
    children = f"/proc/{started.pid}/task/{started.pid}/children"

    def zombie():
        with open(children) as file:
            return [pid for pid in file.read().split() if state_of(pid) == "Z"]

    (pid,) = wait_for(zombie, what="the zombie")
    outcome = check("--expect", f"{daemon.name}=2", "--mode", "count")
    assert outcome.reason == f"{daemon.name} 1 running, 2 expected, 1 dead and not collected"
    check("--mode", "state")
    outcome = check("--mode", "state", "-v", shift=120)
    assert f"{daemon.name}[{pid}] in state Z for 120 s its parent is {daemon.name} {started.pid}" in outcome.text


def test_uninterruptible_sleep(check, daemon):
    """The parent of a vfork waits in state D until its child runs something else, which this one never does."""
    started = daemon("import ctypes\nlibc = ctypes.CDLL(None)\nlibc.vfork() or libc.pause()")
    try:
        wait_for(lambda: state_of(started.pid) == "D", what="state D")
        assert f"{daemon.name}[" not in check("--mode", "state", "-v").text
        outcome = check("--mode", "state", "-v", shift=90)
        assert outcome.state in (WARNING, CRITICAL)
        assert f"{daemon.name}[{started.pid}] in state D for 90 s" in outcome.text
    finally:
        os.killpg(started.pid, signal.SIGKILL)


def test_descriptors(check, daemon):
    daemon(
        "import os, resource, time\nresource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))\n"
        "held = [os.open('/dev/null', 0) for _ in range(82)]\ntime.sleep(600)"
    )
    argv = ("--expect", daemon.name, "--mode", "fds")
    wait_for(lambda: check(*argv).state == WARNING, what="a warning about descriptors")
    assert check(*argv).reason.startswith(f"{daemon.name} fds 8")


def test_memory_that_grows(check, daemon, folder):
    go = folder / "go"
    daemon(
        f"import os, time\nwhile not os.path.exists('{go}'): time.sleep(0.05)\n"
        "held = bytearray(os.urandom(1 << 20) * 100)\nprint('grown', flush=True)\ntime.sleep(600)"
    )
    argv = ("--expect", daemon.name, "--mode", "growth", "--mode", "rss")
    assert "collecting" in check(*argv).reason
    go.touch()
    wait_for(lambda: any("grown" in path.read_text() for path in folder.glob("*.log")), what="100 MiB")
    outcome = check(*argv, "-w", "growth_rate=20000", "-w", f"rss/{daemon.name}=100000000", shift=3600)
    grown = next(item for item in outcome.perfdata if item.startswith(f"{daemon.name}_growth_rate="))
    assert 27_000 < float(grown.partition("=")[2].partition("B")[0]) < 33_000  # 100 MiB in an hour
    assert (outcome.state, "rss" in outcome.reason, "growth" in outcome.reason) == (WARNING, True, True)


def test_another_user(check, daemon):
    need_root("to start a process of another user")
    daemon(user="daemon")
    daemon()
    both = check("--expect", f"{daemon.name}=2", "--mode", "count")
    assert both.state == OK
    outcome = check("--expect", f"{daemon.name}=2", "--mode", "count", "--user", "daemon")
    assert outcome.reason == f"{daemon.name} 1 running, 2 expected, 1 not as asked for"


def test_age_and_threads(check, daemon):
    daemon("import threading, time\n[threading.Thread(target=time.sleep, args=(600,)).start() for _ in range(5)]")
    argv = ("--expect", daemon.name, "--mode", "age", "--mode", "threads")
    wait_for(lambda: f"{daemon.name}_threads=6" in check(*argv).perfdata, what="five threads more")
    age = next(item for item in check(*argv).perfdata if item.startswith(f"{daemon.name}_age="))
    assert 0 <= float(age.partition("=")[2].partition("s")[0]) < 60


def test_keystone_inside_uwsgi(check, folder):
    """Debian's way: a uwsgi whose command line, or whose title, names the application."""
    need("uwsgi_python3")
    (folder / "app.py").write_text("def application(env, start):\n    start('200 OK', [])\n    return [b'']\n")
    port = free_port()
    argv = ["/usr/bin/uwsgi_python3", "--http-socket", f"127.0.0.1:{port}", "--wsgi-file", str(folder / "app.py")]
    argv += ["--master", "--processes", "2", "--die-on-term", "--procname-prefix", "keystone-public"]
    mark = ("--cmdline", "keystone-public")
    argv_check = ("--expect", "keystone=3", "--mode", "count", *mark)
    with Daemon(argv, log=folder / "log"):
        wait_for(lambda: check(*argv_check).state == OK, what="a master and two workers")
    assert check(*argv_check).reason == "keystone 0 running, 3 expected"


@contextlib.contextmanager
def hidden_proc(option, user, *argv):
    """Give what the installed check says in a mount name space whose /proc has `option`, as `user`."""
    script = f'mount -t proc -o {option} proc /proc && exec setpriv --reuid={user} --regid={user} --clear-groups "$@"'
    yield subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", *map(str, argv)], capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize("option", ["hidepid=1", "hidepid=2"])
def test_hidden_processes_are_unknown_and_not_missing(folder, daemon, installed_plugins, option):
    need("unshare", "setpriv")
    need_root("to mount a /proc that hides processes")
    daemon()
    state = folder / "nobody"
    state.mkdir()
    os.chown(state, NOBODY, NOBODY)
    argv = [installed_plugins / "check_process", "--state-dir", state, "--expect", daemon.name, "--mode", "count"]
    with hidden_proc(option, NOBODY, *argv) as answer:
        assert (answer.returncode, "hidepid" in answer.stdout) == (UNKNOWN, True), answer
    with hidden_proc(option, 0, *argv, "--state-dir", folder / "root") as answer:
        assert (answer.returncode, f"running: 1 {daemon.name}" in answer.stdout) == (OK, True), answer


def test_descriptors_of_another_user(folder, daemon, installed_plugins):
    """Seen as nobody: by their number where the kernel tells it (6.2), as few before, and unknown when they may be many."""
    need_root("to start processes of two users")
    code = (
        "import os, resource, time\nresource.setrlimit(resource.RLIMIT_NOFILE, ({0}, {0}))\n"
        "held = [os.open('/dev/null', 0) for _ in range(90)]\nprint('eaten', flush=True)\ntime.sleep(600)"
    )
    state = folder / "nobody"
    state.mkdir()
    os.chown(state, NOBODY, NOBODY)
    started = daemon(code.format(100))
    wait_for(lambda: any("eaten" in path.read_text() for path in folder.glob("*.log")), what="90 descriptors")
    argv = [installed_plugins / "check_process", "--state-dir", state, "--expect", daemon.name, "--mode", "fds"]
    answer = subprocess.run(
        list(map(str, argv)), user=NOBODY, group=NOBODY, extra_groups=[], capture_output=True, text=True
    )
    told = os.stat(f"/proc/{started.pid}/fd").st_size
    assert answer.returncode == (CRITICAL if told else UNKNOWN), answer
    assert (f"{daemon.name} fds 9" if told else "count open descriptors") in answer.stdout


def test_our_own_command_line_is_no_daemon(folder, installed_plugins):
    """A name that stands only in the shell around the check, as NRPE starts it, runs nowhere."""
    name = f"lab{secrets.token_hex(4)}"
    line = (
        f"{installed_plugins}/check_process --state-dir {folder}/s --expect '*' --cmdline {name} --mode count; exit $?"
    )
    answer = subprocess.run(["sh", "-c", line], capture_output=True, text=True)
    assert (answer.returncode, "0 running, 1 expected" in answer.stdout) == (CRITICAL, True), answer


def test_in_a_container(folder, daemon, installed_plugins):
    """A PID name space of its own: what runs outside is not seen, and whose processes were counted is said."""
    need("unshare")
    need_root("to make a PID name space")
    daemon()
    argv = [installed_plugins / "check_process", "--state-dir", folder / "s", "--mode", "state"]
    inside = ["unshare", "--pid", "--fork", "--mount-proc", *argv]
    outside = subprocess.run(list(map(str, argv)), capture_output=True, text=True, timeout=60)
    answer = subprocess.run(list(map(str, inside)), capture_output=True, text=True, timeout=60)
    assert " processes of this container, 0 of them stuck" in answer.stdout, answer
    own = os.readlink("/proc/self/ns/pid") == "pid:[4026531836]"  # a test machine may be a container itself
    assert (" of this container" in outside.stdout) is not own, outside
