# SPDX-License-Identifier: Apache-2.0
"""What Eucalyptus' configuration says of this host: settings, directories, pid files, and which components live here.

Sources: tools/eucalyptus.conf and util/misc.c (get_conf_var) of 4.4.2 for the file's form; systemd/units/*, the start scripts
cluster/eucalyptus-cluster.in and node/eucalyptus-node.in, and the init scripts up to 4.2 for pid files; which file belongs to
which package from eucalyptus.spec (3.1 to 5.1).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from nephoscope.base import ABSENT, NOT_ALLOWED, UNREADABLE, Failed, Run, files

CONF = "etc/eucalyptus/eucalyptus.conf"
VERSION = "etc/eucalyptus/eucalyptus-version"  # written by the source's own Makefile: "4.4.2"
LOCAL = "etc/eucalyptus/eucalyptus.local.conf"  # EUCALYPTUS_CONF_OVERRIDE_LOCATION: it wins
HOMES = ("/", "/opt/eucalyptus")  # packages; the source's own prefix, as it stands in tools/status of 4.1 to 4.4
ROLES = ("clc", "ufs", "walrus", "sc", "cc", "nc", "eucanetd", "console")

DIRECTORIES = {
    "etc": "etc/eucalyptus",
    "faults": "etc/eucalyptus/faults",  # the operator's own fault texts; an empty file silences a fault (util/fault.c)
    "texts": "usr/share/eucalyptus/faults",
    "log": "var/log/eucalyptus",
    "state": "var/lib/eucalyptus",
    "keys": "var/lib/eucalyptus/keys",
    "db": "var/lib/eucalyptus/db",
    "volumes": "var/lib/eucalyptus/volumes",
    "bukkits": "var/lib/eucalyptus/bukkits",
    "instances": "var/lib/eucalyptus/instances",
    "lib": "usr/lib/eucalyptus",
}

# Programs, by the names of /proc/PID/stat (15 characters) or of the command line, that a pid file may belong to.
_WEB = ("httpd", "apache2")
_PROGRAMS = {
    "eucalyptus-cloud": ("eucalyptus-cloud", "eucalyptus-clou", "java"),
    "eucalyptus-cc": _WEB,
    "eucalyptus-cluster": _WEB,
    "eucalyptus-nc": _WEB,
    "eucalyptus-node": _WEB,
    "httpd-dynserv": _WEB,
    "eucanetd": ("eucanetd",),
    "net/euca-dhcp": ("dhcpd", "dhcpd3"),
}

# Any of these files is a role's sign.
_SIGNS = {
    "walrus": ("var/lib/eucalyptus/bukkits",),
    "sc": ("var/lib/eucalyptus/volumes", "usr/share/eucalyptus/connect_iscsitarget_sc.pl"),
    "cc": (
        *("usr/sbin/eucalyptus-cluster", "etc/init.d/eucalyptus-cc", "usr/sbin/clusteradmin-register-nodes"),
        *("var/lib/eucalyptus/CC", "usr/lib/systemd/system/eucalyptus-cluster.service"),
    ),
    "nc": (
        *("usr/sbin/eucalyptus-node", "etc/init.d/eucalyptus-nc", "usr/sbin/euca_test_nc"),
        "var/lib/eucalyptus/instances",
    ),
}
_NATIVE = ("usr/sbin/eucalyptus-cluster", "etc/init.d/eucalyptus-cc", "var/lib/eucalyptus/CC")
_CONSOLE = ("/usr/bin/eucaconsole", "/etc/eucaconsole/console.ini", "/etc/eucalyptus-console/console.ini")
_ENABLED = (
    *("/etc/systemd/system/multi-user.target.wants", "/etc/rc3.d", "/etc/rc.d/rc3.d", "/etc/rc2.d"),
    "/usr/lib/systemd/system/multi-user.target.wants",
)


def read(run: Run, home: str = "/") -> dict[str, str]:
    """Return the settings of eucalyptus.conf, with those of eucalyptus.local.conf over them.

    The form is that of a shell (NAME="value", NAME='value', NAME=value, a leading `export`, comments); a later line wins, as in
    the start scripts and for systemd (get_conf_var in C takes the first). A `$NAME` in a value is left as it stands, as systemd
    and the C code leave it. Two entries are always there: EUCALYPTUS, the
    folder that it is installed in ("/" for packages, else `home`), and "run", where pid files are.
    Without a file below "/" the usual /opt/eucalyptus is tried.
    Raises Failed: absent (Eucalyptus is not installed), not-allowed, unreadable (a quote that is not closed).
    """
    homes = (home,) if home != "/" else HOMES
    for number, base in enumerate(homes):
        try:
            conf = _settings(run, _join(base, CONF))
            break
        except Failed as failed:
            if failed.kind != ABSENT or number + 1 < len(homes):
                if failed.kind != ABSENT:
                    raise
                continue
            path = _join(homes[0], CONF)
            raise Failed(ABSENT, "eucalyptus.conf", f"read {path}", "Eucalyptus is not installed here") from None
    try:
        conf.update(_settings(run, _join(base, LOCAL)))
    except Failed as failed:
        if failed.kind != ABSENT:
            raise
    if conf.get("EUCALYPTUS", "not_configured") in ("", "not_configured"):
        conf["EUCALYPTUS"] = base
    conf["run"] = _run_directory(run, conf["EUCALYPTUS"])
    return conf


def require(run: Run) -> None:
    """Raise Failed, absent, when this host has no eucalyptus.conf: what is not installed and does not answer is no news."""
    try:
        read(run)
    except Failed as failed:
        if failed.kind == ABSENT:
            raise


def _settings(run: Run, path: str) -> dict[str, str]:
    import re

    form = re.compile(r"""\s*(?:export\s+)?([A-Za-z_]\w*)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'#]*)(?=[\s#]|$))""")
    assigned = re.compile(r"\s*(?:export\s+)?[A-Za-z_]\w*\s*=")
    run.stage(f"read {path}")
    try:
        text = files.text(run, path)
    except Failed as failed:
        cure = "read permission for all, as its package gives it" if failed.kind == NOT_ALLOWED else ""
        raise Failed(failed.kind, path, failed.tried, failed.error, cure) from None
    found = {}
    for number, line in enumerate(text.splitlines(), 1):
        match = form.match(line)
        if match:
            found[match[1]] = next(value for value in match.groups()[1:] if value is not None)
        elif assigned.match(line):
            # The value is not shown: it may be a password.
            raise Failed(UNREADABLE, path, f"read {path}", f"line {number} is not understood: mind its quotes")
    return found


