# SPDX-License-Identifier: Apache-2.0
"""What MariaDB and MySQL answer to probes/mysql.py, without a wire.

STATUS and VARIABLES are lines that MariaDB 10.11.19 printed (SHOW GLOBAL STATUS, SHOW GLOBAL VARIABLES), as far as the probe reads
them; those of MySQL and of old releases are made of them by leaving out what the manuals' lists of status variables do not have.
"""

from __future__ import annotations

from nephoscope.base import NOT_ALLOWED, Failed
from nephoscope.probes import mysql

STATUS = {
    "Aborted_clients": "3",
    "Aborted_connects": "18",
    "Aborted_connects_preauth": "4",
    "Access_denied_errors": "2",
    "Connection_errors_max_connections": "0",
    "Created_tmp_disk_tables": "5",
    "Created_tmp_tables": "32",
    "Innodb_buffer_pool_read_requests": "920",
    "Innodb_buffer_pool_reads": "313",
    "Innodb_buffer_pool_wait_free": "0",
    "Innodb_data_pending_fsyncs": "1",
    "Innodb_data_pending_reads": "2",
    "Innodb_data_pending_writes": "0",
    "Innodb_deadlocks": "0",
    "Innodb_history_list_length": "12",
    "Innodb_log_waits": "0",
    "Innodb_row_lock_current_waits": "0",
    "Innodb_row_lock_time": "4000",
    "Innodb_row_lock_waits": "2",
    "Max_used_connections": "60",
    "Open_files": "23",
    "Select_full_join": "0",
    "Slow_queries": "0",
    "Table_open_cache_overflows": "0",
    "Threads_connected": "30",
    "Threads_running": "1",
    "Uptime": "86400",
    "Uptime_since_flush_status": "86400",
}
VARIABLES = {
    "binlog_expire_logs_seconds": "864000",
    "expire_logs_days": "10.000000",
    "hostname": "db1",
    "innodb_read_only": "OFF",
    "log_bin": "ON",
    "log_queries_not_using_indexes": "OFF",
    "long_query_time": "10.000000",
    "max_connections": "100",
    "open_files_limit": "2300",
    "performance_schema": "OFF",
    "port": "3306",
    "read_only": "OFF",
    "server_id": "1",
    "version": "10.11.19-MariaDB-0+deb12u1",
    "wsrep_on": "OFF",
}
MARIADB_ALONE = ("Aborted_connects_preauth", "Access_denied_errors", "Innodb_deadlocks", "Innodb_history_list_length")
NOW = 1_795_284_390  # the server's clock


class Database:
    """Stands in for a connection of probes/sql.py: `answers` has rows, or a Failed to raise, for a statement of the probe."""

    of, login = "db.example:3306", 0.004

    def __init__(self, flavour="mariadb", version=(10, 11, 19), status=(), variables=(), lacks=(), **answers):
        self.flavour, self.version = flavour, version
        self.text = f"{'MariaDB' if flavour == 'mariadb' else 'MySQL'} {'.'.join(map(str, version))}"
        self.status = {name: word for name, word in {**STATUS, **dict(status)}.items() if name not in lacks}
        self.variables = {name: word for name, word in {**VARIABLES, **dict(variables)}.items() if name not in lacks}
        self.now = NOW
        self.asked = []
        self.answers = {
            "HERE": lambda: [{"now": self.now, "account": "nagios@192.0.2.%", "id": 99}],
            "SHOW GLOBAL STATUS": lambda: named(self.status),
            "SHOW GLOBAL VARIABLES": lambda: named(self.variables),
            "TRANSACTIONS": [],
            "SESSIONS": [session(99, "nagios", "Query", 0)],
            "TABLES": [],
            "COLUMNS": [],
            "GRANTS": grants("GRANT PROCESS, REFERENCES, BINLOG MONITOR ON *.*"),
            "SHOW BINARY LOGS": [
                {"log_name": "b.000001", "file_size": 2287},
                {"log_name": "b.000002", "file_size": 713},
            ],
            **answers,
        }

    def rows(self, statement):
        name = next((name for name, text in vars(mysql).items() if text is statement), statement)
        self.asked.append(name)
        answer = self.answers[name]
        answer = answer() if callable(answer) else answer
        if isinstance(answer, Failed):
            raise answer
        return answer

    def row(self, statement):
        return self.rows(statement)[0]


def named(values):
    return [{"variable_name": name, "value": value} for name, value in values.items()]


def session(thread, user, command, seconds, host="10.0.0.5:4711"):
    return {"thread": thread, "user": user, "host": host, "command": command, "seconds": seconds}


def transaction(number, thread, seconds, state="RUNNING"):
    return {"id": number, "thread": thread, "state": state, "seconds": seconds}


def table(name, counter, kind="int(11)"):
    """Return the rows of TABLES and COLUMNS for a table that counts."""
    schema, _, short = name.partition(".")
    told = {"s": schema, "t": short, "counter": counter, "engine": "InnoDB", "said": ""}
    return told, {"s": schema, "t": short, "kind": kind}


def grants(*statements):
    """Return the rows of SHOW GRANTS; MariaDB tells the password's hash, too."""
    first, *others = [f"{statement} TO `nagios`@`192.0.2.%`" for statement in statements]
    hashed = f"{first} IDENTIFIED BY PASSWORD '*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19'"
    return [{"grants for nagios@192.0.2.%": line} for line in (hashed, *others)]


def denied(number=1227):
    return Failed(NOT_ALLOWED, "db.example:3306", "SELECT …", f"Access denied (error {number})")
