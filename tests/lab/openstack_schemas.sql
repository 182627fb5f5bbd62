-- SPDX-License-Identifier: Apache-2.0
-- OpenStack's schemas, reduced to what check_db_invariants and check_db_soft_deleted read: those columns with the types, keys and
-- indexes that `db sync` of nova 34.0.0, neutron 29.0.0, cinder 29.0.0, glance 33.0.0, keystone 30.0.0, heat 27.0.1 and placement
-- 16.0.0 made on MariaDB 10.11 (information_schema.columns and .statistics). Foreign keys and defaults are left out. nova_cell0 is
-- made as nova is.

-- schema nova
CREATE TABLE alembic_version (
  version_num varchar(32) NOT NULL,
  PRIMARY KEY (version_num)
);
CREATE TABLE block_device_mapping (
  created_at datetime,
  updated_at datetime,
  deleted_at datetime,
  id int NOT NULL AUTO_INCREMENT,
  volume_id varchar(36),
  instance_uuid varchar(36),
  deleted int,
  destination_type varchar(255),
  PRIMARY KEY (id),
  KEY block_device_mapping_instance_uuid_idx (instance_uuid),
  KEY block_device_mapping_instance_uuid_volume_id_idx (instance_uuid, volume_id),
  KEY volume_id (volume_id)
);
CREATE TABLE compute_nodes (
  id int NOT NULL AUTO_INCREMENT,
  deleted int,
  host varchar(255),
  PRIMARY KEY (id)
);
CREATE TABLE fixed_ips (
  created_at datetime,
  updated_at datetime,
  id int NOT NULL AUTO_INCREMENT,
  address varchar(39),
  allocated tinyint(1),
  instance_uuid varchar(36),
  deleted int,
  PRIMARY KEY (id),
  KEY address (address),
  KEY fixed_ips_deleted_allocated_idx (address, deleted, allocated),
  KEY fixed_ips_deleted_allocated_updated_at_idx (deleted, allocated, updated_at),
  KEY fixed_ips_instance_uuid_fkey (instance_uuid),
  UNIQUE KEY uniq_fixed_ips0address0deleted (address, deleted)
);
CREATE TABLE floating_ips (
  id int NOT NULL AUTO_INCREMENT,
  address varchar(39),
  fixed_ip_id int,
  deleted int,
  PRIMARY KEY (id),
  KEY fixed_ip_id (fixed_ip_id),
  UNIQUE KEY uniq_floating_ips0address0deleted (address, deleted)
);
CREATE TABLE instance_actions (
  deleted_at datetime,
  id int NOT NULL AUTO_INCREMENT,
  deleted int,
  PRIMARY KEY (id)
);
CREATE TABLE instance_faults (
  deleted_at datetime,
  id int NOT NULL AUTO_INCREMENT,
  deleted int,
  PRIMARY KEY (id)
);
CREATE TABLE instance_system_metadata (
  deleted_at datetime,
  id int NOT NULL AUTO_INCREMENT,
  deleted int,
  PRIMARY KEY (id)
);
CREATE TABLE instances (
  created_at datetime,
  updated_at datetime,
  deleted_at datetime,
  id int NOT NULL AUTO_INCREMENT,
  host varchar(255),
  uuid varchar(36) NOT NULL,
  deleted int,
  PRIMARY KEY (id),
  KEY instances_deleted_created_at_idx (deleted, created_at),
  KEY instances_uuid_deleted_idx (uuid, deleted),
  UNIQUE KEY uniq_instances0uuid (uuid)
);
CREATE TABLE migrations (
  deleted_at datetime,
  id int NOT NULL AUTO_INCREMENT,
  deleted int,
  uuid varchar(36),
  PRIMARY KEY (id),
  UNIQUE KEY migrations_uuid (uuid)
);
CREATE TABLE quota_usages (
  created_at datetime,
  updated_at datetime,
  id int NOT NULL AUTO_INCREMENT,
  project_id varchar(255),
  in_use int NOT NULL,
  reserved int NOT NULL,
  deleted int,
  PRIMARY KEY (id),
  KEY ix_quota_usages_project_id (project_id)
);
CREATE TABLE services (
  created_at datetime,
  id int NOT NULL AUTO_INCREMENT,
  host varchar(255),
  `binary` varchar(255),
  deleted int,
  last_seen_up datetime,
  PRIMARY KEY (id),
  UNIQUE KEY uniq_services0host0binary0deleted (host, `binary`, deleted)
);

-- schema nova_api
CREATE TABLE build_requests (
  created_at datetime,
  id int NOT NULL AUTO_INCREMENT,
  instance_uuid varchar(36),
  PRIMARY KEY (id),
  KEY build_requests_instance_uuid_idx (instance_uuid),
  UNIQUE KEY uniq_build_requests0instance_uuid (instance_uuid)
);
CREATE TABLE cell_mappings (
  id int NOT NULL AUTO_INCREMENT,
  PRIMARY KEY (id)
);
CREATE TABLE instance_mappings (
  created_at datetime,
  id int NOT NULL AUTO_INCREMENT,
  instance_uuid varchar(36) NOT NULL,
  cell_id int,
  PRIMARY KEY (id),
  KEY cell_id (cell_id),
  KEY instance_uuid_idx (instance_uuid),
  UNIQUE KEY uniq_instance_mappings0instance_uuid (instance_uuid)
);

