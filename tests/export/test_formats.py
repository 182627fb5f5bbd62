# SPDX-License-Identifier: Apache-2.0
"""What each export makes of one check with an option of every kind."""

from __future__ import annotations

import json
import re
import uuid

import pytest
from nephoscope.export import director, docs, icinga, nagios, nrpe, sudoers, words
from nephoscope.export.roles import BadRoles, Role

from tests.export import sample


def argument(commands: str, flag: str) -> list[str]:
    """Return the lines of one argument of an Icinga command."""
    block = re.search(rf'^    "{flag}" = \{{\n(.*?)^    \}}$', commands, re.MULTILINE | re.DOTALL)
    assert block, f"{flag} is missing"
    return [line.strip() for line in block[1].splitlines()]


def test_icinga_arguments_by_kind() -> None:
    commands = icinga.render([sample.check()], sample.roles(), "/opt/x")["commands.conf"]
    assert f'// {sample.QUESTION}\nobject CheckCommand "nephoscope_sample" {{\n' in commands
    assert '  command = [ "/opt/x/check_sample" ]\n  timeout = 60s\n' in commands
    assert argument(commands, "--path") == [
        'value = "$nephoscope_sample_path$"',
        "repeat_key = true",
        'description = "directory to try (default /a, /b; may be a list)"',
    ]
    assert argument(commands, "--login") == [
        'value = "$nephoscope_sample_login$"',
        "required = true",
        r'description = "who asks, \"as\\is\" (required)"',
    ]
    assert argument(commands, "--private") == [
        'set_if = "$nephoscope_sample_private$"',
        'description = "need not be open"',
    ]
    assert argument(commands, "--warning")[-1].endswith('likewise (left 5; may be a list)"') is False
    assert "(free 10:; may be a list)" in argument(commands, "--warning")[-1]
    assert "(free 2:, left 5; may be a list)" in argument(commands, "--critical")[-1]
    assert argument(commands, "-vvv") == ['set_if = {{ macro("$nephoscope_sample_verbose$") == 3 }}']


def test_icinga_leaves_out_what_no_scheduler_needs() -> None:
    commands = icinga.render([sample.check()], sample.roles(), "/opt/x")["commands.conf"]
    for flag in ("--help", "--version", "--format", "--save", "--verbose"):
        assert f'"{flag}"' not in commands


def test_a_secret_is_in_the_environment_and_in_no_argument() -> None:
    commands = icinga.render([sample.check()], sample.roles(), "/opt/x")["commands.conf"]
    assert '  env = {\n    "NEPHOSCOPE_PASSWORD" = "$nephoscope_sample_password$"\n  }\n' in commands
    assert '"--password"' not in commands
    # The Director knows no `env`: there it comes by --extra-opts.
    for render in (director.render, nrpe.render, nagios.render):
        assert "password" not in "".join(render([sample.check()], sample.roles(), "/opt/x").values()).lower()


def test_time_limits_follow_the_check() -> None:
    slow = sample.check(deadline=75)
    commands = icinga.render([slow], sample.roles(), "/opt/x")["commands.conf"]
    assert "\n  timeout = 85s\n" in commands
    services = icinga.render([slow], sample.roles(), "/opt/x")["services.conf"]
    assert "vars.nrpe_timeout = 77\n" in services
    assert (
        "# takes up to 75 s: check_nrpe -t 77\n" in nrpe.render([slow], sample.roles(), "/x")["nephoscope-sampled.cfg"]
    )
    assert "check_nrpe -H '$HOSTADDRESS$' -t 77 -c " in nagios.render([slow], sample.roles(), "/x")["commands.cfg"]


def test_a_service_with_a_longer_deadline_gets_the_time() -> None:
    roles = sample.roles(("timeout", "2m:critical"))
    services = icinga.render([sample.check()], roles, "/opt/x")["services.conf"]
    assert "\n  check_timeout = 130s\n" in services
    assert "vars.nrpe_timeout = 122\n" in services
    quick = icinga.render([sample.check()], sample.roles(), "/opt/x")["services.conf"]
    assert "check_timeout" not in quick
    assert "vars.nrpe_timeout = 10\n" in quick