def _join(home: str, path: str) -> str:
    return f"{home.rstrip('/')}/{path}"


def _run_directory(run: Run, home: str) -> str:
    """Return where pid files are: /run/eucalyptus, which /var/run leads to since EL 7, or the older place."""
    for path in ("run/eucalyptus", "var/run/eucalyptus"):
        if os.path.isdir(run.path(_join(home, path))):
            return _join(home, path)
    return _join(home, "run/eucalyptus")


def directory(conf: Mapping[str, str], name: str) -> str:
    """Return the path of a directory: "run", "status" (sensors), or one of DIRECTORIES.

    "instances" is where the node controller's disks and caches are (INSTANCE_PATH).
    """
    home = conf.get("EUCALYPTUS", "/")
    if name in ("run", "status"):
        run = conf.get("run") or _join(home, "run/eucalyptus")
        return run if name == "run" else f"{run}/status"
    if name == "instances" and conf.get("INSTANCE_PATH", "not_configured") not in ("", "not_configured"):
        return conf["INSTANCE_PATH"].rstrip("/") or "/"
    return _join(home, DIRECTORIES[name])


class Pid(NamedTuple):
    """What a pid file says.

    name   of the pid file, without ".pid"
    alive  whether the process is there, works, and is the program that the file is about, not one that took its number
    """

    name: str
    pid: int
    alive: bool


def pid(run: Run, names: Iterable[str], conf: Mapping[str, str] | None = None) -> Pid:
    """Return what the first pid file of these names that exists says: "eucalyptus-cluster", "eucalyptus-cc", "eucanetd", …

    The JVM writes none under systemd (4.3 and later). Raises Failed: absent (no such file), not-allowed, unreadable.
    """
    names = tuple(names)
    folder = directory(conf if conf is not None else {"run": _run_directory(run, "/")}, "run")
    for name in names:
        path = f"{folder}/{name}.pid"
        run.stage(f"read {path}")
        try:
            text = files.text(run, path, limit=4096).split()
        except Failed as failed:
            if failed.kind == ABSENT:
                continue
            raise
        if not text or not text[0].isdecimal() or int(text[0]) < 1:
            raise Failed(UNREADABLE, name, f"read {path}", "holds no process number")
        return Pid(name, int(text[0]), _alive(run, name, int(text[0])))
    which = " or ".join(f"{name}.pid" for name in names)
    raise Failed(ABSENT, names[0], f"look for {which} in {folder}", "no pid file")


