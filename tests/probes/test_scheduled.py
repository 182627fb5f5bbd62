# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest
from nephoscope.base import NOT_ALLOWED, Failed, Run, child
from nephoscope.probes import puppet, scheduled
from nephoscope.probes.scheduled import Schedule


class Tree:
    """A host's files under a root."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "proc").mkdir()
        self.process(1, "/sbin/init")

    def write(self, path: str, text: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def process(self, pid: int, *argv: str, inner: str = "") -> None:
        self.write(f"proc/{pid}/cmdline", "".join(f"{word}\0" for word in argv))
        self.write(f"proc/{pid}/status", f"Name:\tx\nNSpid:\t{pid}{inner}\n")

    def look(self) -> Schedule:
        return scheduled.look(Run(root=str(self.root)), puppet.is_daemon, puppet.starts)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def test_nothing_starts_it(tree: Tree) -> None:
    tree.process(7, "vim", "/etc/cron.d/puppet")
    tree.process(8)  # a kernel thread
    assert tree.look() == Schedule()


def test_a_daemon_of_this_host_and_not_of_a_container_on_it(tree: Tree) -> None:
    tree.process(812, "/usr/bin/ruby", "/usr/bin/puppet", "agent", "--no-daemonize", inner="\t14")
    assert tree.look() == Schedule()
    tree.process(813, "puppet agent: applying configuration")
    assert tree.look() == Schedule(("daemon, pid 813",))


def test_hidden_processes_are_not_absent_ones(tree: Tree) -> None:
    for name in ("cmdline", "status"):
        (tree.root / "proc/1" / name).unlink()
    (tree.root / "proc/1").rmdir()
    schedule = tree.look()
    assert schedule.found == ()
    assert [(failed.kind, failed.of) for failed in schedule.unseen] == [(NOT_ALLOWED, "/proc")]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("etc/crontab", "17 * * * * root cd / && /opt/puppetlabs/bin/puppet agent --onetime\n"),
        ("etc/cron.d/puppet", "PATH=/usr/bin\n*/30 * * * * root sleep 5; puppet apply /etc/site.pp\n"),
        ("etc/cron.hourly/puppet", "#!/bin/sh\nexec /usr/bin/puppet agent -t\n"),
        ("var/spool/cron/crontabs/root", "*/30 * * * * /usr/bin/puppet agent -t >/dev/null 2>&1\n"),
        ("var/spool/cron/root", "*/30 * * * * /usr/bin/puppet agent -t >/dev/null 2>&1\n"),
    ],
)
def test_an_entry_of_cron_counts_while_cron_runs(tree: Tree, path: str, text: str) -> None:
    tree.write(path, text)
    assert tree.look() == Schedule((), (f"/{path} names it, but no cron daemon runs",))
    tree.process(2, "/usr/sbin/cron", "-f")
    assert tree.look() == Schedule((f"/{path}",))


@pytest.mark.parametrize(
    "text",
    [
        "#*/30 * * * * root /usr/bin/puppet agent -t\n",
        "*/30 * * * * root rm -f /var/log/puppet-agent.log\n",
        "CMD=puppet agent\n",
        "*/30 * * * * root chown -R puppet /var/log/puppet\n",
    ],
)
def test_a_comment_and_another_command_start_nothing(tree: Tree, text: str) -> None:
    tree.process(2, "/usr/sbin/cron", "-f")
    tree.write("etc/cron.d/puppet", text)
    assert tree.look() == Schedule()


def test_debian_s_cron_passes_over_a_name_with_a_dot_and_cronie_does_not(tree: Tree) -> None:
    tree.process(2, "/usr/sbin/crond", "-n")
    tree.write("etc/cron.d/puppet.cron", "*/30 * * * * root puppet agent -t\n")
    assert tree.look() == Schedule(("/etc/cron.d/puppet.cron",))
    tree.write("etc/debian_version", "12.15\n")
    assert tree.look() == Schedule((), ("/etc/cron.d/puppet.cron names it, but cron passes over files of such a name",))


TIMER = "[Timer]\nOnCalendar=*:0/30\n"
SERVICE = (
    "[Service]\nType=oneshot\n# ExecStart=/bin/false\nExecStart=-/usr/bin/puppet \\\n  agent --onetime --no-daemonize\n"
)


def test_a_timer_counts_when_systemd_says_that_it_is_active(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"puppet-run.timer": "active\n"}
    asked = []

    def systemctl(argv, run, **words):
        asked.append(argv)
        return child.Answer(0, answers[argv[-1]], "")

    monkeypatch.setattr(child, "command", systemctl)
    tree.write("etc/systemd/system/puppet-run.timer", TIMER)
    tree.write("etc/systemd/system/puppet-run.service", SERVICE)
    tree.write("lib/systemd/system/other.timer", TIMER)
    tree.write("lib/systemd/system/other.service", "[Service]\nExecStart=/usr/bin/apt-get update\n")
    assert tree.look() == Schedule()  # systemd is not the init of this host
    assert asked == []
    (tree.root / "run/systemd/system").mkdir(parents=True)
    assert tree.look() == Schedule(("timer puppet-run.timer",))
    assert asked == [["systemctl", "is-active", "puppet-run.timer"]]
    answers["puppet-run.timer"] = "inactive\n"
    assert tree.look() == Schedule((), ("puppet-run.timer is inactive",))
    answers["puppet-run.timer"] = ""
    assert [failed.of for failed in tree.look().unseen] == ["puppet-run.timer"]


def test_a_timer_may_name_another_unit(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "command", lambda argv, run, **words: child.Answer(0, "active\n", ""))
    (tree.root / "run/systemd/system").mkdir(parents=True)
    tree.write("usr/lib/systemd/system/nightly.timer", TIMER + "Unit=config.service\n")
    tree.write("usr/lib/systemd/system/config.service", SERVICE)
    assert tree.look() == Schedule(("timer nightly.timer",))


def test_a_crontab_that_may_not_be_read_is_not_an_empty_one(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    real = scheduled.files.names

    def names(run, directory, **words):
        if directory == "/var/spool/cron/crontabs":  # 1730 root:crontab on Debian
            raise Failed.of_os_error(directory, f"list {directory}", PermissionError(13, "Permission denied"))
        return real(run, directory, **words)

    monkeypatch.setattr(scheduled.files, "names", names)
    schedule = tree.look()
    assert schedule.found == ()
    assert [(failed.kind, failed.of) for failed in schedule.unseen] == [(NOT_ALLOWED, "/var/spool/cron/crontabs")]


def test_this_very_machine_has_processes() -> None:
    found = scheduled.processes(Run())
    assert any("pytest" in word for process in found for word in process.argv)
