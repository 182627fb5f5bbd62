# SPDX-License-Identifier: Apache-2.0
"""A real icinga2, with the stock command libraries loaded beside ours, runs the installed checks by role."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from nephoscope import catalogue, export
from nephoscope.export import icinga as generator
from nephoscope.export import words
from nephoscope.plugin import Check
from nephoscope.plugin.options import Option

from tests.lab import nrpe
from tests.lab.icinga import Authority, Node, account
from tests.lab.support import need, private_folder

pytestmark = pytest.mark.lab

CHECKS = catalogue.all_checks()
ROLES = export.load()
CHECKS_BY_NAME = {check.name: check for check in CHECKS}
ROLES_BY_NAME = {service.name: service for _, service in ROLES.all_services()}
STATES = {0.0: "OK", 1.0: "WARNING", 2.0: "CRITICAL", 3.0: "UNKNOWN"}
AWKWARD = "a b;c|d`e'f\"g\\h$i&<j>*ü"  # no shell may see it, no macro may eat it
# One of these fits whatever form an option asks for.
SAMPLES = (
    "/tmp",
    "7",
    "0.5",
    "3/30m",
    "5m",
    "critical",
    "name=2",
    "puppet=/tmp",
    "root",
    "192.0.2.0/24",
    "https://localhost:1/x",
    "cell=nova_cell1",
    "osd=3",
    "2026-12-31",
    "OSD_DOWN",
)

HOSTS = """
template Host "lab-host" {{
  import "nephoscope-host"
  check_command = "dummy"
  vars.agent_endpoint = "lab"
}}
object Host "everything" {{
  import "lab-host"
  address = "127.0.0.1"  // asked by the services that look from afar
  vars.cloud_roles = [ {roles} ]
  vars.nephoscope_san_health_profile = "netapp"
}}
object Host "tuned" {{
  import "lab-host"
  vars.cloud_roles = [ "node" ]
  vars.nephoscope_without = [ "filesystem" ]
  // from a host's or a user's variables, numbers come as numbers
  vars.nephoscope_tmp_writable_warning = 5
  vars.nephoscope_tmp_writable_critical = "@~:-1"
  vars.nephoscope_tmp_writable_path = [ "/tmp" ]
}}
object Host "own" {{
  import "lab-host"
  vars.cloud_roles = [ "node" ]
  vars.nephoscope_options["tmp_writable"] = {{
    nephoscope_tmp_writable_path = [ "/var/tmp" ]
    nephoscope_tmp_writable_warning = [ "free=101:", "write=0.5" ]
    nephoscope_tmp_writable_verbose = 2
  }}
}}
object Host "mistyped" {{
  import "lab-host"
  vars.cloud_roles = [ "node", "nova_compte" ]
}}
object Host "far" {{
  import "lab-host"
  address = "127.0.0.1"
  vars.cloud_roles = [ {roles} ]
  vars.nephoscope_san_health_profile = "netapp"
  vars.nephoscope_via = "nrpe"
  vars.nrpe_port = {nrpe_port}
}}
object Host "compute" {{
  import "lab-host"
  vars.cloud_roles = [ "nova_compute" ]
}}
object Host "plain" {{ check_command = "dummy" }}
"""


def sample(option: Option, folder: Path) -> list[str]:
    """Return values that the option takes: the awkward ones where any text will do, two where it repeats."""
    if option.flag == "--extra-opts":
        return [f"none@{folder / 'options.ini'}"]
    if option.choices:
        found = list(option.choices)
    else:
        found = []
        for text in (AWKWARD, *SAMPLES):
            try:
                option.type(text)
            except ValueError:
                continue
            found.append(text)
    assert found, f"{option.flag}: no sample value fits its type"
    return found[:2] if option.repeat else found[:1]


def every_option(check: Check, folder: Path) -> tuple[dict[str, Any], list[str]]:
    """Return custom variables that set every option at once, and the arguments that must come of it."""
    variables: dict[str, Any] = {f"{words.command(check)}_verbose": 3}
    argv = ["-vvv"]
    for option in words.exported(check):
        if option.secret:
            continue
        if option.is_flag:
            variables[words.variable(check, option)] = True
            argv.append(option.flag)
            continue
        values = sample(option, folder)
        variables[words.variable(check, option)] = values if option.repeat else values[0]
        for value in values:
            argv += [option.flag, value]
    return variables, argv


def dsl(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[ {', '.join(map(dsl, value))} ]"
    return generator.literal(value) if isinstance(value, str) else str(value)


@pytest.fixture(scope="module")
def node(installed_plugins: Path) -> Iterator[Node]:
    need("icinga2", "check_dummy", "nrpe", "check_nrpe", str(nrpe.DEBIAN))
    with contextlib.ExitStack() as stack:
        far = stack.enter_context(private_folder())
        daemon = stack.enter_context(nrpe.daemon(far, nrpe.command_files(far, installed_plugins)))
        folder = stack.enter_context(private_folder())
        (folder / "options.ini").write_text("[none]\n")
        made = Node(folder / "lab", "lab", Authority(folder / "authority"))
        for name, text in export.FORMATS["icinga"](CHECKS, ROLES, str(installed_plugins)).items():
            made.write(f"conf.d/{name}", text)
        roles = ", ".join(f'"{name}"' for name in ROLES.names())
        made.write("conf.d/hosts.conf", HOSTS.format(roles=roles, nrpe_port=daemon.port))
        walk = ['object Host "walk" { check_command = "dummy" }']
        for check in CHECKS:
            variables, _ = every_option(check, folder)
            lines = "\n".join(f"  vars.{name} = {dsl(value)}" for name, value in variables.items())
            lines += f'\n  host_name = "walk"\n  check_command = "{words.command(check)}"'
            walk.append(f'object Service "{check.thing}" {{\n{lines}\n}}')
        made.write("conf.d/walk.conf", "\n".join(walk))
        checked = made.validate()
        assert checked.returncode == 0, checked.stdout
        with made.running():
            yield made


@pytest.fixture(scope="module")
def results(node: Node) -> dict[str, dict[str, Any]]:
    return node.check_now()


def test_every_check_is_a_command_beside_the_stock_libraries(node: Node) -> None:
    checked = node.validate()
    assert checked.returncode == 0
    count = re.search(r"Instantiated (\d+) CheckCommands", checked.stdout)
    assert count, checked.stdout
    status, answer = node.ask("GET", "/v1/objects/checkcommands?attrs=command")
    assert status == 200
    names = {item["name"] for item in answer["results"]}
    assert int(count[1]) > 200  # nothing of ours, or of theirs, was left unread
    assert {words.command(check) for check in CHECKS} <= names
    stock = {name for name in names if not name.startswith(words.PREFIX)}
    assert {"load", "nrpe", "mysql", "systemd"} <= stock, "the stock libraries are not loaded beside ours"


def test_a_host_gets_the_services_of_its_roles(node: Node) -> None:
    by_host: dict[str, set[str]] = {}
    for name in node.services():
        host, _, service = name.partition("!")
        by_host.setdefault(host, set()).add(service.removeprefix(words.PREFIX))
    node_role = {service.name for service in ROLES.services("node")}
    assert by_host["everything"] == {service.name for service in ROLES.services(*ROLES.names())}
    compute = {service.name for service in ROLES.services("nova_compute")}
    assert by_host["compute"] == compute
    assert "memory" in node_role and "memory" not in compute  # which a share says little about where guests own it
    assert by_host["far"] == by_host["everything"]
    assert by_host["tuned"] == node_role - {"filesystem"}
    assert by_host["own"] == node_role
    assert by_host["mistyped"] == node_role | {"roles"}
    assert "plain" not in by_host


def test_a_host_may_be_asked_by_nrpe_instead(results: dict[str, dict[str, Any]]) -> None:
    here = {name for name in results if name.startswith("everything!")}
    far = {name for name in results if name.startswith("far!")}
    assert {name.partition("!")[2] for name in far} == {name.partition("!")[2] for name in here}
    for name in far:
        service = ROLES_BY_NAME[name.partition("!nephoscope_")[2]]
        check = CHECKS_BY_NAME[service.check]
        result = results[name]
        assert result["output"].startswith(f"{check.title} {STATES[result['state']]} - "), result["output"]
        command = result["command"]
        if words.at_node(check, service):
            assert command[0].endswith("/check_nrpe")
            assert command[command.index("-c") + 1] == name.partition("!")[2]
            assert int(command[command.index("-t") + 1]) > words.seconds(check, service)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('vars.nephoscope_via = "NRPE"', "vars.nephoscope_via is agent or nrpe, not NRPE"),
        ('vars.agent_endpoint = "elsewhere"', "Object 'elsewhere' of type 'Endpoint' does not exist"),
        ('vars.cloud_roles = "node"', "Invalid type in for expression: String"),
    ],
)
def test_a_host_that_would_be_measured_wrongly_is_refused(line: str, said: str, node: Node) -> None:
    """Not another machine's health in its name, not another transport, and not no services at all."""
    node.write(
        "conf.d/wrong.conf", f'object Host "wrong" {{\n import "lab-host"\n vars.cloud_roles = ["node"]\n {line}\n}}'
    )
    checked = node.validate()
    node.write("conf.d/wrong.conf", "")
    assert checked.returncode == 1
    assert said in checked.stdout


