# SPDX-License-Identifier: Apache-2.0
"""The real oslo.config and SQLAlchemy are given the same files and URLs as our readers of them; nothing may be read otherwise."""

from __future__ import annotations

import json
import subprocess

import pytest
from nephoscope.base import Failed, Run
from nephoscope.probes import dsn, oslo_conf

from tests.lab.support import lab_venv

pytestmark = pytest.mark.lab

HOME = lab_venv("oslo")

# Prints, for each case, what the libraries that the services use make of it: a value, or null for what they refuse.
ASKED = """
import json, sys
from oslo_config import cfg
from sqlalchemy.engine import make_url
files, urls = json.load(sys.stdin)
said = []
for path in files:
    try:
        conf = cfg.ConfigOpts()
        conf.register_opts([cfg.StrOpt("connection")], group="database")
        conf.register_opts([cfg.StrOpt("host"), cfg.StrOpt("a"), cfg.StrOpt("b")])
        conf.register_opts([cfg.StrOpt("host")], group="other")
        directory = path + ".d"
        import os
        conf(["--config-file", path] + (["--config-dir", directory] if os.path.isdir(directory) else []), project="lab")
        said.append(conf.database.connection)
    except Exception as error:
        said.append(None)
parsed = []
for url in urls:
    try:
        one = make_url(url)
        parsed.append([one.get_backend_name(), one.username or "", one.password or "", one.host or "", one.port or 0,
                       one.database or "", {k: v if isinstance(v, str) else v[-1] for k, v in one.query.items()}])
    except Exception:
        parsed.append(None)
json.dump([said, parsed], sys.stdout)
"""

TEXTS = [
    "[database]\nconnection = a\n", "[database]\nconnection=a", "[database]\nconnection:a", "[database]\nconnection = a\nconnection = b",
    "[database]\nconnection = a\n[other]\nhost = x\n[database]\nconnection = c", "[database]\n#connection = a\n;connection = b\n",
    "[database]\nconnection = 'a b'", '[database]\nconnection = "a:b=c"', "[database]\nconnection = 'a", "[database]\nconnection = \"a'",
    "[database]\nconnection = a=b:c", "[database]\nconnection : a=b", "[database]\nconnection = a # b", "[database]\nconnection = a ; b",
    "[database]\nconnection = a\n  b\n\tc", "[database]\nconnection = a\n\n[other]\nhost = z", "[database]\nconnection = a\n# x\n  b",
    "[database]\nconnection = a\n\n  b", "[DEFAULT]\nhost = h\n[database]\nconnection = $host/${host}/x",
    "[other]\nhost = h\n[database]\nconnection = ${other.host}",
    "[other]\nhost = h\n[database]\nconnection = $other.host", "[DEFAULT]\na = $b\nb = c\n[database]\nconnection = $a",
    "[database]\nconnection = p$$word", "[database]\nconnection = p\\$word", "[database]\nconnection = $$$$", "[database]\nconnection = 100%",
    "host = h\n[database]\nconnection = $host", "[database]\nconnection = $nothing", "[database]\nconnection = a$", "[database]\nconnection = $5",
    "[database]\nconnection = ${host", "[database]\nconnection =", "[database]\n  connection = a", "[database\nconnection = a",
    "[]\n", "[database]\nconnection", "= a", "[database]\n\nconnection = é", " [database]\nconnection = a", "[database] \nconnection = a",
    "[ database ]\nconnection = a", "[database]\nCONNECTION = a", "[database]\nconnection = ''", "[database]\nconnection = '", "[Database]\nconnection = a",
    "[DATABASE]\nconnection = a", "[database]\nconnection = a\r\n", "[DEFAULT]\na = $b\nb = $a\n[database]\nconnection = $a",
    "[DEFAULT]\nhost = $$x\n[database]\nconnection = $host",
]  # fmt: skip

