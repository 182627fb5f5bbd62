# SPDX-License-Identifier: Apache-2.0
"""The judge of check_db_connect, by equality, and the check over files and servers of our own; real ones are in tests/lab."""

from __future__ import annotations

import grp
import os
import pwd
import re
import socket
import sys
import time

import pytest
from nephoscope.base import ABSENT, NOT_ALLOWED, UNREACHABLE, Failed, Run
from nephoscope.checks.database.check_db_connect import CHECK, judge
from nephoscope.plugin import CRITICAL, OK, Finding, Metric
from nephoscope.probes import db_connect, sql
from nephoscope.probes.db_connect import Reached, Refused

from tests.probes.test_sql import cut, error, fatal, greeting, message, packet, postgres, says, serving, silent
from tests.probes.unprivileged import as_nobody
from tests.simulators.mysql_answers import healthy
from tests.simulators.mysql_server import Error

NOBODY = pwd.getpwuid(65534 if os.geteuid() == 0 else os.geteuid()).pw_name


def tls_offered(sock):
    sock.recv(8)
    sock.sendall(b"S")
    silent(sock)


NOVA = Reached("nova [database]", 0.012, "MariaDB 10.11.19", "TLSv1.3", False, True, "nova", "novauser")


def found(connections, *argv):
    return list(judge(connections, CHECK.parse(*argv)))


def test_green():
    local = NOVA._replace(of="local", tls="", local=True, database="")
    bare = NOVA._replace(of="bare", tls="", seconds=0.2)
    assert found([NOVA, local, bare]) == [
        Finding(OK, "", "3 of 3 connections work"),
        Metric("unencrypted", 1),
        Finding(OK, "nova [database]", "MariaDB 10.11.19, novauser@nova, TLSv1.3"),
        Metric("login", 0.012, of="nova [database]"),
        Finding(OK, "local", "MariaDB 10.11.19, novauser@-, through a socket"),
        Metric("login", 0.012, of="local"),
        Finding(OK, "bare", "MariaDB 10.11.19, novauser@nova, without TLS"),
        Metric("login", 0.2, of="bare"),
    ]


def test_what_failed_is_handed_on_and_what_was_refused_is_the_answer():
    silence = Failed(UNREACHABLE, "a", "log in", "no answer in 7.0 s")
    refused = Refused("b", "db:3306", "log-in refused for user 'nova' (error 1045)")
    assert found([silence, refused]) == [
        silence,
        Finding(CRITICAL, "b", "the service can't log in to db:3306: log-in refused for user 'nova' (error 1045)"),
    ]
    assert found([silence, refused, NOVA])[2:4] == [
        Finding(OK, "", "1 of 3 connections work"),
        Metric("unencrypted", 0),
    ]


def test_a_line_that_overrules_others_is_told(tmp_path):
    said = "MariaDB 10.11.19, novauser@nova, TLSv1.3, the last of 2 lines that set it"
    assert Finding(OK, "nova [database]", said) in found([NOVA._replace(note="the last of 2 lines that set it")])
    with serving(says(error(1049, b"Unknown database 'd'"))) as port:
        text = f"[database]\nconnection = mysql://u:p@127.0.0.1:1/d\nconnection = mysql://u:p@127.0.0.1:{port}/d\n"
        assert line(tmp_path, text) == (
            "DB_CONNECT CRITICAL - nova [database] the service can't log in to 127.0.0.1:PORT: Unknown database 'd' (error 1049)"
            " (the last of 2 lines that set it)"
        )


def test_a_server_that_is_read_only():
    replica = NOVA._replace(writable=False)
    said = Finding(OK, "nova [database]", "MariaDB 10.11.19, novauser@nova, TLSv1.3, read-only")
    assert said in found([replica])
    assert Finding(CRITICAL, "nova [database]", "the server is read-only") in found([replica], "--writable")
    slave = replica._replace(of="nova [database] slave_connection")
    assert said._replace(of=slave.of) in found([slave], "--writable")


