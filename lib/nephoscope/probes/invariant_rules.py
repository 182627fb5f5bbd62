# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: S608 - a table of SQL in our own words
"""The contradictions that OpenStack's databases may hold, as rules that must meet no row: plain data, asked by `invariants`.

A rule walks one table along its key. A row is a contradiction when `where` holds and what it refers to (`ref`) lives in none
of its homes. Names of tables and columns are those of the schemas that the services' own tools make (`db sync` of nova 34,
neutron 29, cinder 29, glance 33, heat 27, placement 16, on MariaDB 10.11); most have been so for ten years. SQL stands for
MySQL and PostgreSQL alike: a boolean is compared with false, a percent sign would clash with parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

SCHEMAS = {
    "cell": ("nova", "nova_cell*"),
    "api": ("nova_api",),
    "neutron": ("neutron", "ovs_neutron"),
    "cinder": ("cinder",),
    "glance": ("glance",),
    "heat": ("heat",),
    "placement": ("placement",),
}
"""role -> what its schema is called unless the operator says otherwise (TripleO: ovs_neutron); of cells there are several."""

EVERY_CELL = "cell"


class Home(NamedTuple):
    """Where a thing that is referred to may live: a row of `table` with it in `column`, for which `where` holds."""

    role: str
    table: str
    column: str
    where: str = ""
    uses: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that must be readable."""
        return (self.column, *self.uses)


class Rule(NamedTuple):
    """One rule.

    says   what a row means, as the end of "N rows: …"
    role   whose schema it walks
    table  the table that is walked, alias t; `key` is its unique key, or the first column of it
    where  SQL of a row that is suspect; {now} is the server's time in UTC, {table} another table of the schema
    show   SQL of what the row is called
    ref    SQL of what it refers to; "" when the row is a contradiction by itself
    homes  where that lives when all is well: in any of them
    uses   columns that are read, by table
    join   SQL between the table and WHERE
    share  a row costs as much as so many rows of others
    same   the one column that must say the same in every cell; nothing is walked then
    newer  columns that older releases have not: without one the rule is passed over, and that is said; read in a subselect
    """

    name: str
    says: str
    role: str
    table: str
    uses: tuple[tuple[str, tuple[str, ...]], ...]
    where: str = ""
    show: str = "t.id"
    key: str = "id"
    ref: str = ""
    homes: tuple[Home, ...] = ()
    join: str = ""
    share: int = 1
    same: str = ""
    newer: tuple[str, ...] = ()

    @property
    def roles(self) -> tuple[str, ...]:
        """Every role whose schema it needs, each once."""
        return tuple(dict.fromkeys((self.role, *(home.role for home in self.homes))))

    def rights(self) -> list[tuple[str, str, tuple[str, ...]]]:
        """Return what must be readable: role, table, columns."""
        return [
            *((self.role, table, columns) for table, columns in self.uses),
            *((home.role, home.table, home.columns) for home in self.homes),
        ]


HOUR = "{now} - INTERVAL '1' HOUR"
DAY = "{now} - INTERVAL '1' DAY"
WEEK = "{now} - INTERVAL '7' DAY"


def stale(alias: str, since: str) -> str:
    """Return SQL for: the row was last changed before `since`.

    `updated_at` stays NULL until a row is first changed (oslo.db's TimestampMixin); one without any time is an old one.
    """
    return f"COALESCE({alias}.updated_at, {alias}.created_at, TIMESTAMP '2000-01-01 00:00:00') < {since}"


BUILD = Home("api", "build_requests", "instance_uuid")
INSTANCE = (Home("cell", "instances", "uuid", "h.deleted = 0", ("deleted",)), BUILD)
VOLUME = (Home("cinder", "volumes", "id", "h.deleted = false", ("deleted",)),)
COMPUTE = (Home("cell", "services", "host", "h.deleted = 0 AND h.binary = 'nova-compute'", ("deleted", "binary")),)
# A port changes when its instance comes or goes: what changed within the hour may be half way.
PORTS = (
    ("ports", ("id", "device_id", "device_owner", "standard_attr_id")),
    ("standardattributes", ("id", "created_at", "updated_at")),
)
# Kuryr's ports for pods are no instance's, though their owner is written alike.
AT_REST = "LEFT({alias}.device_owner, 8) = 'compute:' AND {alias}.device_owner <> 'compute:kuryr' AND " + stale(
    "a", HOUR
)

