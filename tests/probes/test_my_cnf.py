# SPDX-License-Identifier: Apache-2.0
"""Option files of MySQL's clients. The lab compares single lines with my_print_defaults (tests/lab/test_db_connect.py)."""

from __future__ import annotations

import pytest
from nephoscope.base import ABSENT, NOT_ALLOWED, UNREADABLE, Failed, Run
from nephoscope.probes import my_cnf


def write(path, text, mode=0o600):
    path.write_text(text)
    path.chmod(mode)
    return str(path)


# What MariaDB 10.11's my_print_defaults printed for these lines.
@pytest.mark.parametrize(
    "line, value",
    [
        ("user = a b ", "a b"), ("user = 'a b'", "a b"), ('user = "a#b" # c', "a#b"), ("user = a#b", "a"), ("user = a'#b'", "a'#b'"),
        ("user = 'a\\'b'", "a'b"), ("user = a\\sb\\\\c\\xd", "a b\\c\\xd"), ("user = 'a", "'a"), ("user = ''", ""), ("user", ""),
        ("user=a=b", "a=b"), ("user = ;a", ";a"), ('user = "a" b', '"a" b'), ("USER = a", "a"),
    ],
)  # fmt: skip
def test_a_line(line, value):
    assert my_cnf.split(line) == ("user", value)


def test_groups_and_the_last_line(tmp_path):
    path = write(tmp_path / "my.cnf", """
# of a site
[mysqld]
user = mysql
[client]
user = first
default_character_set = utf8

[ client-mariadb ]
ssl
[monitoring]
user = second
[client]
port = 3307
""")  # fmt: skip
    ours = {"user": "first", "default-character-set": "utf8", "ssl": "", "port": "3307"}
    assert my_cnf.read(Run(), path) == ours
    assert my_cnf.read(Run(), path, "monitoring") == {**ours, "user": "second"}
    with pytest.raises(Failed) as raised:
        my_cnf.read(Run(), path, "gone")
    assert raised.value == Failed(ABSENT, path, f"read {path}", "it has no group [gone]")


def test_includes(tmp_path):
    (tmp_path / "conf.d").mkdir()
    write(tmp_path / "conf.d/b.cnf", "[client]\nuser = b\n")
    write(tmp_path / "conf.d/a.cnf", "[client]\nuser = a\nport = 1\n")
    write(tmp_path / "conf.d/c.txt", "[client]\nuser = c\n")
    write(tmp_path / "one.cnf", "[client]\nhost = h\n")
    path = write(tmp_path / "my.cnf", f"!includedir {tmp_path}/conf.d\n!include one.cnf\n!includedir {tmp_path}/gone\n")
    assert my_cnf.read(Run(), path) == {"user": "b", "port": "1", "host": "h"}


def test_files_that_include_each_other_end(tmp_path):
    path = write(tmp_path / "my.cnf", f"!include {tmp_path}/my.cnf\n")
    with pytest.raises(Failed) as raised:
        my_cnf.read(Run(), path)
    assert raised.value == Failed(UNREADABLE, path, f"read {path}", "too many files include each other")


@pytest.mark.parametrize("line", ["[client", "!frobnicate geheim", "!include", "[client]\n= geheim"])
def test_a_line_that_is_none_is_not_shown(tmp_path, line):
    path = write(tmp_path / "my.cnf", line + "\n")
    with pytest.raises(Failed) as raised:
        my_cnf.read(Run(), path)
    number = line.count("\n") + 1
    assert raised.value == Failed(UNREADABLE, path, f"read {path}", f"line {number} is neither a group nor an option")


@pytest.mark.parametrize(
    "mode, error, cure",
    [
        (0o644, "others can read the password in it (mode 0644)", "chmod 600 {}, and change the password"),
        (0o602, "everybody may write to it", "chmod o-w {}"),
    ],
)
def test_a_password_that_others_can_read(tmp_path, mode, error, cure):
    path = write(tmp_path / "my.cnf", "[client]\npassword = geheim\n", mode)
    with pytest.raises(Failed) as raised:
        my_cnf.read(Run(), path)
    assert raised.value == Failed(NOT_ALLOWED, path, f"read {path}", error, cure.format(path))


def test_a_group_may_read_it_and_a_file_without_a_password_anybody(tmp_path):
    assert my_cnf.read(Run(), write(tmp_path / "a.cnf", "[client]\npassword = x\n", 0o640)) == {"password": "x"}
    assert my_cnf.read(Run(), write(tmp_path / "b.cnf", "[client]\nuser = x\n[mysqld]\npassword = y\n", 0o644)) == {
        "user": "x"
    }


def test_the_standard_files(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/op")
    assert my_cnf.defaults(Run(root=str(tmp_path))) == {}
    for name, text in (("etc", "user = a\nport = 1"), ("etc/mysql", "port = 2\nhost = h"), ("home/op", "user = b")):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
        write(tmp_path / name / (".my.cnf" if "op" in name else "my.cnf"), f"[client]\n{text}\n")
    assert my_cnf.defaults(Run(root=str(tmp_path))) == {"user": "b", "port": "2", "host": "h"}


def test_a_standard_file_that_is_refused_is_told(tmp_path, monkeypatch):
    """A client that went on without it would ask another server."""
    monkeypatch.setenv("HOME", "/home/op")
    (tmp_path / "home/op").mkdir(parents=True)
    write(tmp_path / "home/op/.my.cnf", "[client]\nhost = db\npassword = geheim\n", 0o644)
    with pytest.raises(Failed) as raised:
        my_cnf.defaults(Run(root=str(tmp_path)))
    said = "others can read the password in it (mode 0644)"
    cure = "chmod 600 /home/op/.my.cnf, and change the password"
    assert raised.value == Failed(NOT_ALLOWED, "/home/op/.my.cnf", "read /home/op/.my.cnf", said, cure)


def test_a_group_of_the_standard_files(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/op")
    for name, text in (("etc/my.cnf", "[client]\nhost = db"), ("home/op/.my.cnf", "[nagios]\nuser = n")):
        (tmp_path / name).parent.mkdir(parents=True)
        write(tmp_path / name, text + "\n")
    assert my_cnf.defaults(Run(root=str(tmp_path)), "nagios") == {"host": "db", "user": "n"}
    with pytest.raises(Failed) as raised:
        my_cnf.defaults(Run(root=str(tmp_path)), "gone")
    said = "none in /etc/my.cnf, /etc/mysql/my.cnf, ~/.my.cnf"
    assert raised.value == Failed(ABSENT, "", "look for the group [gone]", said)