def test_icinga_services_carry_the_roles_options() -> None:
    roles = sample.roles(("preset", ("small",)), ("login", 'a$b"c'), ("private", True))
    services = icinga.render([sample.check()], roles, "/opt/x")["services.conf"]
    body = services[services.index('apply Service "nephoscope_sample_one" {') :]
    assert body == (
        'apply Service "nephoscope_sample_one" {\n'
        '  import "nephoscope-service"\n'
        '  display_name = "sample_one"\n'
        "  check_interval = 300s\n"
        "  retry_interval = 60s\n"
        '  if (nephoscope_via(host) == "nrpe") {\n'
        '    check_command = "nrpe"\n'
        '    vars.nrpe_command = "nephoscope_sample_one"\n'
        "    vars.nrpe_timeout = 10\n"
        "  } else {\n"
        '    check_command = "nephoscope_sample"\n'
        '    vars.nephoscope_sample_preset = [ "small" ]\n'
        '    vars.nephoscope_sample_login = "a$$b\\"c"\n'
        "    vars.nephoscope_sample_private = true\n"
        "    var agent = host.vars.agent_endpoint || host.name\n"
        "    if (host.zone || agent != NodeName) {\n"
        "      command_endpoint = agent\n"
        "    }\n"
        "  }\n"
        '  if (host.vars.nephoscope_options && host.vars.nephoscope_options["sample_one"]) {\n'
        '    vars += host.vars.nephoscope_options["sample_one"]\n'
        "  }\n"
        '  assign where nephoscope_role(host, "sampled")\n'
        '  ignore where "sample_one" in host.vars.nephoscope_without\n'
        "}\n"
    )


def test_a_service_that_a_role_is_without_is_ignored_there() -> None:
    roles = sample.roles()
    bare = Role("bare", "", ("sampled",), (), ("sample_one",))
    roles = roles._replace(roles=(*roles.roles, bare, Role("barer", "", ("bare",), ())))
    services = icinga.render([sample.check()], roles, "/opt/x")["services.conf"]
    assert '  "sampled" = [ "sampled", "bare", "barer" ]\n  "bare" = [ "bare", "barer" ]\n' in services
    assert '  assign where nephoscope_role(host, "sampled")\n  ignore where nephoscope_role(host, "bare")\n' in services
    groups = "nephoscope_sampled,nephoscope_bare,nephoscope_barer,!nephoscope_bare,!nephoscope_barer"
    written = nagios.render([sample.check()], roles, "/opt/x")["services-sampled.cfg"]
    assert f"    hostgroup_name          {groups}\n" in written


def test_a_check_of_a_whole_cloud_is_not_sent_to_a_node() -> None:
    remote = sample.check(where=("remote",), uses=("target",))
    rendered = icinga.render([remote], sample.roles(), "/opt/x")
    services = rendered["services.conf"].partition('apply Service "nephoscope_sample_one"')[2]
    assert "nrpe" not in services
    assert "command_endpoint" not in services
    assert '  vars.nephoscope_sample_hostname = "$address$"\n' in rendered["commands.conf"]
    assert nrpe.render([remote], sample.roles(), "/opt/x") == {}
    assert "nephoscope_nrpe_" not in "".join(nagios.render([remote], sample.roles(), "/opt/x").values())


def test_a_check_that_is_also_a_nodes_is_not_sent_to_the_hosts_address_unasked() -> None:
    both = sample.check(where=("node", "remote"), uses=("target",))
    assert "_hostname =" not in icinga.render([both], sample.roles(), "/opt/x")["commands.conf"]
    assert "--hostname '" not in nagios.render([both], sample.roles(), "/opt/x")["commands.cfg"]
    basket = json.loads(director.render([both], sample.roles(), "/opt/x")["nephoscope.json"])
    assert basket["Command"]["nephoscope_sample"]["vars"] == {}


