"""Filters on dead letters: which letters they mean, and how they are written."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fewnerd_stream.contract.envelope import dead_record
from fewnerd_stream.contract.records import Record, Source
from fewnerd_stream.errors import Reason
from fewnerd_stream.operations.dead.filters import END, Filter, parse_offsets, parse_time
from fewnerd_stream.operations.dead.letters import Letter, iso
from fewnerd_stream.operations.dead.replayed_offsets import Ranges
from fewnerd_stream.settings import load_settings

SETTINGS = load_settings()
NOW = 1_764_000_000_000


def _letter(
    partition: int = 0, offset: int = 0, timestamp: int | None = NOW, reason: Reason = Reason.CRASH
) -> Letter:
    record = Record("raw-documents", 1, 7, NOW, b"k", b"v")
    out = dead_record(record, Source("raw-documents", 1, 7, NOW), reason, "model", None, None, SETTINGS)
    return Letter.of(
        Record(out.topic, partition, offset, timestamp, out.key, out.value, out.headers), SETTINGS
    )


def test_no_filter_means_every_letter() -> None:
    """What is not said does not restrict."""
    assert Filter().matches(_letter())
    assert Filter().window(3) == (0, END)


def test_by_reason() -> None:
    """Any of the reasons will do; a record that others put there has the reason unknown."""
    chosen = Filter(frozenset({"crash", "nan"}))
    assert chosen.matches(_letter())
    assert not chosen.matches(_letter(reason=Reason.NOT_JSON))
    foreign = Letter.of(Record("fewnerd-stream.raw-documents.dead", 0, 0, NOW, None, b"x"), SETTINGS)
    assert foreign.reason == "unknown"
    assert Filter(frozenset({"unknown"})).matches(foreign)


def test_by_time() -> None:
    """The beginning is included, the end is not; a letter without a time matches no time."""
    chosen = Filter(since=100, until=200)
    found = [when for when in (99, 100, 199, 200) if chosen.matches(_letter(timestamp=when))]
    assert found == [100, 199]
    assert not chosen.matches(_letter(timestamp=None))
    assert Filter(until=200).matches(_letter(timestamp=0))


def test_by_offset() -> None:
    """Only what is named, on the partitions that are named."""
    chosen = Filter(offsets=parse_offsets(["1:5-6", "1:9", "2:"]))
    places = [(partition, offset) for partition in range(4) for offset in range(12)]
    found = {place for place in places if chosen.matches(_letter(*place))}
    assert found == {(1, 5), (1, 6), (1, 9), *((2, offset) for offset in range(12))}
    assert [chosen.window(partition) for partition in range(4)] == [(0, 0), (5, 10), (0, END), (0, 0)]


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 30))
def test_what_matches_lies_within_the_window(first: int, length: int, offset: int) -> None:
    """To read only the window misses nothing."""
    chosen = Filter(offsets=parse_offsets([f"0:{first}-{first + length}"]))
    start, end = chosen.window(0)
    assert not chosen.matches(_letter(offset=offset)) or start <= offset < end


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3:100-199", (100, 200)),
        ("3:100", (100, 101)),
        ("3:100-", (100, END)),
        ("3:-199", (0, 200)),
        ("3:-", (0, END)),
        ("3:", (0, END)),
        (" 3:0 ", (0, 1)),
    ],
)
def test_offsets_as_they_are_written(text: str, expected: tuple[int, int]) -> None:
    """Both ends are included, and either may be left out."""
    assert parse_offsets([text]) == {3: Ranges([expected])}


@pytest.mark.parametrize("text", ["", "3", "3:5-4", ":5", "a:1", "3:1-2-3", "3:x", "-1:5", "3:1,2"])
def test_offsets_that_make_no_sense_are_refused(text: str) -> None:
    """The message says what was given."""
    with pytest.raises(ValueError, match=r"is not partition|ends before"):
        parse_offsets([text])


@pytest.mark.parametrize(
    ("text", "ago"),
    [
        ("0s", 0),
        ("90s", 90_000),
        ("1.5m", 90_000),
        ("2h", 7_200_000),
        ("7d", 604_800_000),
        ("1w", 604_800_000),
    ],
)
def test_an_age_is_so_long_ago(text: str, ago: int) -> None:
    """An age counts back from now."""
    assert parse_time(text, NOW) == NOW - ago


@given(st.datetimes(min_value=datetime(1971, 1, 1), max_value=datetime(2100, 1, 1)))  # noqa: DTZ001 - UTC is appended
def test_a_time_is_read_as_it_is_written(moment: datetime) -> None:
    """What `dead list` prints of a letter's time can be given back as a filter."""
    milliseconds = round(datetime.fromisoformat(f"{moment.isoformat()}+00:00").timestamp() * 1000)
    written = iso(milliseconds)
    assert written is not None
    assert parse_time(written, NOW) == milliseconds


@pytest.mark.parametrize(
    "text", ["", "yesterday", "5", "5x", "-5m", "2026-13-01", "12:00", "9" * 400 + "d", "0001-01-01"]
)
def test_times_that_make_no_sense_are_refused(text: str) -> None:
    """The message says what was given and what is wanted."""
    with pytest.raises(ValueError, match="is not an age"):
        parse_time(text, NOW)


@pytest.mark.parametrize("text", ["30000d", "1960-01-01", "1969-12-31T23:59:59Z"])
def test_times_before_every_record_are_refused(text: str) -> None:
    """No broker takes a time before 1970: it is said, rather than asked for."""
    with pytest.raises(ValueError, match="lies before 1970"):
        parse_time(text, NOW)


@pytest.mark.parametrize("timestamp", [None, -1, 0, 10**18])
def test_a_senseless_timestamp_is_no_time(timestamp: int | None) -> None:
    """Kafka's -1 and what no calendar holds are shown as nothing."""
    assert iso(timestamp) is None