def test_a_mistyped_role_is_told(results: dict[str, dict[str, Any]]) -> None:
    told = results["mistyped!nephoscope_roles"]
    assert STATES[told["state"]] == "UNKNOWN"
    assert told["output"] == "cloud_roles names what is no role: nova_compte"


def test_state_and_words_of_every_service_agree(node: Node, results: dict[str, dict[str, Any]]) -> None:
    seen = 0
    for name, result in results.items():
        host, _, service = name.partition("!nephoscope_")
        if host == "everything":
            seen += 1
            title = f"{CHECKS_BY_NAME[ROLES_BY_NAME[service].check].title} {STATES[result['state']]} - "
            assert result["output"].startswith(title), (name, result["output"])
            assert "bug in" not in result["output"], result["output"]
            assert result["check_source"] == "lab"
    assert seen == len(ROLES.services(*ROLES.names()))


def test_icinga_accepts_every_perfdata_item(node: Node, results: dict[str, dict[str, Any]]) -> None:
    known = {None, "", "seconds", "bytes", "percent"}
    items = [item for result in results.values() for item in result["performance_data"] or ()]
    assert len(items) > len(results)
    for item, parsed in zip(items, node.perfdata(items)):
        assert parsed["label"] == item.partition("=")[0], item
        assert parsed["unit"] in known, item
        limit = item.split(";")[1] if ";" in item else ""
        if re.fullmatch(r"[0-9.]+", limit):
            assert parsed["warn"] == pytest.approx(float(limit)), item


