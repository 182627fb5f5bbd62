# SPDX-License-Identifier: Apache-2.0
"""A real nagios4, with Debian's own objects and command files beside ours, runs the checks: here, and by NRPE."""

from __future__ import annotations

import contextlib
import grp
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from nephoscope import catalogue, export
from nephoscope.export import words

from tests.lab.icinga import account, give
from tests.lab.nrpe import command_files
from tests.lab.nrpe import daemon as nrpe_daemon
from tests.lab.support import Daemon, need, private_folder, wait_for

pytestmark = pytest.mark.lab

WORDS = ("OK", "WARNING", "CRITICAL", "UNKNOWN")
CHECKS = {check.name: check for check in catalogue.all_checks()}
ROLES = export.load()
# Two hosts with all roles between them: on a hypervisor, services are left out that others have.
HOST_ROLES = {
    "lab": [name for name in ROLES.names() if "hypervisor" not in ROLES.implied(name)],
    "hv": [name for name in ROLES.names() if "hypervisor" in ROLES.implied(name)],
}
DEBIAN_OBJECTS = Path("/etc/nagios4/objects")
DEBIAN_COMMANDS = Path("/etc/nagios-plugins/config")

MAIN = """\
log_file={home}/nagios.log
cfg_file={objects}/commands.cfg
cfg_file={objects}/contacts.cfg
cfg_file={objects}/templates.cfg
cfg_file={objects}/timeperiods.cfg
cfg_dir={commands}
cfg_dir={home}/objects
object_cache_file={home}/objects.cache
precached_object_file={home}/objects.precache
resource_file={home}/resource.cfg
status_file={home}/status.dat
state_retention_file={home}/retention.dat
lock_file={home}/nagios.pid
temp_file={home}/nagios.tmp
temp_path={home}/temp
log_archive_path={home}/archives
check_result_path={home}/checkresults
command_file={home}/rw/nagios.cmd
query_socket={home}/rw/nagios.qh
debug_file={home}/nagios.debug
nagios_user={user}
nagios_group={group}
use_syslog=0
check_for_updates=0
enable_notifications=0
check_external_commands=1
status_update_interval=1
interval_length=20
check_result_reaper_frequency=1
service_inter_check_delay_method=n
max_service_check_spread=1
service_check_timeout=60
enable_environment_macros=0
illegal_object_name_chars=`~!$%^&*|'"<>?,()=
illegal_macro_output_chars=`~$&|'"<>
"""

# What an operator may put into an argument; the shell that runs the command line must see none of it.
AWKWARD = 'a&b`id -u`$$(id -u)|c>d<e "f" g\\;h*'

HOST = """\
define host {{
    host_name                {name}
    use                      generic-host
    address                  127.0.0.1
    check_command            check_dummy_up
    max_check_attempts       1
    check_interval           3600
    contact_groups           admins
    hostgroups               {groups}
}}
"""
OBJECTS = """\
define command {{
    command_name             check_dummy_up
    command_line             /bin/true
}}
define service {{
    name                     here
    register                 0
    use                      generic-service
    host_name                lab
    check_interval           60
    max_check_attempts       1
}}
define service {{
    use                      here
    service_description      defaults
    check_command            nephoscope_tmp_writable
}}
define service {{
    use                      here
    service_description      limits
    check_command            nephoscope_tmp_writable!free=101:!@~:-1
}}
define service {{
    use                      here
    service_description      awkward
    check_command            nephoscope_tmp_writable!{awkward}
}}
define service {{
    use                      here
    service_description      debian
    check_command            check_load!99!98!97!99!98!97
}}
"""


