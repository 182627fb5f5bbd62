# SPDX-License-Identifier: Apache-2.0
"""Which queues pile up, have no consumer, lack a replica, or carry absurdly large messages?

For RabbitMQ 3.8 to 4.3, by its management API: of -H, or of the first host of `--from-service-file` that answers. A queue is
called by its name, in another virtual host than / by VHOST/NAME, and so in patterns: `-w messages/reports*=500`. Names of
oslo.messaging tell what a queue is for: replies and fan-outs of one process are only counted, and as orphans when they
have had no use and no consumer for an hour; notifications have limits of their own; topics of services (`--service`) need a
consumer. A stream is a log: its length is no backlog. `growth` is told of queues that held more in each of the last three
runs, at least 100 messages, and keep more than a fifth of what is published. What must last before it is said (no consumer,
nothing acknowledged, no statistics) is known from earlier runs.

Least rights, the same in all releases: `rabbitmqctl add_user nagios`, `rabbitmqctl set_user_tags nagios monitoring`, and for
each virtual host `rabbitmqctl set_permissions -p VHOST nagios '^$' '^$' '^$'`: without that its queues are not listed, which is
told as UNKNOWN. It reads no message and changes nothing. Cost: four GETs and one more for each further 500 queues, some
200 KB; on brokers with very many queues narrow it by `--vhost` or `--matching`.
"""

from __future__ import annotations

from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, BadOption, Check, Finding, Grant, Metric, Threshold
from nephoscope.plugin.options import expect
from nephoscope.probes import rabbitmq, rabbitmq_queues

WORDS = {"runs": OK, "lessened": WARNING, "passing": WARNING, "missing": CRITICAL, "down": CRITICAL, "unknown": UNKNOWN}


def options(add):
    add("--vhost", repeat=True, metavar="NAME", help="look at these virtual hosts only")
    add("--matching", default="", metavar="REGEX", help="only queues whose name matches: the broker sends no others")
    add(
        "--expect",
        repeat=True,
        type=expect,
        metavar="GLOB[=N]",
        help="a queue that must exist (with N consumers, default 1)",
    )
    add(
        "--service",
        repeat=True,
        metavar="GLOB",
        help="topics of services, which need a consumer (default: those of OpenStack)",
    )
    rabbitmq.options(add)


def probe(options, run):
    if options.expect and "consumers" not in options.mode:
        raise BadOption("--expect is of mode consumers, which was not asked for")
    return rabbitmq_queues.survey(run, options)


def judge(queues, options):
    yield from queues.failures
    for modes, of, kind, text in queues.standings(options.expect or ()):
        if {*modes}.intersection(options.mode):
            yield Finding(WORDS[kind], of, text)
    if queues.looked or not queues.failures:  # where all of them are hidden, 0 is no number
        yield from (Metric(*number) for number in queues.numbers())
        yield Finding(OK, "", queues.summary)


MODES = {
    "backlog": "how much waits, and does it grow",
    "consumers": "what has no consumer, or one that acknowledges nothing",
    "sizes": "how large is a message",
    "replicas": "states of queues, their members and mirrors",
}

CHECK = Check(
    *(options, probe, judge),
    where=("remote",),
    uses=("http",),
    needs=[Grant(rabbitmq.right())],
    keep=rabbitmq_queues.Queues.keep,
    modes=MODES,
    thresholds=[
        Threshold("queues", help="queues that were looked at"),
        Threshold(
            "total", "", "5000", mode="backlog", help="messages in all of them, but for notifications and streams"
        ),
        Threshold("messages", "", None, "100000", mode="backlog", main=True, print="top", help="messages of a queue"),
        Threshold(
            "notifications",
            "",
            "10000",
            "100000",
            mode="backlog",
            print="top",
            help="messages of a queue of notifications",
        ),
        Threshold("backlog", "", "100", "1000", mode="backlog", print="top", help="messages that wait for a service"),
        Threshold("age", "s", mode="backlog", print="top", help="age of the first message, where publishers tell it"),
        Threshold(
            "growth_rate", "", "0", mode="backlog", print="top", help="messages that stay, of a queue that grows"
        ),
        Threshold(
            "forecast",
            "",
            None,
            "100000",
            mode="backlog",
            print="top",
            late=True,
            help="messages of a growing queue in six hours",
        ),
        Threshold(
            "unacked",
            "",
            "100",
            "1000",
            mode="consumers",
            print="top",
            help="messages that a consumer took and did not acknowledge",
        ),
        Threshold(
            "unacked_age",
            "s",
            "600",
            mode="consumers",
            print="top",
            late=True,
            help="how long nothing was acknowledged while messages were out",
        ),
        Threshold("consumers", "", None, "1:", mode="consumers", print="top", help="consumers of a service's topic"),
        Threshold("unconsumed", mode="consumers", help="queues that hold messages and have no consumer"),
        Threshold(
            "unconsumed_age", "s", "300", mode="consumers", print="top", late=True, help="how long a queue is so"
        ),
        Threshold(
            "unconsumed_messages", "", None, "20000", mode="consumers", print="top", help="messages of such a queue"
        ),
        Threshold(
            "unconsumed_memory",
            "%",
            None,
            "10",
            mode="consumers",
            print="top",
            help="memory of such a queue, of the mark that blocks publishers",
        ),
        Threshold(
            "orphans", "", "500", "5000", mode="consumers", help="queues of processes that are gone (replies, fan-outs)"
        ),
        Threshold(
            "bytes", "B", "1048576", "10485760", mode="sizes", main=True, print="top", help="mean size of a message"
        ),
        Threshold(
            "flow_age",
            "s",
            "180",
            mode="replicas",
            print="top",
            late=True,
            help="how long publishers to a queue are held back",
        ),
    ],
    runbook="""
By hand: `rabbitmqctl list_queues -p VHOST name messages consumers state`, `rabbitmqctl list_consumers -p VHOST`.
A topic without consumer: its service is dead, whatever the cloud's database says: start it. A host that is gone for good leaves
its topics behind: `rabbitmqctl delete_queue -p VHOST compute.HOST`. A backlog with consumers: the service is too slow or waits
for its database; look there (check_mysql), add workers.
Notifications that nobody reads fill the memory until every publisher of the cloud waits: `rabbitmqctl purge_queue` them,
then `driver = noop` in [oslo_messaging_notifications] of the services, or a policy: `rabbitmqctl set_policy -p VHOST expire
'^(versioned_)?notifications\\.' '{"message-ttl":3600000}' --apply-to queues`.
Not acknowledged: the consumer hangs; restart its service, the messages come back to the queue. Orphans: services were restarted
often and their queues do not expire (`rabbit_transient_queues_ttl`).
A member is offline: bring its node back; when it is gone for good `rabbitmq-queues shrink NODE`, then grow on another. A queue
that is down has its leader on a node that is not running (check_rabbitmq_node).
Large messages: who publishes them? Often a service's state in one RPC answer (heat), or full instances in notifications.
""",
)
main = CHECK.main