-- schema neutron
CREATE TABLE agents (
  id varchar(36) NOT NULL,
  host varchar(255) NOT NULL,
  heartbeat_timestamp datetime NOT NULL,
  PRIMARY KEY (id),
  KEY ix_agents_host (host)
);
CREATE TABLE floatingips (
  id varchar(36) NOT NULL,
  floating_ip_address varchar(64) NOT NULL,
  fixed_port_id varchar(36),
  PRIMARY KEY (id),
  KEY fixed_port_id (fixed_port_id)
);
CREATE TABLE ml2_port_bindings (
  port_id varchar(36) NOT NULL,
  vif_type varchar(64) NOT NULL,
  host varchar(255) NOT NULL,
  PRIMARY KEY (port_id, host)
);
CREATE TABLE ports (
  id varchar(36) NOT NULL,
  device_id varchar(255) NOT NULL,
  device_owner varchar(255) NOT NULL,
  standard_attr_id bigint NOT NULL,
  PRIMARY KEY (id),
  KEY ix_ports_device_id (device_id),
  UNIQUE KEY uniq_ports0standard_attr_id (standard_attr_id)
);
CREATE TABLE quotausages (
  project_id varchar(255) NOT NULL,
  resource varchar(255) NOT NULL,
  in_use int NOT NULL,
  reserved int NOT NULL,
  PRIMARY KEY (project_id, resource)
);
CREATE TABLE standardattributes (
  id bigint NOT NULL AUTO_INCREMENT,
  created_at datetime,
  updated_at datetime,
  PRIMARY KEY (id)
);

-- schema cinder
CREATE TABLE quota_usages (
  created_at datetime,
  updated_at datetime,
  deleted tinyint(1),
  id int NOT NULL AUTO_INCREMENT,
  project_id varchar(255),
  resource varchar(300),
  in_use int NOT NULL,
  reserved int NOT NULL,
  PRIMARY KEY (id),
  KEY ix_quota_usages_project_id (project_id),
  KEY quota_usage_project_resource_idx (project_id, resource)
);
CREATE TABLE reservations (
  deleted_at datetime,
  deleted tinyint(1),
  id int NOT NULL AUTO_INCREMENT,
  PRIMARY KEY (id)
);
CREATE TABLE services (
  created_at datetime,
  updated_at datetime,
  deleted tinyint(1),
  id int NOT NULL AUTO_INCREMENT,
  host varchar(255),
  PRIMARY KEY (id)
);
CREATE TABLE snapshots (
  deleted_at datetime,
  deleted tinyint(1),
  id varchar(36) NOT NULL,
  volume_id varchar(36) NOT NULL,
  PRIMARY KEY (id),
  KEY ix_snapshots_volume_id (volume_id)
);
CREATE TABLE volume_attachment (
  created_at datetime,
  updated_at datetime,
  deleted_at datetime,
  deleted tinyint(1),
  id varchar(36) NOT NULL,
  volume_id varchar(36) NOT NULL,
  instance_uuid varchar(36),
  attach_status varchar(255),
  PRIMARY KEY (id),
  KEY ix_volume_attachment_volume_id (volume_id)
);
CREATE TABLE volumes (
  created_at datetime,
  updated_at datetime,
  deleted_at datetime,
  deleted tinyint(1),
  id varchar(36) NOT NULL,
  project_id varchar(255),
  status varchar(255),
  migration_status varchar(255),
  multiattach tinyint(1),
  use_quota tinyint(1) NOT NULL,
  PRIMARY KEY (id),
  KEY volumes_deleted_project_id_idx (deleted, project_id)
);

-- schema glance
CREATE TABLE image_locations (
  id int NOT NULL AUTO_INCREMENT,
  image_id varchar(36) NOT NULL,
  deleted_at datetime,
  deleted tinyint(1) NOT NULL,
  PRIMARY KEY (id),
  KEY ix_image_locations_deleted (deleted),
  KEY ix_image_locations_image_id (image_id)
);
CREATE TABLE images (
  id varchar(36) NOT NULL,
  status varchar(30) NOT NULL,
  deleted_at datetime,
  deleted tinyint(1) NOT NULL,
  PRIMARY KEY (id),
  KEY ix_images_deleted (deleted)
);

-- schema keystone
CREATE TABLE revocation_event (
  id int NOT NULL AUTO_INCREMENT,
  expires_at datetime,
  PRIMARY KEY (id)
);
CREATE TABLE token (
  id varchar(64) NOT NULL,
  expires datetime,
  PRIMARY KEY (id),
  KEY ix_token_expires (expires)
);

-- schema heat
CREATE TABLE service (
  engine_id varchar(36) NOT NULL,
  updated_at datetime,
  deleted_at datetime,
  id varchar(36) NOT NULL,
  PRIMARY KEY (id)
);
CREATE TABLE stack (
  id varchar(36) NOT NULL,
  created_at datetime,
  updated_at datetime,
  deleted_at datetime,
  status varchar(255),
  PRIMARY KEY (id)
);
CREATE TABLE stack_lock (
  stack_id varchar(36) NOT NULL,
  created_at datetime,
  engine_id varchar(36),
  PRIMARY KEY (stack_id)
);

-- schema placement
CREATE TABLE consumers (
  created_at datetime,
  updated_at datetime,
  id int NOT NULL AUTO_INCREMENT,
  uuid varchar(36) NOT NULL,
  PRIMARY KEY (id),
  UNIQUE KEY uniq_consumers0uuid (uuid)
);
