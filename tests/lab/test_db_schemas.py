# SPDX-License-Identifier: Apache-2.0
"""check_db_invariants, check_db_soft_deleted and check_db_growth on real servers, with exactly the rights that they document."""

from __future__ import annotations

import contextlib
import re
import threading

import pytest
from nephoscope.base import Clock
from nephoscope.checks.database.check_db_growth import CHECK as GROWTH
from nephoscope.checks.database.check_db_invariants import CHECK as INVARIANTS
from nephoscope.checks.database.check_db_soft_deleted import CHECK as SOFT_DELETED
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING
from nephoscope.probes import invariants
from nephoscope.probes.invariant_rules import RULES, rights

from tests.lab import mariadb, openstack_schemas, postgresql
from tests.lab.openstack_schemas import uuid
from tests.lab.support import private_folder, wait_for

pytestmark = pytest.mark.lab
PASSWORD = "of the lab alone"
SCHEMAS = {"cell": ("nova", "nova_cell0"), "api": ("nova_api",)}


@pytest.fixture(scope="module")
def server():
    with private_folder() as folder, mariadb.server(folder / "db", "--innodb-stats-auto-recalc=OFF") as database:
        openstack_schemas.make(database)
        yield database


@pytest.fixture
def cloud(server):
    """A small cloud without contradictions, made anew for each test."""
    openstack_schemas.cloud(server)
    return server


def account(database, name, *grants, known={}):  # noqa: B006 - what it was granted, so that it is made once
    """Make an account with these rights and no more, whatever it had before."""
    if known.get(name) != (id(database), grants):
        with contextlib.closing(database.connection()) as link, link.cursor() as cursor:
            cursor.execute(f"DROP USER IF EXISTS {name}@'%'")
            cursor.execute(f"CREATE USER {name}@'%' IDENTIFIED BY '{PASSWORD}'")
            for grant in grants:
                cursor.execute(f"GRANT {grant} TO {name}@'%'")
        known[name] = (id(database), grants)
    return name


def of_rules(*left_out):
    """The rights that the rules read, as the page of check_db_invariants says: columns, and the names of schemas."""
    yield "SHOW DATABASES ON *.*"
    for (role, table), columns in rights().items():
        for schema in SCHEMAS.get(role, (role,)):
            if f"{schema}.{table}" not in left_out and schema not in left_out:
                yield f"SELECT ({', '.join(f'`{column}`' for column in columns)}) ON {schema}.{table}"


@pytest.fixture
def ask(server, tmp_path, monkeypatch):
    monkeypatch.setenv("NEPHOSCOPE_PASSWORD", PASSWORD)

    def run(check, user, *argv, clock=None):
        words = ["--type", "mysql", "--socket", server.socket, "--user", user, "--state-dir", str(tmp_path / "state")]
        outcome = check.run([*words, *argv], clock=clock)
        assert PASSWORD not in outcome.text
        return outcome

    return run


# ---- check_db_invariants ----------------------------------------------------------------------------------------------------


def test_a_cloud_in_order_with_exactly_these_rights(cloud, ask):
    user = account(cloud, "invariants", *of_rules())
    outcome = ask(INVARIANTS, user, "--preset", "openstack")
    assert outcome.state == OK, outcome.text
    assert re.fullmatch(r"28 rules over \d+ rows, 0 broken", outcome.reason)
    assert len(outcome.perfdata) == 29


BROKEN = {
    "floating-ip-on-deleted-instance": (
        "UPDATE nova.instances SET deleted = 1 WHERE id = 1",
        "a floating IP points at a port whose instance is gone: 192.0.2.7",
    ),
    "port-without-instance": (
        f"UPDATE neutron.ports SET device_id = '{uuid(99)}' WHERE id = '{uuid(11)}'",
        f"a port is held by an instance that is gone: {uuid(11)}",
    ),
    "port-binding-failed": (
        "UPDATE neutron.ml2_port_bindings SET vif_type = 'binding_failed'",
        f"a port could not be bound on its host: {uuid(11)}",
    ),
    "neutron-agent-vanished": (
        "UPDATE neutron.agents SET heartbeat_timestamp = UTC_TIMESTAMP() - INTERVAL 8 DAY",
        "an agent has not reported for a week: node1",
    ),
    "neutron-quota-negative": (
        "UPDATE neutron.quotausages SET in_use = -1",
        "neutron reckons with a use below zero: p1",
    ),
    "nova-network-floating-ip": (
        "INSERT INTO nova.fixed_ips (id, address, instance_uuid, allocated, deleted, created_at)"
        f" VALUES (1, '198.51.100.9', '{uuid(3)}', 0, 0, '2020-01-01');"
        "INSERT INTO nova.floating_ips (id, address, fixed_ip_id, deleted) VALUES (1, '192.0.2.9', 1, 0)",
        "a floating IP of nova-network belongs to a fixed IP whose instance is gone: 192.0.2.9",
    ),
    "fixed-ip-without-instance": (
        "INSERT INTO nova.fixed_ips (id, address, instance_uuid, allocated, deleted, updated_at)"
        f" VALUES (1, '198.51.100.9', '{uuid(3)}', 1, 0, '2020-01-01'), (2, '198.51.100.10', NULL, 1, 0, '2020-01-01')",
        "a fixed IP of nova-network is allocated to an instance that is gone: 198.51.100.10, 198.51.100.9",
    ),
    "volume-on-deleted-instance": (
        f"UPDATE cinder.volume_attachment SET instance_uuid = '{uuid(3)}'",
        f"a volume is attached to an instance that is gone: {uuid(20)}",
    ),
    "volume-attached-twice": (
        "INSERT INTO cinder.volume_attachment (id, volume_id, instance_uuid, attach_status, deleted, created_at)"
        f" VALUES ('{uuid(24)}', '{uuid(20)}', '{uuid(2)}', 'attached', 0, '2026-01-01')",
        f"a volume that is not multi-attach is attached to two instances: both may write: {uuid(20)}",
    ),
    "volume-in-use-unattached": (
        "UPDATE cinder.volume_attachment SET deleted = 1",
        f"a volume is in-use and attached to nothing: {uuid(20)}",
    ),
    "volume-stuck": (
        f"UPDATE cinder.volumes SET status = 'deleting' WHERE id = '{uuid(21)}'",
        f"a volume has been on its way to another state for a day: {uuid(21)}",
    ),
    "snapshot-of-deleted-volume": (
        f"UPDATE cinder.snapshots SET volume_id = '{uuid(98)}'",
        f"a snapshot's volume is gone: {uuid(23)}",
    ),
    "instance-on-deleted-volume": (
        f"UPDATE nova.block_device_mapping SET volume_id = '{uuid(98)}' WHERE id = 1",
        f"an instance has a block device whose volume is gone: {uuid(1)}",
    ),
    "cinder-service-vanished": (
        "UPDATE cinder.services SET updated_at = UTC_TIMESTAMP() - INTERVAL 8 DAY",
        "a service of cinder has not reported for a week: vol1",
    ),
    "cinder-quota-negative": (
        "UPDATE cinder.quota_usages SET reserved = -3",
        "cinder reckons with a use below zero: p1",
    ),
    "cinder-quota-drift": (
        "UPDATE cinder.quota_usages SET in_use = 5",
        "cinder's use of volumes is not the number of volumes: p1",
    ),
    "image-without-location": (
        "UPDATE glance.image_locations SET deleted = 1",
        f"an active image has no place where its data lie: {uuid(30)}",
    ),
    "instance-on-unknown-host": (
        "UPDATE nova.instances SET host = 'gone9' WHERE id = 2",
        f"an instance is on a host that no nova-compute serves: {uuid(2)}",
    ),
    "compute-node-without-service": (
        "UPDATE nova.compute_nodes SET host = 'gone9'",
        "a compute node's record has outlived its service: gone9",
    ),
    "nova-service-vanished": (
        "UPDATE nova.services SET last_seen_up = UTC_TIMESTAMP() - INTERVAL 8 DAY WHERE id = 1",
        "a service of nova has not reported for a week: node1",
    ),
    "nova-quota-negative": (
        "INSERT INTO nova.quota_usages (id, project_id, in_use, reserved, deleted, updated_at)"
        " VALUES (1, 'p1', -1, 0, 0, UTC_TIMESTAMP())",
        "nova reckons with a use below zero (releases before Pike): p1",
    ),
    "mapping-without-cell": (
        "UPDATE nova_api.instance_mappings SET cell_id = NULL WHERE id = 1",
        f"an instance was never given a cell and is no longer being built: {uuid(1)}",
    ),
    "mapping-without-instance": (
        f"UPDATE nova_api.instance_mappings SET instance_uuid = '{uuid(97)}' WHERE id = 1",
        f"an instance is mapped to a cell that has no record of it: {uuid(97)}",
    ),
    "build-request-stuck": (
        "UPDATE nova_api.build_requests SET created_at = UTC_TIMESTAMP() - INTERVAL 2 HOUR",
        f"an instance has been waiting for a host for an hour: {uuid(5)}",
    ),
    "cell-versions-differ": (
        "UPDATE nova_cell0.alembic_version SET version_num = '960aac0e09ea'",
        "the cells' schemas are not of one release: nova has 2903cd72dc14, nova_cell0 has 960aac0e09ea",
    ),
    "allocation-without-instance": (
        f"UPDATE placement.consumers SET uuid = '{uuid(96)}'",
        f"placement holds resources for an instance that is gone: {uuid(96)}",
    ),
    "stack-stuck": (
        "UPDATE heat.stack SET status = 'IN_PROGRESS'",
        f"a stack has been in progress for a day: {uuid(42)}",
    ),
    "stack-locked-by-dead-engine": (
        "UPDATE heat.service SET updated_at = UTC_TIMESTAMP() - INTERVAL 2 HOUR",
        f"a stack is locked by an engine that is gone: {uuid(42)}",
    ),
}


