# SPDX-License-Identifier: Apache-2.0
"""URLs of databases: the forms that SQLAlchemy's and OpenStack's documentation shows, and those that people write."""

from __future__ import annotations

import traceback

import pytest
from nephoscope.base import ABSENT, UNREADABLE, Failed
from nephoscope.probes.dsn import ENCODE, Dsn, parse


@pytest.mark.parametrize(
    "url, dsn",
    [
        # Nova's and Keystone's installation guides.
        ("mysql+pymysql://nova:NOVA_DBPASS@controller/nova_api",
         Dsn("mysql", "nova", "NOVA_DBPASS", "controller", 0, "nova_api", {})),
        ("mysql://nova:x@db:3307/nova?charset=utf8&plugin=dbcounter",
         Dsn("mysql", "nova", "x", "db", 3307, "nova", {"charset": "utf8", "plugin": "dbcounter"})),
        ("mysql+mysqldb://u:p@h/d", Dsn("mysql", "u", "p", "h", 0, "d", {})),
        ("mariadb+pymysql://u:p@h/d", Dsn("mysql", "u", "p", "h", 0, "d", {})),
        ("postgresql+psycopg2://u:p@h:5433/d", Dsn("postgres", "u", "p", "h", 5433, "d", {})),
        ("postgres://u:p@h/d", Dsn("postgres", "u", "p", "h", 0, "d", {})),
        # SQLAlchemy, "Escaping Special Characters such as @ signs in Passwords"
        ("postgresql+pg8000://dbuser:kx%40jj5%2Fg@pghost10/appdb",
         Dsn("postgres", "dbuser", "kx@jj5/g", "pghost10", 0, "appdb", {})),
        ("mysql://u:p+q%2B%20%25:r/s?t#[x]@h/d", Dsn("mysql", "u", "p+q+ %:r/s?t#[x]", "h", 0, "d", {})),
        ("mysql://u%40corp:%C3%A9@h/d%2Fe", Dsn("mysql", "u@corp", "é", "h", 0, "d/e", {})),
        ("mysql://u:p@[2001:db8::5]:3307/d", Dsn("mysql", "u", "p", "2001:db8::5", 3307, "d", {})),
        ("mysql://u:p@[::1]/d", Dsn("mysql", "u", "p", "::1", 0, "d", {})),
        ("mysql://u@h/d", Dsn("mysql", "u", "", "h", 0, "d", {})),
        ("mysql://h/d", Dsn("mysql", "", "", "h", 0, "d", {})),
        ("mysql://u:p@/d?unix_socket=/run/mysqld/mysqld.sock",
         Dsn("mysql", "u", "p", "", 0, "d", {"unix_socket": "/run/mysqld/mysqld.sock"})),
        ("postgresql:///d?host=/var/run/postgresql&port=5433&user=u",
         Dsn("postgres", "u", "", "/var/run/postgresql", 5433, "d",
             {"host": "/var/run/postgresql", "port": "5433", "user": "u"})),
        ("mysql://u:p@h", Dsn("mysql", "u", "p", "h", 0, "", {})),
        ("mysql+pymysql://u:p@h/d?ssl_ca=/etc/ca%20s.pem&ssl_ca=/etc/last.pem",
         Dsn("mysql", "u", "p", "h", 0, "d", {"ssl_ca": "/etc/last.pem"})),
        ("postgresql://u:p@h1,h2/d", Dsn("postgres", "u", "p", "h1,h2", 0, "d", {})),
    ],
)  # fmt: skip
def test_what_a_url_says(url, dsn):
    assert parse(url, "nova") == dsn
    assert "***" in repr(dsn)


@pytest.mark.parametrize(
    "url, kind, error",
    [
        ("sqlite:////var/lib/nova/nova.sqlite", ABSENT, "it is SQLite, a file: there is no server to ask"),
        ("sqlite://", ABSENT, "it is SQLite, a file: there is no server to ask"),
        ("mongodb://u:geheim@h/d", ABSENT, "mongodb is neither MySQL, MariaDB nor PostgreSQL"),
        ("geheim", UNREADABLE, "it is no URL like mysql+pymysql://user:password@host/database"),
        ("", UNREADABLE, "it is no URL like mysql+pymysql://user:password@host/database"),
        ("://u:geheim@h", UNREADABLE, "it is no URL like mysql+pymysql://user:password@host/database"),
        ("mysql://u:ge@heim@h/d", UNREADABLE, "there is an @ too many in it"),
        ("mysql://u/geheim:x@h/d", UNREADABLE, "there is an @ too many in it"),
        ("mysql://u:p@h:geheim/d", UNREADABLE, "its port is no number"),
        ("mysql://u:p@h:70000/d", UNREADABLE, "its port is no number"),
        ("mysql://u:p@h:/d", UNREADABLE, "its port is no number"),
        ("MYSQL://u:p@h/d", ABSENT, "MYSQL is neither MySQL, MariaDB nor PostgreSQL"),
    ],
)
def test_what_is_no_server_of_ours(url, kind, error):
    with pytest.raises(Failed) as raised:
        parse(url, "nova [database]")
    failed = raised.value
    assert (failed.kind, failed.of, failed.tried, failed.error) == (
        kind, "nova [database]", "read its connection URL", error
    )  # fmt: skip
    assert failed.cure == (ENCODE if "@ too" in error or "port" in error else "")
    assert "geheim" not in "".join(traceback.format_exception(type(failed), failed, failed.__traceback__, chain=True))
