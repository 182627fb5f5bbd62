# SPDX-License-Identifier: Apache-2.0
"""Real icinga2 nodes in private folders, spoken to by their REST API.

Every path that icinga2 would take from /etc, /var or /run is moved by a -D of its own; ConfigDir alone does not move zones.d,
and icinga2 would then read the system's and validate happily. Source: icinga2 2.13.6 of Debian 12.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import pwd
import ssl
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.lab.support import Daemon, free_port, need, wait_for

PASSWORD = "known to this lab alone"
CONF = """\
const PluginDir = "/usr/lib/nagios/plugins"
const ManubulonPluginDir = PluginDir
const PluginContribDir = PluginDir
const MaxConcurrentChecks = 8  // two cores run 500 at once so slowly that check_nrpe gives up
include <itl>
include <plugins>
include <plugins-contrib>
object CheckerComponent "checker" {{ }}
object FileLogger "log" {{ severity = "notice"; path = LogDir + "/icinga2.log" }}
object ApiListener "api" {{
  bind_host = "127.0.0.1"
  bind_port = {port}
  accept_config = true
  accept_commands = true
}}
object ApiUser "lab" {{ password = "{password}"; permissions = [ "*" ] }}
{zones}
include_recursive "conf.d"
"""


def account() -> pwd.struct_passwd:
    """Return whom the daemons run as: nagios when the lab runs as root, else whoever runs it."""
    return pwd.getpwnam("nagios") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())


class Authority:
    """A certificate authority for the nodes of one lab."""

    def __init__(self, home: Path) -> None:
        self.home = home
        home.mkdir()
        give(home)
        pki("new-ca", "-D", f"DataDir={home}")
        self.certificate = home / "ca" / "ca.crt"


def give(path: Path) -> None:
    """Give a tree to whom the daemons run as."""
    who = account()
    if os.geteuid() == 0:
        subprocess.run(["chown", "-R", f"{who.pw_uid}:{who.pw_gid}", str(path)], check=True)


def environment() -> dict[str, str]:
    """Return what icinga2's wrapper asks the environment: also `pki` changes to that user before it does anything."""
    import grp

    who = account()
    return {**os.environ, "ICINGA2_USER": who.pw_name, "ICINGA2_GROUP": grp.getgrgid(who.pw_gid).gr_name}