def test_every_rule_is_broken_below():
    assert list(BROKEN) == [rule.name for rule in RULES]


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_rule_is_met(cloud, ask, name):
    user = account(cloud, "invariants", *of_rules())
    trouble, said = BROKEN[name]
    for statement in trouble.split(";"):
        cloud.sql(statement)
    outcome = ask(INVARIANTS, user, "--rule", name)
    rows = 2 if name in ("fixed-ip-without-instance", "volume-attached-twice") else 1
    assert (outcome.state, outcome.reason) == (WARNING, f"{name} rows {rows} is above 0 ({said})"), outcome.text
    assert f"{name}_rows={rows};0;9;0" in outcome.perfdata


def test_ten_rows_are_critical(cloud, ask):
    user = account(cloud, "invariants", *of_rules())
    for number in range(100, 110):
        cloud.sql(
            f"INSERT INTO neutron.agents (id, host, heartbeat_timestamp) VALUES ('{uuid(number)}', 'h{number}', '2020-01-01')"
        )
    outcome = ask(INVARIANTS, user)
    assert outcome.state == CRITICAL
    assert outcome.reason == (
        "neutron-agent-vanished rows 10 is above 9 (an agent has not reported for a week: h100, h101, h102, h103, h104 …)"
    )


def test_a_revoked_right_is_named_with_its_statement(cloud, ask):
    user = account(cloud, "invariants", *of_rules("neutron.agents", "cinder.volumes"))
    outcome = ask(INVARIANTS, user, "--rule", "neutron-agent-vanished")
    assert outcome.state == UNKNOWN
    assert outcome.line == (
        "DB_INVARIANTS UNKNOWN - neutron-agent-vanished: a right is missing (read neutron.agents): needs "
        "GRANT SELECT (id, host, heartbeat_timestamp) ON neutron.agents TO 'invariants'@'%'"
    )
    outcome = ask(INVARIANTS, user, "--rule", "snapshot-of-deleted-volume")
    assert outcome.line == (
        "DB_INVARIANTS UNKNOWN - snapshot-of-deleted-volume: a right is missing (read cinder.volumes): needs "
        "GRANT SELECT (id, deleted) ON cinder.volumes TO 'invariants'@'%'"
    )
    # The others are asked all the same, and it is not OK.
    outcome = ask(INVARIANTS, user)
    assert outcome.state == UNKNOWN
    assert "stack-stuck_rows=0;0;9;0" in outcome.perfdata


def test_the_statements_that_are_named_are_enough(cloud, ask):
    """From no right at all: granting what is said leads, rule by rule, to OK, and to no right that the page doesn't say."""
    user = account(cloud, "granted", "SHOW DATABASES ON *.*")
    granted = set()
    for _ in range(5):
        outcome = ask(INVARIANTS, user)
        if outcome.state == OK:
            break
        for text in re.findall(r"^\[UNKNOWN\].*: needs (GRANT .*)$", outcome.text, re.MULTILINE):
            for statement in set(text.split("; ")) - granted:
                cloud.sql(statement)
                granted.add(statement)
    assert outcome.state == OK, outcome.text
    columns = "SELECT table_schema AS a, table_name AS b, column_name AS c FROM information_schema.column_privileges"
    got = {tuple(row.values()) for row in cloud.sql(f"{columns} WHERE grantee LIKE '%granted%'")}
    wanted = {
        (schema, table, column)
        for (role, table), columns in rights().items()
        for schema in SCHEMAS.get(role, (role,))
        for column in columns
    }
    assert got <= wanted
    assert len(wanted - got) < 10  # a home is not read while nothing refers to it