@pytest.fixture(autouse=True)
def bare(monkeypatch):
    for name in [name for name in os.environ if name.startswith(("PG", "NEPHOSCOPE"))]:
        monkeypatch.delenv(name)


def line(tmp_path, text, *argv):
    """Return the first line for a service's file, numbers that vary replaced."""
    (tmp_path / "nova.conf").write_text(text)
    out = CHECK.run(["--from-service-file", "/nova.conf", *argv], root=str(tmp_path)).line
    return re.sub(r"\b\d+(?:\.\d+)?( ?)(s|µs|ms)\b", r"N\1\2", re.sub(r":\d{4,5}\b", ":PORT", out))


def test_limits_on_the_time(tmp_path):
    with healthy(plugin="mysql_native_password") as server:
        server.accounts["nova"] = server.accounts["monitor"]
        text = f"[database]\nconnection = mysql+pymysql://nova:secret@127.0.0.1:{server.port}/nova\n"
        label = "nova__database-979c5b_login"
        assert re.sub("=N?s?[0-9.]*s;", "=Ns;", line(tmp_path, text)) == (
            f"DB_CONNECT OK - 1 of 1 connections work | unencrypted=1 {label}=Ns;1;5"
        )
        real = server.answer

        def slow(statement, user, account):
            if "VERSION()" in statement:
                time.sleep(0.3)
            return real(statement, user, account)

        server.answer = slow
        assert line(tmp_path, text, "-w", "0.25").startswith(
            "DB_CONNECT WARNING - nova [database] login N ms is above N ms"
        )
        assert line(tmp_path, text, "-w", "0.1", "-c", "0.25").startswith(
            "DB_CONNECT CRITICAL - nova [database] login N ms is above N ms"
        )
        assert line(tmp_path, text, "-w", "unencrypted=0").startswith("DB_CONNECT WARNING - unencrypted 1 ")


def test_a_node_of_galera_that_is_cut_off(tmp_path):
    refusal = Error(1047, "08S01", "WSREP has not yet prepared node for application use")
    normal = "select @@global.read_only as fixed from (select 1) as anything"
    with healthy(plugin="mysql_native_password", answers={normal: refusal}) as server:
        text = f"[database]\nconnection = mysql://monitor:secret@127.0.0.1:{server.port}/nova\n"
        assert line(tmp_path, text).startswith(
            "DB_CONNECT CRITICAL - nova [database]: the node is not ready: cut off from its cluster, or joining it (error 1047)"
        )


@pytest.mark.parametrize(
    "url, said",
    [
        ("sqlite:////var/lib/nova.sqlite", "UNKNOWN - nova [database]: it is SQLite, a file: there is no server to ask"
         " (read its connection URL)"),
        ("mysql://u:ge@heim@h/d", "UNKNOWN - nova [database]: there is an @ too many in it (read its connection URL):"
         " percent-encode what is special in user and password: @ is %40, : is %3A, / is %2F, % is %25"),
        ("mysql://u:p@$my_ip/d", "UNKNOWN - nova [database]: it refers to $my_ip, which these files do not set"
         " (read its connection URL)"),
        ("mysql://u:p@127.0.0.1:1/d", "CRITICAL - nova [database]: Connection refused (connect to 127.0.0.1:1)"),
        ("postgresql://u:p@127.0.0.1:1/d", "CRITICAL - nova [database]: Connection refused (log in to 127.0.0.1:1)"),
    ],
)  # fmt: skip
def test_lines_without_a_server(tmp_path, url, said):
    assert line(tmp_path, f"[database]\nconnection = {url}\n") == f"DB_CONNECT {said}"