def pki(*words: str) -> None:
    """Run `icinga2 pki`, which must succeed."""
    (icinga2,) = need("icinga2")
    done = subprocess.run([icinga2, "pki", *words], env=environment(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


class Node:
    """One icinga2: its folder, its certificate, its configuration.

    zones  objects of type Endpoint and Zone; by default this node alone is one of each
    zone   the node's zone, where it is not named as the node
    """

    def __init__(
        self, home: Path, name: str, authority: Authority, *, zones: str = "", zone: str = "", port: int = 0
    ) -> None:
        self.home, self.name, self.zone, self.authority = home, name, zone or name, authority
        self.port = port or free_port()
        self.log = home / "stdout.log"
        zones = zones or f'object Endpoint "{name}" {{ }}\nobject Zone "{name}" {{ endpoints = [ "{name}" ] }}'
        for folder in (
            "etc/conf.d", "etc/zones.d", "data/certs", "data/api/zones", "data/api/log", "data/api/packages",
            "log/crash", "cache", "spool/perfdata", "spool/tmp", "run", "state",
        ):  # fmt: skip
            (home / folder).mkdir(parents=True)
        self.write("icinga2.conf", CONF.format(port=self.port, password=PASSWORD, zones=zones))
        certificate = home / "data" / "certs" / name
        (home / "data/certs/ca.crt").write_bytes(authority.certificate.read_bytes())
        give(home)
        pki("new-cert", "--cn", name, "--key", f"{certificate}.key", "--csr", f"{certificate}.csr")
        pki(
            "sign-csr", "-D", f"DataDir={authority.home}", "--csr", f"{certificate}.csr", "--cert", f"{certificate}.crt"
        )

    def write(self, path: str, text: str) -> None:
        """Write a file below the node's /etc/icinga2."""
        file = self.home / "etc" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def argv(self, *words: str) -> list[str]:
        """Return the command line of the daemon."""
        home, who = self.home, account()
        import grp

        places = {
            "ConfigDir": home / "etc", "ZonesDir": home / "etc/zones.d", "DataDir": home / "data", "LogDir": home / "log",
            "CacheDir": home / "cache", "SpoolDir": home / "spool", "InitRunDir": home / "run",
            "PidPath": home / "run/icinga2.pid", "NodeName": self.name, "ZoneName": self.zone,
            "RunAsUser": who.pw_name, "RunAsGroup": grp.getgrgid(who.pw_gid).gr_name,
        }  # fmt: skip
        (icinga2,) = need("icinga2")
        defines = [word for name, value in places.items() for word in ("-D", f"{name}={value}")]
        return [icinga2, "daemon", *words, "-c", str(home / "etc/icinga2.conf"), *defines]

    def validate(self) -> subprocess.CompletedProcess[str]:
        """Run `icinga2 daemon -C`; exit code 0 proves little, so read the "Instantiated …" lines too."""
        give(self.home)
        return subprocess.run(
            self.argv("-C"), env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60
        )

    @contextlib.contextmanager
    def running(self) -> Iterator[Node]:
        """Run the daemon until the block is left. Checks keep their state in the node's folder."""
        give(self.home)
        env = {**environment(), "XDG_STATE_HOME": str(self.home / "state")}
        with Daemon(self.argv(), env=env, ready=self.up, log=self.log):
            yield self

    def up(self) -> bool:
        """Say whether the API answers."""
        try:
            return self.ask("GET", "/v1")[0] == 200
        except http.client.HTTPException:
            return False

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Return status and answer of one API request."""
        context = ssl.create_default_context(cafile=str(self.authority.certificate))
        context.check_hostname = False  # the certificate bears the node's name, not an address
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=context, timeout=20)
        login = base64.b64encode(f"lab:{PASSWORD}".encode()).decode()
        headers = {"Accept": "application/json", "Authorization": f"Basic {login}"}
        if body is not None and method == "GET":
            headers["X-HTTP-Method-Override"], method = "GET", "POST"
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            raw = answer.read()
        finally:
            connection.close()
        try:
            return answer.status, json.loads(raw)
        except ValueError:
            return answer.status, raw.decode(errors="replace")

    def services(self) -> dict[str, dict[str, Any]]:
        """Return "host!service" -> attributes."""
        status, answer = self.ask("GET", "/v1/objects/services")
        assert status == 200, answer
        return {item["name"]: item["attrs"] for item in answer["results"]}

    def check_now(self, seconds: float = 180, only: str = "true") -> dict[str, dict[str, Any]]:
        """Have all services (that match the filter `only`) checked, and return "host!service" -> last_check_result."""
        begun = time.time()
        status, answer = self.ask(
            "POST",
            "/v1/actions/reschedule-check",
            {"type": "Service", "filter": only, "force": True, "next_check": begun},
        )
        assert status == 200, answer
        names = {word.split("'")[1] for word in (item["status"] for item in answer["results"])}
        assert names, answer

        def results() -> dict[str, Any] | None:
            found = {name: attrs["last_check_result"] for name, attrs in self.services().items() if name in names}
            # icinga2 tells times in seconds with a fraction; it may run a due check just before it reads our order
            fresh = {name for name, result in found.items() if result and result["execution_end"] >= begun}
            return found if fresh == names else None

        try:
            return dict(wait_for(results, seconds, "every result"))
        except AssertionError:
            late = sorted(name for name, attrs in self.services().items() if not attrs["last_check_result"])
            raise AssertionError(
                f"no result of {late}\n{(self.home / 'log/icinga2.log').read_text()[-3000:]}"
            ) from None

    def perfdata(self, items: Sequence[str]) -> list[dict[str, Any]]:
        """Return perfdata items as icinga2 itself parses them; fails when it does not accept one."""
        command = f"[ {', '.join(f'parse_performance_data({json.dumps(item)})' for item in items)} ]"
        status, answer = self.ask("POST", "/v1/console/execute-script", {"command": command})
        assert status == 200, answer
        if answer["results"][0]["code"] != 200:
            assert len(items) > 1, (items, answer["results"][0]["status"])
            return [self.perfdata([item])[0] for item in items]
        return list(answer["results"][0]["result"])