def test_a_schema_that_is_not_seen(cloud, ask):
    grants = list(of_rules("heat"))
    user = account(cloud, "invariants", *grants[1:])  # without SHOW DATABASES
    outcome = ask(INVARIANTS, user)
    assert outcome.state == UNKNOWN
    assert outcome.reason == (
        "heat: the schema is not there, or the account has no right on it, so stack-stuck, stack-locked-by-dead-engine could "
        "not be asked (look for the schema): needs GRANT SHOW DATABASES ON *.* TO 'invariants'@'%'"
    )
    outcome = ask(INVARIANTS, user, "--schema", "heat")
    assert outcome.reason.endswith("needs GRANT REFERENCES ON heat.* TO 'invariants'@'%'"), outcome.reason


def test_a_schema_that_surely_does_not_exist(cloud, ask):
    user = account(cloud, "invariants", *of_rules())
    cloud.sql("ALTER DATABASE heat CHARACTER SET utf8mb4")  # there is one; another name is looked for
    for argv, state, line in (
        (["--schema", "heat=heat2"], UNKNOWN, "heat2: there is no such schema, so stack-stuck, stack-locked-by-dead-engine could "
         "not be asked (look for the schema)"),
        (["--schema", "heat=heat2", "--rule", "stack-stuck"], UNKNOWN, "heat2: there is no such schema, so stack-stuck could not "
         "be asked (look for the schema)"),
        (["--schema", "heat=heat2", "--rule", "stack-stuck", "--absent-state", "ok"], UNKNOWN, "heat2: there is no such schema, "
         "so stack-stuck could not be asked (look for the schema)"),
    ):  # fmt: skip
        outcome = ask(INVARIANTS, user, *argv)
        assert (outcome.state, outcome.reason) == (state, line)
    tables = [statement for schema, statement in openstack_schemas.statements() if schema == "heat"]
    cloud.sql("DROP DATABASE heat")
    try:
        outcome = ask(INVARIANTS, user)
        assert outcome.state == OK
        assert outcome.reason.endswith("(no schema of heat: 2 not asked)")
        assert ask(INVARIANTS, user, "--preset", "openstack").state == UNKNOWN
    finally:
        cloud.sql("CREATE DATABASE heat CHARACTER SET utf8mb3")
        for statement in tables:
            cloud.sql(statement, database="heat")


def test_a_cell_that_is_not_seen_makes_no_instance_gone(cloud, ask):
    user = account(cloud, "invariants", *of_rules())
    cloud.sql("INSERT INTO nova_api.cell_mappings (id) VALUES (3)")
    outcome = ask(INVARIANTS, user, "--rule", "port-without-instance")
    assert outcome.state == UNKNOWN
    assert outcome.reason == (
        "cells: nova_api knows 3 cells, and 2 of their schemas are seen (nova, nova_cell0), so port-without-instance could not be "
        "asked (count the cells): --schema cell=NAME, or the file of a service in the cell"
    )


def test_a_schema_of_another_release(cloud, ask):
    user = account(cloud, "invariants", *of_rules(), "SELECT ON glance.*")
    cloud.sql("ALTER TABLE glance.images CHANGE status state varchar(30)")
    try:
        outcome = ask(INVARIANTS, user, "--rule", "image-without-location", "--absent-state", "ok")
    finally:
        cloud.sql("ALTER TABLE glance.images CHANGE state status varchar(30)")
    assert outcome.state == UNKNOWN
    assert outcome.reason == (
        "image-without-location: Unknown column 't.status' in 'WHERE' (error 1054): the schema is not of a release that the rule "
        "was written for (read glance.images)"
    )


def test_a_large_table_is_walked_in_turns(cloud, ask):
    """What is wrong is met when the walk comes there, told by every run from then on, and gone with the run after it was mended."""
    user = account(cloud, "invariants", *of_rules())
    for number in range(200, 225):
        cloud.sql(
            f"INSERT INTO neutron.agents (id, host, heartbeat_timestamp) VALUES ('{uuid(number)}', 'h{number}', UTC_TIMESTAMP())"
        )
    words = ("--rule", "neutron-agent-vanished", "--rows", "10")
    # The first walk is hurried, so that the first run knows.
    assert ask(INVARIANTS, user, *words).reason == "1 rules over 26 rows, 0 broken"
    first, *_, last = sorted(uuid(number) for number in range(200, 225))
    old = "UPDATE neutron.agents SET heartbeat_timestamp = '2020-01-01', host = 'lost' WHERE id = "
    cloud.sql(f"{old}'{last}'")
    for minutes in (15, 30):
        outcome = ask(INVARIANTS, user, *words, clock=Clock(shift=minutes * 60))
        assert outcome.state == OK, outcome.text
        assert re.fullmatch(
            rf"1 rules over 26 rows, 0 broken \(of large tables some rows were seen {minutes}(\.\d+)? min ago\)",
            outcome.reason,
        ), outcome.reason
    whole = "neutron-agent-vanished rows 1 is above 0 (an agent has not reported for a week: lost)"
    assert ask(INVARIANTS, user, *words, clock=Clock(shift=2700)).reason == whole
    cloud.sql(f"{old}'{first}'")
    assert "rows 2 is above 0" in ask(INVARIANTS, user, *words, clock=Clock(shift=3600)).reason
    cloud.sql(f"UPDATE neutron.agents SET heartbeat_timestamp = UTC_TIMESTAMP() WHERE id = '{last}'")
    assert ask(INVARIANTS, user, *words, clock=Clock(shift=4500)).reason == whole
    cloud.sql("UPDATE neutron.agents SET heartbeat_timestamp = UTC_TIMESTAMP()")
    assert ask(INVARIANTS, user, *words, clock=Clock(shift=5400)).state == OK
    assert ask(INVARIANTS, user, *words, "--exact").reason == "1 rules over 26 rows, 0 broken"


def test_a_first_walk_that_takes_several_runs(cloud, ask):
    """UNKNOWN until the whole table was seen once, and how much of it was; --exact sees it all at once, for later runs too."""
    user = account(cloud, "invariants", *of_rules())
    cloud.sql("TRUNCATE nova.instances")
    many(
        cloud, "nova.instances", "id, uuid, host, deleted, created_at", "seq, UUID(), 'node1', 0, '2026-01-01'", 100_000
    )
    words = ("--rule", "instance-on-unknown-host", "--rows", "20", "-t", "2")
    shares = []
    for _ in (1, 2):
        outcome = ask(INVARIANTS, user, *words)
        assert outcome.state == UNKNOWN
        said = re.fullmatch(
            r"instance-on-unknown-host has seen (\d+) % of the table so far \((\d+) rows\), the next run goes on",
            outcome.reason,
        )
        assert said, outcome.reason
        assert abs(int(said[2]) / 1000 - int(said[1])) <= 1
        shares.append(int(said[2]))
    assert 20 < shares[0] < shares[1]
    outcome = ask(INVARIANTS, user, *words[:2], "--exact", "-t", "60")
    assert outcome.reason == "1 rules over 100001 rows, 0 broken"
    outcome = ask(INVARIANTS, user, *words)
    assert outcome.reason.startswith("1 rules over 100001 rows, 0 broken"), outcome.text