RULES: tuple[Rule, ...] = (
    Rule(
        "floating-ip-on-deleted-instance",
        "a floating IP points at a port whose instance is gone",
        "neutron",
        "floatingips",
        (("floatingips", ("id", "floating_ip_address", "fixed_port_id")), *PORTS),
        AT_REST.replace("{alias}", "p"),
        "t.floating_ip_address",
        ref="p.device_id",
        homes=INSTANCE,
        join="JOIN {ports} p ON p.id = t.fixed_port_id JOIN {standardattributes} a ON a.id = p.standard_attr_id",
    ),
    Rule(
        "port-without-instance",
        "a port is held by an instance that is gone",
        "neutron",
        "ports",
        PORTS,
        AT_REST.replace("{alias}", "t"),
        ref="t.device_id",
        homes=INSTANCE,
        join="JOIN {standardattributes} a ON a.id = t.standard_attr_id",
    ),
    Rule(
        "port-binding-failed",
        "a port could not be bound on its host",
        "neutron",
        "ml2_port_bindings",
        (("ml2_port_bindings", ("port_id", "vif_type")),),
        "t.vif_type = 'binding_failed'",
        "t.port_id",
        key="port_id",
    ),
    Rule(
        "neutron-agent-vanished",
        "an agent has not reported for a week",
        "neutron",
        "agents",
        (("agents", ("id", "host", "heartbeat_timestamp")),),
        "t.heartbeat_timestamp < " + WEEK,
        "t.host",
    ),
    Rule(
        "neutron-quota-negative",
        "neutron reckons with a use below zero",
        "neutron",
        "quotausages",
        (("quotausages", ("project_id", "resource", "in_use", "reserved")),),
        "t.in_use < 0 OR t.reserved < 0",
        "t.project_id",
        key="project_id",
    ),
    Rule(
        "nova-network-floating-ip",
        "a floating IP of nova-network belongs to a fixed IP whose instance is gone",
        "cell",
        "floating_ips",
        (
            ("floating_ips", ("id", "address", "fixed_ip_id", "deleted")),
            ("fixed_ips", ("id", "address", "instance_uuid", "allocated", "deleted", "created_at", "updated_at")),
        ),
        "t.deleted = 0 AND " + stale("f", HOUR),
        "t.address",
        ref="f.instance_uuid",
        homes=INSTANCE,
        join="JOIN {fixed_ips} f ON f.id = t.fixed_ip_id",
    ),
    Rule(
        "fixed-ip-without-instance",
        "a fixed IP of nova-network is allocated to an instance that is gone",
        "cell",
        "fixed_ips",
        (("fixed_ips", ("id", "address", "instance_uuid", "allocated", "deleted", "created_at", "updated_at")),),
        "t.deleted = 0 AND t.allocated = true AND " + stale("t", HOUR),
        "t.address",
        ref="t.instance_uuid",
        homes=INSTANCE,
    ),
    Rule(
        "volume-on-deleted-instance",
        "a volume is attached to an instance that is gone",
        "cinder",
        "volume_attachment",
        (
            (
                "volume_attachment",
                ("id", "volume_id", "instance_uuid", "attach_status", "deleted", "created_at", "updated_at"),
            ),
        ),
        "t.deleted = false AND t.attach_status <> 'detached' AND t.instance_uuid IS NOT NULL AND " + stale("t", HOUR),
        "t.volume_id",
        ref="t.instance_uuid",
        homes=INSTANCE,
    ),
    Rule(
        "volume-attached-twice",
        "a volume that is not multi-attach is attached to two instances: both may write",
        "cinder",
        "volume_attachment",
        (
            ("volume_attachment", ("id", "volume_id", "instance_uuid", "attach_status", "deleted")),
            ("volumes", ("id", "multiattach")),
        ),
        "t.deleted = false AND t.attach_status = 'attached' AND v.multiattach = false AND EXISTS (SELECT 1 FROM"
        " {volume_attachment} o WHERE o.volume_id = t.volume_id AND o.deleted = false AND o.attach_status = 'attached'"
        " AND o.instance_uuid <> t.instance_uuid)",
        "t.volume_id",
        join="JOIN {volumes} v ON v.id = t.volume_id",
    ),
    Rule(
        "volume-in-use-unattached",
        "a volume is in-use and attached to nothing",
        "cinder",
        "volumes",
        (("volumes", ("id", "status", "deleted", "created_at", "updated_at")),),
        "t.deleted = false AND t.status = 'in-use' AND " + stale("t", HOUR),
        ref="t.id",
        homes=(Home("cinder", "volume_attachment", "volume_id", "h.deleted = false", ("deleted",)),),
    ),
    Rule(
        "volume-stuck",
        "a volume has been on its way to another state for a day",
        "cinder",
        "volumes",
        (("volumes", ("id", "status", "deleted", "created_at", "updated_at")),),
        "t.deleted = false AND t.status IN ('creating', 'deleting', 'attaching', 'detaching', 'extending', 'uploading',"
        " 'downloading', 'retyping', 'maintenance', 'restoring-backup', 'backing-up') AND " + stale("t", DAY),
    ),
    Rule(
        "snapshot-of-deleted-volume",
        "a snapshot's volume is gone",
        "cinder",
        "snapshots",
        (("snapshots", ("id", "volume_id", "deleted")),),
        "t.deleted = false",
        ref="t.volume_id",
        homes=VOLUME,
    ),
    Rule(
        "instance-on-deleted-volume",
        "an instance has a block device whose volume is gone",
        "cell",
        "block_device_mapping",
        (
            (
                "block_device_mapping",
                ("id", "instance_uuid", "volume_id", "destination_type", "deleted", "created_at", "updated_at"),
            ),
        ),
        "t.deleted = 0 AND t.destination_type = 'volume' AND t.volume_id IS NOT NULL AND " + stale("t", HOUR),
        "t.instance_uuid",
        ref="t.volume_id",
        homes=VOLUME,
    ),
    Rule(
        "cinder-service-vanished",
        "a service of cinder has not reported for a week",
        "cinder",
        "services",
        (("services", ("id", "host", "deleted", "created_at", "updated_at")),),
        "t.deleted = false AND " + stale("t", WEEK),
        "t.host",
    ),
    Rule(
        "cinder-quota-negative",
        "cinder reckons with a use below zero",
        "cinder",
        "quota_usages",
        (("quota_usages", ("id", "project_id", "in_use", "reserved", "deleted")),),
        "t.deleted = false AND (t.in_use < 0 OR t.reserved < 0)",
        "t.project_id",
    ),
    Rule(
        "cinder-quota-drift",
        "cinder's use of volumes is not the number of volumes",
        "cinder",
        "quota_usages",
        (
            (
                "quota_usages",
                ("id", "project_id", "resource", "in_use", "reserved", "deleted", "created_at", "updated_at"),
            ),
            ("volumes", ("project_id", "deleted", "use_quota", "migration_status")),
        ),
        "t.deleted = false AND t.resource = 'volumes' AND t.reserved = 0 AND "
        + stale("t", HOUR)
        + " AND t.in_use <> (SELECT COUNT(*) FROM {volumes} v WHERE v.project_id = t.project_id AND v.deleted = false"
        " AND COALESCE(v.use_quota, true) = true AND LEFT(COALESCE(v.migration_status, ''), 6) <> 'target')",
        "t.project_id",
        share=20,
        newer=("use_quota",),  # from Xena on
    ),
    Rule(
        "image-without-location",
        "an active image has no place where its data lie",
        "glance",
        "images",
        (("images", ("id", "status", "deleted")),),
        "t.deleted = false AND t.status = 'active'",
        ref="t.id",
        homes=(Home("glance", "image_locations", "image_id", "h.deleted = false", ("deleted",)),),
    ),
    Rule(
        "instance-on-unknown-host",
        "an instance is on a host that no nova-compute serves",
        "cell",
        "instances",
        (("instances", ("id", "uuid", "host", "deleted", "created_at", "updated_at")),),
        "t.deleted = 0 AND t.host IS NOT NULL AND " + stale("t", HOUR),
        "t.uuid",
        ref="t.host",
        homes=COMPUTE,
    ),
    Rule(
        "compute-node-without-service",
        "a compute node's record has outlived its service",
        "cell",
        "compute_nodes",
        (("compute_nodes", ("id", "host", "deleted")),),
        "t.deleted = 0",
        "t.host",
        ref="t.host",
        homes=COMPUTE,
    ),
    Rule(
        "nova-service-vanished",
        "a service of nova has not reported for a week",
        "cell",
        "services",
        (("services", ("id", "host", "binary", "deleted", "last_seen_up", "created_at")),),
        # The API writes a record of itself that it never brings up to date.
        "t.deleted = 0 AND t.binary NOT IN ('nova-osapi_compute', 'nova-metadata')"
        " AND COALESCE(t.last_seen_up, t.created_at) < " + WEEK,
        "t.host",
    ),
    Rule(
        "nova-quota-negative",
        "nova reckons with a use below zero (releases before Pike)",
        "cell",
        "quota_usages",
        (("quota_usages", ("id", "project_id", "in_use", "reserved", "deleted", "created_at", "updated_at")),),
        # Later releases count anew each time and leave the table as it was.
        "t.deleted = 0 AND (t.in_use < 0 OR t.reserved < 0) AND t.updated_at > {now} - INTERVAL '30' DAY",
        "t.project_id",
    ),
    Rule(
        "mapping-without-cell",
        "an instance was never given a cell and is no longer being built",
        "api",
        "instance_mappings",
        (("instance_mappings", ("id", "instance_uuid", "cell_id", "created_at")),),
        "t.cell_id IS NULL AND t.created_at < " + HOUR,
        "t.instance_uuid",
        ref="t.instance_uuid",
        homes=(BUILD,),
    ),
    Rule(
        "mapping-without-instance",
        "an instance is mapped to a cell that has no record of it",
        "api",
        "instance_mappings",
        (("instance_mappings", ("id", "instance_uuid", "cell_id", "created_at")),),
        "t.cell_id IS NOT NULL AND t.created_at < " + HOUR,
        "t.instance_uuid",
        ref="t.instance_uuid",
        homes=(Home("cell", "instances", "uuid"),),
    ),
    Rule(
        "build-request-stuck",
        "an instance has been waiting for a host for an hour",
        "api",
        "build_requests",
        (("build_requests", ("id", "instance_uuid", "created_at")),),
        "t.created_at < " + HOUR,
        "t.instance_uuid",
    ),
    Rule(
        "cell-versions-differ",
        "the cells' schemas are not of one release",
        "cell",
        "alembic_version",
        (("alembic_version", ("version_num",)),),
        same="version_num",
    ),
    Rule(
        "allocation-without-instance",
        "placement holds resources for an instance that is gone",
        "placement",
        "consumers",
        (("consumers", ("id", "uuid", "created_at", "updated_at")),),
        stale("t", HOUR),
        "t.uuid",
        ref="t.uuid",
        homes=(*INSTANCE, Home("cell", "migrations", "uuid", "h.deleted = 0", ("deleted",))),
    ),
    Rule(
        "stack-stuck",
        "a stack has been in progress for a day",
        "heat",
        "stack",
        (("stack", ("id", "status", "deleted_at", "created_at", "updated_at")),),
        "t.deleted_at IS NULL AND t.status = 'IN_PROGRESS' AND " + stale("t", DAY),
    ),
    Rule(
        "stack-locked-by-dead-engine",
        "a stack is locked by an engine that is gone",
        "heat",
        "stack_lock",
        (("stack_lock", ("stack_id", "engine_id", "created_at")),),
        "t.created_at < " + HOUR,
        "t.stack_id",
        key="stack_id",
        ref="t.engine_id",
        homes=(
            Home(
                "heat",
                "service",
                "engine_id",
                "h.deleted_at IS NULL AND h.updated_at > " + HOUR,
                ("deleted_at", "updated_at"),
            ),
        ),
    ),
)


def rights(rules: Sequence[Rule] = RULES) -> dict[tuple[str, str], tuple[str, ...]]:
    """Return what must be readable for these rules: (role, table) -> columns, sorted."""
    found: dict[tuple[str, str], set[str]] = {}
    for rule in rules:
        for role, table, columns in rule.rights():
            found.setdefault((role, table), set()).update(columns)
        if EVERY_CELL in (home.role for home in rule.homes):
            found.setdefault(("api", "cell_mappings"), set()).add("id")
    return {where: tuple(sorted(columns)) for where, columns in sorted(found.items())}
