# SPDX-License-Identifier: Apache-2.0
"""The one exit door, as a process: signals, closed and noisy outputs, the deadline."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.plugin.readers import check_output

HEAD = '''"""Is it so?"""
import ctypes, os, sys, time, warnings
from nephoscope.base import Failed
from nephoscope.plugin import Check, Finding, Metric, Threshold
def options(add):
    pass
def judge(facts, options):
    yield Metric("used", facts)
'''
TAIL = """
CHECK = Check(options, probe, judge, thresholds=[Threshold("used", "%", "80", "90", main=True)], keep=lambda facts: facts)
CHECK.main()
"""


@pytest.fixture
def plugin(tmp_path):
    """Write a plugin whose probe has the given body; return what starts it."""

    def write(body, head=HEAD):
        path = tmp_path / "check_it.py"
        path.write_text(
            head + "def probe(options, run):\n" + "".join(f"    {line}\n" for line in body.splitlines()) + TAIL
        )
        return [sys.executable, str(path), "--state-dir", str(tmp_path / "state")]

    return write


def start(argv, **words):
    return subprocess.run(argv, capture_output=True, text=True, timeout=30, **words)


def test_exit_code_and_line(plugin):
    for value, code in ((5, 0), (85, 1), (95, 2), (None, 3)):
        done = start(plugin(f"return {value}"))
        assert done.returncode == code
        assert done.stderr == ""
        check_output(done.stdout.rstrip("\n"))


def test_help_and_version_exit_3_on_stdout(plugin):
    for flag in ("-h", "--help", "-V", "--version"):
        done = start([*plugin("return 1"), flag])
        assert (done.returncode, done.stderr) == (3, "")
        assert done.stdout
    assert start([*plugin("return 1"), "--nonsense", "--help"]).stdout.startswith("Is it so?")


def test_nothing_that_a_library_prints_gets_out(plugin):
    body = """print("python on stdout")
print("python on stderr", file=sys.stderr)
warnings.warn("deprecated")
os.write(1, b"c on stdout")
os.write(2, b"c on stderr")
ctypes.CDLL(None).puts(b"stdio on stdout")
return 5"""
    done = start([sys.executable, "-W", "error::DeprecationWarning", *plugin(body)[1:]])
    assert (done.stdout, done.stderr, done.returncode) == ("IT OK - used 5 % | used=5%;80;90\n", "", 0)


@pytest.mark.parametrize(
    ("number", "name"), [(signal.SIGTERM, "SIGTERM"), (signal.SIGINT, "SIGINT"), (signal.SIGHUP, "SIGHUP")]
)
def test_a_signal_is_answered_with_its_stage(plugin, number, name):
    argv = plugin('run.stage("ask the server")\nopen(__file__ + ".up", "w").close()\ntime.sleep(30)')
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for(argv[1] + ".up")
    process.send_signal(number)
    out, err = process.communicate(timeout=10)
    assert (out, err, process.returncode) == (f"IT UNKNOWN - ended by {name} while it was to ask the server\n", "", 3)


@pytest.mark.parametrize("where", ["in", "out", "within"])
def test_a_signal_waits_for_a_log_in_and_leaves_time_for_the_log_out(plugin, where):
    """A session that is taken is given back: SIGTERM in the log-in, in the log-out and between."""
    body = f"""
def ask(name):
    if name == "{where}":
        open(__file__ + ".up", "w").close()
        time.sleep(0.6)
    open(__file__ + "." + name, "w").close()
try:
    run.held(lambda: ask("in"), 2.0)
    ask("within")
finally:
    run.held(lambda: ask("out"), 0.0)