@pytest.mark.parametrize(
    "kind, behaviour, said",
    [
        ("mysql", silent, "CRITICAL - nova [database]: no answer in N s (log in to 127.0.0.1:PORT)"),
        ("mysql", says(b"SSH-2.0-OpenSSH_9.2p1\r\n"), "UNKNOWN - nova [database]: no MySQL server: it speaks SSH (log in to 127.0.0.1:PORT)"),
        ("mysql", says(error(1040, b"Too many connections")),
         "CRITICAL - nova [database]: too many connections (error 1040) (log in to 127.0.0.1:PORT)"),
        ("mysql", says(error(1130, b"Host 'x' is not allowed to connect", state=b"")),
         "CRITICAL - nova [database] the service can't log in to 127.0.0.1:PORT: the server has no account for this host (error 1130)"),
        ("postgresql", silent, "CRITICAL - nova [database]: no answer in N s (log in to 127.0.0.1:PORT)"),
        ("postgresql", says(b"HTTP/1.1 400 Bad Request\r\n\r\n", wait=True),
         "UNKNOWN - nova [database]: no PostgreSQL server: it speaks HTTP (log in to 127.0.0.1:PORT)"),
        ("postgresql", postgres(fatal('password authentication failed for user "u"'), end=cut),
         'CRITICAL - nova [database] the service can\'t log in to 127.0.0.1:PORT: password authentication failed for user "u"'),
        ("postgresql", postgres(fatal("the database system is shutting down", "57P03"), end=cut),
         "CRITICAL - nova [database]: the database system is shutting down (log in to 127.0.0.1:PORT)"),
    ],
)  # fmt: skip
def test_lines_of_servers(tmp_path, kind, behaviour, said):
    with serving(behaviour) as port:
        text = f"[database]\nconnection = {kind}://u:geheim@127.0.0.1:{port}/d\n"
        assert line(tmp_path, text, "-t", "2") == f"DB_CONNECT {said}"


def test_a_file_without_a_connection_and_one_that_is_not_there(tmp_path):
    said = "nova: no line of it sets `connection` (read /nova.conf)"
    assert line(tmp_path, "[database]\n#connection = mysql://u:p@h/d\n") == f"DB_CONNECT UNKNOWN - {said}"
    assert line(tmp_path, "", "--absent-state", "critical") == f"DB_CONNECT CRITICAL - {said}"
    said = "gone: No such file or directory (read /gone.conf)"
    outcome = CHECK.run(["--from-service-file", "/gone.conf"], root=str(tmp_path))
    assert outcome.line == f"DB_CONNECT UNKNOWN - {said}"


def test_the_services_that_are_here(tmp_path):
    outcome = CHECK.run(["--preset", "openstack"], root=str(tmp_path))
    assert outcome.line == (
        "DB_CONNECT UNKNOWN - no service's configuration is here (look for /etc/keystone/keystone.conf and its like)"
    )
    with healthy(plugin="mysql_native_password") as server:
        for path in ("etc/nova/nova.conf", "etc/glance/glance-api.conf"):
            (tmp_path / path).parent.mkdir(parents=True)
            (tmp_path / path).write_text(
                f"[database]\nconnection = mysql://monitor:secret@127.0.0.1:{server.port}/nova?x={path}\n"
            )
        outcome = CHECK.run(["--preset", "openstack", "-v"], root=str(tmp_path))
        assert outcome.line.startswith("DB_CONNECT OK - 2 of 2 connections work |")
        assert "nova [database] MySQL" in outcome.text and "glance-api [database] MySQL" in outcome.text
        # Named by the operator, a file must be there.
        outcome = CHECK.run(["--preset", "openstack", "--from-service-file", "/etc/heat/heat.conf"], root=str(tmp_path))
        assert outcome.line == "DB_CONNECT UNKNOWN - heat: No such file or directory (read /etc/heat/heat.conf)"


