# SPDX-License-Identifier: Apache-2.0
"""What every lab needs: its programs, a private folder, a free port, a daemon that is ended again."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Callable

import pytest

ROOT = Path(__file__).resolve().parents[2]
PLACES = (*os.environ.get("PATH", "").split(os.pathsep), "/usr/sbin", "/sbin", "/usr/lib/nagios/plugins")
"""Where programs are looked for: an ordinary user's PATH has no sbin, and plugins stand on nobody's."""


def missing(reason: str) -> None:
    """Skip the lab that asks, or fail it when CI=true: there a lab that did not run proves nothing."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason, allow_module_level=True)


def need(*programs: str) -> list[str]:
    """Return the paths of `programs` (names, or absolute paths of any file), or skip the lab and name what is missing."""

    def find(name: str) -> str | None:
        if name.startswith("/"):
            return name if os.path.exists(name) else None
        return shutil.which(name, path=os.pathsep.join(PLACES))

    found = {name: find(name) for name in programs}
    absent = sorted(name for name, path in found.items() if path is None)
    if absent:
        missing(f"not installed: {', '.join(absent)} (./test --install brings them)")
    return [path for path in found.values() if path]


def need_root(why: str) -> None:
    """Skip the lab unless it runs as root; `why` says what root is needed for."""
    if os.geteuid() != 0:
        missing(f"needs root: {why}")


def lab_venv(subject: str) -> Path:
    """Return the virtual environment made from packages/<subject>.pip, or skip the lab."""
    home = ROOT / ".lab" / subject
    if not (home / "bin" / "python").exists():
        missing(f"no environment .lab/{subject} (./test --install makes it)")
    return home


def free_port() -> int:
    """Return a TCP port of the loopback address on which nobody listens just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def private_folder(prefix: str = "nephoscope-lab-") -> Iterator[Path]:
    """Give a folder under /tmp that other users may enter (mode 0755), and remove it afterwards.

    Not below the project or pytest's own base: daemons and plugins of user `nagios` cannot pass those.
    """
    path = Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp"))
    path.chmod(0o755)
    try:
        yield path
    finally:
        end_users(path)
        shutil.rmtree(path, ignore_errors=True)


def users(path: Path) -> list[int]:
    """Return the processes that were started with this (private) path in their arguments or environment."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            for name in ("cmdline", "environ"):
                with contextlib.suppress(OSError):
                    if os.fsencode(path) in (entry / name).read_bytes():
                        found.append(int(entry.name))
                        break
    return found


def end_users(path: Path, seconds: float = 10) -> None:
    """Wait until nobody works in a private folder any more, and end who goes on.

    A scheduler that is ended leaves the plugins that it just started; they would write their state into a folder that is gone.
    """
    end = time.monotonic() + seconds
    asked: set[int] = set()
    while time.monotonic() < end:
        left = users(path)
        if not left:
            return
        for pid in set(left) - asked:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGTERM)
        asked.update(left)
        time.sleep(0.1)


@contextlib.contextmanager
def control_group(what: str, *ways: tuple[str, Mapping[str, str]]) -> Iterator[Path]:
    """Give a control group of our own, or skip the lab; it must be empty again when the block is left.

    ways  (where it is made, file -> value), tried in order: cgroup version 2, then 1. The first file must be there and
          take its value; the others are written where they can be.
    """
    need_root(f"a control group with {what}")
    for parent, limits in ways:
        path = Path(parent, f"nephoscope-lab-{os.getpid()}")
        first, *others = limits
        with contextlib.suppress(OSError):
            path.mkdir()
        if not (path / first).exists():
            with contextlib.suppress(OSError):
                path.rmdir()
            continue
        (path / first).write_text(limits[first])
        for name in others:
            with contextlib.suppress(OSError):
                (path / name).write_text(limits[name])
        try:
            yield path
        finally:
            path.rmdir()
        return
    missing(f"no control group with {what} can be made here")


