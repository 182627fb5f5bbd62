# SPDX-License-Identifier: Apache-2.0
"""What a MySQL 8.0 or 8.4 answers: tables, status, variables, written by hand in the shapes of the MySQL Reference Manual.

Each table, list and error names its page of the manual of 8.0 (8.4 where it says so). The values are those of a small server
that is well; a test changes what it is about.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tests.simulators.mysql_server import Account, Error, MySQL, Rows, Table

READ_WAITS = "SELECT ON performance_schema.data_lock_waits"
RIGHTS = frozenset({"PROCESS", "REPLICATION CLIENT", "REFERENCES", READ_WAITS})
"""The grants that the page of check_mysql names for MySQL 8, and no more."""


def words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# "Server Status Variables". Not there, and in MariaDB: Innodb_history_list_length, Innodb_deadlocks, Access_denied_errors,
# Aborted_connects_preauth, every wsrep_.
STATUS = {
    "Aborted_clients": "12", "Aborted_connects": "3", "Bytes_received": "1048576", "Bytes_sent": "8388608",
    "Com_commit": "5000", "Com_rollback": "10", "Com_select": "40000",
    "Connection_errors_accept": "0", "Connection_errors_internal": "0", "Connection_errors_max_connections": "0",
    "Connection_errors_peer_address": "0", "Connection_errors_select": "0", "Connection_errors_tcpwrap": "0", "Connections": "900",
    "Created_tmp_disk_tables": "4", "Created_tmp_files": "5", "Created_tmp_tables": "800",
    "Handler_read_first": "60", "Handler_read_key": "90000", "Handler_read_rnd_next": "120000",
    "Innodb_buffer_pool_bytes_data": "67108864", "Innodb_buffer_pool_bytes_dirty": "65536",
    "Innodb_buffer_pool_pages_data": "4096", "Innodb_buffer_pool_pages_dirty": "4", "Innodb_buffer_pool_pages_free": "4000",
    "Innodb_buffer_pool_pages_total": "8192", "Innodb_buffer_pool_read_requests": "5000000", "Innodb_buffer_pool_reads": "900",
    "Innodb_buffer_pool_wait_free": "0", "Innodb_data_pending_fsyncs": "0", "Innodb_data_pending_reads": "0",
    "Innodb_data_pending_writes": "0", "Innodb_log_waits": "0", "Innodb_log_write_requests": "80000", "Innodb_log_writes": "6000",
    "Innodb_os_log_written": "40000000", "Innodb_row_lock_current_waits": "0", "Innodb_row_lock_time": "100",
    "Innodb_row_lock_time_avg": "10", "Innodb_row_lock_time_max": "50", "Innodb_row_lock_waits": "10", "Innodb_rows_read": "700000",
    "Max_used_connections": "40", "Open_files": "20", "Open_tables": "300", "Opened_tables": "310", "Queries": "60000", "Questions": "55000",
    "Select_full_join": "2", "Select_scan": "70", "Slow_queries": "7", "Ssl_version": "", "Table_locks_immediate": "50",
    "Table_locks_waited": "0", "Table_open_cache_hits": "4000", "Table_open_cache_misses": "320", "Table_open_cache_overflows": "0",
    "Threads_cached": "4", "Threads_connected": "20", "Threads_created": "44", "Threads_running": "2", "Uptime": "90000",
    "Uptime_since_flush_status": "90000",
}  # fmt: skip

# "Server System Variables", "InnoDB Startup Options and System Variables", "Replication and Binary Logging Options and Variables".
# Not there, and in MariaDB: max_statement_time, wsrep_*, extra_port, userstat, deadlock_search_depth_short.
VARIABLES = {
    "admin_address": "", "admin_port": "33062", "autocommit": "ON", "back_log": "151", "basedir": "/usr/", "binlog_expire_logs_seconds": "2592000",
    "binlog_format": "ROW", "character_set_server": "utf8mb4", "datadir": "/var/lib/mysql/", "default_storage_engine": "InnoDB",
    "flush_time": "0", "gtid_mode": "OFF", "hostname": "db.example", "innodb_buffer_pool_size": "134217728",
    "innodb_flush_log_at_trx_commit": "1", "innodb_lock_wait_timeout": "50", "innodb_page_size": "16384", "interactive_timeout": "28800",
    "innodb_print_all_deadlocks": "OFF", "innodb_read_only": "OFF", "information_schema_stats_expiry": "86400",
    "lock_wait_timeout": "31536000", "log_bin": "ON", "long_query_time": "10.000000", "max_allowed_packet": "67108864",
    "max_connect_errors": "100", "max_connections": "151", "max_execution_time": "0", "max_user_connections": "0",
    "net_read_timeout": "30", "net_write_timeout": "60", "open_files_limit": "10000", "performance_schema": "ON", "port": "3306",
    "protocol_version": "10", "read_only": "OFF", "require_secure_transport": "OFF", "server_id": "1",
    "server_uuid": "3e11fa47-71ca-11e1-9e33-c80aa9429562", "slow_query_log": "OFF", "sql_mode": "ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES",
    "super_read_only": "OFF", "sync_binlog": "1", "system_time_zone": "UTC", "table_open_cache": "4000", "time_zone": "SYSTEM",
    "transaction_isolation": "REPEATABLE-READ", "transaction_read_only": "OFF", "version_comment": "MySQL Community Server - GPL",
    "version_compile_os": "Linux", "wait_timeout": "28800",
}  # fmt: skip
OLD_VARIABLES = {  # of 8.0 that "What Is New in MySQL 8.4" removes
    "default_authentication_plugin": "caching_sha2_password", "expire_logs_days": "0", "log_slave_updates": "ON", "slave_net_timeout": "60",
}  # fmt: skip

# "The INFORMATION_SCHEMA INNODB_TRX Table"
TRX = words(
    "trx_id trx_state trx_started trx_requested_lock_id trx_wait_started trx_weight trx_mysql_thread_id trx_query trx_operation_state"
    " trx_tables_in_use trx_tables_locked trx_lock_structs trx_lock_memory_bytes trx_rows_locked trx_rows_modified trx_concurrency_tickets"
    " trx_isolation_level trx_unique_checks trx_foreign_key_checks trx_last_foreign_key_error trx_adaptive_hash_latched"
    " trx_adaptive_hash_timeout trx_is_read_only trx_autocommit_non_locking trx_schedule_weight"
)
# "The data_lock_waits Table"
DATA_LOCK_WAITS = words(
    "ENGINE REQUESTING_ENGINE_LOCK_ID REQUESTING_ENGINE_TRANSACTION_ID REQUESTING_THREAD_ID REQUESTING_EVENT_ID"
    " REQUESTING_OBJECT_INSTANCE_BEGIN BLOCKING_ENGINE_LOCK_ID BLOCKING_ENGINE_TRANSACTION_ID BLOCKING_THREAD_ID BLOCKING_EVENT_ID"
    " BLOCKING_OBJECT_INSTANCE_BEGIN"
)
# "The threads Table"
THREADS = words(
    "THREAD_ID NAME TYPE PROCESSLIST_ID PROCESSLIST_USER PROCESSLIST_HOST PROCESSLIST_DB PROCESSLIST_COMMAND PROCESSLIST_TIME"
    " PROCESSLIST_STATE PROCESSLIST_INFO PARENT_THREAD_ID ROLE INSTRUMENTED HISTORY CONNECTION_TYPE THREAD_OS_ID RESOURCE_GROUP"
)
# "The INFORMATION_SCHEMA PROCESSLIST Table"; MariaDB's has TIME_MS, STAGE, PROGRESS, QUERY_ID too
PROCESSLIST = words("ID USER HOST DB COMMAND TIME STATE INFO")
# "The INFORMATION_SCHEMA INNODB_METRICS Table"; MariaDB has ENABLED in place of STATUS
METRICS = words(
    "NAME SUBSYSTEM COUNT MAX_COUNT MIN_COUNT AVG_COUNT COUNT_RESET MAX_COUNT_RESET MIN_COUNT_RESET AVG_COUNT_RESET TIME_ENABLED"
    " TIME_DISABLED TIME_ELAPSED TIME_RESET STATUS TYPE COMMENT"
)
# "The INFORMATION_SCHEMA TABLES Table", "… SCHEMATA Table"
TABLES = words(
    "TABLE_CATALOG TABLE_SCHEMA TABLE_NAME TABLE_TYPE ENGINE VERSION ROW_FORMAT TABLE_ROWS AVG_ROW_LENGTH DATA_LENGTH MAX_DATA_LENGTH"
    " INDEX_LENGTH DATA_FREE AUTO_INCREMENT CREATE_TIME UPDATE_TIME CHECK_TIME TABLE_COLLATION CHECKSUM CREATE_OPTIONS TABLE_COMMENT"
)
# "The INFORMATION_SCHEMA COLUMNS Table", "… USER_PRIVILEGES Table"
COLUMNS = words(
    "TABLE_CATALOG TABLE_SCHEMA TABLE_NAME COLUMN_NAME ORDINAL_POSITION COLUMN_DEFAULT IS_NULLABLE DATA_TYPE CHARACTER_MAXIMUM_LENGTH"
    " CHARACTER_OCTET_LENGTH NUMERIC_PRECISION NUMERIC_SCALE DATETIME_PRECISION CHARACTER_SET_NAME COLLATION_NAME COLUMN_TYPE COLUMN_KEY"
    " EXTRA PRIVILEGES COLUMN_COMMENT GENERATION_EXPRESSION SRS_ID"
)
USER_PRIVILEGES = words("GRANTEE TABLE_CATALOG PRIVILEGE_TYPE IS_GRANTABLE")
SCHEMA_PRIVILEGES = words("GRANTEE TABLE_CATALOG TABLE_SCHEMA PRIVILEGE_TYPE IS_GRANTABLE")
# "The INFORMATION_SCHEMA INNODB_TABLESPACES Table" (INNODB_SYS_TABLESPACES before 8.0, and in MariaDB)
TABLESPACES = words(
    "SPACE NAME FLAG ROW_FORMAT PAGE_SIZE ZIP_PAGE_SIZE SPACE_TYPE FS_BLOCK_SIZE FILE_SIZE ALLOCATED_SIZE AUTOEXTEND_SIZE SERVER_VERSION"
    " SPACE_VERSION ENCRYPTION STATE"
)
# "Configuring Persistent Optimizer Statistics Parameters"
TABLE_STATS = words("database_name table_name last_update n_rows clustered_index_size sum_of_other_index_sizes")
SCHEMATA = words(
    "CATALOG_NAME SCHEMA_NAME DEFAULT_CHARACTER_SET_NAME DEFAULT_COLLATION_NAME SQL_PATH DEFAULT_ENCRYPTION"
)

# "SHOW REPLICA STATUS Statement"; the value stands behind the name
REPLICA: dict[str, Any] = {
    "Replica_IO_State": "Waiting for source to send event", "Source_Host": "source.example", "Source_User": "repl", "Source_Port": 3306,
    "Connect_Retry": 60, "Source_Log_File": "binlog.000003", "Read_Source_Log_Pos": 927, "Relay_Log_File": "relay.000002",
    "Relay_Log_Pos": 1145, "Relay_Source_Log_File": "binlog.000003", "Replica_IO_Running": "Yes", "Replica_SQL_Running": "Yes",
    "Replicate_Do_DB": "", "Replicate_Ignore_DB": "", "Replicate_Do_Table": "", "Replicate_Ignore_Table": "", "Replicate_Wild_Do_Table": "",
    "Replicate_Wild_Ignore_Table": "", "Last_Errno": 0, "Last_Error": "", "Skip_Counter": 0, "Exec_Source_Log_Pos": 927,
    "Relay_Log_Space": 1355, "Until_Condition": "None", "Until_Log_File": "", "Until_Log_Pos": 0, "Source_SSL_Allowed": "No",
    "Source_SSL_CA_File": "", "Source_SSL_CA_Path": "", "Source_SSL_Cert": "", "Source_SSL_Cipher": "", "Source_SSL_Key": "",
    "Seconds_Behind_Source": 0, "Source_SSL_Verify_Server_Cert": "No", "Last_IO_Errno": 0, "Last_IO_Error": "", "Last_SQL_Errno": 0,
    "Last_SQL_Error": "", "Replicate_Ignore_Server_Ids": "", "Source_Server_Id": 2, "Source_UUID": "73f86016-978b-11ee-ade5-8d2a2a562feb",
    "Source_Info_File": "mysql.slave_master_info", "SQL_Delay": 0, "SQL_Remaining_Delay": None,
    "Replica_SQL_Running_State": "Replica has read all relay log; waiting for more updates", "Source_Retry_Count": 86400, "Source_Bind": "",
    "Last_IO_Error_Timestamp": "", "Last_SQL_Error_Timestamp": "", "Source_SSL_Crl": "", "Source_SSL_Crlpath": "", "Retrieved_Gtid_Set": "",
    "Executed_Gtid_Set": "", "Auto_Position": 0, "Replicate_Rewrite_DB": "", "Channel_Name": "", "Source_TLS_Version": "",
    "Source_public_key_path": "", "Get_Source_public_key": 0, "Network_Namespace": "",
}  # fmt: skip


def denied(privileges: str) -> Error:
    """ER_SPECIFIC_ACCESS_DENIED_ERROR ("Server Error Message Reference")."""
    return Error(
        1227, "42000", f"Access denied; you need (at least one of) the {privileges} privilege(s) for this operation"
    )


def hidden(table: str) -> Error:
    """ER_TABLEACCESS_DENIED_ERROR; the server puts the user's name where %u stands."""
    return Error(1142, "42000", f"SELECT command denied to user '%u'@'localhost' for table '{table}'")


