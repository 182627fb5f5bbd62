# SPDX-License-Identifier: Apache-2.0
"""How many rows marked deleted are slowing every query down?

OpenStack's services mark a row as deleted and carry it until somebody's job archives or purges it; where that job was never
set up, years of dead instances lie between the living. Every table with such a mark is looked at, in every schema that the
account sees: nova and its cells, cinder, glance, heat, keystone, and other services that mark alike. `--preset openstack` and
`--schema` name schemas that must be there; on PostgreSQL a schema is a database, and each needs its connection.

By default nothing is counted: rows are the server's own statistics, the share of deleted ones comes from a sample of at most
500 rows a table, which costs the same on a table of any size (InnoDB's statistics may be wrong by half). `--exact` counts, the
smallest table first, under a statement time-out; run it by night. The share is judged for tables of `--least` rows.

MariaDB 10.2 and later, MySQL 5.7 and later, PostgreSQL 10 and later. Least grants, MySQL and MariaDB, for each schema and each
of its tables with the columns (REFERENCES shows names and sizes and no data; without it a table could hide):
`GRANT REFERENCES ON nova.* TO 'nagios'@'%'; GRANT SELECT (id, deleted, deleted_at) ON nova.instances TO 'nagios'@'%';`
and in keystone `SELECT (id, expires) ON token`, `SELECT (id, expires_at) ON revocation_event`. To make them:
`SELECT CONCAT('GRANT SELECT (', GROUP_CONCAT(column_name), ') ON ', table_schema, '.', table_name, ' TO ''nagios''@''%'';')
FROM information_schema.columns WHERE column_name IN ('id', 'deleted', 'deleted_at') AND table_name NOT LIKE 'shadow%'
GROUP BY table_schema, table_name HAVING SUM(column_name LIKE 'deleted%');` Grant them directly: what a role brings is not seen.
PostgreSQL: `GRANT SELECT (id, deleted, deleted_at) ON instances TO nagios;`. Statements: 4 for a connection, 2 for
its rights, 2 for a schema, 2 more for one with such tables, one for 20 small tables, 2 for a large one.
"""

from __future__ import annotations

from nephoscope.base import Failed
from nephoscope.plugin import OK, Check, Finding, Grant, Metric, Preset, Threshold, count, duration
from nephoscope.plugin.text import human
from nephoscope.probes import schemas, soft_deleted


def options(add):
    schemas.options(add, "openstack")
    add("--exact", flag=True, help="count the rows instead of reckoning: reads every table from end to end")
    add("--retention", type=duration, default=7776000.0, help="how long a deleted row may be kept (default 90d)")
    add("--least", type=count, default=10000, looks=False, help="rows from which a share is judged (default 10000)")


def probe(options, run):
    return soft_deleted.survey(run, options)


def judge(survey, options):
    yield from survey.failures
    tables = [table for table in survey.tables if not isinstance(table, Failed)]
    yield from (table for table in survey.tables if isinstance(table, Failed))
    for table in tables:
        yield Metric("deleted", table.deleted, table.name, 0, detail="" if table.exact else "reckoned")
    # While there is none of a kind its number stands in its place all the same.
    large = [Metric("share", table.share, table.name, 0, 100) for table in tables if table.rows >= options.least]
    yield from large or [Metric("share", 0.0, "", 0, 100)] * bool(tables)
    aged = [Metric("oldest", table.oldest, table.name, 0) for table in tables if table.oldest is not None]
    yield from aged or [Metric("oldest", 0.0, "", 0)] * bool(tables)
    purge = "nova-manage db purge"
    shadows = [one for one in survey.shadows if one.rows >= options.least]
    shadowed = [Metric("shadow", one.share, one.schema, 0, 100, purge) for one in shadows]
    yield from shadowed or [Metric("shadow", 0.0, "", 0, 100)] * bool(tables)
    if tables:
        total, expired = (sum(getattr(table, name) for table in tables) for name in ("deleted", "expired"))
        yield Metric("expired", expired)
        said = "counted" if all(table.exact for table in tables) else "reckoned"
        where = f"{len(tables)} tables of {', '.join(survey.looked)}"
        beyond = f"{expired} of them for more than {human(options.retention, 's')}"
        yield Finding(OK, "", f"{total} rows are marked deleted ({said}), {beyond}, in {where}")


CHECK = Check(
    *(options, probe, judge),
    where=("remote", "node"),
    uses=("tls",),
    needs=[Grant("GRANT SELECT (id, deleted, deleted_at) ON the table")],
    presets={
        "openstack": Preset(
            "the schemas nova, nova_cell*, cinder, glance, heat and keystone",
            options={"schema": ("nova", "nova_cell*", "cinder", "glance", "heat", "keystone")},
        )
    },
    thresholds=[
        Threshold("deleted", "", "1000000", "5000000", main=True, help="rows of a table that are marked deleted"),
        Threshold("share", "%", "50", print="worst", help="their part of the table's rows"),
        Threshold("oldest", "s", "8380800", print="worst", help="since when, at least (97 d: 90, and a weekly job)"),
        Threshold("shadow", "%", "50", print="worst", help="the part of a schema's bytes that lie in shadow tables"),
        Threshold("expired", help="rows of all tables that were so for longer than --retention"),
    ],
    runbook="""
Nothing is broken: queries read past rows that nobody needs, and dumps and migrations take longer.
See it by hand: `SELECT COUNT(*), MIN(deleted_at) FROM nova.instances WHERE deleted <> 0;` (by night: it reads the table).
nova: `nova-manage db archive_deleted_rows --before "90 days ago" --until-complete --all-cells`, then
`nova-manage db purge --before "180 days ago" --all-cells` for the shadow tables. cinder: `cinder-manage db purge 90`.
glance: `glance-manage db purge --age_in_days 90`, then `purge_images_table`. heat: `heat-manage purge_deleted 90`.
keystone: `keystone-manage token_flush` (UUID tokens), `trust_flush`. Run them first with small `--max_rows`: each batch is a
transaction, and a Galera cluster refuses big ones. Then put them in a weekly timer.
A cleaner that runs and leaves them: rows with children in other tables stay until those go (its output names the table).
After a large purge the file does not shrink; `OPTIMIZE TABLE` copies it, in a quiet hour.
""",
)
main = CHECK.main
