# SPDX-License-Identifier: Apache-2.0
"""Service files of PostgreSQL and the rule for its password file ("The Connection Service File", "The Password File")."""

from __future__ import annotations

import pytest
from nephoscope.base import ABSENT, NOT_ALLOWED, UNREADABLE, Failed, Run
from nephoscope.probes import pg_service

# The example of the documentation, and what people add.
TEXT = """# comment
[mydb]
host=somehost
port=5433
user=admin

[other]
dbname = x
password = geheim
[mydb]
host=a second section of the name is not read
"""


def test_a_service(tmp_path):
    path = tmp_path / "pg_service.conf"
    path.write_text(TEXT)
    path.chmod(0o600)
    environment = {"PGSERVICEFILE": str(path)}
    assert pg_service.service(Run(), "mydb", environment) == {"host": "somehost", "port": "5433", "user": "admin"}
    assert pg_service.service(Run(), "other", environment) == {"dbname": "x", "password": "geheim"}
    path.chmod(0o644)
    assert pg_service.service(Run(), "mydb", environment)["user"] == "admin"
    with pytest.raises(Failed) as raised:
        pg_service.service(Run(), "other", environment)
    said = f"others can read the password in {path} (mode 0644)"
    cure = f"chmod 600 {path}, and change the password"
    assert raised.value == Failed(NOT_ALLOWED, "other", "look for the service other", said, cure)


def test_where_it_is_looked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/op")
    assert pg_service.candidates({}) == ["/home/op/.pg_service.conf", pg_service.SYSTEM]
    assert pg_service.candidates({"PGSYSCONFDIR": "/etc/pg"}) == [
        "/home/op/.pg_service.conf",
        "/etc/pg/pg_service.conf",
    ]
    with pytest.raises(Failed) as raised:
        pg_service.service(Run(root=str(tmp_path)), "lab", {})
    said = f"no [lab] in /home/op/.pg_service.conf or {pg_service.SYSTEM}"
    assert raised.value == Failed(ABSENT, "lab", "look for the service lab", said)
    system = tmp_path / "etc/postgresql-common"
    system.mkdir(parents=True)
    (system / "pg_service.conf").write_text("[lab]\nhost=h\n")
    assert pg_service.service(Run(root=str(tmp_path)), "lab", {}) == {"host": "h"}


@pytest.mark.parametrize(
    "line, error",
    [("ldap://h/dc=x?y", "line 2 asks LDAP, which is not done here"), ("geheim", "line 2 is not name=value")],
)
def test_a_line_that_is_none(tmp_path, line, error):
    path = tmp_path / "s"
    path.write_text(f"[lab]\n{line}\n")
    with pytest.raises(Failed) as raised:
        pg_service.service(Run(), "lab", {"PGSERVICEFILE": str(path)})
    assert raised.value == Failed(UNREADABLE, "lab", f"read {path}", error)


def test_a_password_file_that_libpq_would_pass_over(tmp_path):
    path = tmp_path / ".pgpass"
    assert pg_service.passfile(Run()) == ""
    with pytest.raises(Failed) as raised:
        pg_service.passfile(Run(), str(path))
    assert raised.value == Failed(ABSENT, str(path), f"read {path}", "No such file or directory")
    assert pg_service.ignored({"PGPASSFILE": str(path)}) == ""
    path.write_text("*:*:*:*:geheim\n")
    path.chmod(0o640)
    said = "libpq takes it only with mode 0600, not 0640"
    with pytest.raises(Failed) as raised:
        pg_service.passfile(Run(), str(path))
    assert raised.value == Failed(NOT_ALLOWED, str(path), f"read {path}", said, f"chmod 600 {path}")
    assert pg_service.ignored({"PGPASSFILE": str(path)}) == f"{path}: {said}"
    path.chmod(0o400)
    assert pg_service.passfile(Run(), str(path)) == str(path)
    assert pg_service.ignored({"PGPASSFILE": str(path)}) == ""
    with pytest.raises(Failed) as raised:
        pg_service.passfile(Run(), str(tmp_path))
    assert raised.value == Failed(UNREADABLE, str(tmp_path), f"read {tmp_path}", "it is no regular file")
