# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from nephoscope.base import ABSENT, UNREADABLE, Clock, Collecting, Failed, Run
from nephoscope.probes import diskstats
from nephoscope.probes.diskstats import IDLE

from tests.probes.disk_trees import VDA, line, tree


def runs(tmp_path, *moments, expected=(), least=10.0, every=60.0, before=None, **words):
    """Surveys of one machine whose lines change from moment to moment; a moment is a line, or several."""
    found = []
    for at, lines in enumerate(moments):
        root = tree(tmp_path, *([lines] if isinstance(lines, str) else lines))
        run = Run(root=root, clock=Clock(shift=at * every), before=before, **words)
        found.append(diskstats.survey(run, expected, least))
        before = found[-1].keep()
    return found


def values(survey, at=0):
    return {
        name: value if isinstance(value, (float, int)) or value is None else value.why or "collecting"
        for name, value in survey.devices[at].values.items()
    }


def test_the_recorded_line(tmp_path):
    (survey,) = runs(tmp_path, VDA)
    (device,) = survey.devices
    assert (device.name, device.in_flight, device.stuck) == ("vda", 0, None)
    assert set(values(survey).values()) == {"collecting"}
    assert survey.keep()["samples"][0][2] == {
        "vda r": 6571606, "vda rt": 4418140, "vda w": 5313405, "vda wt": 3169634, "vda t": 1035972, "vda f": 0,
        "vda o": 4956260 + 1096796,
    }  # fmt: skip


def slow(reads, ms, busy=30000, at=1):
    return line("sda", 1000 + at * reads, 500 + at * ms, 10, 5, busy_ms=at * busy)


def test_what_lasts_for_two_intervals(tmp_path):
    _, second, third = runs(tmp_path, *(slow(1200, 120000, at=at) for at in range(3)))
    assert values(second) == {
        "await": "collecting", "read_await": pytest.approx(0.1), "write_await": IDLE.why,
        "util": pytest.approx(50, abs=0.1), "ios_rate": pytest.approx(20, abs=0.1),
    }  # fmt: skip
    assert values(third)["await"] == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        (line("sda", 3400, 120500, 10, 5, busy_ms=60000), 0.0),  # now quick: the better of two
        (line("sda", 2200, 120500, 2410, 1205, busy_ms=60000), 0.0005),  # reads gone, writes quick
        (line("sda", 3400, 1320500, 2410, 1205, busy_ms=60000), 0.1),  # slower still: the earlier one is the better
        (line("sda", 2500, 150500, 10, 5, busy_ms=31000), IDLE.why),  # 5 I/Os a second, and not busy
        (line("sda", 2500, 150500, 10, 5, busy_ms=37000), 0.1),  # 5 a second, busy for 11 %
        (line("sda", 2200, 120500, 10, 5, busy_ms=30000), IDLE.why),  # nothing at all
    ],
)
def test_the_better_of_the_last_two(tmp_path, last, expected):
    found = values(runs(tmp_path, slow(1200, 120000, at=0), slow(1200, 120000), last)[-1])
    assert found["await"] == (expected if isinstance(expected, str) else pytest.approx(expected))


@pytest.mark.parametrize("every", [300, 1500, 1900, 3500])
def test_runs_that_are_up_to_an_hour_apart_are_compared_too(tmp_path, every):
    found = runs(tmp_path, *(slow(60000, 6000000, at=at) for at in range(4)), every=every)
    assert [values(survey)["await"] for survey in found] == ["collecting", "collecting", 0.1, 0.1]


def test_another_disk_of_the_same_name_after_a_run_without_any(tmp_path):
    away = line("sdb", 5)
    surveys = runs(
        tmp_path,
        line("sda", 90000, 5000, busy_ms=60000),
        away,
        line("sda", 50, 3000),
        line("sda", 1250, 4200, busy_ms=600),
    )
    assert set(values(surveys[2]).values()) == {"collecting"}
    assert (values(surveys[3])["read_await"], values(surveys[3])["ios_rate"]) == (0.001, pytest.approx(20, rel=0.01))