def test_a_service_may_ask_the_address_though_its_check_may_run_there() -> None:
    """Liveness is asked from the monitoring server as well as looked at on the machine: two services of one check."""
    both = sample.check(where=("node", "remote"), uses=("target",))
    roles = sample.roles(("login", "a"), remote=True)
    services = icinga.render([both], roles, "/opt/x")["services.conf"].partition(
        'apply Service "nephoscope_sample_one"'
    )[2]
    assert '  vars.nephoscope_sample_hostname = "$address$"\n' in services
    assert "command_endpoint" not in services
    assert nrpe.render([both], roles, "/opt/x") == {}
    rendered = nagios.render([both], roles, "/opt/x")
    assert "    command_line    /opt/x/check_sample --login a --hostname '$HOSTADDRESS$'\n" in rendered["commands.cfg"]
    assert "    check_command           nephoscope_run_sample_one\n" in rendered["services-sampled.cfg"]
    near = sample.check()
    assert roles.faults([near]) == ["[sampled.services.sample_one]: check_sample can't be asked of another machine"]


def test_nrpe_lines_are_quoted_for_a_shell() -> None:
    roles = sample.roles(("login", "a b;c`d`'e"), ("path", ("/x*",)), ("private", True))
    files = nrpe.render([sample.check()], roles, "/opt/my plugins")
    assert list(files) == ["nephoscope-sampled.cfg"]
    *_, line = files["nephoscope-sampled.cfg"].splitlines()
    assert line == (
        "command[nephoscope_sample_one]='/opt/my plugins/check_sample' --login 'a b;c`d`'\"'\"'e' --path '/x*' --private"
    )
    import shlex

    assert shlex.split(line.partition("=")[2])[1:] == ["--login", "a b;c`d`'e", "--path", "/x*", "--private"]
    assert "# It has the commands of nephoscope-node.cfg besides.\n" in files["nephoscope-sampled.cfg"]


@pytest.mark.parametrize(("login", "said"), [("$ARG1$", r"replace the \$"), ("x" * 2000, "too long for NRPE")])
def test_nrpe_refuses_what_its_daemon_would_change(login: str, said: str) -> None:
    with pytest.raises(BadRoles, match=said):
        nrpe.render([sample.check()], sample.roles(("login", login)), "/opt/x")


def test_nagios_arguments_stand_in_single_quotes() -> None:
    local = sample.check(uses=("target",), where=("remote",))
    commands = nagios.render([local], sample.roles(), "/opt/x")["commands.cfg"]
    (line,) = (line for line in commands.splitlines() if "check_sample" in line)
    assert line.split(None, 1)[1] == (
        "/opt/x/check_sample --hostname '$HOSTADDRESS$' --warning '$ARG1$' --critical '$ARG2$' --login '$ARG3$'"
    )
    bare = re.sub(r"'[^']*'", "", commands.replace("$USER1$", ""))
    assert "$" not in bare


def test_nagios_runs_a_role_of_a_cloud_with_its_options() -> None:
    remote = sample.check(where=("remote",))
    rendered = nagios.render([remote], sample.roles(("login", "a;b$c")), "/opt/x")
    assert "    command_name    nephoscope_run_sample_one\n" in rendered["commands.cfg"]
    assert "    command_line    /opt/x/check_sample --login 'a\\;b$$c'\n" in rendered["commands.cfg"]
    assert "    check_command           nephoscope_run_sample_one\n" in rendered["services-sampled.cfg"]


def test_nagios_services_belong_to_the_hostgroup_of_the_role() -> None:
    rendered = nagios.render([sample.check()], sample.roles(), "/opt/x")
    assert sorted(rendered) == ["commands.cfg", "hostgroups.cfg", "services-sampled.cfg", "templates.cfg"]
    assert "    hostgroup_name    nephoscope_sampled\n" in rendered["hostgroups.cfg"]
    assert "    hostgroup_name          nephoscope_sampled\n" in rendered["services-sampled.cfg"]
    assert "    check_command           nephoscope_nrpe_sample_one\n" in rendered["services-sampled.cfg"]
    assert "    check_interval          5\n" in rendered["services-sampled.cfg"]


