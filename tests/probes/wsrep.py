# SPDX-License-Identifier: Apache-2.0
"""What a node of Galera says: SHOW GLOBAL STATUS and VARIABLES of MariaDB 10.11.19 with Galera 26.4.23 in a cluster of three."""

from __future__ import annotations

UUID = "b4ef351e-e5d5-11f1-af40-dbec8129bf45"
STATUS = {
    "Slaves_connected": "0",
    "Uptime": "7200",
    "wsrep_cert_deps_distance": "12.5",
    "wsrep_cluster_conf_id": "3",
    "wsrep_cluster_size": "3",
    "wsrep_cluster_state_uuid": UUID,
    "wsrep_cluster_status": "Primary",
    "wsrep_connected": "ON",
    "wsrep_evs_delayed": "",
    "wsrep_evs_evict_list": "",
    "wsrep_evs_repl_latency": "3.8e-07/0.002/2.804e-06/9.14998e-07/4",
    "wsrep_flow_control_active": "false",
    "wsrep_flow_control_paused": "0.0272818",
    "wsrep_flow_control_paused_ns": "2240134841",
    "wsrep_flow_control_requested": "false",
    "wsrep_gcomm_uuid": "b52c2fc3-e5d5-11f1-a490-6fd1d274131d",
    "wsrep_last_committed": "90000",
    "wsrep_local_bf_aborts": "4",
    "wsrep_local_cached_downto": "10000",
    "wsrep_local_cert_failures": "6",
    "wsrep_local_commits": "1000",
    "wsrep_local_recv_queue": "0",
    "wsrep_local_recv_queue_avg": "0.166667",
    "wsrep_local_send_queue": "0",
    "wsrep_local_state": "4",
    "wsrep_local_state_comment": "Synced",
    "wsrep_local_state_uuid": UUID,
    "wsrep_ready": "ON",
}
VARIABLES = {
    "read_only": "OFF",
    "wsrep_cluster_address": "gcomm://192.0.2.1,192.0.2.2,192.0.2.3",
    "wsrep_cluster_name": "lab",
    "wsrep_desync": "OFF",
    "wsrep_node_name": "n1",
    "wsrep_on": "ON",
    "wsrep_provider": "/usr/lib/galera/libgalera_smm.so",
    "wsrep_reject_queries": "NONE",
    "wsrep_sst_donor_rejects_queries": "OFF",
}
CUT_OFF = {  # fifteen seconds after the two others froze
    "wsrep_cluster_conf_id": "18446744073709551615",
    "wsrep_cluster_size": "1",
    "wsrep_cluster_status": "non-Primary",
    "wsrep_local_state": "0",
    "wsrep_local_state_comment": "Initialized",
    "wsrep_ready": "OFF",
}
REFUSAL = "WSREP has not yet prepared node for application use"  # error 1047
ALONE = {"wsrep_on": "OFF", "wsrep_provider": "none", "wsrep_cluster_address": "", "read_only": "OFF"}
