# SPDX-License-Identifier: Apache-2.0
"""Every check in checks/, held to every rule of tests/conformance.py; and what only a fresh process can show."""

import inspect
import subprocess
import sys

import pytest
from nephoscope import catalogue

from tests.conformance import RULES

CLIENTS = [
    "boto3",
    "botocore",
    "openstack",
    "keystoneauth1",
    "requests",
    "urllib3",
    "pymysql",
    "psycopg2",
    "puresnmp",
    "pysnmp",
    "pika",
    "amqp",
    "redfish",
    "rich",
    "tomli",
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__[5:])
@pytest.mark.parametrize("name", catalogue.names())
def test_check(name, rule, tmp_path, monkeypatch):
    words = {"monkeypatch": monkeypatch} if "monkeypatch" in inspect.signature(rule).parameters else {}
    rule(catalogue.load(name), tmp_path, **words)


IMPORTS = """
import sys
from nephoscope import catalogue
checks = catalogue.all_checks()
for check in checks:
    for argv in (["--help"], ["--nonsense"], ["-w", "nosuch=1"]):
        assert check.run(argv).state == 3
print(len(checks), *sorted(sys.modules))
"""


def test_no_client_library_is_imported_before_the_options_are_accepted():
    done = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True, check=True, timeout=60)
    number, *modules = done.stdout.split()
    assert int(number) == len(catalogue.names()) > 0
    loaded = {module.partition(".")[0] for module in modules}
    assert loaded & set(CLIENTS) == set()
    assert not {"http.client", "ssl", "asyncio", "psutil", "sqlite3"} & set(modules)


@pytest.mark.parametrize("name", catalogue.names())
def test_a_process_prints_nothing_on_stderr_whatever_python_warns_of(name, tmp_path):
    code = f"import sys; sys.argv = [{name!r}, '--nonsense']; from nephoscope import catalogue; catalogue.load({name!r}).main()"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (3, "")
    assert "no option --nonsense" in done.stdout