def test_sudoers_say_exactly_the_command_lines() -> None:
    files = sudoers.render([sample.check()], sample.roles(), "/opt/x")
    assert list(files) == ["nephoscope-sampled"]
    rules = [line for line in files["nephoscope-sampled"].splitlines() if line.startswith("nagios")]
    assert rules == [
        "nagios ALL = (root) NOPASSWD: /usr/sbin/tool -a x\\,y",
        'nagios ALL = (root) NOPASSWD: /usr/bin/bare ""',
    ]


@pytest.mark.parametrize(
    "argv", [("tool",), ("/bin/tool", ""), ("/bin/tool", "a b"), ("/bin/tool", "a\nb"), ("/t", '"')]
)
def test_sudoers_refuse_what_they_cannot_say_exactly(argv: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"sudo needs|cannot say"):
        sudoers.command(argv)


def test_the_basket_is_whole_and_its_names_stay() -> None:
    rendered = director.render([sample.check()], sample.roles(), "/opt/x")
    basket = json.loads(rendered["nephoscope.json"])
    command = basket["Command"]["nephoscope_sample"]
    fields = basket["Datafield"]
    assert {str(field["datafield_id"]) for field in command["fields"]} == set(fields)
    by_name = {field["varname"]: field for field in fields.values()}
    assert by_name["nephoscope_sample_path"]["datatype"].endswith("DataTypeArray")
    assert by_name["nephoscope_sample_private"]["datatype"].endswith("DataTypeBoolean")
    assert [
        fields[str(field["datafield_id"])]["varname"] for field in command["fields"] if field["is_required"] == "y"
    ] == ["nephoscope_sample_login"]
    assert command["timeout"] == "60"
    assert command["command"] == "/opt/x/check_sample"
    uuids = [thing["uuid"] for kind in basket.values() for thing in kind.values()]
    assert len(set(uuids)) == len(uuids)
    assert all(uuid.UUID(value).version == 5 for value in uuids)
    # For ever: who restores the basket of another release must not get everything twice.
    assert "uuid" not in rendered["nephoscope-1.10.json"]
    assert command["uuid"] == "152aae3d-cc9d-5f17-9568-df9b016d8c7e"


def test_a_page_says_everything_about_a_check() -> None:
    pages = docs.render([sample.check()], sample.roles(("preset", ("small",))), "/opt/x")
    assert sorted(pages) == ["check_sample.md", "index.md", "wiki-monitoring.md"]
    page = pages["check_sample.md"]
    for text in (
        "\n# check_sample\n\nIs the sample well?\n\nMore of it.\n",
        "| `free` (bare `-w`, `-c`) | % | `10:` | `2:` |  | free space |",
        "| `left` | s |  | `5` | two |  (the worst is printed) |",
        "| `one` | is it |",
        "| `small` | small things | --path /c; free 5: / - |",
        "| `--number NUMBER` | how many &#124; at most |",
        "Taken from an `--extra-opts` file or `$NEPHOSCOPE_PASSWORD` only.",
        "- root for exactly `/usr/sbin/tool -a x,y`",
        "- membership of group `adm`",
        "- GRANT x TO y",
        "| `sampled` | `nephoscope_sample_one` | `check_sample --preset small` | 300 s |",
        "## At 3 a.m.\n\nLook at it.\n",
    ):
        assert text in page, f"{text}\n---\n{page}"
    assert "[check_sample](check_sample.md) | Is the sample well?" in pages["index.md"]
    assert "- **sampled**: machines with it. Services: `sample_one`, and those of `node`." in pages["index.md"]


def test_descriptions_say_each_default_once() -> None:
    check = sample.check()
    said = {option.flag: words.describe(check, option) for option in words.exported(check)}
    assert said["--kind"] == "which kind (one of big, small; default big)"
    assert all(text.count("default") <= 1 for text in said.values()), said