def test_a_file_that_may_not_be_read(tmp_path):
    import tempfile

    with tempfile.TemporaryDirectory(dir="/tmp") as home:
        os.chmod(home, 0o755)
        path = os.path.join(home, "nova.conf")
        with open(path, "w") as file:
            file.write("[database]\nconnection = mysql://u:geheim@127.0.0.1:1/d\n")
        os.chmod(path, 0)
        state, said = as_nobody(CHECK, ["--from-service-file", path])
        assert "geheim" not in said
        assert (state, said) == (
            3,
            f"DB_CONNECT UNKNOWN - nova: Permission denied (read {path}): needs a mode of {path} by which user {NOBODY} may read it",
        )
        os.chmod(path, 0o640)
        os.chown(path, -1, grp.getgrnam("adm").gr_gid)
        assert as_nobody(CHECK, ["--from-service-file", path]) == (
            3,
            f"DB_CONNECT UNKNOWN - nova: Permission denied (read {path}): needs the group adm for user {NOBODY}",
        )


@pytest.mark.skipif(os.geteuid() != 0, reason="makes files of another user")
def test_a_controller_whose_files_the_user_may_not_read():
    """Never a shorter list, and never "no service is here"."""
    import tempfile

    adm = grp.getgrnam("adm").gr_gid
    with tempfile.TemporaryDirectory(dir="/tmp") as root, healthy(plugin="mysql_native_password") as server:
        os.chmod(root, 0o755)
        for name, mode in (("nova", 0o750), ("keystone", 0o755)):
            home = os.path.join(root, "etc", name)
            os.makedirs(home)
            with open(f"{home}/{name}.conf", "w") as file:
                file.write(f"[database]\nconnection = mysql://monitor:secret@127.0.0.1:{server.port}/nova?{name}=1\n")
            os.chown(home, -1, adm)
            os.chmod(home, mode)
        closed = f"nova: Permission denied (read /etc/nova/nova.conf): needs the group adm for user {NOBODY}"
        state, said = as_nobody(CHECK, ["--preset", "openstack"], root=root)
        assert (state, said.partition(" | ")[0]) == (3, f"DB_CONNECT UNKNOWN - {closed}")
        os.chmod(f"{root}/etc/keystone", 0o750)
        state, said = as_nobody(CHECK, ["--preset", "openstack"], root=root)
        assert (state, said) == (3, f"DB_CONNECT UNKNOWN - {closed.replace('nova', 'keystone')}, {closed}")
        os.chmod(f"{root}/etc/keystone", 0o755)
        os.mkdir(f"{root}/etc/keystone/keystone.conf.d", 0o750)
        state, said = as_nobody(CHECK, ["--preset", "openstack"], root=root)
        assert (
            state == 3
            and "keystone: Permission denied (list /etc/keystone/keystone.conf.d): needs the group root" in said
        )


def test_one_silent_server_takes_nothing_from_the_others(tmp_path):
    """Forty connections to two servers, one of them silent: all are told, and each server is asked once."""
    with serving(silent) as dead, healthy(plugin="mysql_native_password") as server:
        ports = [dead if number in (3, 17) else server.port for number in range(40)]
        text = "".join(
            f"[s{number}]\nconnection = mysql://monitor:secret@127.0.0.1:{port}/nova\n"
            for number, port in enumerate(ports)
        )
        (tmp_path / "nova.conf").write_text(text)
        began = time.monotonic()
        outcome = CHECK.run(["--from-service-file", "/nova.conf", "-t", "4", "-v"], root=str(tmp_path))
        assert time.monotonic() - began < 4.5
    assert outcome.state == CRITICAL
    assert "38 of 40 connections work" in outcome.text
    assert server.wait_until_left() == 1


