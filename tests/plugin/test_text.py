# SPDX-License-Identifier: Apache-2.0
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nephoscope.plugin.text import LABEL_MAX, clean, cut, human, label, number, slug


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("plain", "plain"),
        ("a|b", "a b"),
        ("a\nb\r\nc\td", "a b c d"),
        ("\x1b[31mred\x1b[0m alert", "red alert"),
        ("\x1b]0;title\x07text", "text"),
        ("a\x00b\x7fc\x85d\u2028e", "a b c d e"),
        ("bad\udcff", "bad\\xff"),
        ("lone\ud800x", "lone?x"),
        ("é ✓", "é ✓"),
        ("right\u202eleft", "right left"),
        ("  two   spaces  ", "two spaces"),
    ],
)
def test_clean_leaves_one_harmless_line(raw, cleaned):
    assert clean(raw) == cleaned


@given(st.text(st.characters(codec=None)))
def test_clean_always_gives_printable_text_that_encodes(raw):
    cleaned = clean(raw)
    assert cleaned.encode("utf-8") is not None
    assert "|" not in cleaned
    assert all(character.isprintable() for character in cleaned)
    assert clean(cleaned) == cleaned


@pytest.mark.parametrize(
    ("name", "slugged"),
    [
        ("/", "root"),
        ("/var/lib", "var_lib"),
        ("/tmp", "tmp"),
        ("eth0", "eth0"),
        ("nova-compute", "nova-compute"),
        ("a_b", "a_b"),
    ],
)
def test_a_plain_name_or_path_keeps_its_looks(name, slugged):
    assert slug(name) == slugged


@pytest.mark.parametrize(
    "name",
    ["/var_lib", "eth0.100", "a b", "/tmp/", "//tmp", "_x", "", "é", "x" * 61, "/" + "a/" * 40 + "b", "a|b=c'::"],
)
def test_a_name_that_was_changed_bears_a_hash(name):
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,53}-[0-9a-f]{6}", slug(name))


@given(st.text(min_size=1), st.text(min_size=1))
def test_two_names_never_share_a_slug(one, other):
    if one != other:
        # A bare word and a clean path of the same letters do ("tmp", "/tmp"): no check mixes them.
        if one.startswith("/") != other.startswith("/"):
            return
        assert slug(one) != slug(other)


@given(st.text(max_size=400), st.from_regex(r"[a-z][a-z_]{0,20}", fullmatch=True))
def test_labels_stay_in_their_alphabet_and_length(of, name):
    assert re.fullmatch(r"[A-Za-z0-9_-]+", label(name, of))
    assert len(label(name, of)) <= LABEL_MAX
    assert label(name, of).endswith(name)


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        (1, "1"),
        (1.0, "1"),
        (0.1, "0.1"),
        (1e-05, "0.00001"),
        (1e-09, "0"),
        (-1e-09, "0"),
        (1e20, "100000000000000000000"),
        (True, "1"),
        (-2.5, "-2.5"),
        (1 / 3, "0.333333"),
    ],
)
def test_numbers_are_fixed_with_at_most_six_decimals(value, printed):
    assert number(value) == printed


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [(1536, "B", "1.5 KiB"), (0, "B", "0 B"), (1024**6, "B", "1024 PiB"), (0.0123, "s", "12.3 ms"), (59, "s", "59 s"), (150, "s", "2.5 min"),
     (7200, "s", "2 h"), (90000, "s", "25 h"), (864000, "s", "10 d"), (79.96, "%", "80 %"), (3, "", "3"), (123456, "", "123456"), (0.00021, "", "0.0002")],
)  # fmt: skip
def test_values_are_said_as_a_person_says_them(value, unit, said):
    assert human(value, unit) == said


def test_rates_are_said_per_second():
    assert human(0.0, "s") == "0 s"
    assert human(2048, "B", "in_rate") == "2 KiB/s"
    assert human(3.25, "", "errors_rate") == "3.25/s"


@given(st.text(), st.integers(4, 50))
def test_cut_never_exceeds_its_size(text, size):
    text = text.encode("utf-8", "replace").decode()
    assert len(cut(text, size).encode()) <= size