return 5"""
    argv = plugin(body)
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    wait_for(argv[1] + ".up")
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=10)
    done = [name for name in ("in", "within", "out") if os.path.exists(f"{argv[1]}.{name}")]
    expected = {"in": ["in", "out"], "within": ["in", "out"], "out": ["in", "within", "out"]}[where]
    assert (out, done) == ("IT UNKNOWN - ended by SIGTERM\n", expected)


def wait_for(path):
    end = time.monotonic() + 20
    while not os.path.exists(path):
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize(("argument", "code"), [("1", 3), ("1:critical", 2), ("1:ok", 0)])
def test_the_deadline_holds_within_half_a_second_and_has_its_state(plugin, argument, code):
    argv = plugin('run.stage("wait for Godot")\nopen(__file__ + ".up", "w").close()\ntime.sleep(30)')
    process = subprocess.Popen([*argv, "-t", argument], stdout=subprocess.PIPE, text=True)
    wait_for(argv[1] + ".up")
    begun = time.monotonic()
    out, _ = process.communicate(timeout=10)
    assert time.monotonic() - begun < 1.5
    assert process.returncode == code
    assert "not done within its deadline of 1 s while it was to wait for Godot" in out


def test_a_swallowed_exception_does_not_swallow_the_deadline(plugin):
    done = start([*plugin("try:\n    time.sleep(30)\nexcept Exception:\n    pass\nreturn 5"), "-t", "1"])
    assert (done.returncode, "deadline of 1 s" in done.stdout) == (3, True)


def test_a_closed_stdout_leaves_no_trace_and_no_strange_code(plugin):
    argv = plugin("return 95")
    done = subprocess.run(["/bin/sh", "-c", 'exec "$@" >&-', "sh", *argv], stderr=subprocess.PIPE, timeout=30)
    assert (done.returncode, done.stderr) == (2, b"")
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(argv, stdout=writer, stderr=subprocess.PIPE, timeout=30)
    os.close(writer)
    assert (done.returncode, done.stderr) == (2, b"")


def test_closed_stdin_and_stderr_do_not_matter(plugin):
    done = subprocess.run(
        ["/bin/sh", "-c", 'exec "$@" <&- 2>&-', "sh", *plugin("return 5")],
        stdout=subprocess.PIPE,
        text=True,
        timeout=30,
    )
    assert (done.returncode, done.stdout) == (0, "IT OK - used 5 % | used=5%;80;90\n")


def test_the_locale_changes_nothing(plugin):
    argv = plugin('from nephoscope.base import UNREADABLE\nraise Failed(UNREADABLE, "é\\udcff✓", "read", "1,5")')
    bare = {"PATH": "/usr/bin:/bin"}
    outputs = {
        subprocess.run(argv, capture_output=True, env={**bare, **more}, timeout=30).stdout
        for more in (
            {},
            {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
            {"LC_ALL": "de_DE.UTF-8"},
            {"LANG": "C.UTF-8"},
        )
    }
    assert outputs == {"IT UNKNOWN - é\\xff✓: 1,5 (read)\n".encode()}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("import nosuchmodule.deep", "Python module nosuchmodule is missing: "),
        ("raise ImportError('gone', name='psycopg2')", "Python module psycopg2 is missing: "),
        ("raise ImportError('gone', name='psycopg2')", " -m pip install psycopg2-binary"),
        ("sys.exit(7)", "bug in check_it: SystemExit: 7"),
        ("raise KeyError('x')", "bug in check_it: KeyError: 'x'"),
        ("raise RecursionError('deep')", "bug in check_it: RecursionError: deep"),
        ("return 'five'", "bug in check_it: "),
    ],
)
def test_whatever_breaks_is_unknown_in_one_line(plugin, body, said):
    done = start(plugin(body))
    assert (done.returncode, done.stderr) == (3, "")
    assert said in done.stdout
    assert "Traceback" not in done.stdout
    assert len(done.stdout.splitlines()) == 1
    assert "Traceback" in start([*plugin(body), "-vvv"]).stdout or "module" in done.stdout


def test_a_missing_nagiosplugin_is_told_in_the_plugin_language(plugin):
    argv = plugin("return 5", head="import sys\nsys.modules['nagiosplugin'] = None\n" + HEAD)
    done = start(argv)
    assert (done.returncode, done.stderr) == (3, "")
    assert "Python module nagiosplugin is missing" in done.stdout


def test_an_abandoned_child_does_not_hold_stdout_open(plugin):
    body = """from nephoscope.base import child