def test_a_release_before_a_rule(cloud, ask):
    """A column that the release has not is no right that is missing, and no reason to be UNKNOWN for ever."""
    cloud.sql("ALTER TABLE cinder.volumes DROP COLUMN use_quota")
    try:
        seeing = account(cloud, "seeing_all", "SELECT, SHOW DATABASES ON *.*")
        outcome = ask(INVARIANTS, seeing)
        assert outcome.state == OK, outcome.text
        assert re.fullmatch(
            r"27 rules over \d+ rows, 0 broken \(not in this release: cinder-quota-drift\)", outcome.reason
        )
        few = account(cloud, "invariants", *of_rules("cinder.volumes"), "SELECT (id, project_id, deleted, status, migration_status,"
                      " multiattach, created_at, updated_at) ON cinder.volumes")  # fmt: skip
        assert ask(INVARIANTS, few).state == OK
        assert ask(INVARIANTS, few, "--rule", "cinder-quota-drift").state == UNKNOWN
    finally:
        cloud.sql("ALTER TABLE cinder.volumes ADD COLUMN use_quota tinyint(1)")
    # Where it is there and the right on it is not, that is told.
    outcome = ask(INVARIANTS, few)
    assert outcome.state == UNKNOWN
    assert outcome.reason.startswith("cinder-quota-drift: a right is missing (read cinder.quota_usages): needs GRANT")


def test_a_connection_that_is_killed(cloud, ask, monkeypatch):
    """It is told once, and not for each rule."""
    user = account(cloud, "invariants", *of_rules())
    rest = invariants._step

    def kill(*arguments):
        [row] = cloud.sql("SELECT id FROM information_schema.processlist WHERE user = 'invariants'")
        cloud.sql(f"KILL {row['id']}")
        monkeypatch.setattr(invariants, "_step", rest)
        return rest(*arguments)

    monkeypatch.setattr(invariants, "_step", kill)
    outcome = ask(INVARIANTS, user)
    assert outcome.state == CRITICAL
    assert re.fullmatch(
        r".*mysqld\.sock: (Broken pipe|the connection was .*), so floating-ip-on-deleted-instance, port-without-instance and 26 more"
        r" could not be asked.*", outcome.reason,
    ), outcome.reason  # fmt: skip


def read_rows(database):
    """Rows that the server has read for anybody so far."""
    names = (
        "Handler_read_first",
        "Handler_read_key",
        "Handler_read_next",
        "Handler_read_rnd_next",
        "Handler_read_last",
    )
    return sum(int(database.status(name)) for name in names)


def many(database, table, columns, select, rows):
    """Insert so many rows, made by the SEQUENCE engine."""
    database.sql(f"INSERT INTO {table} ({columns}) SELECT {select} FROM seq_1_to_{rows} s", database="nova")


def test_a_thousand_times_the_rows_cost_the_same(cloud, ask):
    user = account(cloud, "invariants", *of_rules())
    words = ("--rows", "20", "--rule", "instance-on-unknown-host")
    read = []
    for rows in (100, 100_000):
        cloud.sql("TRUNCATE nova.instances")
        many(
            cloud,
            "nova.instances",
            "id, uuid, host, deleted, created_at",
            "seq, UUID(), 'node1', 0, '2026-01-01'",
            rows,
        )
        assert ask(INVARIANTS, user, *words, "--state-id", str(rows), "--exact", "-t", "60").state == OK
        before = read_rows(cloud)
        assert ask(INVARIANTS, user, *words, "--state-id", str(rows)).state == OK
        read.append(read_rows(cloud) - before)
    assert read[1] <= read[0] * 1.1
    assert read[1] < 1000


# ---- check_db_soft_deleted --------------------------------------------------------------------------------------------------

MARKED = ("nova", "nova_cell0", "cinder", "glance", "heat", "keystone")


def of_marks(*left_out):
    """The rights as the page of check_db_soft_deleted says them."""
    wanted = ("id", "deleted", "deleted_at")
    for schema in MARKED:
        yield f"REFERENCES ON {schema}.*"
    yield "SELECT (id, expires) ON keystone.token"
    yield "SELECT (id, expires_at) ON keystone.revocation_event"
    for schema, statement in openstack_schemas.statements():
        table = statement.split()[2]
        columns = [name for name in wanted if re.search(rf"^  {name} ", statement, re.MULTILINE)]
        if (
            any(name.startswith("deleted") for name in columns)
            and f"{schema}.{table}" not in left_out
            and schema in MARKED
        ):
            yield f"SELECT ({', '.join(columns)}) ON {schema}.{table}"


DEAD = "seq, UUID(), seq, UTC_TIMESTAMP() - INTERVAL 100 DAY + INTERVAL seq SECOND"


@pytest.fixture
def dead(cloud):
    """60 000 dead instances before 20 000 living ones, with a gap in the ids between them."""
    cloud.sql("TRUNCATE nova.instances")
    many(cloud, "nova.instances", "id, uuid, deleted, deleted_at", DEAD, 60_000)
    many(cloud, "nova.instances", "id, uuid, deleted", "seq + 500000, UUID(), 0", 20_000)
    cloud.sql("ANALYZE TABLE nova.instances")
    return cloud


def test_dead_rows_are_reckoned_and_counted(dead, ask):
    user = account(dead, "marks", *of_marks())
    outcome = ask(SOFT_DELETED, user, "-w", "oldest=~:", "--preset", "openstack")
    assert outcome.state == WARNING, outcome.text
    assert re.fullmatch(r"nova\.instances share [78]\d(\.\d+)? % is above 50 %", outcome.reason), outcome.reason
    exact = ask(SOFT_DELETED, user, "-w", "oldest=~:", "--exact")
    assert exact.reason == "nova.instances share 75 % is above 50 %"
    assert "60000 rows are marked deleted (counted), 60000 of them for more than 90 d, in " in exact.text
    assert any(
        item.startswith("nova_instances-") and "_deleted=60000;1000000;5000000;0" in item for item in exact.perfdata
    ), exact.line
    assert any(re.match(r"oldest=86(39|40)\d{3}s;", item) for item in exact.perfdata)
    reckoned = int(re.search(r"(\d+) rows are marked deleted \(reckoned\)", outcome.text)[1])
    assert 45_000 < reckoned < 80_000