def row(columns: Iterable[str], **values: Any) -> tuple[Any, ...]:
    """Return a row of a table; a column that is not said is NULL."""
    columns = tuple(columns)
    small = {name.lower(): value for name, value in values.items()}
    assert not set(small) - {column.lower() for column in columns}, sorted(small)
    return tuple(small.get(column.lower()) for column in columns)


def trx(thread: int, started: str, **values: Any) -> tuple[Any, ...]:
    """Return a row of INNODB_TRX; its id is 1000 and the connection's."""
    running: dict[str, Any] = {
        "trx_state": "RUNNING",
        "trx_query": "UPDATE users SET token='s3cr3t'",
        "trx_weight": 2,
        "trx_rows_locked": 1,
    }
    return row(
        TRX, **{"trx_id": 1000 + thread, "trx_mysql_thread_id": thread, "trx_started": started, **running, **values}
    )


def lock_wait(waiter: int, blocker: int) -> tuple[Any, ...]:
    """Return a row of data_lock_waits for two connections; the thread's id is 40 more than the connection's."""
    return row(
        DATA_LOCK_WAITS, ENGINE="INNODB", REQUESTING_ENGINE_TRANSACTION_ID=1000 + waiter, REQUESTING_THREAD_ID=40 + waiter,
        BLOCKING_ENGINE_TRANSACTION_ID=1000 + blocker, BLOCKING_THREAD_ID=40 + blocker, REQUESTING_EVENT_ID=5, BLOCKING_EVENT_ID=12,
        REQUESTING_ENGINE_LOCK_ID=f"1402:{waiter}", BLOCKING_ENGINE_LOCK_ID=f"1402:{blocker}",
    )  # fmt: skip


