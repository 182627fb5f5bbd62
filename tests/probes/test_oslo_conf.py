# SPDX-License-Identifier: Apache-2.0
"""Configuration of OpenStack services, by the rules of oslo.config's documentation (and its iniparser's refusals)."""

from __future__ import annotations

import pytest
from nephoscope.base import ABSENT, UNREADABLE, Failed, Run
from nephoscope.probes import oslo_conf
from nephoscope.probes.oslo_conf import Conf, Connection


def conf(text):
    made = Conf()
    made.add(text, "nova.conf")
    return made


@pytest.mark.parametrize(
    "text, value",
    [
        ("[database]\nconnection = a", "a"),
        ("[database]\nconnection=a", "a"),
        ("[database]\nconnection : a", "a"),
        ("[database]\nconnection = a\nconnection = b", "b"),  # the last one counts
        ("[database]\nconnection = a\n[api_database]\nconnection = b\n[database]\nconnection = c", "c"),
        ("[database]\n#connection = a\n;connection = b\nconnection = c", "c"),
        ("[database]\nconnection = 'a b'", "a b"),
        ('[database]\nconnection = "a:b=c"', "a:b=c"),
        ("[database]\nconnection = 'a", "'a"),
        ("[database]\nconnection = a=b:c", "a=b:c"),
        ("[database]\nconnection = a # b", "a # b"),  # no comment behind a value
        ("[database]\nconnection = a\n  b\n\tc", "a\nb\nc"),
        ("[database]\nconnection = a\n\n[x]\ny = z", "a"),
        ("[DEFAULT]\nhost = h\n[database]\nconnection = $host/${host}/x", "h/h/x"),
        ("[database]\nhost = own\nconnection = $host\n[DEFAULT]\nhost = h", "own"),
        ("[a]\nhost = h\n[database]\nconnection = ${a.host}", "h"),
        ("[DEFAULT]\na = $b\nb = c\n[database]\nconnection = $a", "c"),
        ("[database]\nconnection = p$$word\\$5", "p$word$5"),
        ("[database]\nconnection = \n", ""),
        ("[Database]\nconnection = a", "a"),  # names of groups are lower-case, whatever is written
        ("[DEFAULT]\nhost = h\n[default]\nhost = other\n[database]\nconnection = $host", "h"),
        ("[database]\nconnection = '", ""),
    ],
)
def test_a_value(text, value):
    assert conf(text).get("database", "connection") == value


@pytest.mark.parametrize(
    "text, error",
    [
        ("[database]\n  geheim", "line 2 goes on with a value that nothing began"),
        ("[database\nconnection = geheim", "line 1 is no section"),
        ("[]", "line 1 is no section"),
        ("[database]\n\ngeheim", "line 3 is neither a section nor name = value"),
        ("[database]\nconnection = a\n# between\n  geheim", "line 4 goes on with a value that nothing began"),
        ("connection = geheim", "line 1 stands before any section"),
        ("= geheim", "line 1 is neither a section nor name = value"),
        ("[a]\nx = 1\n\n  geheim", "line 4 goes on with a value that nothing began"),
    ],
)
def test_what_a_service_would_not_start_with(text, error):
    with pytest.raises(Failed) as raised:
        conf(text)
    assert raised.value == Failed(
        UNREADABLE, "nova.conf", "read nova.conf", f"{error}: the service would not start with it"
    )


def test_every_connection_in_the_order_of_the_files():
    made = conf(
        "[database]\nconnection = a\nconnection = b\nslave_connection = c\nconnection_parameters = x=1\n"
        "[api_database]\nconnection = d\n[empty]\nconnection =\n[DEFAULT]\nsql_connection = e\n"
        "[task_flow]\npersistence_connection = f\n[oslo_messaging]\nconnection_retry = 5\n"
    )
    assert made.connections("nova") == [
        Connection("database", "connection", "b", 2, "x=1"),
        Connection("database", "slave_connection", "c", 1, "x=1"),
        Connection("api_database", "connection", "d", 1),
        Connection("DEFAULT", "sql_connection", "e", 1),
        Connection("task_flow", "persistence_connection", "f", 1),
    ]
    assert "b" not in repr(made.connections("nova")[0]).replace("database", "").replace("b'", "")


@pytest.mark.parametrize("reference", ["$my_ip", "${my_ip}", "${other.my_ip}"])
def test_a_reference_to_what_is_not_set(reference):
    (failed,) = conf(f"[database]\nconnection = mysql://u:geheim@{reference}/d").connections("nova")
    name = reference.strip("${}")
    assert failed == Failed(
        UNREADABLE, "nova [database]", "read its connection URL", f"it refers to ${name}, which these files do not set"
    )


def test_references_in_a_circle_end():
    (failed,) = conf("[DEFAULT]\na = $b\nb = $a\n[database]\nconnection = $a").connections("nova")
    assert isinstance(failed, Failed)


def test_the_directory_beside_a_file_is_read_after_it(tmp_path):
    (tmp_path / "nova.conf").write_text("[database]\nconnection = a\n[x]\nconnection = x\n")
    beside = tmp_path / "nova.conf.d"
    beside.mkdir()
    (beside / "20.conf").write_text("[database]\nconnection = last\n")
    (beside / "10.conf").write_text("[database]\nconnection = first\n")
    (beside / "30.conf.bak").write_text("[database]\nconnection = not this\n")
    path = str(tmp_path / "nova.conf")
    assert oslo_conf.connections(Run(), path, "nova") == [
        Connection("database", "connection", "last", 3), Connection("x", "connection", "x", 1)
    ]  # fmt: skip
    assert oslo_conf.connections(Run(), str(beside), "nova") == [Connection("database", "connection", "last", 2)]


def test_through_the_root(tmp_path):
    (tmp_path / "etc/nova").mkdir(parents=True)
    (tmp_path / "etc/nova/nova.conf").write_text("[database]\nconnection = a\n")
    found = oslo_conf.connections(Run(root=str(tmp_path)), "/etc/nova/nova.conf", "nova")
    assert found == [Connection("database", "connection", "a", 1)]


def test_absence_is_told(tmp_path):
    path = str(tmp_path / "nova.conf")
    with pytest.raises(Failed) as raised:
        oslo_conf.connections(Run(), path, "nova")
    assert raised.value == Failed(ABSENT, path, f"read {path}", "No such file or directory")
    (tmp_path / "nova.conf").write_text("[DEFAULT]\ndebug = true\n[database]\n# connection = x\n")
    with pytest.raises(Failed) as raised:
        oslo_conf.connections(Run(), path, "nova")
    assert raised.value == Failed(ABSENT, "nova", f"read {path}", "no line of it sets `connection`")


def test_bounds(tmp_path):
    path = tmp_path / "big.conf"
    path.write_text("#" * (oslo_conf.LIMIT + 1))
    with pytest.raises(Failed) as raised:
        oslo_conf.read(Run(), str(path))
    assert raised.value.kind == UNREADABLE
    many = tmp_path / "many"
    many.mkdir()
    for number in range(oslo_conf.FILES_MAX + 1):
        (many / f"{number}.conf").write_text("")
    with pytest.raises(Failed) as raised:
        oslo_conf.read(Run(), str(many))
    assert raised.value == Failed(UNREADABLE, str(many), f"list {many}", f"more than {oslo_conf.FILES_MAX} files")