class Lab:
    """A nagios4 that has run everything once."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def validate(self) -> subprocess.CompletedProcess[str]:
        (nagios,) = need("nagios4")
        return subprocess.run(
            [nagios, "-v", str(self.home / "nagios.cfg")],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60,
        )  # fmt: skip

    def status(self) -> dict[str, dict[str, str]]:
        """Return "host!service" -> its fields in status.dat."""
        found: dict[str, dict[str, str]] = {}
        for block in (self.home / "status.dat").read_text(errors="replace").split("servicestatus {")[1:]:
            fields = dict(
                line.strip().partition("=")[::2] for line in block.partition("\n\t}")[0].splitlines() if "=" in line
            )
            found[f"{fields['host_name']}!{fields['service_description']}"] = fields
        return found


@pytest.fixture(scope="module")
def nagios(installed_plugins: Path) -> Iterator[Lab]:
    need("nagios4", "nrpe", "check_nrpe", "check_load", str(DEBIAN_OBJECTS), str(DEBIAN_COMMANDS / "load.cfg"))
    with contextlib.ExitStack() as stack:
        home = stack.enter_context(private_folder())
        far = stack.enter_context(private_folder())
        nrpe = stack.enter_context(nrpe_daemon(far, command_files(far, installed_plugins)))
        who = account()
        for folder in ("objects", "temp", "archives", "checkresults", "rw", "plugins", "home"):
            (home / folder).mkdir()
        # The site's plugin directory: its check_nrpe knows the port, which is 5666 anywhere but here.
        wrapper = home / "plugins" / "check_nrpe"
        wrapper.write_text(f'#!/bin/sh\nexec {need("check_nrpe")[0]} -p {nrpe.port} "$@"\n')
        wrapper.chmod(0o755)
        (home / "resource.cfg").write_text(f"$USER1$={home}/plugins\n")
        for name, text in export.FORMATS["nagios"](list(CHECKS.values()), ROLES, str(installed_plugins)).items():
            (home / "objects" / name).write_text(text)
        objects = OBJECTS.format(awkward=AWKWARD)
        for name, roles in HOST_ROLES.items():
            objects += HOST.format(name=name, groups=",".join(words.PREFIX + role for role in roles))
        (home / "objects" / "lab.cfg").write_text(objects)
        (home / "nagios.cfg").write_text(
            MAIN.format(
                home=home, user=who.pw_name, group=grp.getgrgid(who.pw_gid).gr_name,
                objects=DEBIAN_OBJECTS, commands=DEBIAN_COMMANDS,
            )
        )  # fmt: skip
        give(home)
        lab = Lab(home)
        checked = lab.validate()
        assert checked.returncode == 0, checked.stdout
        env = {"PATH": "/usr/bin:/bin", "HOME": str(home / "home"), "XDG_STATE_HOME": str(home / "home")}
        argv = [need("nagios4")[0], str(home / "nagios.cfg")]

        def all_checked() -> bool:
            status = lab.status()
            return bool(status) and all(fields["has_been_checked"] == "1" for fields in status.values())

        with Daemon(argv, env=env, log=home / "stdout.log", ready=(home / "rw/nagios.cmd").exists):
            wait_for(all_checked, 60, "every result")
            yield lab


def test_nagios_takes_our_files_beside_debians(nagios: Lab) -> None:
    checked = nagios.validate()
    assert checked.returncode == 0
    assert "Total Warnings: 0" in checked.stdout, checked.stdout
    count = re.search(r"Checked (\d+) services", checked.stdout)
    assert count
    assert int(count[1]) == sum(len(ROLES.services(*roles)) for roles in HOST_ROLES.values()) + 4


def test_a_site_takes_only_the_roles_that_it_has(nagios: Lab, folder: Path) -> None:
    """Groups without hosts are no fault, as long as the services of those roles are not copied."""
    main = (nagios.home / "nagios.cfg").read_text()
    (folder / "objects").mkdir()
    for name in ("commands.cfg", "templates.cfg", "hostgroups.cfg", "services-node.cfg"):
        (folder / "objects" / name).write_text((nagios.home / "objects" / name).read_text())
    objects = OBJECTS.format(awkward="x") + HOST.format(name="lab", groups="nephoscope_node")
    (folder / "objects" / "lab.cfg").write_text(objects)
    (folder / "nagios.cfg").write_text(main.replace(f"cfg_dir={nagios.home}/", f"cfg_dir={folder}/"))
    give(folder)
    checked = Lab(folder).validate()
    assert checked.returncode == 0, checked.stdout
    assert f"Checked {len(ROLES.services('node')) + 4} services" in checked.stdout


def test_every_service_of_the_roles_tells_its_state(nagios: Lab) -> None:
    status = nagios.status()
    for host, roles in HOST_ROLES.items():
        services = ROLES.services(*roles)
        assert {name for name in status if name.startswith(f"{host}!{words.PREFIX}")} == {
            f"{host}!{words.PREFIX}{service.name}" for service in services
        }
        for service in services:
            check, fields = CHECKS[service.check], status[f"{host}!{words.PREFIX}{service.name}"]
            state = WORDS[int(fields["current_state"])]
            assert fields["plugin_output"].startswith(f"{check.title} {state} - "), fields["plugin_output"]
            assert "bug in" not in fields["plugin_output"]


def test_arguments_that_are_left_out_mean_the_defaults(nagios: Lab) -> None:
    fields = nagios.status()["lab!defaults"]
    assert fields["plugin_output"].startswith("TMP_WRITABLE "), fields
    (free,) = (item for item in fields["performance_data"].split() if item.startswith("tmp_free="))
    assert free.split(";")[1:3] == ["10:", "2:"]


def test_arguments_are_limits(nagios: Lab) -> None:
    fields = nagios.status()["lab!limits"]
    assert fields["current_state"] == "1", fields
    (free,) = (item for item in fields["performance_data"].split() if item.startswith("tmp_free="))
    assert free.split(";")[1:3] == ["101:", "@~:-1"]


def test_the_shell_sees_nothing_of_an_argument(nagios: Lab) -> None:
    fields = nagios.status()["lab!awkward"]
    assert fields["current_state"] == "3"
    said = fields["plugin_output"]
    assert said.startswith("TMP_WRITABLE UNKNOWN - option -w: "), said
    assert "`id -u`" in said and "$(id -u)" in said, said
    assert not list(nagios.home.rglob("d")), "the shell wrote a file"


def test_debians_own_command_is_still_debians(nagios: Lab) -> None:
    fields = nagios.status()["lab!debian"]
    assert "load average" in fields["plugin_output"]
