# SPDX-License-Identifier: Apache-2.0
"""Does a message published now come back, and how fast?

One connection for each broker, AMQP 0-9-1 (RabbitMQ 3.x and 4.x), TLS with `--tls`: it logs in, declares a queue of its own
(`nephoscope.` and 24 random digits; exclusive, auto-delete: it goes with the connection, whatever happens), publishes 32
bytes into it through the default exchange, mandatory and with confirmation, waits for confirmation and message, compares,
deletes the queue and logs out; about 14 methods. A broker that blocks publishers because of an alarm is told as such.
Brokers: -H and -p with `--user`, or `--from-service-file /etc/nova/nova.conf` (repeatable): each host of each
`transport_url`, with the log-in that the service itself uses, is an object of its own, side by side. The password
comes from there, from `--extra-opts` or from NEPHOSCOPE_PASSWORD.

Least rights, best in a virtual host where nothing else lives (who may write to the default exchange may publish to any queue):

    rabbitmqctl add_vhost nephoscope
    rabbitmqctl add_user nephoscope PASSWORD
    rabbitmqctl set_permissions -p nephoscope nephoscope '^nephoscope\\.' '^amq\\.default$' '^nephoscope\\.'

and `--vhost nephoscope --user nephoscope`. In the services' own virtual host the same with `-p /`. No tag is needed.
"""

from __future__ import annotations

from nephoscope.base import Failed
from nephoscope.plugin import CRITICAL, OK, Check, Finding, Grant, Metric, Threshold
from nephoscope.probes import amqp


def options(add):
    amqp.options(add)


def probe(options, run):
    return amqp.trips(options, run)


def judge(trips, options):
    for trip in trips:
        if isinstance(trip, Failed):
            yield trip
            continue
        yield Metric("login", trip.login, of=trip.of)
        if trip.fault:
            yield Finding(CRITICAL, trip.of, trip.fault)
        else:
            yield Finding(OK, trip.of, f"{trip.broker}{trip.tls and ', ' + trip.tls}")
            yield Metric("time", trip.seconds, of=trip.of)


CHECK = Check(
    *(options, probe, judge),
    where=("remote", "node"),
    uses=("tls",),
    signs=("/usr/sbin/rabbitmq-server", "/var/lib/rabbitmq"),
    needs=[Grant(f"`rabbitmqctl set_permissions -p VHOST USER {amqp.PERMISSIONS}`")],
    thresholds=[
        Threshold("time", "s", "0.5", "2", main=True, help="from the publication until it is confirmed and back"),
        Threshold("login", "s", "2", "5", help="time to connect and log in"),
    ],
    runbook="""
See it by hand: `rabbitmq-diagnostics check_port_connectivity`, `rabbitmq-diagnostics alarms`,
`rabbitmqctl list_connections user peer_host state`.
Blocked by an alarm: no service can publish. Memory: `rabbitmqctl list_queues name messages memory consumers`; give the long
ones a consumer, or purge what nobody reads (notifications). Disk: make room below /var/lib/rabbitmq.
No answer: `systemctl status rabbitmq-server`, `rabbitmqctl cluster_status` (a pause because of a partition), the node's load.
Log-in refused: `rabbitmqctl authenticate_user USER`; guest is let in from the broker's own host only.
Slow: the broker's disk (`iostat -x`), its run queue, a slow partner of its cluster: check_rabbitmq_node tells.
Nothing is left behind: `rabbitmqctl list_queues name | grep nephoscope` shows what a run makes just now.
""",
)
main = CHECK.main