URLS = [
    "mysql+pymysql://nova:pass@db/nova", "mysql://u:p@h:3307/d?charset=utf8&plugin=x", "mysql://u:p%40%2F%3A%25@h/d", "mysql://u:a+b@h/d",
    "mysql://u:a%2Bb@h/d", "mysql://u%40x:p@h/d", "mysql://u:p@[::1]:3307/d", "mysql://u:p@[2001:db8::5]/d", "mysql://u@h/d", "mysql://h/d",
    "mysql://u:@h/d", "mysql://:p@h/d", "mysql://u:p@/d?unix_socket=/run/x.sock", "mysql://u:p@h",
    "mysql://u:p@h/", "mysql://u:p/q@h/d", "mysql://u:p?q@h/d", "mysql://u:p#q@h/d", "mysql://u:p:q@h/d",
    "mysql://u:p@h:x/d", "mysql://u:p@h/d?a=b+c&d=%20&e=", "mysql://u:p@h/d?a=1&a=2", "mysql://u:p@h/d/e", "mysql://u:p@h/d%2Fe", "mysql:/u",
    "mysql", "", "mysql://", "mysql+mysqldb://u:é@h/d", "postgresql+psycopg2://u:p@h1,h2/d", "mysql://u:p@h_x-1.example/d",
    "mysql://u:p@h/d?ssl_ca=/a%20b.pem", "mysql://u:p@h/d?x=%C3%A9", "mysql://u:%E9@h/d", "mysql://u:p @h/d", "mysql://[::1/d",
    "mysql://u:p@h/d\nx", "mysql://u:p@h?charset=x", "mysql://@h/d", "mysql://u:p@h:/d",
]  # fmt: skip


# SQLAlchemy splits these, and no driver gets anywhere with what it makes of them: they are told as what is wrong with them.
USELESS = ["mysql://u:p@q@h/d", "mysql://u/v:p@h/d", "mysql://u:p@h:0/d", "mysql://u:p@h:99999/d", "MYSQL://u:p@h/d"]


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """What the real ones say: text -> value, URL -> parts, and the value of a file with a directory beside it."""
    home = tmp_path_factory.mktemp("conf")
    paths = []
    for number, text in enumerate(TEXTS):
        paths.append(str(home / f"{number}.conf"))
        (home / f"{number}.conf").write_bytes(text.encode())
    (home / "with.conf").write_text("[database]\nconnection = a\n")
    (home / "with.conf.d").mkdir()
    (home / "with.conf.d/b.conf").write_text("[database]\nconnection = last\n")
    (home / "with.conf.d/a.conf").write_text("[database]\nconnection = first\n")
    (home / "with.conf.d/c.bak").write_text("[database]\nconnection = not this\n")
    paths.append(str(home / "with.conf"))
    done = subprocess.run(
        [HOME / "bin/python", "-c", ASKED],
        input=json.dumps([paths, URLS + USELESS]),
        capture_output=True,
        text=True,
        check=True,
    )
    values, parsed = json.loads(done.stdout)
    return dict(zip([*TEXTS, "a directory"], zip(paths, values))), dict(zip(URLS + USELESS, parsed))


def ours(path):
    try:
        return oslo_conf.read(Run(), path).get("database", "connection")
    except (Failed, KeyError):
        return None


@pytest.mark.parametrize("text", [*TEXTS, "a directory"])
def test_a_file(asked, text):
    path, value = asked[0][text]
    assert (ours(path) or None) == (value or None)


@pytest.mark.parametrize("url", URLS)
def test_a_url(asked, url):
    theirs = asked[1][url]
    try:
        said = dsn.parse(url, "x")
    except Failed:
        assert theirs is None
    else:
        assert [{"mysql": "mysql", "postgres": "postgresql"}[said.kind], *said[1:]] == theirs


@pytest.mark.parametrize("url", USELESS)
def test_a_url_that_is_refused_though_it_can_be_split(asked, url):
    assert asked[1][url] is not None
    with pytest.raises(Failed):
        dsn.parse(url, "x")
