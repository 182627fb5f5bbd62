# SPDX-License-Identifier: Apache-2.0
"""Is the agent of configuration management installed, running or scheduled, not disabled, and succeeding?

Puppet, CFEngine, Chef, Salt and ansible-pull. Without --agent every one that is found here is looked at; ansible-pull, which
comes with every Ansible, when it has left a result or something starts it.

* Age of the last run, in `intervals`: WARNING beyond 2, CRITICAL beyond 12, which for Puppet's 30 minutes are 1 h and 6 h.
  The length of an interval comes from the agent's configuration, else from its documentation (CFEngine 5 min, Chef 30 min,
  Salt 1 h; ansible-pull, which has none, 1 h), or from --interval. Limits in seconds go to `age`, and are not set.
* A run that did not do its work (no catalogue, an exception, a play that stopped, the failsafe policy) is CRITICAL. One that
  did it with failures is WARNING, and CRITICAL when more than 5 % failed.
* A disabled agent is WARNING with the reason that was given, CRITICAL after 24 h; its age is no fault meanwhile. A lock that
  nobody holds any more, or that is held for more than 1 h, is WARNING.
* Changes in 5 successive runs are WARNING: such a node never gets where it should be.
* Neither daemon nor timer nor cron entry is CRITICAL: nothing will start the next run. --elsewhere: something else does.

`puppet apply` of a manifest that does not compile leaves no trace: there only the age tells. Puppet's report is closed to
others than root; where it may be read it gives the reason of a failure, and says when the cached catalogue was used.

Salt and ansible-pull keep no result by themselves. For Salt start this by timer or cron, as /usr/local/sbin/salt-call-kept with
`state.apply` as argument:

    #!/bin/sh
    f=/var/log/salt/highstate.json
    salt-call "$@" --out=json --retcode-passthrough > $f.new; rc=$?
    mv $f.new $f
    exit $rc

For ansible-pull this, as /usr/local/sbin/ansible-pull-kept with ansible-pull's own arguments. The log alone will do, and so
will the stamp; an empty one is a success at the time it was touched (`ansible-pull … && touch /var/log/ansible-pull.json`).

    #!/bin/sh
    f=/var/log/ansible-pull.json
    export ANSIBLE_LOG_PATH=/var/log/ansible-pull.log
    start=$(date +%s); ansible-pull "$@"; rc=$?
    printf '{"rc": %d, "start": %d, "end": %d}' $rc $start $(date +%s) > $f.new && mv $f.new $f
    exit $rc

For Chef, client.rb needs `Chef::Handler::JsonFile` among its report_handlers and its exception_handlers.
"""

from __future__ import annotations

from nephoscope.base import Failed
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, Check, Finding, Group, Metric, Sudo, Threshold, duration
from nephoscope.probes import config_agent

SAID = {"ok": "had nothing to do", "changed": "made changes", "failed": "had failures", "skipped": "was kept"}


def options(add):
    add(
        "--agent",
        repeat=True,
        choices=config_agent.NAMES,
        metavar="NAME",
        help="one of " + ", ".join(config_agent.NAMES),
    )
    add("--agent-dir", repeat=True, type=config_agent.place, metavar="NAME=DIR", help="Puppet's vardir, CFEngine's workdir, "
        "Chef's reports, Salt's configuration, ansible-pull's log directory, where it is not the usual one")  # fmt: skip
    add(
        "--result",
        repeat=True,
        type=config_agent.place,
        metavar="NAME=FILE",
        help="a result that a run leaves elsewhere",
    )
    add(
        "--wrapper", repeat=True, metavar="PROGRAM", help="program that starts an agent, to be found in timers and cron"
    )
    add(
        "--interval",
        type=duration,
        metavar="DURATION",
        looks=False,
        help="time between runs, instead of the agent's own",
    )
    add("--elsewhere", flag=True, help="runs are started from elsewhere: ask for no daemon, timer or cron entry")


def probe(options, run):
    directories = dict(options.agent_dir)
    return config_agent.look(run, options.agent, directories, options.result, options.wrapper, not options.elsewhere)