def test_how_many_and_since_when(dead, ask):
    user = account(dead, "marks", *of_marks())
    assert ask(SOFT_DELETED, user, "--exact", "-w", "deleted=50000", "-w", "share=~:", "-w", "oldest=~:").reason == (
        "nova.instances deleted 60000 is above 50000"
    )
    assert ask(SOFT_DELETED, user, "--exact", "-w", "share=~:").reason == "nova.instances oldest 100 d is above 97 d"
    outcome = ask(SOFT_DELETED, user, "--exact", "-c", "deleted=50000", "-w", "share=~:", "-w", "oldest=~:")
    assert outcome.state == CRITICAL
    outcome = ask(SOFT_DELETED, user, "--exclude", "nova.instances")
    assert (outcome.state, outcome.reason.partition(",")[0]) == (OK, "0 rows are marked deleted (counted)")


def test_a_table_without_the_right(dead, ask):
    user = account(dead, "marks", *of_marks("nova.instances"))
    outcome = ask(SOFT_DELETED, user)
    assert outcome.state == UNKNOWN
    assert outcome.line.partition(" | ")[0] == (
        "DB_SOFT_DELETED UNKNOWN - nova.instances: a right is missing (read its marks): needs "
        "GRANT SELECT (id, deleted, deleted_at) ON nova.instances TO 'marks'@'%'"
    )


def test_tables_that_hide(dead, ask):
    """Without a right on the schema as a whole the tables of which nothing was granted are not even listed."""
    grants = [grant for grant in of_marks("nova.instances") if "REFERENCES ON nova." not in grant]
    user = account(dead, "marks", *grants)
    outcome = ask(SOFT_DELETED, user)
    assert outcome.state == UNKNOWN
    assert outcome.reason == (
        "nova: only tables with a grant of their own are seen, others may be there (list its tables): needs "
        "GRANT REFERENCES ON nova.* TO 'marks'@'%'"
    )


def test_rights_that_come_by_a_role_are_not_reckoned(cloud, ask):
    """They are not in the tables of one's own rights: what they show may be a part, and that is said."""
    cloud.sql("CREATE OR REPLACE ROLE reading")
    cloud.sql("GRANT SELECT ON cinder.* TO reading")
    user = account(cloud, "actor")
    cloud.sql("GRANT reading TO actor@'%'")
    cloud.sql("SET DEFAULT ROLE reading FOR actor@'%'")
    outcome = ask(SOFT_DELETED, user)
    assert outcome.state == UNKNOWN
    assert outcome.reason == (
        "cinder: only tables with a grant of their own are seen, others may be there (list its tables): needs "
        "GRANT REFERENCES ON cinder.* TO 'actor'@'%'"
    )


def test_schemas_that_are_named_and_not_seen(cloud, ask):
    user = account(cloud, "seeing", *of_marks())
    outcome = ask(SOFT_DELETED, user, "--schema", "manila")
    assert outcome.line == (
        "DB_SOFT_DELETED UNKNOWN - manila: the schema is not there, or the account has no right on it (look for the schema): "
        "needs GRANT REFERENCES ON manila.* TO 'seeing'@'%'"
    )
    cloud.sql("GRANT SHOW DATABASES ON *.* TO seeing@'%'")
    outcome = ask(SOFT_DELETED, user, "--schema", "manila")
    assert outcome.line == "DB_SOFT_DELETED UNKNOWN - manila: there is no such schema (look for the schema)"
    assert ask(SOFT_DELETED, user, "--schema", "manila", "--absent-state", "ok").state == OK
    nobody = account(cloud, "nobody")
    assert ask(SOFT_DELETED, nobody).state == UNKNOWN
    assert ask(SOFT_DELETED, nobody).line == (
        "DB_SOFT_DELETED UNKNOWN - the account sees no schema (list the schemas): needs "
        "GRANT SELECT (id, deleted, deleted_at) ON the table"
    )


def test_expired_tokens_and_stacks(cloud, ask):
    user = account(cloud, "marks", *of_marks())
    many(cloud, "keystone.token", "id, expires", "MD5(seq), IF(seq <= 30, '2020-01-01', '2099-01-01')", 40)
    many(cloud, "heat.stack", "id, deleted_at", "UUID(), '2026-11-01'", 7)
    try:
        outcome = ask(
            SOFT_DELETED, user, "--schema", "keystone", "--schema", "heat", "-w", "deleted=0", "-w", "oldest=~:"
        )
    finally:
        cloud.sql("DELETE FROM keystone.token")
    assert outcome.reason == "heat.stack deleted 7 is above 0, keystone.token deleted 30 is above 0"


def test_shadow_tables(cloud, ask):
    user = account(cloud, "marks", *of_marks())
    cloud.sql("TRUNCATE nova.instances")
    many(cloud, "nova.shadow_instances", "id, uuid, deleted, deleted_at", DEAD, 60_000)
    cloud.sql("ANALYZE TABLE nova.shadow_instances")
    try:
        outcome = ask(SOFT_DELETED, user)
    finally:
        cloud.sql("TRUNCATE nova.shadow_instances")
        cloud.sql("ANALYZE TABLE nova.shadow_instances")
    assert outcome.state == WARNING
    assert re.fullmatch(r"nova shadow \d+(\.\d+)? % is above 50 % \(nova-manage db purge\)", outcome.reason)


def test_a_thousand_times_the_dead_cost_the_same(cloud, ask):
    """2 000 and 200 000 rows, both more than a table that is counted; --exact reads them all."""
    user = account(cloud, "marks", *of_marks())
    read = []
    for rows in (2000, 200_000):
        cloud.sql("TRUNCATE nova.instances")
        many(cloud, "nova.instances", "id, uuid, deleted, deleted_at", DEAD, rows)
        cloud.sql("ANALYZE TABLE nova.instances")
        before = read_rows(cloud)
        assert ask(SOFT_DELETED, user, "--schema", "nova").state == WARNING
        read.append(read_rows(cloud) - before)
    assert read[1] <= read[0] * 1.1
    before = read_rows(cloud)
    assert ask(SOFT_DELETED, user, "--schema", "nova", "--exact").state == WARNING
    assert read_rows(cloud) - before > 200_000