def test_partitions_of_old_kernels_are_passed_over(tmp_path):
    (survey,) = runs(tmp_path, [line("sda", 5, columns=11), "   8    1 sda1 35486 38030 38030 38030"])  # iostats.rst
    assert [device.name for device in survey.devices] == ["sda"]


def test_quick_re_checks_do_not_push_out_what_can_be_compared(tmp_path):
    moments = [line("sda", 100 * at, 10000 * at, 0, 0, busy_ms=1000 * at) for at in range(1, 41)]
    survey = runs(tmp_path, *moments, every=3)[-1]
    assert values(survey)["await"] == pytest.approx(0.1)
    assert len(survey.keep()["samples"]) <= diskstats.SAMPLES + 1


def test_times_go_on_after_32_bits(tmp_path):
    lines = [line("sda", 1000, 2**32 - 1000), line("sda", 2000, 99000), line("sda", 3000, 199000)]
    found = [values(survey)["read_await"] for survey in runs(tmp_path, *lines)]
    assert found[1:] == [pytest.approx(0.1), pytest.approx(0.1)]


def test_another_disk_of_the_same_name_begins_anew(tmp_path):
    surveys = runs(tmp_path, line("sda", 90000, 5000), line("sda", 50, 3000), line("sda", 1250, 4200, 0, 0, 0, 600))
    assert [values(survey)["read_await"] for survey in surveys[:2]] == ["collecting", "collecting"]
    assert values(surveys[2])["read_await"] == pytest.approx(0.001)


def test_what_is_reset_all_the_time_is_not_measured(tmp_path):
    surveys = runs(tmp_path, *(line("sda", 900 - at, 10) for at in range(6)), every=3500)
    assert values(surveys[3])["await"] == "collecting"
    assert values(surveys[-1])["await"] is None


WAITS = line("sda", 100, 10, in_flight=2)


def test_one_that_answers_nothing_hangs(tmp_path):
    surveys = runs(tmp_path, WAITS, WAITS, line("sda", 100, 10, in_flight=3), line("sda", 101, 10, in_flight=3))
    stuck = [survey.devices[0].stuck for survey in surveys]
    assert (stuck[0], stuck[1], stuck[2], stuck[3]) == (None, pytest.approx(60, 0.1), pytest.approx(120, 0.1), None)
    assert surveys[3].keep()["stuck"] == {}


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        (line("sda", 100, 10), WAITS),  # it was idle until a moment ago
        (WAITS, line("sda", 100, 10)),
        (WAITS, line("sda", 101, 10, in_flight=2)),
        (WAITS, line("sda", 100, 10, 1, in_flight=2)),
        (WAITS, line("sda", 100, 10, in_flight=2, flushes=1)),
    ],
)
def test_one_that_answers_or_idles_does_not_hang(tmp_path, earlier, later):
    assert runs(tmp_path, earlier, later)[-1].devices[0].stuck is None


def test_a_moment_is_not_long_enough_to_hang(tmp_path):
    assert runs(tmp_path, WAITS, WAITS, every=20)[-1].devices[0].stuck is None


@pytest.mark.parametrize("columns", [11, 15, 17])
def test_kernels_old_and_new(tmp_path, columns):
    assert runs(tmp_path, line("sda", 5, columns=columns))[0].devices[0].name == "sda"


HOST = [
    line("sda", 5), line("sda1", 5), line("sdb", 5), line("sdc", 5), line("sdd"), line("loop0", 5), line("zram0", 5), line("sr0", 5),
    line("dm-0", 5), line("dm-1", 5), line("nvme0n1", 5), line("md0", 5), line("cciss/c0d0", 5),
]  # fmt: skip
WHOLE = tuple(text.split()[2] for text in HOST if "sda1" not in text)
MAPS = {
    "dm-0/dm/name": "mpatha\n", "dm-0/dm/uuid": "mpath-3600\n", "dm-0/slaves/sdb": "", "dm-0/slaves/sdc": "",
    "dm-1/dm/name": "vg-root\n", "dm-1/dm/uuid": "LVM-x\n", "dm-1/slaves/sda": "",
}  # fmt: skip


