# SPDX-License-Identifier: Apache-2.0
"""Which schema or table grows, and when does its disk fill?

Sizes are those of files, asked of the server; no table is read. Growth is that of `--span` and known when half of it was
seen; a single step, such as an import, is no growth that goes on. `pace` is the growth of the last day in times of the usual
one: the median of the seven days before, at least 64 MiB; it needs a run every few hours. `days_left` needs to know what may
be used: `--size`, all that the schemas may take together, or `--path`, the data directory where the check runs on the
server's own machine; then it is the time until that is used up, at most a year. Without either it is said that nobody
watches the disk (check_filesystem does).

`--preset openstack` names schemas that must be there. `--preset eucalyptus` is for the database of a cloud controller:
PostgreSQL on port 8777, socket /var/lib/eucalyptus/db/data, database eucalyptus_shared (before 4.1 give --database
eucalyptus_cloud); CloudWatch's tables of metrics are the ones that grow. On PostgreSQL sizes of databases are of the
moment, those of tables as old as the last VACUUM or ANALYZE.

MariaDB 10.2 and later, MySQL 5.7 and later, PostgreSQL 9.2 and later. Least grants, MySQL and MariaDB: for each schema names
and sizes without data, granted directly, as what a role brings is not seen; for mode growth the sizes of InnoDB's files,
because its statistics of a table follow in steps of a tenth; for mode analyse when these were made:
`GRANT REFERENCES ON nova.* TO 'nagios'@'%'; GRANT PROCESS ON *.* TO 'nagios'@'%';
GRANT SELECT (database_name, table_name, last_update) ON mysql.innodb_table_stats TO 'nagios'@'%';`
PostgreSQL 10 and later: `GRANT pg_read_all_stats TO nagios;`; before, CONNECT on every database.
Statements: 4 for a connection, 2 for its rights, 3 for sizes, 1 for each schema with large tables.
"""

from __future__ import annotations

from nephoscope.base import Failed
from nephoscope.plugin import OK, Check, Finding, Grant, Metric, Preset, Threshold, directory, duration
from nephoscope.plugin.options import size
from nephoscope.plugin.text import human
from nephoscope.probes import db_growth, schemas


def options(add):
    schemas.options(add, "openstack")
    add("--size", type=size, default=0, metavar="BYTES", help="what all schemas together may take")
    add("--path", type=directory, default="", metavar="DIR", help="the data directory, on this machine")
    add("--span", type=duration, default=259200.0, help="time over which growth is measured (default 3d)")
    add("--least", type=size, default=1 << 30, metavar="BYTES", help="the smallest table of interest (default 1GiB)")


def probe(options, run):
    if options.hostname and "path" in options.by_preset:  # from afar: its disk is not ours
        options.path = ""
    return db_growth.survey(run, options)


def judge(survey, options):
    yield from survey.failures
    fastest = survey.fastest
    grows = f", {fastest.name} grows most: {human(fastest.rate * 86400, 'B')} a day" if fastest else ""
    for schema in survey.schemas:
        yield Metric("size", schema.size, schema.name, 0)
        yield Metric("growth_rate", schema.rate, schema.name)
        yield Metric("pace", schema.pace, schema.name, 0, detail=f"usual: {human(schema.usual, 'B')} a day{grows}")
    large = [table for table in survey.tables if table.size >= options.least]
    if survey.failures and not survey.schemas and not survey.tables:  # nothing was seen: a zero would be made up
        return
    yield Metric("table", survey.tables[0].size if survey.tables else 0, "", 0)
    # While no table is large, the numbers stand in their places all the same.
    fragmented = [Metric("fragmented", table.fragmented, table.name, 0, 100) for table in large]
    yield from fragmented or [Metric("fragmented", 0.0, "", 0, 100)]
    if isinstance(survey.analysed, Failed):
        yield survey.analysed
    else:
        yield from [] if survey.analysed else [Metric("analysed", 0.0)]
        for name, age in survey.analysed.items():
            yield Finding(OK, name, "analysed: not known") if age is None else Metric("analysed", age, name, 0)
    if survey.days is not None:
        yield Metric("days_left", survey.days, "", 0, detail=f"{human(max(0, survey.room), 'B')} left{grows}")
    if survey.schemas:
        unwatched = "" if survey.days is not None else "; neither --size nor --path says when it is full"
        most = f", the largest table is {survey.tables[0].name}" if survey.tables else ""
        told = f"{human(survey.total.size, 'B')} in {len(survey.schemas)} schemas{most}{grows}{unwatched}"
        yield Finding(OK, "", told)


CHECK = Check(
    *(options, probe, judge),
    keep=lambda survey: survey.kept,
    where=("remote", "node"),
    uses=("tls",),
    needs=[Grant("GRANT REFERENCES ON the schema, or pg_read_all_stats of PostgreSQL")],
    modes={
        "size": "bytes of each schema and of the largest table",
        "growth": "how they grow, and when what may be used is used up",
        "fragmented": "bytes that large tables hold unused",
        "analyse": "when the statistics of large tables were made",
    },
    presets={
        "openstack": Preset(
            "the schemas nova, nova_*, neutron (or ovs_neutron), cinder, glance, keystone, heat and placement",
            options={"schema": ("nova", "nova_*", "*neutron", "cinder", "glance", "keystone", "heat", "placement")},
        ),
        "eucalyptus": Preset(
            "the database of a Eucalyptus cloud controller, on its own machine or by -H",
            options={
                "type": "postgres",
                "socket": "/var/lib/eucalyptus/db/data",
                "port": 8777,
                "database": "eucalyptus_shared",
                "path": "/var/lib/eucalyptus/db",
            },
        ),
    },
    thresholds=[
        Threshold("size", "B", mode="size", help="bytes of a schema, or of a database of PostgreSQL"),
        Threshold("table", "B", mode="size", help="bytes of the largest table"),
        Threshold("fragmented", "%", mode="fragmented", print="worst", help="the unused part of a large table's file"),
        Threshold("analysed", "s", mode="analyse", print="worst", help="since a large table's statistics were made"),
        Threshold("days_left", "", "30:", "7:", mode="growth", main=True, late=True, help="days until it is full"),
        Threshold("growth_rate", "B", mode="growth", help="growth of a schema, bytes per second"),
        Threshold("pace", "", "3", mode="growth", late=True, help="growth of the last day, in times of the usual"),
    ],
    runbook="""
By hand, MySQL: `SELECT table_schema, table_name, ROUND((data_length + index_length) / 1048576) AS mib, table_rows,
ROUND(data_free / 1048576) AS unused FROM information_schema.tables ORDER BY 3 DESC LIMIT 20;`, and `du -xsh /var/lib/mysql/*`:
binary logs, undo and temporary tablespaces are no part of any schema. PostgreSQL: `\\l+`, `\\dt+`; nor is the WAL.
Grows faster than it used to: look which table (line 1 names it), and for a job that was set up or a cleaner that stopped.
Grows without end: soft-deleted rows (check_db_soft_deleted), expired tokens, reservations, events of heat, an audit table.
A disk that is full stops every API: `PURGE BINARY LOGS BEFORE …` frees the most at once where replicas have read them.
Fragmented: `OPTIMIZE TABLE t` copies it, so needs its size again in free space; on Galera one node after the other.
Never analysed, or long ago: the optimiser guesses; `ANALYZE TABLE t` is quick on InnoDB.
Eucalyptus: tables custom_metric_data_* and system_metric_data_* hold two weeks of CloudWatch; more than that means that the
purge does not run (cloud-output.log); records and simple queue history grow with use. Never delete rows by hand.
""",
)
main = CHECK.main
