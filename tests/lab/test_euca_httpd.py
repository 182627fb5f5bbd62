# SPDX-License-Identifier: Apache-2.0
"""check_euca_nc against a real httpd with the limits that Eucalyptus gives it: one worker, connections kept for 30 s.

The configuration is tools/httpd.conf of Eucalyptus 4.4.2 with what Debian's httpd wants besides; in Axis2/C's place stands its
page as a file, for Debian has no Axis2/C.
"""

from __future__ import annotations

import http.client
import os
import time

import pytest
from nephoscope.base import Run
from nephoscope.checks.eucalyptus.check_euca_nc import CHECK
from nephoscope.plugin import CRITICAL, OK
from nephoscope.probes import euca_daemon

from tests.lab.support import Daemon, free_port, listening, need
from tests.probes.test_axis2 import html

pytestmark = pytest.mark.lab

CONF = """
ServerName 127.0.0.1
ServerRoot {folder}
Listen 127.0.0.1:{port}
KeepAliveTimeout 30
PidFile {folder}/httpd.pid
ErrorLog {folder}/error_log
User {user}
Group {group}
LoadModule mpm_prefork_module {modules}/mod_mpm_prefork.so
LoadModule authz_core_module {modules}/mod_authz_core.so
StartServers 0
MinSpareServers 1
MaxSpareServers 0
MaxClients 1
MaxRequestsPerChild 0
DocumentRoot {folder}/www
"""


@pytest.fixture
def httpd(folder):
    """Start it; give its port."""
    [program] = need("apache2")
    need("/usr/lib/apache2/modules/mod_mpm_prefork.so")
    (folder / "www/axis2").mkdir(parents=True)
    (folder / "www/axis2/services").write_text(html(("EucalyptusGL", "EucalyptusNC")))
    port = free_port()
    root = os.geteuid() == 0
    words = {"folder": folder, "port": port, "modules": "/usr/lib/apache2/modules"}
    words.update(user="nobody" if root else f"#{os.geteuid()}", group="nogroup" if root else f"#{os.getegid()}")
    conf = folder / "httpd-nc.conf"
    conf.write_text(CONF.format(**words))
    with Daemon([program, "-f", conf, "-DFOREGROUND"], ready=listening(port), log=folder / "httpd.log"):
        yield port


def ask(port, *argv):
    begun = time.monotonic()
    outcome = CHECK.run(["-H", "127.0.0.1", "-p", str(port), *argv])
    return outcome, time.monotonic() - begun


def test_its_one_worker_is_free_at_once(httpd):
    for _ in range(3):
        outcome, seconds = ask(httpd)
        assert outcome.reason == "EucalyptusNC is serving; state not visible from here"
        assert seconds < 3


def test_who_keeps_a_connection_blocks_it(httpd):
    """That the test above can fail: this is what the check would do to the cluster controller without `Connection: close`."""
    other = http.client.HTTPConnection("127.0.0.1", httpd, timeout=20)
    other.request("GET", "/axis2/services")
    assert b"EucalyptusNC" in other.getresponse().read()
    outcome, seconds = ask(httpd, "-t", "3")
    assert (outcome.state, outcome.reason) == (
        CRITICAL,
        f"127.0.0.1:{httpd}: no answer in 2.0 s (GET /axis2/services)",
    )
    assert seconds < 3.5
    other.close()
    assert ask(httpd)[0].state == OK


def test_its_processes_are_known(httpd):
    assert euca_daemon.processes(Run(8), "eucalyptus-nc").alive == 2  # the parent and its one worker
    assert euca_daemon.processes(Run(8), "eucalyptus-cc").alive == 0