def chosen(tmp_path, expected=(), **words):
    run = Run(root=tree(tmp_path, *HOST, whole=WHOLE, files=MAPS), **words)
    survey = diskstats.survey(run, expected, 10.0)
    return [device.name for device in survey.devices], survey


def test_which_are_looked_at(tmp_path):
    names, survey = chosen(tmp_path)
    assert names == ["sda", "mpatha", "vg-root", "nvme0n1", "md0", "cciss/c0d0"]
    assert survey.summary() == (
        "6 looked at: sda, mpatha, vg-root, nvme0n1, md0, cciss/c0d0; "
        "not: 1 never used, 2 paths of multipath maps, 3 loop, memory or removable"
    )
    assert chosen(tmp_path, include=("s*",))[0] == ["sda", "sdb", "sdc", "sdd", "sr0"]
    assert chosen(tmp_path, exclude=("sd*", "m*"))[0] == ["vg-root", "nvme0n1", "cciss/c0d0"]


def test_what_is_expected(tmp_path):
    names, survey = chosen(tmp_path, ("sda1", "dm-1", "mpatha", "cciss!c0d0", "sdz", "loop0"), exclude=("*",))
    assert names == ["sda1", "loop0", "mpatha", "vg-root", "cciss/c0d0"]
    assert survey.missing == ("sdz",)


def test_one_that_is_not_counted_is_told(tmp_path):
    root = tree(tmp_path, line("sda", 5), files={"sda/queue/iostats": "0\n"})
    (failed,) = diskstats.survey(Run(root=root), (), 10.0).devices
    assert failed == Failed(
        UNREADABLE, "sda", "read /proc/diskstats", "the kernel does not count its I/Os", "echo 1 > /sys/block/sda/queue/iostats"
    )  # fmt: skip


def test_the_head_of_nvme_paths_is_told_by_its_paths(tmp_path):
    lines = [line("nvme0n1", 5), line("nvme0c0n1", 5), line("nvme0c1n1", 5)]
    survey = diskstats.survey(Run(root=tree(tmp_path, *lines, files={"nvme0n1/queue/iostats": "0\n"})), (), 10.0)
    assert survey.summary() == "2 looked at: nvme0c0n1, nvme0c1n1; not: 1 heads of NVMe paths"


@pytest.mark.parametrize(
    ("lines", "kind", "said"),
    [
        (["8 0 sda 1 2"], UNREADABLE, "not understood: '8 0 sda 1 2'"),
        (["8 0 sda " + "x " * 11], UNREADABLE, "not understood: '8 0 sda x x"),
        ([], ABSENT, "it lists no device at all"),
        ([line("loop0", 5)], ABSENT, "no disk that was ever used"),
    ],
)
def test_what_is_not_understood(tmp_path, lines, kind, said):
    (tmp_path / "sys/block").mkdir(parents=True)
    root = tree(tmp_path, *lines, whole=("loop0",))
    with pytest.raises(Failed) as caught:
        diskstats.survey(Run(root=root), (), 10.0)
    assert caught.value.kind == kind
    assert said in caught.value.error


def test_no_file(tmp_path):
    with pytest.raises(Failed) as caught:
        diskstats.survey(Run(root=str(tmp_path)), (), 10.0)
    assert caught.value.kind == ABSENT


@pytest.mark.parametrize("before", [[], "x", {"samples": 5, "stuck": 7}, {"samples": [[1, 2]], "stuck": {"sda": "x"}}])
def test_a_foreign_state_is_none(tmp_path, before):
    assert isinstance(runs(tmp_path, WAITS, before=before)[0].devices[0].values["util"], Collecting)


def test_four_hundred_maps_stay_small(tmp_path):
    import json

    moments = [[line(f"sd{n}", 10**6 + at, 10**6) for n in range(400)] for at in range(8)]
    survey = runs(tmp_path, *moments)[-1]
    assert len(json.dumps(survey.keep())) < 600_000
