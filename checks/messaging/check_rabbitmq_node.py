# SPDX-License-Identifier: Apache-2.0
"""Is each broker node healthy, joined, and away from its memory, disk and descriptor limits?

For RabbitMQ 3.8 to 4.3, by its management API: of -H, or of the first host of `--from-service-file` that answers, which speaks
for the whole cluster. Each other node is asked for its own view of partitions, by its name on the port that it listens on, and
one that is said not to run whether it was only cut off; where that can't be reached from here it is said with -v, and with
`--views` it counts. Health checks that a release lacks are left out. A node that is frozen makes the API of all others wait
for it: that is told as an API that does not answer.
`mem_growth` compares with an hour ago, at least half an hour; after a longer pause it is the mean growth of an hour. A restart
begins anew. Certificates are those of the node that was asked.

Least rights, the same in all releases: `rabbitmqctl add_user nagios`, `rabbitmqctl set_user_tags nagios monitoring`. It reads
no message and changes nothing. Cost: three GETs of a few KiB, one for each health check of the release (five to nine) and one
of each other node.
"""

from __future__ import annotations

from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, BadOption, Check, Finding, Grant, Metric, Threshold
from nephoscope.probes import rabbitmq

WORDS = {
    OK: ("runs", "unseen"),
    WARNING: ("draining", "mixed", "few", "unlinked", "at risk", "expires"),
    CRITICAL: ("too few", "missing", "down", "alarm", "partition", "expires soon"),
    UNKNOWN: ("untold",),
}
STATES = {word: state for state, words in WORDS.items() for word in words}


def options(add):
    add("--expect", repeat=True, metavar="NAME|N", help="a node that must be in the cluster, or how many must run")
    add(
        "--views",
        repeat=True,
        metavar="HOST[:PORT]",
        help="ask these for their own view, and count who does not answer; none: ask nobody",
    )
    rabbitmq.options(add)


def probe(options, run):
    if options.expect and "nodes" not in options.mode:
        raise BadOption("--expect is of mode nodes, which was not asked for")
    if options.views and "partitions" not in options.mode:
        raise BadOption("--views is of mode partitions, which was not asked for")
    return rabbitmq.cluster(run, options)


def judge(cluster, options):
    yield from cluster.failures
    for modes, of, kind, text in cluster.standings(options.expect or ()):
        if {*modes}.intersection(options.mode):
            yield Finding(STATES[kind], of, text)
    yield from (Metric(*number) for number in cluster.numbers())
    lacking = f", not in this release: {', '.join(cluster.lacking)}" if cluster.lacking and options.verbose else ""
    yield Finding(OK, "", cluster.summary + lacking)


CHECK = Check(
    *(options, probe, judge),
    where=("remote",),
    uses=("http",),
    needs=[Grant(rabbitmq.right())],
    keep=rabbitmq.Cluster.keep,
    modes={
        "nodes": "which nodes run, of those that should; releases, restarts, maintenance",
        "alarms": "do alarms of memory or disk block publishers",
        "partitions": "do all nodes see each other",
        "memory": "how near to the mark is memory, and does it grow",
        "disk": "how near to its limit is free disk",
        "limits": "descriptors, sockets, Erlang processes, run queue",
        "traffic": "statistics that are late, connections that storm or vanish, messages without a queue",
        "health": "the broker's own health checks, certificates",
    },
    thresholds=[
        Threshold("answer", "s", "2", "6", help="time of /api/overview"),
        Threshold("nodes", mode="nodes", help="nodes that run"),
        Threshold(
            "partitions", mode="partitions", help="nodes on the other side of a partition, each of which is CRITICAL"
        ),
        Threshold(
            "mem", "B", mode="memory", help="memory used; its maximum is the mark at which publishers are blocked"
        ),
        Threshold("mem_share", "%", "80", "90", mode="memory", main=True, help="memory used, of that mark"),
        Threshold("disk_free", "B", "2147483648:", mode="disk", help="free disk where the broker keeps its messages"),
        Threshold(
            "disk_margin", "", "2:", mode="disk", help="free disk, in multiples of the limit that blocks publishers"
        ),
        Threshold("fds", "%", "80", "90", mode="limits", help="descriptors used"),
        Threshold("sockets", "%", "80", "90", mode="limits", help="sockets used (before 4.0)"),
        Threshold("processes", "%", "80", "90", mode="limits", help="Erlang processes used"),
        Threshold(
            "run_queue",
            "",
            "5",
            "20",
            mode="limits",
            late=True,
            help="processes that wait for each CPU, in this run and the last",
        ),
        Threshold("uptime", "s", "600:", mode="nodes", help="since a node was started"),
        Threshold(
            "stats_backlog",
            "",
            "1000",
            "10000",
            mode="traffic",
            help="events that the statistics have not read yet: all numbers are that late",
        ),
        Threshold("connections", mode="traffic", help="clients that are connected"),
        Threshold(
            "connections_lost",
            "%",
            "30",
            mode="traffic",
            late=True,
            help="connections that are gone since the last run",
        ),
        Threshold(
            "opened_rate", "", "10", "50", mode="traffic", help="connections opened: a storm of clients that reconnect"
        ),
        Threshold(
            "unroutable_rate",
            "",
            "0.1",
            mode="traffic",
            help="messages that no queue takes; replies to callers that gave up are a few",
        ),
        Threshold(
            "mem_growth", "%", "100", mode="memory", late=True, help="growth of memory within an hour (100: it doubles)"
        ),
    ],
    runbook="""
By hand: `rabbitmq-diagnostics cluster_status`, `rabbitmq-diagnostics alarms`, `rabbitmq-diagnostics memory_breakdown`.
Alarm of memory: every publisher of the cloud waits, so services seem hung. Find the queue that grew (check_rabbitmq_queues),
start its consumers or purge it: `rabbitmqctl purge_queue -p VHOST NAME`; of its own statistics (`mgmt_db` in the breakdown):
`rabbitmqctl eval 'rabbit_mgmt_storage:reset_all().'`. Alarm of disk: make room below /var/lib/rabbitmq.
Partition, or a node that runs and is not seen: the sides have gone on without each other. Choose the side to trust;
`rabbitmqctl stop_app; rabbitmqctl start_app` on the nodes of the other one: what only these had is lost. Then set
cluster_partition_handling = pause_minority.
Not running: its log below /var/log/rabbitmq, then `rabbitmqctl start_app` or its service. When all were down, the one that was
stopped last starts first.
Log-in answered, then silence: a node is frozen (swap, paused guest, dead disk). `rabbitmq-diagnostics -n NODE ping` each; stop
the one that stays silent, and the others answer again.
Descriptors: LimitNOFILE of the service. node-is-quorum-critical: stopping this node would cost a queue its majority; bring the
missing one back first. In a cluster of two it is always so: a third node ends that.
""",
)
main = CHECK.main