def wait_for(ready: Callable[[], Any], seconds: float = 20, what: str = "it") -> Any:
    """Return the first true answer of `ready`, which may raise OSError while it cannot know; fail after `seconds`."""
    end = time.monotonic() + seconds
    last: object = "no answer"
    while time.monotonic() < end:
        try:
            answer = ready()
            if answer:
                return answer
        except OSError as error:
            last = error
        time.sleep(0.05)
    raise AssertionError(f"{what} was not ready within {seconds:g} s ({last})")


def listening(port: int, host: str = "127.0.0.1") -> Callable[[], bool]:
    """Return a `ready` for a daemon that is up when its port takes connections."""

    def ready() -> bool:
        with socket.create_connection((host, port), timeout=1):
            return True

    return ready


class Daemon:
    """A program in a session of its own, ready before the block is entered and ended, by its pid, when it is left.

    `ready` is asked until it says yes (OSError counts as no); `log` takes stdout and stderr, and its tail is in the
    message when the daemon ends early or never gets ready. `user` needs root.
    """

    def __init__(
        self,
        argv: Sequence[str | os.PathLike[str]],
        *,
        env: Mapping[str, str] | None = None,
        ready: Callable[[], Any] | None = None,
        log: str | os.PathLike[str] | None = None,
        user: str | None = None,
        cwd: str | os.PathLike[str] | None = None,
        seconds: float = 20,
    ) -> None:
        self.argv = [os.fspath(word) for word in argv]
        self.env = None if env is None else dict(env)
        self.ready = ready
        self.log = log
        self.user = user
        self.cwd = cwd
        self.seconds = seconds
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process started, which leads its own session and process group."""
        assert self.process is not None
        return self.process.pid

    def alive(self) -> bool:
        """Say whether the process started still runs."""
        return self.process is not None and self.process.poll() is None

    def tail(self, characters: int = 4000) -> str:
        """Return the end of the log."""
        if self.log is None:
            return "(no log kept)"
        return Path(self.log).read_text(errors="replace")[-characters:]

    def __enter__(self) -> Daemon:
        with open(self.log or os.devnull, "ab") as log:
            self.process = subprocess.Popen(
                self.argv, env=self.env, cwd=self.cwd, user=self.user, group=self.user, extra_groups=[] if self.user else None,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        try:
            wait_for(self._up, self.seconds, self.argv[0])
        except BaseException as error:
            self.stop()
            if isinstance(error, AssertionError):
                pytest.fail(f"{error}\n{self.tail()}", pytrace=False)
            raise
        return self

    def _up(self) -> Any:
        if not self.alive():
            assert self.process is not None
            raise AssertionError(f"{self.argv[0]} ended with {self.process.returncode}")
        return self.ready is None or self.ready()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self, seconds: float = 10) -> None:
        """End it: TERM to the process, KILL to its group when that did not do. Also takes what it left behind."""
        if self.process is None:
            return
        if self.alive():
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(seconds)
        # The group's number is ours as long as the leader is not reaped or a member lives: no stranger can be hit.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextlib.contextmanager
def plugins_installed(extras: str = "cli") -> Iterator[Path]:
    """Install the project with these extras into a fresh virtual environment of Debian's Python; give its bin directory.

    The folder may be entered by anybody, so a scheduler's user can run the console scripts as an operator's would.
    """
    with private_folder("nephoscope-plugins-") as home:
        tree = home / "source"
        # A copy, as an installation writes build/ and *.egg-info beside setup.cfg.
        tree.mkdir()
        for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", "lib", "checks"):
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, tree / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
            elif source.exists():
                shutil.copy(source, tree / name)
        log = home / "install.log"
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
        environment.pop("PYTHONPATH", None)
        umask = os.umask(0o022)
        try:
            with log.open("wb") as out:
                for argv in (
                    ["/usr/bin/python3", "-m", "venv", str(home / "venv")],
                    [str(home / "venv/bin/python"), "-m", "pip", "install", "--quiet", f"{tree}[{extras}]"],
                ):
                    status = subprocess.run(
                        argv, env=environment, stdout=out, stderr=out, stdin=subprocess.DEVNULL, timeout=300
                    ).returncode
                    if status:
                        missing(f"{' '.join(argv)} ended with {status}:\n{log.read_text(errors='replace')[-2000:]}")
        finally:
            os.umask(umask)
        yield home / "venv" / "bin"