def test_side_by_side_in_more_than_one_turn():
    """Each is an access of its own: other databases of one server; two of them are silent."""
    with serving(silent) as dead, healthy(plugin="mysql_native_password") as server:
        access = sql.Access("x", "mysql", "monitor", "secret", "127.0.0.1", server.port)
        jobs = [
            access._replace(of=str(number), port=dead if number in (3, 17) else server.port) for number in range(40)
        ]
        began = time.monotonic()
        answers = db_connect.reach(Run(4.0), jobs)
        assert time.monotonic() - began < 3.9
        assert server.wait_until_left() == 38
    assert [answer.of for answer in answers] == [str(number) for number in range(40)]
    assert [answer.of for answer in answers if isinstance(answer, Failed)] == ["3", "17"]


def test_filters_leave_servers_alone(tmp_path):
    with serving(silent) as dead, healthy(plugin="mysql_native_password") as server:
        text = (
            f"[a]\nconnection = mysql://monitor:secret@127.0.0.1:{server.port}/nova\n"
            f"[b]\nconnection = mysql://monitor:secret@127.0.0.1:{dead}/nova\n"
            f"[c]\nconnection = mysql://monitor:secret@127.0.0.1:{server.port}/nova\n"
        )
        began = time.monotonic()
        assert line(tmp_path, text, "--exclude", "nova ?b?").startswith("DB_CONNECT OK - 2 of 2 connections work |")
        # What is one connection is found by each of its names.
        assert line(tmp_path, text, "--include", "nova ?c?").startswith("DB_CONNECT OK - 1 of 1 connections work |")
        assert time.monotonic() - began < 3
        assert line(tmp_path, text, "--include", "nothing") == (
            "DB_CONNECT UNKNOWN - nothing matched --include/--exclude, which left out 3"
        )


def test_a_refusal_counts_as_the_services_only_with_what_the_service_says():
    access = sql.Access("x", "mysql", "u", "p", "127.0.0.1", 1, service=True)
    with serving(says(error(1049, b"Unknown database 'x'"))) as port:
        assert db_connect.one(Run(3.0), access._replace(port=port)) == Refused(
            "x", f"127.0.0.1:{port}", "Unknown database 'x' (error 1049)"
        )
        with pytest.raises(Failed) as raised:
            db_connect.one(Run(3.0), access._replace(port=port, service=False))
        assert raised.value.kind == ABSENT
    for kind, behaviour in (("mysql", says(greeting())), ("postgres", postgres())):
        with serving(behaviour) as port:
            asked = access._replace(port=port, kind=kind, tls="require")
            assert db_connect.one(Run(3.0), asked) == Refused("x", f"127.0.0.1:{port}", "the server does not offer TLS")
    # Our own missing file, module or user of the system is not the server's refusal.
    with pytest.raises(Failed) as raised:
        db_connect.one(Run(3.0), access._replace(tls="verify-full", ca_file="/nonexistent"))
    assert raised.value == Failed(NOT_ALLOWED, "x", "read /nonexistent", "No such file or directory")


@pytest.mark.parametrize(
    "kind, words, behaviour, said",
    [
        ("mysql", {}, says(greeting(), error(1698, b"Access denied for user 'u'@'localhost'", 2)),
         "Access denied for user 'u'@'localhost' (error 1698) (log in as the user who runs the check)"),
        ("mysql", {}, says(greeting(), packet(2, b"\xfemysql_clear_password\0")),
         "the server asks for the password itself, and the connection is not encrypted (log in without TLS)"),
        ("mysql", {}, says(greeting(), packet(2, b"\xfeclient_ed25519\0" + b"x" * 32)),
         "the account's way to authenticate (ed25519) needs the Python module PyNaCl (log in with PyMySQL)"),
        ("postgres", {}, postgres(fatal('Peer authentication failed for user "u"', "28000"), end=cut),
         'Peer authentication failed for user "u" (log in as the user who runs the check)'),
        ("postgres", {"password": ""}, postgres(message(b"R", b"\0\0\0\3")),
         "no password for this account (log in as the user who runs the check)"),
        ("postgres", {"tls": "verify-full", "ca_file": "/nonexistent"}, tls_offered,
         'root certificate file "/nonexistent" does not exist (read the certificates)'),
    ],
)  # fmt: skip
def test_what_only_we_lack_is_no_refusal_of_the_service(kind, words, behaviour, said, monkeypatch):
    monkeypatch.setenv("HOME", "/nonexistent")
    with serving(behaviour) as port:
        access = sql.Access("x", kind, "u", "p", "127.0.0.1", port, service=True)._replace(**words)
        with pytest.raises(Failed) as raised:
            db_connect.one(Run(3.0), access)
    failed = raised.value
    assert (failed.kind, f"{failed.error} ({failed.tried})") == (NOT_ALLOWED, said)


