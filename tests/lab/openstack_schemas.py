# SPDX-License-Identifier: Apache-2.0
"""OpenStack's schemas on a real server, and a small cloud in them that contradicts nothing."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).with_name("openstack_schemas.sql")
NAMES = {"cell": "nova", "api": "nova_api"}  # role -> schema, where they differ
BOOLEAN = re.compile(r"tinyint\(1\)")


def statements() -> Iterator[tuple[str, str]]:
    """Yield schema and CREATE TABLE; nova's tables for nova_cell0, too."""
    for part in re.split(r"^-- schema ", SOURCE.read_text(), flags=re.MULTILINE)[1:]:
        schema, _, text = part.partition("\n")
        for statement in filter(str.strip, text.split(";\n")):
            yield schema, statement.strip()
            if schema == "nova":
                yield "nova_cell0", statement.strip()


def of_postgres(statement: str) -> Iterator[str]:
    """Yield what PostgreSQL makes of a CREATE TABLE: SQLAlchemy's types there, and the indexes apart."""
    table = statement.split()[2]
    lines = [line.strip().rstrip(",") for line in statement.splitlines()[1:-1]]
    kept = []
    for number, line in enumerate(lines):
        key = re.match(r"(UNIQUE )?KEY \S+ \((.*)\)", line)
        if key:
            yield f"CREATE {key[1] or ''}INDEX {table}_{number} ON {table} ({key[2].replace('`', chr(34))})"
            continue
        line = line.replace("int NOT NULL AUTO_INCREMENT", "serial NOT NULL").replace("datetime", "timestamp")
        kept.append(BOOLEAN.sub("boolean", line).replace("`binary`", '"binary"'))
    yield f"CREATE TABLE {table} ({', '.join(kept)})"


def make(database: Any) -> None:
    """Make the schemas on a MariaDB, empty, with a shadow table of nova's instances."""
    with contextlib.closing(database.connection()) as link, link.cursor() as cursor:
        for schema, statement in statements():
            cursor.execute(f"CREATE DATABASE IF NOT EXISTS {schema} CHARACTER SET utf8mb3")
            cursor.execute(f"USE {schema}")
            cursor.execute(statement)
        cursor.execute("CREATE TABLE nova.shadow_instances LIKE nova.instances")


def uuid(number: int) -> str:
    """Return a UUID that tells its number, spread evenly as random ones are."""
    return f"{number * 2654435761 % (1 << 32):08x}-0000-4000-8000-{number:012d}"