def judge(agents, options):
    for agent in agents:
        if isinstance(agent, Failed):
            yield agent
            continue
        name, last, disabled, lock, schedule = agent.name, agent.last, agent.disabled, agent.lock, agent.schedule
        yield from (part for part in (last, disabled, lock) if isinstance(part, Failed))
        if isinstance(last, config_agent.LastRun):
            yield from judge_run(agent, last, options.interval or agent.interval)
        elif last is None:
            yield Finding(UNKNOWN, name, "first run under way") if lock else Finding(CRITICAL, name, "has never run")
        if isinstance(disabled, config_agent.Disabled):
            yield Finding(WARNING, name, f"disabled since {disabled.since:%Y-%m-%d %H:%M} UTC: {disabled.reason}")
            yield Metric("disabled", max(0.0, (agent.at - disabled.since).total_seconds()), name)
        if isinstance(lock, config_agent.Lock) and lock.alive:
            yield Metric("lock", max(0.0, (agent.at - lock.since).total_seconds()), name)
        elif isinstance(lock, config_agent.Lock):
            yield Finding(WARNING, name, f"has a stale lock: {lock.path} of process {lock.pid}, which no longer runs")
        if not schedule.found and not options.elsewhere:
            yield from schedule.unseen
            if schedule.idle or not schedule.unseen:
                text = "; ".join(schedule.idle) or "neither a daemon nor a timer nor a cron entry"
                yield Finding(CRITICAL, name, f"started by nothing: {text}")


def judge_run(agent, last, interval):
    name, age, at = agent.name, (agent.at - last.at).total_seconds(), f"{last.at:%Y-%m-%d %H:%M} UTC"
    if age < -300:
        yield Finding(UNKNOWN, name, f"last run ended at {at}, which is yet to come")
    if last.status == "aborted":
        yield Finding(CRITICAL, name, f"last run did not do its work: {last.reason}")
    elif last.status == "empty":
        yield Finding(WARNING, name, f"last run did nothing: {last.reason}")
    else:
        by = f" ({', '.join(agent.schedule.found)})" if agent.schedule.found else ""
        yield Finding(OK, "", f"{name} {SAID[last.status]} in the run of {at}{by}")
    if last.status == "failed" and last.reason:
        yield Finding(WARNING, name, f"last run: {last.reason}")
    if last.note:
        yield Finding(WARNING, name, f"last run: {last.note}")
    yield Metric("age", max(0.0, age), name)
    if agent.disabled is None:
        yield Metric("intervals", round(max(0.0, age) / interval, 2), name)
    values = (last.failed, last.share, last.changed, last.out_of_sync, agent.changed_runs, last.seconds)
    for metric, value in zip(("failed", "failed_share", "changed", "out_of_sync", "changed_runs", "run"), values):
        if value is not None:
            yield Metric(metric, value, name)


CHECK = Check(
    options,
    probe,
    judge,
    keep=config_agent.keep,
    needs=(
        Group("puppet"),
        *(Sudo("/usr/bin/tail", "-c", str(config_agent.TAIL), path) for path in config_agent.CLOSED),
    ),
    thresholds=[
        Threshold("age", "s", main=True, help="time since the end of the last run"),
        Threshold("intervals", "", "2", "12", help="the same, in times between two runs"),
        Threshold("failed", "", "0", help="resources, states or tasks that failed in the last run"),
        Threshold("failed_share", "%", "0", "5", help="the same, of all it looked at"),
        Threshold("changed", "", help="resources that the last run changed"),
        Threshold("out_of_sync", "", help="resources that the last run found otherwise than described"),
        Threshold("changed_runs", "", "4", help="successive runs that changed something"),
        Threshold("run", "s", help="how long the last run took"),
        Threshold("disabled", "s", None, "86400", help="time since the agent was disabled"),
        Threshold("lock", "s", "3600", help="how long a run has been under way"),
    ],
    runbook="""
See what the agent says by hand, as root: `puppet agent --test --noop`, `cf-agent -K -n`, `chef-client --why-run`,
`salt-call state.apply test=True`, `ansible-pull --check` with the arguments of its cron entry.
Disabled: ask who did it (the reason tells, one hopes) before `puppet agent --enable`, `salt-call state.enable highstate`.
No catalogue: the server, its certificate or a manifest; `puppet agent --test` shows which.
Started by nothing: `systemctl enable --now puppet` (cfengine3, chef-client, salt-minion), or put timer or cron entry back.
Changes in every run: two resources undo each other, or an exec lacks its condition; the reports of two runs show which.
A lock that stays: look at the process (`ps -fp PID`), a hung package manager or mount; end it, the next run clears the lock.
""",
)
main = CHECK.main