def test_a_table_that_somebody_locks(cloud, ask):
    """It is late and said so, the others are looked at; nothing waits behind us."""
    user = account(cloud, "marks", *of_marks())
    holder = cloud.connection()
    with holder.cursor() as cursor:
        cursor.execute("LOCK TABLES nova.instances WRITE")
    try:
        outcome = ask(SOFT_DELETED, user, "--schema", "nova")
    finally:
        with holder.cursor() as cursor:
            cursor.execute("UNLOCK TABLES")
        holder.close()
    assert outcome.state == UNKNOWN
    assert outcome.reason == "nova.instances: a lock was not granted within a second (error 1205) (read its marks)"
    assert "tables of nova" in outcome.text
    assert ask(SOFT_DELETED, user, "--schema", "nova").state == OK


@contextlib.contextmanager
def changing(database, table):
    """While this holds, an ALTER copies a table and lets nobody read it. (MariaDB 10.11: LOCK=EXCLUSIVE.)"""
    import pymysql

    many(database, table, "id, uuid, deleted", "seq + 900000, UUID(), 0", 2000)
    worker = database.connection()
    slow = "ADD COLUMN slow char(128) AS (SHA2(REPEAT(uuid, 200000), 512)) STORED, ALGORITHM=COPY, LOCK=EXCLUSIVE"

    def alter():
        with contextlib.suppress(pymysql.err.MySQLError), worker.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {table} {slow}")

    thread = threading.Thread(target=alter)
    thread.start()
    state = f"SELECT state FROM information_schema.processlist WHERE id = {worker.thread_id()}"
    wait_for(lambda: database.sql(state)[0]["state"] == "copy to tmp table", what="the ALTER")
    try:
        yield
        assert thread.is_alive(), "the ALTER was over too soon"
    finally:
        database.sql(f"KILL {worker.thread_id()}")
        thread.join(30)
        database.sql(f"DELETE FROM {table} WHERE id > 900000")


def test_a_table_that_is_being_changed(cloud, ask):
    """The server leaves it out of its lists: what is not listed may be there, so nobody says that all is well."""
    user = account(cloud, "marks", *of_marks())
    sized = account(cloud, "sized", *SIZED)
    blind = account(cloud, "blind", *SIZED[1:])
    with changing(cloud, "nova.instances"):
        outcome = ask(SOFT_DELETED, user, "--schema", "nova")
        assert outcome.state == UNKNOWN
        assert outcome.reason == (
            "nova.instances: the server does not tell its columns: a change of the table holds it, or it is damaged (look for its marks)"
        )
        outcome = ask(GROWTH, sized, "--mode", "size", "--schema", "nova", "--least", "1KiB")
        assert (outcome.state, "nova.instances" in outcome.reason) == (OK, True), outcome.reason
        outcome = ask(GROWTH, blind, "--mode", "size", "--schema", "nova")
        assert outcome.state == UNKNOWN
        assert outcome.reason == (
            "nova.instances: the server does not tell it: a change of the table holds it, or it is damaged (read its size)"
        )
        assert not any(item.startswith("nova_size") for item in outcome.perfdata)


def test_a_frozen_server(cloud, ask):
    user = account(cloud, "marks", *of_marks())
    cloud.freeze()
    try:
        for check in (SOFT_DELETED, INVARIANTS):
            outcome = ask(check, user, "-t", "2")
            assert outcome.state == CRITICAL
            assert re.search(r"no answer in \d", outcome.reason), outcome.line
    finally:
        cloud.thaw()


def test_a_wrong_password(cloud, ask, monkeypatch):
    user = account(cloud, "marks", *of_marks())
    monkeypatch.setenv("NEPHOSCOPE_PASSWORD", "not this one")
    for check in (SOFT_DELETED, INVARIANTS):
        outcome = ask(check, user)
        assert outcome.state == UNKNOWN
        assert "not this one" not in outcome.text
        assert f"{cloud.socket}: log-in refused for user 'marks' (error 1045)" in outcome.reason, outcome.line


# ---- check_db_growth --------------------------------------------------------------------------------------------------------

SIZED = ("PROCESS ON *.*", *(f"REFERENCES ON {schema}.*" for schema in (*MARKED, "nova_api", "neutron", "placement")),
         "SELECT (database_name, table_name, last_update) ON mysql.innodb_table_stats")  # fmt: skip
DAY = 86400


def grow(database, mebibytes):
    """Insert about so much into a table of nova."""
    database.sql("CREATE TABLE IF NOT EXISTS nova.bulk (id int PRIMARY KEY AUTO_INCREMENT, body varchar(1024))")
    many(database, "nova.bulk", "body", "REPEAT('x', 1000)", mebibytes * 1000)


@pytest.fixture
def grown(cloud):
    grow(cloud, 8)
    yield cloud
    cloud.sql("DROP TABLE nova.bulk")


def test_sizes_and_growth_to_the_day_it_is_full(grown, ask):
    user = account(grown, "sized", *SIZED)
    words = ("--preset", "openstack", "--size", "150MiB", "--span", "4d", "--least", "1MiB")
    first = ask(GROWTH, user, *words)
    assert first.state == OK, first.text
    assert re.fullmatch(r"[\d.]+ MiB in 9 schemas, the largest table is nova\.bulk, rates collecting", first.reason), (
        first.reason
    )
    assert {"nova_size", "neutron_size", "table", "fragmented", "analysed"} <= {
        i.partition("=")[0] for i in first.perfdata
    }
    for hours in range(8, 73, 8):
        grow(grown, 4)
        outcome = ask(GROWTH, user, *words, clock=Clock(shift=hours * 3600))
    assert outcome.state == WARNING, outcome.text
    assert re.fullmatch(
        r"days left \d(\.\d+)? is below 30 \(\d\d(\.\d)? MiB left, nova\.bulk grows most: 1\d(\.\d+)? MiB a day\)",
        outcome.reason,
    ), outcome.reason
    outcome = ask(GROWTH, user, *words, "-c", "20:", clock=Clock(shift=73 * 3600))
    assert outcome.state == CRITICAL, outcome.text
    # What is left is what the smaller of two limits leaves; a limit that is passed is passed now, whatever grows.
    outcome = ask(GROWTH, user, "--size", "1MiB")
    assert outcome.reason == "days left 0 is below 7 (0 B left)"


def test_the_disk_of_the_data_directory(grown, ask):
    user = account(grown, "sized", *SIZED)
    for day in (0, 1, 2):
        outcome = ask(GROWTH, user, "--path", str(grown.data), "--span", "2d", clock=Clock(shift=day * DAY))
    assert outcome.state == OK
    assert "days_left=365;30:;7:;0" in outcome.perfdata
    assert ask(GROWTH, user, "-w", "60:").reason == (
        "a limit of days_left needs --size or --path: nothing else says when it is full"
    )
    outcome = ask(GROWTH, user, "--path", "/nonexistent")
    assert outcome.state == UNKNOWN
    assert "/nonexistent: No such file or directory" in outcome.reason