answers = child.each(run, {"x": lambda: time.sleep(60)}, tried="sleep", seconds=0.2)
return 5"""
    done = start(plugin(body))  # communicate would wait for a child that keeps the pipe
    assert (done.returncode, done.stdout) == (0, "IT OK - used 5 % | used=5%;80;90\n")


def test_state_is_kept_by_the_process(plugin, tmp_path):
    argv = plugin("return (run.before or 0) + 50")
    assert [start(argv).returncode for _ in range(2)] == [0, 2]
    (file,) = (tmp_path / "state").glob("*.json")
    assert json.loads(file.read_text())["data"] == {"kept": 100}


@pytest.mark.parametrize("closed", ["2>&-", "<&- 2>&-", "<&-"])
def test_whichever_descriptor_is_closed_the_line_comes_out(plugin, closed):
    argv = plugin("from nephoscope.base import child\nreturn child.each(run, {'x': lambda: 5}, tried='t')['x']")
    done = subprocess.run(
        ["/bin/sh", "-c", f'exec "$@" {closed}', "sh", *argv], stdout=subprocess.PIPE, text=True, timeout=30
    )
    assert (done.returncode, done.stdout) == (0, "IT OK - used 5 % | used=5%;80;90\n")


@pytest.mark.parametrize("how", [">&-", ">/dev/full"])
def test_an_answer_that_nobody_got_commits_no_state(plugin, tmp_path, how):
    argv = plugin("return (run.before or 0) + 50")
    done = subprocess.run(["/bin/sh", "-c", f'exec "$@" {how}', "sh", *argv], timeout=30)
    assert done.returncode == 0
    assert list((tmp_path / "state").glob("*.json")) == []
    assert start(argv).stdout == "IT OK - used 50 % | used=50%;80;90\n"


def test_a_stdout_that_does_not_block_gets_it_all(plugin):
    argv = plugin(
        "return [5]",
        head=HEAD.replace(
            'yield Metric("used", facts)', 'yield from (Finding(2, f"thing{n}", "x" * 200) for n in range(200))'
        ),
    )
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    process = subprocess.Popen([*argv, "-v"], stdout=writer)
    os.close(writer)
    time.sleep(0.3)
    data = b""
    while chunk := os.read(reader, 65536):
        data += chunk
    assert process.wait(10) == 2
    assert data.count(b"\n") == 201


def test_a_reader_that_does_not_read_does_not_hold_it_up(plugin):
    argv = plugin(
        "return [5]",
        head=HEAD.replace(
            'yield Metric("used", facts)', 'yield from (Finding(2, f"thing{n}", "x" * 400) for n in range(400))'
        ),
    )
    import fcntl

    reader, writer = os.pipe()
    fcntl.fcntl(writer, 1031, 4096)  # F_SETPIPE_SZ
    process = subprocess.Popen([*argv, "-v"], stdout=writer)
    os.close(writer)
    assert process.wait(10) == 2
    os.close(reader)


@pytest.mark.parametrize(
    "swallow", ["try:\n    time.sleep(30)\nexcept BaseException:\n    pass\ntime.sleep(30)\nreturn 5"]
)
def test_who_swallows_the_interruption_is_answered_for(plugin, swallow):
    argv = plugin(f'run.stage("be stubborn")\nopen(__file__ + ".up", "w").close()\n{swallow}')
    process = subprocess.Popen([*argv, "-t", "1"], stdout=subprocess.PIPE, text=True)
    wait_for(argv[1] + ".up")
    begun = time.monotonic()
    out, _ = process.communicate(timeout=10)
    assert time.monotonic() - begun < 1.5
    assert (process.returncode, "deadline of 1 s while it was to be stubborn" in out) == (3, True)


def test_a_c_call_that_no_signal_ends_is_answered_for(plugin):
    """getaddrinfo of a dead resolver goes on after a signal; a mutex that is locked twice does the same, without a network."""
    body = """mutex = ctypes.create_string_buffer(64)
for _ in range(2):
    ctypes.CDLL(None).pthread_mutex_lock(mutex)"""
    begun = time.monotonic()
    done = start([*plugin(body), "-t", "1"])
    assert (done.returncode, "deadline of 1 s" in done.stdout) == (3, True)
    assert time.monotonic() - begun < 3  # the interpreter's start is in it


def test_signals_that_the_caller_blocked_still_end_it(plugin):
    argv = plugin("time.sleep(30)")
    code = "import os, signal, sys; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM, signal.SIGTERM]); os.execv(sys.argv[1], sys.argv[1:])"
    done = start([sys.executable, "-c", code, *argv, "-t", "1"])
    assert (done.returncode, "deadline of 1 s" in done.stdout) == (3, True)


def test_a_configuration_that_never_comes_is_under_the_deadline_too(plugin):
    argv = plugin("return 5", head=HEAD)
    path = Path(argv[1])
    path.write_text(path.read_text().replace("keep=lambda facts: facts)", "keep=lambda facts: facts, deadline=1)"))
    process = subprocess.Popen([*argv, "--extra-opts=@-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.wait(10) == 3
    assert "deadline of 1 s" in process.stdout.read()
    process.stdin.close()
    process.stdout.close()


def test_an_exception_that_is_no_exception_is_a_bug_in_one_line(plugin):
    done = start(plugin("import asyncio\nraise asyncio.CancelledError('x')"))
    assert (done.returncode, done.stdout.count("\n")) == (3, 1)
    assert "bug in check_it: CancelledError: x" in done.stdout
    done = start(plugin("class Odd(Exception):\n    def __str__(self):\n        raise ValueError\nraise Odd"))
    assert (done.returncode, "bug in check_it: Odd" in done.stdout) == (3, True)