def test_a_number_arrives_as_a_threshold_and_a_range_in_the_raw_text(
    node: Node, results: dict[str, dict[str, Any]]
) -> None:
    result = results["tuned!nephoscope_tmp_writable"]
    assert result["command"][1:] == ["--critical", "@~:-1", "--path", "/tmp", "--warning", "5"]
    (free,) = (item for item in result["performance_data"] if item.startswith("tmp_free="))
    assert free.split(";")[1:3] == ["5", "@~:-1"]
    (parsed,) = node.perfdata([free])
    assert parsed["warn"] == 5
    assert parsed["crit"] is None  # icinga2 reads plain numbers only; the range is still in the raw text above


def test_a_service_of_one_host_can_be_given_options_of_its_own(results: dict[str, dict[str, Any]]) -> None:
    result = results["own!nephoscope_tmp_writable"]
    assert result["command"][1:] == ["--path", "/var/tmp", "--warning", "free=101:", "--warning", "write=0.5", "-vv"]
    assert STATES[result["state"]] == "WARNING"
    assert "/var/tmp" in result["output"].splitlines()[0]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.thing)
def test_every_option_at_once_arrives_as_it_was_given(
    check: Check, node: Node, results: dict[str, dict[str, Any]], installed_plugins: Path
) -> None:
    result = results[f"walk!{check.thing}"]
    _, argv = every_option(check, node.home.parent)
    command = result["command"]
    assert command[0] == str(installed_plugins / check.name)
    assert sorted(command[1:]) == sorted(argv)
    # The order is Icinga's; what the check makes of it must be the same.
    assert vars(check.parse(*command[1:])) == vars(check.parse(*argv))
    assert STATES[result["state"]] in ("OK", "WARNING", "CRITICAL", "UNKNOWN")
    assert result["output"].startswith(f"{check.title} "), result["output"]