CLOUD = f"""
INSERT INTO nova_api.cell_mappings (id) VALUES (1), (2);
INSERT INTO nova.alembic_version VALUES ('2903cd72dc14');
INSERT INTO nova_cell0.alembic_version VALUES ('2903cd72dc14');
INSERT INTO nova.services (id, created_at, last_seen_up, host, `binary`, deleted)
  VALUES (1, UTC_TIMESTAMP() - INTERVAL 90 DAY, UTC_TIMESTAMP(), 'node1', 'nova-compute', 0),
         (2, UTC_TIMESTAMP() - INTERVAL 90 DAY, NULL, 'ctl1', 'nova-osapi_compute', 0);
INSERT INTO nova.compute_nodes (id, host, deleted) VALUES (1, 'node1', 0);
INSERT INTO nova.instances (id, uuid, host, deleted, created_at)
  VALUES (1, '{uuid(1)}', 'node1', 0, '2026-01-01'), (2, '{uuid(2)}', 'node1', 0, '2026-01-01'),
         (3, '{uuid(3)}', 'gone9', 3, '2026-01-01');
INSERT INTO nova_cell0.instances (id, uuid, host, deleted, created_at) VALUES (1, '{uuid(4)}', NULL, 0, '2026-01-01');
INSERT INTO nova_api.instance_mappings (id, instance_uuid, cell_id, created_at)
  VALUES (1, '{uuid(1)}', 2, '2026-01-01'), (2, '{uuid(2)}', 2, '2026-01-01'), (3, '{uuid(4)}', 1, '2026-01-01');
INSERT INTO nova_api.build_requests (id, instance_uuid, created_at) VALUES (1, '{uuid(5)}', UTC_TIMESTAMP());
INSERT INTO nova_api.instance_mappings (id, instance_uuid, created_at) VALUES (4, '{uuid(5)}', UTC_TIMESTAMP());
INSERT INTO neutron.agents (id, host, heartbeat_timestamp) VALUES ('{uuid(10)}', 'node1', UTC_TIMESTAMP());
INSERT INTO neutron.standardattributes (id, created_at, updated_at) VALUES (1, '2026-01-01', '2026-01-02'), (2, '2026-01-01', NULL);
INSERT INTO neutron.ports (id, device_id, device_owner, standard_attr_id)
  VALUES ('{uuid(11)}', '{uuid(1)}', 'compute:nova', 1), ('{uuid(12)}', 'dhcp-1', 'network:dhcp', 2);
INSERT INTO neutron.ml2_port_bindings (port_id, host, vif_type) VALUES ('{uuid(11)}', 'node1', 'ovs');
INSERT INTO neutron.floatingips (id, floating_ip_address, fixed_port_id) VALUES ('{uuid(13)}', '192.0.2.7', '{uuid(11)}');
INSERT INTO neutron.quotausages (project_id, resource, in_use, reserved) VALUES ('p1', 'port', 2, 0);
INSERT INTO cinder.volumes (id, project_id, status, deleted, multiattach, use_quota, created_at)
  VALUES ('{uuid(20)}', 'p1', 'in-use', 0, 0, 1, '2026-01-01'), ('{uuid(21)}', 'p1', 'available', 0, 0, 1, '2026-01-01');
INSERT INTO cinder.volume_attachment (id, volume_id, instance_uuid, attach_status, deleted, created_at)
  VALUES ('{uuid(22)}', '{uuid(20)}', '{uuid(1)}', 'attached', 0, '2026-01-01');
INSERT INTO cinder.snapshots (id, volume_id, deleted) VALUES ('{uuid(23)}', '{uuid(21)}', 0);
INSERT INTO cinder.services (id, host, deleted, updated_at) VALUES (1, 'vol1', 0, UTC_TIMESTAMP());
INSERT INTO cinder.quota_usages (id, project_id, resource, in_use, reserved, deleted, created_at)
  VALUES (1, 'p1', 'volumes', 2, 0, 0, '2026-01-01');
INSERT INTO nova.block_device_mapping (id, instance_uuid, volume_id, destination_type, deleted, created_at)
  VALUES (1, '{uuid(1)}', '{uuid(20)}', 'volume', 0, '2026-01-01'), (2, '{uuid(2)}', NULL, 'local', 0, '2026-01-01');
INSERT INTO glance.images (id, status, deleted) VALUES ('{uuid(30)}', 'active', 0);
INSERT INTO glance.image_locations (id, image_id, deleted) VALUES (1, '{uuid(30)}', 0);
INSERT INTO placement.consumers (id, uuid, created_at) VALUES (1, '{uuid(1)}', '2026-01-01');
INSERT INTO heat.service (id, engine_id, updated_at) VALUES ('{uuid(40)}', '{uuid(41)}', UTC_TIMESTAMP());
INSERT INTO heat.stack (id, status, created_at) VALUES ('{uuid(42)}', 'COMPLETE', '2026-01-01');
INSERT INTO heat.stack_lock (stack_id, engine_id, created_at) VALUES ('{uuid(42)}', '{uuid(41)}', '2026-01-01');
"""


def cloud(database: Any) -> None:
    """Fill the schemas of a MariaDB, whatever they hold, with a small cloud in which all is well."""
    with contextlib.closing(database.connection()) as link, link.cursor() as cursor:
        for schema, statement in statements():
            table = f"{schema}.{statement.split()[2]}"
            cursor.execute(f"SELECT COUNT(*) AS n FROM (SELECT 1 FROM {table} LIMIT 1001) w")
            cursor.execute(f"TRUNCATE {table}" if cursor.fetchone()["n"] > 1000 else f"DELETE FROM {table}")
        for statement in CLOUD.strip().split(";\n"):
            cursor.execute(statement.rstrip(";\n"))


def on_postgres(server: Any) -> list[str]:
    """Make the same schemas, and the same cloud in them, on a PostgreSQL: a database for each. Return their names."""
    made: list[str] = []
    for schema, statement in statements():
        if schema not in made:
            server.sql(f"CREATE DATABASE {schema}")
            made.append(schema)
        tables = list(of_postgres(statement))
        server.sql("; ".join([*tables[-1:], *tables[:-1]]), database=schema)
    for statement in CLOUD.strip().split(";\n"):
        text = statement.rstrip(";\n").replace("`binary`", '"binary"')
        schema, table = re.match(r"INSERT INTO (\w+)\.(\w+)", text).groups()  # type: ignore[union-attr]
        if schema in ("cinder", "glance"):
            text = _booleans(text)
        text = re.sub(r"INTERVAL (\d+) DAY", r"INTERVAL '\1 days'", text.replace(f"{schema}.{table}", table, 1))
        server.sql(text.replace("UTC_TIMESTAMP()", "(now() AT TIME ZONE 'utc')"), database=schema)
    return made


def _booleans(text: str) -> str:
    """Say true and false in the columns that are booleans there."""
    head, _, rows = text.partition("VALUES")
    columns = re.search(r"\((.*)\)", head)[1].split(", ")  # type: ignore[index]
    places = [number for number, name in enumerate(columns) if name in ("deleted", "multiattach", "use_quota")]

    def row(found: re.Match[str]) -> str:
        words = re.split(r", (?=(?:[^']*'[^']*')*[^']*$)", found[1])
        for place in places:
            words[place] = {"0": "false", "1": "true"}[words[place]]
        return f"({', '.join(words)})"

    return f"{head}VALUES" + re.sub(r"\(((?:[^()]|\([^()]*\))*)\)", row, rows)
