# SPDX-License-Identifier: Apache-2.0
"""Settings, directories, pid files and roles of a Eucalyptus host, over trees made by hand.

The settings are those of tools/eucalyptus.conf (4.4.2), the files of each package those of eucalyptus.spec (3.1 to 5.1).
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from pathlib import Path

import pytest
from nephoscope import catalogue
from nephoscope.base import ABSENT, NOT_ALLOWED, UNREADABLE, Failed, Run
from nephoscope.probes import euca_conf

from tests.probes.unprivileged import NOBODY

SHIPPED = """\
# Where Eucalyptus is installed
EUCALYPTUS="/"
EUCA_USER="eucalyptus"
CLOUD_OPTS=""
#LOGLEVEL="INFO"
NC_PORT="8775"
CC_PORT="8774"
NODES=""
INSTANCE_PATH="/var/lib/eucalyptus/instances"
"""


def put(root, path, text=""):
    file = root / path.lstrip("/")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


@pytest.fixture
def open_path():
    """A directory that every user may enter, which pytest's own are not."""
    with tempfile.TemporaryDirectory(dir="/tmp") as path:
        os.chmod(path, 0o755)
        yield Path(path)


@contextlib.contextmanager
def without_rights():
    """Be nobody for a while; an ordinary user is as little already."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def read(root, home="/"):
    return euca_conf.read(Run(root=str(root)), home)


def test_as_shipped(tmp_path):
    put(tmp_path, "etc/eucalyptus/eucalyptus.conf", SHIPPED)
    conf = read(tmp_path)
    assert conf == {
        "EUCALYPTUS": "/", "EUCA_USER": "eucalyptus", "CLOUD_OPTS": "", "NC_PORT": "8775", "CC_PORT": "8774",
        "NODES": "", "INSTANCE_PATH": "/var/lib/eucalyptus/instances", "run": "/run/eucalyptus",
    }  # fmt: skip
    assert euca_conf.directory(conf, "log") == "/var/log/eucalyptus"
    assert euca_conf.directory(conf, "status") == "/run/eucalyptus/status"
    assert euca_conf.port(conf, "CC_PORT", 1) == 8774
    assert euca_conf.port(conf, "OTHER", 17) == 17


def test_every_way_of_quoting(tmp_path):
    text = """
    export A=one # a remark
      B = "two words" # spaces around the sign, as get_conf_var allows them
    C='single # no remark'
    D=
    E="first"
    E="second"
    F=$A/x
    if [ "$A" = one ]; then
    G="#"
    """
    put(tmp_path, "etc/eucalyptus/eucalyptus.conf", text)
    conf = read(tmp_path)
    assert [conf[name] for name in "ABCDEFG"] == [
        "one", "two words", "single # no remark", "", "second", "$A/x", "#",
    ]  # fmt: skip


def test_the_local_file_wins(tmp_path):
    put(tmp_path, "etc/eucalyptus/eucalyptus.conf", SHIPPED)
    put(tmp_path, "etc/eucalyptus/eucalyptus.local.conf", 'NC_PORT="18775"\n')
    assert read(tmp_path)["NC_PORT"] == "18775"


def test_a_home_of_its_own_and_the_older_run_directory(tmp_path):
    text = 'EUCALYPTUS="/opt/eucalyptus"\nINSTANCE_PATH="/data/instances/"\n'
    put(tmp_path, "opt/eucalyptus/etc/eucalyptus/eucalyptus.conf", text)
    put(tmp_path, "opt/eucalyptus/var/run/eucalyptus/eucalyptus-cc.pid", "1")
    conf = read(tmp_path)
    assert euca_conf.directory(conf, "log") == "/opt/eucalyptus/var/log/eucalyptus"
    assert euca_conf.directory(conf, "run") == "/opt/eucalyptus/var/run/eucalyptus"
    assert euca_conf.directory(conf, "instances") == "/data/instances"
    put(tmp_path, "srv/e/etc/eucalyptus/eucalyptus.conf", 'EUCALYPTUS="not_configured"\nINSTANCE_PATH=not_configured\n')
    conf = read(tmp_path, "/srv/e")
    assert euca_conf.directory(conf, "keys") == "/srv/e/var/lib/eucalyptus/keys"
    assert euca_conf.directory(conf, "instances") == "/srv/e/var/lib/eucalyptus/instances"


def test_not_installed(tmp_path):
    with pytest.raises(Failed) as caught:
        read(tmp_path)
    assert caught.value == Failed(
        ABSENT, "eucalyptus.conf", "read /etc/eucalyptus/eucalyptus.conf", "Eucalyptus is not installed here"
    )


def test_a_file_that_may_not_be_read(open_path):
    put(open_path, "etc/eucalyptus/eucalyptus.conf", SHIPPED).chmod(0)
    with without_rights(), pytest.raises(Failed) as caught:
        read(open_path)
    assert caught.value.kind == NOT_ALLOWED


def test_a_quote_that_is_not_closed_and_no_value_in_the_text(tmp_path):
    put(tmp_path, "etc/eucalyptus/eucalyptus.conf", 'A="1"\nPASSWORD="hunter2\n')
    with pytest.raises(Failed) as caught:
        read(tmp_path)
    assert caught.value.kind == UNREADABLE
    assert caught.value.error == "line 2 is not understood: mind its quotes"


@pytest.mark.parametrize("text", ["http", "0", "65536", "-1"])
def test_a_port_that_is_none(text):
    with pytest.raises(Failed) as caught:
        euca_conf.port({"CC_PORT": text}, "CC_PORT", 8774)
    assert caught.value.kind == UNREADABLE


def process(root, number, comm, cmdline, state="S"):
    fields = " ".join(["0"] * 48)
    put(root, f"proc/{number}/stat", f"{number} ({comm}) {state} {fields}\n")
    put(root, f"proc/{number}/cmdline", "\0".join(cmdline) + "\0")


@pytest.mark.parametrize(
    "comm, cmdline, state, alive",
    [
        ("httpd", ["/usr/sbin/httpd", "-f", "/run/eucalyptus/httpd-cc.conf"], "S", True),
        ("apache2", ["/usr/sbin/apache2", "-f", "/run/eucalyptus/httpd-cc.conf"], "R", True),
        ("httpd", ["/usr/sbin/httpd", "-f", "/run/eucalyptus/httpd-cc.conf"], "T", False),
        ("httpd", [""], "Z", False),
        ("sshd", ["/usr/sbin/sshd"], "S", False),
    ],
)
def test_a_pid_file_is_held_against_the_process(tmp_path, comm, cmdline, state, alive):
    put(tmp_path, "run/eucalyptus/eucalyptus-cluster.pid", "4711\n")
    process(tmp_path, 4711, comm, cmdline, state)
    found = euca_conf.pid(Run(root=str(tmp_path)), ("eucalyptus-cluster", "eucalyptus-cc"))
    assert found == euca_conf.Pid("eucalyptus-cluster", 4711, alive)


def test_pid_names_of_all_versions_and_a_process_that_is_gone(tmp_path):
    # check_euca_proc of 4.1 to 4.4 knew the name of 4.2 only, and looked below /opt/eucalyptus whatever was configured.
    put(tmp_path, "var/run/eucalyptus/eucalyptus-cc.pid", "4711\n")
    found = euca_conf.pid(Run(root=str(tmp_path)), ("eucalyptus-cluster", "eucalyptus-cc"))
    assert found == euca_conf.Pid("eucalyptus-cc", 4711, False)


def test_the_name_of_a_process_is_cut_by_the_kernel(tmp_path):
    put(tmp_path, "run/eucalyptus/eucalyptus-cloud.pid", "12")
    process(tmp_path, 12, "eucalyptus-clou", ["eucalyptus-cloud", "-h", "/"])
    assert euca_conf.pid(Run(root=str(tmp_path)), ("eucalyptus-cloud",)).alive


def test_no_pid_file(tmp_path):
    with pytest.raises(Failed) as caught:
        euca_conf.pid(Run(root=str(tmp_path)), ("eucalyptus-node", "eucalyptus-nc"))
    assert caught.value == Failed(
        ABSENT, "eucalyptus-node", "look for eucalyptus-node.pid or eucalyptus-nc.pid in /run/eucalyptus", "no pid file"
    )


@pytest.mark.parametrize("text", ["", "x", "-3", "0"])
def test_a_pid_file_without_a_number(tmp_path, text):
    put(tmp_path, "run/eucalyptus/eucanetd.pid", text)
    with pytest.raises(Failed) as caught:
        euca_conf.pid(Run(root=str(tmp_path)), ("eucanetd",))
    assert caught.value.kind == UNREADABLE


HOSTS = {
    "clc": (("usr/sbin/euca-lictool", "var/lib/eucalyptus/db/data/PG_VERSION"), ("clc",)),
    "ufs": (("usr/sbin/euca-lictool", "var/lib/eucalyptus/db/.keep"), ("ufs",)),
    "walrus": (("usr/sbin/eucalyptus-cloud", "var/lib/eucalyptus/bukkits/x"), ("walrus",)),
    "zone of 4.4": (
        ("usr/share/eucalyptus/connect_iscsitarget_sc.pl", "usr/sbin/eucalyptus-cluster"),
        ("sc", "cc"),
    ),
    "cc of 3.4": (("etc/init.d/eucalyptus-cc",), ("cc",)),
    "nc in EDGE mode": (
        (
            "usr/sbin/eucalyptus-node",
            "usr/sbin/eucanetd",
            "etc/systemd/system/multi-user.target.wants/eucanetd.service",
        ),
        ("nc", "eucanetd"),
    ),
    "nc with MidoNet": (
        ("usr/sbin/eucalyptus-node", "usr/sbin/eucanetd", "etc/systemd/system/multi-user.target.wants/x.service"),
        ("nc",),
    ),
    "nc of 3.4": (
        ("etc/init.d/eucalyptus-nc", "usr/sbin/eucanetd", "etc/rc3.d/S90eucalyptus-eucanetd"),
        ("nc", "eucanetd"),
    ),
    "console": (("etc/eucaconsole/console.ini",), ("console",)),
    "something else": (("usr/sbin/sshd",), ()),
}


@pytest.mark.parametrize("host", HOSTS)
def test_roles(tmp_path, host):
    paths, expected = HOSTS[host]
    for path in paths:
        put(tmp_path, path)
    assert euca_conf.roles(Run(root=str(tmp_path)), {"EUCALYPTUS": "/"}) == expected


def test_the_cluster_controller_of_5_lives_in_the_jvm(tmp_path):
    put(tmp_path, "usr/sbin/clusteradmin-register-nodes")
    run = Run(root=str(tmp_path))
    assert euca_conf.roles(run, {}) == ("cc",)
    assert not euca_conf.native_cc(run, {})
    put(tmp_path, "usr/sbin/eucalyptus-cluster")
    assert euca_conf.native_cc(run, {})


@pytest.mark.skipif(sys.byteorder != "little", reason="the row is that of a little-endian host")
def test_a_database_that_only_its_owner_may_see(open_path):
    put(open_path, "usr/sbin/euca-lictool")
    db = put(open_path, "var/lib/eucalyptus/db/data/PG_VERSION").parent.parent
    os.chmod(db, 0)  # 0700 as installed (Makefile), for another user
    run = Run(root=str(open_path))
    with without_rights():
        assert euca_conf.roles(run, {}) == ("cloud",)
    head = "  sl  local_address rem_address   st tx_queue rx_queue\n"
    put(open_path, "proc/net/tcp", f"{head}   0: 00000000:2249 00000000:0000 0A 0:0\n")
    with without_rights():
        assert euca_conf.roles(run, {}) == ("clc",)
    os.chmod(db, 0o700)


@pytest.mark.parametrize(
    "name", ["clc", "cc", "nc", "sc", "objectstorage", "net", "image_cache", "faults", "sensors", "host"]
)
def test_a_machine_without_eucalyptus_is_none_that_is_ill(name, tmp_path):
    """Without -H each of them looks at this host: what does not answer there is no news where nothing is installed."""
    check = catalogue.load(f"check_euca_{name}")
    outcome = check.run(["--state-dir", str(tmp_path / "state")], root=str(tmp_path / "root"))
    assert (outcome.state, outcome.absent) == (3, True), outcome.line
    assert "installed here" in outcome.reason


@pytest.mark.parametrize("text", ["\u00b2", "4\u00b2"])
def test_a_digit_that_is_no_number(tmp_path, text):
    """str.isdigit() takes what int() refuses."""
    with pytest.raises(Failed):
        euca_conf.port({"NC_PORT": text}, "NC_PORT", 8775)
    (tmp_path / "run/eucalyptus").mkdir(parents=True)
    (tmp_path / "run/eucalyptus/eucanetd.pid").write_text(text)
    with pytest.raises(Failed, match="holds no process number"):
        euca_conf.pid(Run(root=str(tmp_path)), ("eucanetd",))