SECRET = '''\
"""Is the secret known?"""
from nephoscope.plugin import OK, Check, Finding


def options(add):
    add("--password", secret=True, required=True, help="what nobody else may read")
    add("--login", required=True, help="who asks")


def probe(options, run):
    return options


def judge(facts, options):
    yield Finding(OK, "", f"{facts.login} knows {len(facts.password)} letters")


CHECK = Check(options, probe, judge, where=("remote",), uses=("target",), deadline=70)
main = CHECK.main
if __name__ == "__main__":
    main()
'''


def test_a_secret_goes_by_the_environment(installed_plugins: Path) -> None:
    """Also: `required`, the address, and a longer deadline, which no check of a node has."""
    need("icinga2")
    import importlib.util

    with private_folder() as folder:
        source = folder / "check_secret.py"
        source.write_text(SECRET)
        spec = importlib.util.spec_from_file_location("check_secret", source)
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        plugin = folder / "check_secret"
        plugin.write_text(f"#!{installed_plugins}/python\n" + SECRET)
        plugin.chmod(0o755)
        made = Node(folder / "lab", "lab", Authority(folder / "authority"))
        roles = export.Roles(
            (export.Role("cloud", "", (), (export.Service("secret", "check_secret", 60, 30, (("login", "$me"),)),)),)
        )
        for name, text in generator.render([module.CHECK], roles, str(folder)).items():
            made.write(f"conf.d/{name}", text)
        made.write(
            "conf.d/hosts.conf",
            'object Host "api" {\n import "nephoscope-host"\n check_command = "dummy"\n address = "192.0.2.1"\n'
            ' vars.cloud_roles = [ "cloud" ]\n vars.nephoscope_secret_password = "correct horse"\n}\n'
            'object Service "bare" { host_name = "api"; check_command = "nephoscope_secret" }\n',
        )
        assert made.validate().returncode == 0
        with made.running():
            results = made.check_now()
            attrs = made.ask("GET", "/v1/objects/checkcommands/nephoscope_secret?attrs=timeout")[1]["results"][0][
                "attrs"
            ]
    result = results["api!nephoscope_secret"]
    assert result["command"][1:] == ["--hostname", "192.0.2.1", "--login", "$me"]
    assert result["output"] == "SECRET OK - $me knows 13 letters"
    assert attrs["timeout"] == 80
    assert STATES[results["api!bare"]["state"]] == "UNKNOWN"
    assert "--login" in results["api!bare"]["output"]


def test_checks_ran_as_the_schedulers_user(node: Node, results: dict[str, dict[str, Any]]) -> None:
    """Not as root, who may do everything: what they could not see must then be said."""
    assert results
    kept = node.home / "state"
    assert kept.stat().st_uid == account().pw_uid
    assert all(path.stat().st_uid == account().pw_uid for path in kept.rglob("*"))