def session(
    number: int, user: str, command: str = "Sleep", seconds: int = 0, info: str | None = None
) -> dict[str, Any]:
    """Return a session, for `tables`."""
    return {"id": number, "user": user, "command": command, "time": seconds, "info": info}


def key(schema: str, table: str, kind: str, following: int | None) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Return the rows of TABLES and COLUMNS of a table whose column id counts by itself."""
    where = {"TABLE_CATALOG": "def", "TABLE_SCHEMA": schema, "TABLE_NAME": table}
    return (
        row(
            TABLES,
            TABLE_TYPE="BASE TABLE",
            ENGINE="InnoDB",
            AUTO_INCREMENT=following,
            TABLE_ROWS=10,
            DATA_LENGTH=16384,
            **where,
        ),
        row(COLUMNS, COLUMN_NAME="id", COLUMN_TYPE=kind, EXTRA="auto_increment", **where),
    )


def tables(
    sessions: Iterable[Mapping[str, Any]] = (),
    history: int = 20,
    deadlocks: int = 0,
    off: bool = False,
    keys: Iterable[tuple[str, str, str, int | None]] = (("nova", "instances", "int", 1001),),
) -> dict[str, Table]:
    """Return the tables of a server with these sessions; `off`: its InnoDB metrics are not counted."""
    counted_keys = [key(*each) for each in keys]
    people = [session(8, "monitor", "Query", 0, "SELECT"), session(9, "nova", "Sleep", 3), *sessions]
    listed = [row(PROCESSLIST, ID=one["id"], USER=one["user"], HOST="192.0.2.7:40000", DB="nova", COMMAND=one["command"], TIME=one["time"],
                  STATE="", INFO=one["info"]) for one in people]  # fmt: skip
    threads = [row(THREADS, THREAD_ID=1, NAME="thread/sql/main", TYPE="BACKGROUND")]
    threads += [row(THREADS, THREAD_ID=40 + one["id"], NAME="thread/sql/one_connection", TYPE="FOREGROUND", PROCESSLIST_ID=one["id"],
                    PROCESSLIST_USER=one["user"], PROCESSLIST_HOST="192.0.2.7", PROCESSLIST_COMMAND=one["command"], PROCESSLIST_TIME=one["time"],
                    PROCESSLIST_INFO=one["info"]) for one in people]  # fmt: skip
    counted = {"STATUS": "disabled" if off else "enabled", "COUNT": 0}
    metrics = [row(METRICS, NAME=name, SUBSYSTEM=part, TYPE=kind, **{**counted, **({} if off else {"COUNT": count})})
               for name, part, kind, count in (("trx_rseg_history_len", "transaction", "value", history), ("lock_deadlocks", "lock", "counter", deadlocks),
                                               ("lock_timeouts", "lock", "counter", 0))]  # fmt: skip
    process = "PROCESS"
    return {
        "information_schema.innodb_trx": Table(TRX, [], process, denied("PROCESS")),
        "information_schema.innodb_metrics": Table(METRICS, metrics, process, denied("PROCESS")),
        "information_schema.processlist": Table(PROCESSLIST, listed, process),
        # Shown is what one has a right on; REFERENCES is one on every column.
        "information_schema.tables": Table(TABLES, [kept[0] for kept in counted_keys], "REFERENCES"),
        "information_schema.columns": Table(COLUMNS, [kept[1] for kept in counted_keys], "REFERENCES"),
        "information_schema.user_privileges": Table(USER_PRIVILEGES, []),
        "information_schema.schema_privileges": Table(SCHEMA_PRIVILEGES, []),
        "information_schema.schemata": Table(
            SCHEMATA,
            [
                row(SCHEMATA, SCHEMA_NAME=name)
                for name in ("information_schema", "mysql", "nova", "performance_schema", "sys")
            ],
        ),
        "information_schema.innodb_tablespaces": Table(TABLESPACES, [], process, denied("PROCESS")),
        "mysql.innodb_table_stats": Table(
            TABLE_STATS, [], "SELECT ON mysql.innodb_table_stats", hidden("innodb_table_stats")
        ),
        "performance_schema.data_lock_waits": Table(DATA_LOCK_WAITS, [], READ_WAITS, hidden("data_lock_waits")),
        "performance_schema.threads": Table(
            THREADS, threads, "SELECT ON performance_schema.threads", hidden("threads")
        ),
        "performance_schema.processlist": Table(PROCESSLIST, listed, process),
    }


def instances(made: dict[str, Table], rows: Iterable[tuple[int, int, str | None]]) -> dict[str, Table]:
    """Add nova.instances with these rows (id, deleted, deleted_at), and what the catalog tells of it and of its file."""
    columns = ("id", "deleted", "deleted_at")
    kept = list(rows)
    made["nova.instances"] = Table(columns, kept)
    listed = made["information_schema.columns"].rows
    where = {"TABLE_CATALOG": "def", "TABLE_SCHEMA": "nova", "TABLE_NAME": "instances"}
    listed[:] = [
        row(
            COLUMNS,
            COLUMN_NAME=name,
            DATA_TYPE=kind,
            COLUMN_TYPE=kind,
            COLUMN_KEY="PRI" * (name == "id"),
            EXTRA=extra,
            **where,
        )
        for name, kind, extra in (
            ("id", "int", "auto_increment"),
            ("deleted", "int", ""),
            ("deleted_at", "datetime", ""),
        )
    ]
    made["information_schema.tables"].rows[:] = [
        row(
            TABLES,
            TABLE_TYPE="BASE TABLE",
            ENGINE="InnoDB",
            TABLE_ROWS=len(kept),
            DATA_LENGTH=16384,
            INDEX_LENGTH=0,
            DATA_FREE=0,
            **where,
        )
    ]
    made["information_schema.innodb_tablespaces"].rows.append(
        row(TABLESPACES, NAME="nova/instances", FILE_SIZE=114688, SPACE_TYPE="Single")
    )
    return made


def replica_words(version: str) -> dict[str, bool]:
    """Return the statements that this version has, and whether the names in the answer are the old ones.

    The new one came in 8.0.22 ("SHOW SLAVE | REPLICA STATUS Statement"), the old one went in 8.4.
    """
    number = tuple(int(part) for part in version.split("."))
    return {
        **({"show replica status": False} if number >= (8, 0, 22) else {}),
        **({"show slave status": True} if number < (8, 4) else {}),
    }


def old_name(column: str) -> str:
    """Return what SHOW SLAVE STATUS calls a column of SHOW REPLICA STATUS."""
    return column.replace("Replica_", "Slave_").replace("Source", "Master")


def replication(version: str, channels: Iterable[Mapping[str, Any]], rights: frozenset[str]) -> dict[str, Any]:
    """Return the answers to SHOW REPLICA STATUS and SHOW BINARY LOGS; `channels` are changes to REPLICA, one a channel."""
    # "SHOW BINARY LOGS Statement"
    sizes = [("binlog.000001", 1_073_741_824, "No"), ("binlog.000002", 4096, "No")]
    told: dict[str, Any] = {"show binary logs": Rows(("Log_name", "File_size", "Encrypted"), sizes)}
    rows = [tuple({**REPLICA, **channel}.values()) for channel in channels]
    for statement, old in replica_words(version).items():
        told[statement] = Rows([old_name(name) if old else name for name in REPLICA], rows)
    if "REPLICATION CLIENT" not in rights:
        return dict.fromkeys(told, denied("SUPER, REPLICATION CLIENT"))
    return told


def healthy(
    version: str = "8.0.40", *, rights: frozenset[str] = RIGHTS, channels: Iterable[Mapping[str, Any]] = (),
    plugin: str = "caching_sha2_password", status: Mapping[str, str] | None = None, variables: Mapping[str, str] | None = None, **server: Any,
) -> MySQL:  # fmt: skip
    """Return a server that is well; user monitor, password secret."""
    old = {} if version.startswith(("8.4", "9")) else OLD_VARIABLES
    server.setdefault("tables", tables())
    anywhere = sorted(right for right in rights if " ON " not in right)
    server["tables"]["information_schema.user_privileges"].rows.extend(
        row(USER_PRIVILEGES, GRANTEE="'monitor'@'%'", PRIVILEGE_TYPE=right) for right in anywhere
    )
    # "SHOW GRANTS Statement"
    lines = [
        f"GRANT {', '.join(anywhere) or 'USAGE'} ON *.*",
        *(f"GRANT {right}" for right in sorted(rights - {*anywhere})),
    ]
    granted = Rows(("Grants for monitor@%",), [(f"{line} TO `monitor`@`%`",) for line in lines])
    answers = {"show grants": granted, **replication(version, channels, rights), **server.pop("answers", {})}
    return MySQL(
        version, {"monitor": Account("secret", plugin, rights, ("nova",))}, status={**STATUS, **(status or {})},
        variables={**VARIABLES, **old, **(variables or {})}, answers=answers, databases=("nova", "keystone"), **server,
    )  # fmt: skip
