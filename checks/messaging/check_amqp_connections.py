# SPDX-License-Identifier: Apache-2.0
"""Is each service process on this host really connected to the broker?

A service that lost its broker runs on, and its API answers: `systemctl status` and a process list see nothing. So the kernel
is asked which sockets the processes of a service hold, to which addresses, and whether the other end takes what is sent.
Services: `--expect NAME[=N]` (N connections at least, default 1), known by their programs as in check_process; without it every
OpenStack service of a list that consumes messages and runs here (nova-compute, neutron agents, …; not the APIs, which connect
when they first have something to say). Brokers: `--broker HOST[:PORT]`, or the `transport_url` of `--from-service-file
/etc/nova/nova.conf`; without both, whoever is at port 5672 or 5671. Nothing is connected to, no packet is sent.
Which process a socket belongs to is told to root and to the process's user; otherwise `ss` is run by sudo, and without that
line the service is UNKNOWN, unless nobody at all is connected, which everybody may see. A container's processes are looked at
in their own network; sudo does not help there. Connections are counted for the whole service: of one with many workers expect
as many.
"""

from __future__ import annotations

from nephoscope.base import Failed
from nephoscope.plugin import CRITICAL, OK, WARNING, Check, Finding, Metric, Sudo, Threshold, expect
from nephoscope.probes import broker_sockets


def options(add):
    add("--expect", repeat=True, type=expect, metavar="NAME[=N]", help="a service, and how many connections it holds")
    add("--broker", repeat=True, type=broker_sockets.broker, metavar="HOST[:PORT]", help="where its broker is")
    add("--from-service-file", repeat=True, metavar="FILE", help="brokers of this service, like /etc/nova/nova.conf")


def probe(options, run):
    named = options.broker, options.from_service_file
    return broker_sockets.look(run, options.expect, *named, own=CHECK.name)


def judge(host, options):
    seen = [one for one in host.services if not isinstance(one, Failed)]
    if seen:
        processes, connections = sum(one.pids for one in seen), sum(one.connected for one in seen)
        yield Finding(OK, "", f"{processes} processes hold {connections} connections to {host.brokers}")
    for service in host.services:
        yield from [service] if isinstance(service, Failed) else _service(service)


def _service(service):
    yield Metric("connections", service.connected, of=service.name)
    yield Metric("alone", service.alone, of=service.name)
    yield Metric("stuck", service.stuck, of=service.name, detail=f"for {service.standing:.0f} s")
    if service.need and not service.pids:
        yield Finding(CRITICAL, service.name, f"does not run{service.idle}")
    elif service.connected < service.need:
        has = f"has {service.connected} of {service.need} connections" if service.connected else "has no connection"
        yield Finding(WARNING, service.name, f"{has} to a broker{service.instead}")


CHECK = Check(
    *(options, probe, judge),
    needs=[Sudo(*broker_sockets.SS)],
    keep=lambda host: host.kept,
    thresholds=[
        Threshold("alone", "s", None, "60", print="worst", help="how long a service has had no connection"),
        Threshold("stuck", "", "0", print="worst", help="connections whose send queue has not moved for half a minute"),
        Threshold("connections", main=True, help="connections to the brokers"),
    ],
    runbook="""
See it by hand: `ss -tnp '( dport = :5672 or dport = :5671 )'` as root; Recv-Q and Send-Q are the second and third column.
No connection: is the broker up (check_rabbitmq_node, check_amqp_roundtrip --from-service-file of the same file)? The end of the
service's log says "AMQP server on … is unreachable" or "ACCESS_REFUSED". Attempts without an answer: a firewall, or an address
that is nobody's. Closed by the broker: it was restarted, and the service sleeps; it should connect again within a minute.
Connected to another: the service was not restarted after its transport_url was changed.
When the broker is well and the service does not come back by itself: restart the service, and keep its log.
A send queue that does not move: the broker takes nothing (an alarm blocks publishers: `rabbitmq-diagnostics alarms`), is
frozen, or a firewall has forgotten the connection. TCP gives up after a quarter of an hour where the service has not asked
for less (TCP_USER_TIMEOUT); restarting the service is quicker.
""",
)
main = CHECK.main