def _alive(run: Run, name: str, number: int) -> bool:
    from nephoscope.probes import process

    try:
        stat = process.stat_of(files.data(run, f"/proc/{number}/stat"))
        argv = files.text(run, f"/proc/{number}/cmdline", limit=2 << 20).rstrip("\0").split("\0")
    except Failed as failed:
        if failed.kind == NOT_ALLOWED:
            raise
        return False
    except (ValueError, IndexError):
        return False
    programs = _PROGRAMS.get(name, (name, name[:15]))
    return stat.state not in "ZXxTt" and not process.names(stat.comm, argv).isdisjoint(programs)


def roles(run: Run, conf: Mapping[str, str]) -> tuple[str, ...]:
    """Return which components live on this host, in the order of ROLES, by the files that their packages brought.

    clc       the package eucalyptus-cloud (usr/sbin/euca-lictool) and a database (db/data, or something that listens on 8777)
    ufs       the same package without a database: user services alone
    cloud     the same package, and db/, which only Eucalyptus' own user may look into, hides whether there is a database:
              "clc" or "ufs"
    walrus    var/lib/eucalyptus/bukkits
    sc        var/lib/eucalyptus/volumes
    cc        its start script, or CC/; in 5.x it lives in the JVM (see `native_cc`)
    nc        its start script, or instances/
    eucanetd  the program, where it is enabled or has left its pid file
    console   eucaconsole or its console.ini
    On a host of 4.x and later with a CLC the user services are most often there too; no file tells.
    """
    home = conf.get("EUCALYPTUS", "/")
    found = set()

    def there(paths: Iterable[str]) -> bool:
        return any(os.path.exists(run.path(_join(home, path))) for path in paths)

    if there(("usr/sbin/euca-lictool", "usr/sbin/clcadmin-initialize-cloud")) or there(("var/lib/eucalyptus/db/data",)):
        found.add(_cloud(run, conf))
    found.update(role for role, signs in _SIGNS.items() if there(signs))
    if there(("usr/sbin/eucanetd",)) and (
        _enabled(run, "eucanetd") or os.path.exists(run.path(directory(conf, "run") + "/eucanetd.pid"))
    ):
        found.add("eucanetd")
    if any(os.path.exists(run.path(path)) for path in _CONSOLE):
        found.add("console")
    return tuple(role for role in (*ROLES, "cloud") if role in found)


def _cloud(run: Run, conf: Mapping[str, str]) -> str:
    from nephoscope.probes import listening

    try:
        os.stat(run.path(directory(conf, "db") + "/data"))
        return "clc"
    except PermissionError:
        pass
    except OSError:
        return "ufs"
    try:
        return "clc" if 8777 in listening.ports(listening.tcp(run)) else "cloud"
    except Failed:
        return "cloud"


def _enabled(run: Run, service: str) -> bool:
    """Return whether a service is started at boot, by systemd or by SysV links; True where neither can be seen."""
    told = False
    for folder in _ENABLED:
        try:
            names = os.listdir(run.path(folder))
        except OSError:
            continue
        told = True
        wanted = (f"{service}.service", f"eucalyptus-{service}.service")
        if any(name in wanted or (name[:1] == "S" and name.endswith(service)) for name in names):
            return True
    return not told


def version(run: Run, conf: Mapping[str, str]) -> tuple[int, ...]:
    """Return the version that is installed: (4, 4, 2); () where it is not told."""
    try:
        text = files.text(run, _join(conf.get("EUCALYPTUS", "/"), VERSION), limit=4096)
        return tuple(int(part) for part in text.split()[0].split("."))
    except (Failed, ValueError, IndexError):
        return ()


def native_cc(run: Run, conf: Mapping[str, str]) -> bool:
    """Return whether the cluster controller here is the C one (httpd on 8774), and not that of 5.x, which lives in the JVM."""
    return any(os.path.exists(run.path(_join(conf.get("EUCALYPTUS", "/"), path))) for path in _NATIVE)


def port(conf: Mapping[str, str], name: str, default: int) -> int:
    """Return a port of the configuration ("CC_PORT", "NC_PORT"). Raises Failed, unreadable, for what is none."""
    text = conf.get(name, "") or str(default)
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise Failed(UNREADABLE, name, "read eucalyptus.conf", f"{name} is not a port: {text[:40]}")
    return int(text)