def test_a_url_without_a_password_is_not_helped_by_ours(tmp_path, monkeypatch):
    """A password file of the check's own user is none of the service's."""
    passfile = tmp_path / ".pgpass"
    passfile.write_text("*:*:*:*:geheim\n")
    passfile.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(passfile))
    with serving(postgres(message(b"R", b"\0\0\0\3"), message(b"R", b"\0\0\0\0") + message(b"Z", b"I"))) as port:
        assert line(tmp_path, f"[database]\nconnection = postgresql://u@127.0.0.1:{port}/d\n", "-t", "2") == (
            "DB_CONNECT UNKNOWN - nova [database]: no password for this account (log in as the user who runs the check):"
            " needs a password for it: --extra-opts, NEPHOSCOPE_PASSWORD or ~/.pgpass"
        )


def test_a_driver_that_is_missing_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pymysql.cursors", None)
    monkeypatch.setitem(sys.modules, "pymysql", None)
    out = line(tmp_path, "[database]\nconnection = mysql://u:p@127.0.0.1:1/d\n")
    assert out.startswith("DB_CONNECT UNKNOWN - Python module pymysql is missing: ")


def test_a_password_is_refused_on_the_command_line():
    outcome = CHECK.run(["--type", "mysql", "--password", "geheim"])
    assert outcome.state == 3 and "geheim" not in outcome.text
    assert outcome.line == (
        "DB_CONNECT UNKNOWN - option --password is never taken from the command line, which every user of this host can read:"
        " put it into an --extra-opts file or $NEPHOSCOPE_PASSWORD"
    )


def test_a_password_from_an_options_file(tmp_path):
    with healthy(plugin="mysql_native_password") as server:
        file = tmp_path / "opts.ini"
        file.write_text(
            f"[db]\ntype = mysql\nhostname = 127.0.0.1\nport = {server.port}\nuser = monitor\npassword = secret\n"
        )
        file.chmod(0o600)
        outcome = CHECK.run([f"--extra-opts=db@{file}", "-vvv", "--explain"], root=str(tmp_path))
    assert outcome.line.startswith("DB_CONNECT OK - 1 of 1 connections work")
    assert "secret" not in outcome.text


@pytest.mark.parametrize(
    "argv, names",
    [
        (("-H", "h", "--socket", "/s"), "--hostname and --socket"),
        (("--from-service-file", "/x", "--type", "mysql"), "--from-service-file and --type"),
        (("--from-service-file", "/x", "--defaults-file", "/y"), "--from-service-file and --defaults-file"),
        (("--type", "mysql", "--service", "x"), "--type and --service"),
        (("--type", "postgres", "--defaults-file", "/x"), "--type and --defaults-file"),
        (("--defaults-file", "/x", "--passfile", "/y"), "--defaults-file and --passfile"),
    ],
)
def test_options_of_which_one_would_be_ignored(argv, names):
    assert CHECK.run(list(argv)).line == f"DB_CONNECT UNKNOWN - {names} do not go together"


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_ipv6(tmp_path):
    text = "[database]\nconnection = mysql://u:p@[::1]:1/d\n"
    assert line(tmp_path, text) == "DB_CONNECT CRITICAL - nova [database]: Connection refused (connect to [::1]:1)"