def test_what_is_unused(grown, ask):
    user = account(grown, "sized", *SIZED)
    grown.sql("DELETE FROM nova.bulk WHERE id > 100")
    wait_for(lambda: int(grown.status("Innodb_history_list_length")) < 10, what="the purge")
    grown.sql("ANALYZE TABLE nova.bulk")
    outcome = ask(GROWTH, user, "--mode", "fragmented", "--least", "1KiB", "-w", "fragmented=0")
    assert outcome.state == WARNING
    assert re.search(r"nova\.bulk fragmented \d+(\.\d+)? % is above 0 %", outcome.text), outcome.text


def test_sizes_that_are_hidden(cloud, ask):
    """Tables that an account has no right on are not in the list: their schema's size is not known, and no smaller one."""
    user = account(cloud, "few", "PROCESS ON *.*", "SELECT (id) ON nova.instances", "REFERENCES ON neutron.*")
    outcome = ask(GROWTH, user, "--mode", "size")
    assert outcome.state == UNKNOWN
    assert outcome.reason == (
        "nova: not all of its tables are seen, so its size is not known (read its sizes): needs "
        "GRANT REFERENCES ON nova.* TO 'few'@'%'"
    )
    assert [item.partition("=")[0] for item in outcome.perfdata] == ["table", "neutron_size"]
    nobody = account(cloud, "nobody")
    assert ask(GROWTH, nobody).reason.startswith(
        "the account sees no schema (list the schemas): needs GRANT REFERENCES"
    )


def test_statistics_without_the_right(grown, ask):
    user = account(grown, "unanalysed", *SIZED[:-1])
    outcome = ask(GROWTH, user, "--least", "1MiB")
    assert outcome.state == UNKNOWN
    assert outcome.reason == (
        "a right is missing (read mysql.innodb_table_stats): needs GRANT SELECT (database_name, table_name, last_update) ON "
        "mysql.innodb_table_stats TO 'unanalysed'@'%'"
    )
    assert ask(GROWTH, user, "--least", "1MiB", "--mode", "size", "--mode", "growth").state == OK


def test_growth_without_the_right_to_see_files(grown, ask):
    """InnoDB's statistics follow in steps of a tenth: growth that comes of them would be none for weeks."""
    user = account(grown, "blind", *SIZED[1:])
    outcome = ask(GROWTH, user)
    assert outcome.state == UNKNOWN
    assert outcome.reason == (
        "a right is missing (read the sizes of InnoDB's files): needs GRANT PROCESS ON *.* TO 'blind'@'%'"
    )
    assert ask(GROWTH, user, "--mode", "size").state == OK


def test_a_schema_without_a_table(cloud, ask):
    user = account(cloud, "sized", *SIZED)
    cloud.sql("CREATE DATABASE manila")
    cloud.sql("GRANT REFERENCES ON manila.* TO sized@'%'")
    assert ask(GROWTH, user, "--schema", "manila").reason == "manila: there is no table in it (read its sizes)"
    cloud.sql("DROP DATABASE manila")


# ---- several accounts, several servers --------------------------------------------------------------------------------------


def service_file(folder, name, user, server, **sections):
    """Write the configuration of a service with its connections, as oslo.db has them."""
    kind = "mysql+pymysql" if isinstance(server, mariadb.MariaDB) else "postgresql"
    secret = PASSWORD.replace(" ", "%20")
    lines = [
        f"[{section}]\nconnection = {kind}://{user}:{secret}@127.0.0.1:{server.port}/{database}\n"
        for section, database in sections.items()
    ]
    path = folder / f"{name}.conf"
    path.write_text("\n".join(lines))
    path.chmod(0o600)
    return str(path)


def test_the_services_own_accounts_together_see_what_none_sees_alone(cloud, tmp_path):
    nova = account(cloud, "nova", "ALL ON `nova%`.*")
    neutron = account(cloud, "neutron", "ALL ON neutron.*")
    files = [
        service_file(tmp_path, "nova", nova, cloud, database="nova", api_database="nova_api"),
        service_file(tmp_path, "neutron", neutron, cloud, database="neutron"),
    ]
    words = ["--state-dir", str(tmp_path / "state"), "--rule", "floating-ip-on-deleted-instance"]
    both = [word for file in files for word in ("--from-service-file", file)]
    assert INVARIANTS.run([*words, *both]).reason == "1 rules over 1 rows, 0 broken"
    cloud.sql("UPDATE nova.instances SET deleted = 1 WHERE id = 1")
    assert INVARIANTS.run([*words, *both]).state == WARNING
    outcome = INVARIANTS.run([*words, "--from-service-file", files[1]])
    assert outcome.state == UNKNOWN
    assert outcome.reason.startswith(
        "nova_api: the schema is not there, or the account has no right on it, so floating-ip-on-deleted-instance could not be asked"
    ) or outcome.reason.startswith("nova: the schema is not there"), outcome.reason
    outcome = INVARIANTS.run([*words, *both, "--from-service-file", str(tmp_path / "none.conf")])
    assert outcome.state == WARNING
    assert "UNKNOWN: none: No such file or directory" in outcome.reason, outcome.reason


# ---- PostgreSQL -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def postgres():
    with private_folder() as folder, postgresql.server(folder / "pg", "max_connections=40") as database:
        names = openstack_schemas.on_postgres(database)
        database.sql(f"CREATE ROLE watcher LOGIN PASSWORD '{PASSWORD}'")
        for (role, table), columns in rights().items():
            for schema in SCHEMAS.get(role, (role,)):
                quoted = ", ".join(f'"{column}"' for column in columns)
                database.sql(f"GRANT SELECT ({quoted}) ON {table} TO watcher", database=schema)
        for schema, table in (("nova", "instances"), ("nova", "instance_faults"), ("cinder", "volumes")):
            database.sql(f"GRANT SELECT (id, deleted, deleted_at) ON {table} TO watcher", database=schema)
        database.names = names
        yield database


@pytest.fixture
def services(postgres, tmp_path):
    """The words that name a service file for each database."""
    words = []
    for name in postgres.names:
        words += ["--from-service-file", service_file(tmp_path, name, "watcher", postgres, database=name)]
    return words


def test_the_rules_hold_for_databases_of_postgresql(postgres, services, tmp_path):
    state = ["--state-dir", str(tmp_path / "state")]
    outcome = INVARIANTS.run([*state, *services, "--preset", "openstack"])
    assert outcome.state == OK, outcome.text
    assert outcome.reason.startswith("28 rules over ")
    postgres.sql("UPDATE instances SET deleted = 1 WHERE id = 1", database="nova")
    try:
        outcome = INVARIANTS.run([*state, *services])
    finally:
        postgres.sql("UPDATE instances SET deleted = 0 WHERE id = 1", database="nova")
    assert outcome.state == WARNING
    broken = [item["of"] for item in outcome.items if item["state"] == "WARNING"]
    assert broken == [
        "allocation-without-instance",
        "floating-ip-on-deleted-instance",
        "port-without-instance",
        "volume-on-deleted-instance",
    ]


