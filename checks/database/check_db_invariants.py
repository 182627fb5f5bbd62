# SPDX-License-Identifier: Apache-2.0
"""Does the database contain contradictions an operator would have to mend by hand?

Rules that must meet no row, each over one table of OpenStack's services and what its rows refer to: nova's cells, nova_api,
neutron, cinder, glance, heat, placement. A schema that surely does not exist is passed over and said, unless `--preset
openstack`, `--schema` or `--rule` asks for it; what can't be seen is UNKNOWN, and so is a rule that lacks a right, a table or a
column. Schemas may stand on several servers: `--from-service-file` once for each service asks with the services' own accounts.
An instance is gone when no cell has it, so every cell that nova_api knows must be seen.

A run walks at most `--rows` rows of each table along its key and goes on there next time, so it costs the same on a table of
any size; on a larger one what is told is up to one walk old, which is said. Before the first walk is through a rule is UNKNOWN
and says how far it is; until then a run walks on for half of its time, about a million rows in all, and `--exact -t 10m
--save` does it at once. What may be half way (changed within the hour) is no contradiction, each one is read twice before
it is told, and again by every run until it is mended.

neutron: floating-ip-on-deleted-instance, port-without-instance, port-binding-failed, neutron-agent-vanished (a week),
neutron-quota-negative. nova: nova-network-floating-ip and fixed-ip-without-instance (clouds with nova-network),
instance-on-deleted-volume, instance-on-unknown-host, compute-node-without-service, nova-service-vanished (a week),
nova-quota-negative (before Pike), mapping-without-cell, mapping-without-instance, build-request-stuck (an hour),
cell-versions-differ. cinder: volume-on-deleted-instance, volume-attached-twice, volume-in-use-unattached, volume-stuck (a day),
snapshot-of-deleted-volume, cinder-service-vanished (a week), cinder-quota-negative, cinder-quota-drift (from Xena on). glance:
image-without-location. placement: allocation-without-instance. heat: stack-stuck (a day), stack-locked-by-dead-engine.

MariaDB 10.2 and later, MySQL 5.7 and later; PostgreSQL 10 and later, a database for each service and a service file for each.
Least grants: SELECT on columns alone, no table as a whole; a run without them says each statement that is missing, like
`GRANT SELECT (id, uuid, host, deleted, created_at, updated_at) ON nova.instances TO 'nagios'@'%';`. Add `GRANT SHOW DATABASES
ON *.* TO 'nagios'@'%';`, which tells a schema that does not exist from one without a right. Read are ids, states, times, hosts,
projects and floating addresses; nothing that holds credentials. Statements: 4 for a connection, 2 for its rights, 2 or 3 for a
rule in a schema and one for each 500 things that its rows refer to.
"""

from __future__ import annotations

from nephoscope.base import Failed
from nephoscope.plugin import OK, UNKNOWN, Check, Finding, Grant, Metric, Preset, Threshold, count
from nephoscope.plugin.text import human
from nephoscope.probes import invariants, sql
from nephoscope.probes.invariant_rules import RULES, SCHEMAS


def schema(text):
    """Return role and name from "ROLE=NAME"; a role by itself is its schema's usual name."""
    role, _, name = text.partition("=")
    if role not in SCHEMAS:
        raise ValueError(f"'{role}' is no role: write {', '.join(SCHEMAS)}, or ROLE=NAME")
    return role, name or SCHEMAS[role][0]


def options(add):
    sql.options(add)
    add("--rule", repeat=True, choices=tuple(rule.name for rule in RULES), metavar="RULE", help="ask only this one")
    add("--schema", repeat=True, type=schema, metavar="ROLE=NAME", help="what a schema is called, which must be there")
    add("--rows", type=count, default=10000, looks=False, help="rows of a table that a run looks at (default 10000)")
    add("--exact", flag=True, looks=False, help="look at whole tables, however large")


def probe(options, run):
    return invariants.survey(run, options)


def judge(survey, options):
    yield from survey.failures
    asked = [found for found in survey.found if not isinstance(found, Failed)]
    yield from (found for found in survey.found if isinstance(found, Failed))
    for found in asked:
        names = ", ".join(found.names[:5]) + (" …" if len(found.names) > 5 else "")
        yield Metric("rows", found.rows, found.rule.name, 0, detail=f"{found.rule.says}: {names}")
        if not found.whole:
            part = "a part" if found.part is None else f"{found.part:.0f} %"
            text = f"has seen {part} of the table so far ({found.looked} rows), the next run goes on"
            yield Finding(UNKNOWN, found.rule.name, text)
    if asked:
        told = [f"no schema of {role}: {len(names)} not asked" for role, names in survey.skipped.items()]
        told += [f"not in this release: {', '.join(survey.older)}"] if survey.older else []
        age = max(found.age for found in asked)
        told += [f"of large tables some rows were seen {human(age, 's')} ago"] if age else []
        looked = sum(found.looked for found in asked)
        broken = sum(found.rows > 0 for found in asked)
        yield Metric("broken", broken)
        yield Finding(
            OK,
            "",
            f"{len(asked)} rules over {looked} rows, {broken} broken" + (f" ({'; '.join(told)})" if told else ""),
        )


CHECK = Check(
    *(options, probe, judge),
    keep=lambda survey: survey.kept,
    where=("remote", "node"),
    uses=("tls",),
    needs=[Grant("GRANT SELECT on the columns that the rules read")],
    presets={
        "openstack": Preset(
            "every schema of nova, neutron, cinder, glance, heat and placement must be there, and all rules asked",
            options={"schema": tuple((role, name) for role, names in SCHEMAS.items() for name in names)},
        )
    },
    thresholds=[
        Threshold("rows", "", "0", "9", main=True, help="rows that contradict a rule"),
        Threshold("broken", help="rules that are contradicted"),
    ],
    runbook="""
`-v` lists all rules, line 1 names the first rows of each that is broken. Look at one by hand before mending it, through the
service's API first (`openstack server show`, `volume show`, `port show`); the database is the last resort, with a dump taken.
Floating IP or port without instance: `openstack port delete PORT`, `openstack floating ip unset --port IP`.
Volume on a deleted instance: `openstack --os-volume-api-version 3.27 volume attachment delete ID`; stuck: `volume set --state`,
after a look at the back-end. Attached twice: stop one instance NOW, both write to one file system.
Instance on an unknown host: the host was removed too early; bring nova-compute back, or evacuate. Vanished services:
`openstack compute service delete ID`, `cinder-manage service remove BINARY HOST`, `openstack network agent delete ID`.
Allocations: `nova-manage placement audit --verbose`, then `--delete`. Mappings: `nova-manage cell_v2 verify_instance`.
Quota drift or below zero: `cinder-manage quota sync --project-id ID`; neutron counts anew with the next request.
Cell versions: `nova-manage db sync` did not reach every cell: `nova-manage db version --config-file` of each.
Stacks: `openstack stack cancel`, `heat-manage reset_stack_status ID`. Image without location: its data are gone.
""",
)
main = CHECK.main