def test_a_release_before_a_rule_on_postgresql(postgres, services, tmp_path):
    postgres.sql("ALTER TABLE volumes RENAME use_quota TO use_quota2", database="cinder")
    try:
        outcome = INVARIANTS.run(["--state-dir", str(tmp_path / "state"), *services])
    finally:
        postgres.sql("ALTER TABLE volumes RENAME use_quota2 TO use_quota", database="cinder")
    assert outcome.state == OK, outcome.text
    assert outcome.reason.endswith("0 broken (not in this release: cinder-quota-drift)")


def test_a_rule_that_needs_a_database_without_a_connection(postgres, services, tmp_path):
    state = ["--state-dir", str(tmp_path / "state")]
    outcome = INVARIANTS.run([*state, *services[:-2]])  # placement's is left out
    assert outcome.state == UNKNOWN
    assert outcome.reason == (
        "placement: the database is there, and the connection is to another one, so allocation-without-instance could not be "
        "asked (look for the schema): needs --database placement, or the file of a service that uses it"
    )


@pytest.fixture
def ask_postgres(postgres, tmp_path, monkeypatch):
    monkeypatch.setenv("NEPHOSCOPE_PASSWORD", PASSWORD)

    def run(check, database, *argv, user="watcher", clock=None):
        words = [
            "--type",
            "postgres",
            "-H",
            "127.0.0.1",
            "-p",
            str(postgres.port),
            "--user",
            user,
            "--database",
            database,
        ]
        return check.run([*words, "--state-dir", str(tmp_path / "state"), *argv], clock=clock)

    return run


def test_dead_rows_of_postgresql(postgres, ask_postgres):
    postgres.sql(
        "INSERT INTO instances (id, uuid, deleted, deleted_at) SELECT n, 'u' || n, CASE WHEN n % 4 > 0 THEN n ELSE 0 END,"
        " CASE WHEN n % 4 > 0 THEN (now() AT TIME ZONE 'utc') - INTERVAL '100 days' END FROM generate_series(100, 40099) n",
        database="nova",
    )
    try:
        outcome = ask_postgres(SOFT_DELETED, "nova", "--include", "nova.instances")
        assert outcome.reason == (
            "nova.instances: the server has no statistics of it (read its marks): ANALYZE instances"
        ), outcome.reason
        postgres.sql("ANALYZE instances", database="nova")
        outcome = ask_postgres(SOFT_DELETED, "nova", "--include", "nova.instances", "-w", "oldest=~:")
        assert re.fullmatch(r"nova\.instances share 7\d(\.\d+)? % is above 50 %", outcome.reason), outcome.text
        exact = ask_postgres(SOFT_DELETED, "nova", "--include", "nova.instances", "-w", "oldest=~:", "--exact")
        assert exact.reason == "nova.instances share 75 % is above 50 %"
        outcome = ask_postgres(SOFT_DELETED, "nova")
        assert outcome.state == WARNING
        assert (
            "[UNKNOWN] nova.instance_actions: a right is missing (read its marks): needs GRANT SELECT (id, deleted, deleted_at) ON "
            "public.instance_actions TO watcher"
        ) in outcome.text
        assert "operator does not exist" not in outcome.text  # of a table that has no deleted_at
    finally:
        postgres.sql("DELETE FROM instances WHERE id >= 100", database="nova")
        postgres.sql("VACUUM ANALYZE instances", database="nova")


def test_booleans_of_postgresql(postgres, ask_postgres):
    postgres.sql(
        "UPDATE volumes SET deleted = true, deleted_at = now() AT TIME ZONE 'utc' WHERE status = 'available'",
        database="cinder",
    )
    try:
        outcome = ask_postgres(SOFT_DELETED, "cinder", "--include", "cinder.volumes", "-w", "deleted=0")
    finally:
        postgres.sql("UPDATE volumes SET deleted = false, deleted_at = NULL", database="cinder")
    assert outcome.reason == "cinder.volumes deleted 1 is above 0"


def test_sizes_of_postgresql(postgres, ask_postgres, tmp_path):
    """As the database of a Eucalyptus cloud controller is asked; REVOKE makes a database whose size is hidden."""
    words = ["--preset", "eucalyptus", "--socket", postgres.socket, "-p", str(postgres.port), "--database", "nova"]
    words += ["--user", "watcher", "--path", "/", "--least", "8KiB"]
    outcome = GROWTH.run([*words, "--state-dir", str(tmp_path / "state")])
    assert outcome.state == OK, outcome.text
    assert re.fullmatch(
        r"[\d.]+ MiB in 10 schemas, the largest table is nova\.\w+, rates collecting", outcome.reason
    ), outcome.reason
    assert any(re.match(r"nova_size=\d{7,8}B;;;0", item) for item in outcome.perfdata)
    postgres.sql("REVOKE CONNECT ON DATABASE heat FROM PUBLIC")
    outcome = ask_postgres(GROWTH, "nova")
    assert outcome.state == UNKNOWN
    assert outcome.reason == "heat: a right is missing (read its size): needs GRANT pg_read_all_stats TO watcher"
    # What was named is told, whichever database the connection leads to.
    named = ask_postgres(GROWTH, "postgres", "--schema", "nova*", "--schema", "cinder", "--mode", "size")
    assert (named.state, named.reason.partition(" in ")[2]) == (
        OK,
        "4 schemas; neither --size nor --path says when it is full",
    )
    postgres.sql("GRANT pg_read_all_stats TO watcher")
    assert ask_postgres(GROWTH, "nova").state == OK
    postgres.sql("GRANT CONNECT ON DATABASE heat TO PUBLIC; REVOKE pg_read_all_stats FROM watcher")


def test_sizes_wait_for_no_lock(postgres, ask_postgres):
    """pg_total_relation_size would hang behind a queued LOCK TABLE; relpages and pg_database_size do not."""
    holder = postgres.connection(database="nova", autocommit=False)
    holder.cursor().execute("LOCK TABLE instances IN ACCESS EXCLUSIVE MODE")
    try:
        assert ask_postgres(GROWTH, "nova").state == OK
        outcome = ask_postgres(SOFT_DELETED, "nova", "--include", "nova.instances")
        assert outcome.state == UNKNOWN
        assert re.match(r"nova\.instances: .*lock", outcome.reason), outcome.reason
    finally:
        holder.rollback()
        holder.close()
