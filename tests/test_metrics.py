"""Prometheus' text format: what a scraper reads of our numbers."""

from __future__ import annotations

from podstead.metrics import Histogram, encode, family, process_families


def test_a_histogram_counts_cumulatively_and_sums() -> None:
    histogram = Histogram("seconds", "How long.", ("verb",), (0.1, 1.0))
    for value in (0.05, 0.1, 0.5, 3.0):
        histogram.observe(value, ("GET",))
    assert list(histogram.text()) == [
        "# HELP seconds How long.",
        "# TYPE seconds histogram",
        'seconds_bucket{verb="GET",le="0.1"} 2',
        'seconds_bucket{verb="GET",le="1"} 3',
        'seconds_bucket{verb="GET",le="+Inf"} 4',
        'seconds_sum{verb="GET"} 3.65',
        'seconds_count{verb="GET"} 4',
    ]


def test_labels_are_escaped() -> None:
    lines = family("x", "gauge", "X.", [({"name": 'a"b\\c\nd'}, 1.0), ({}, 2.5)], 7)
    assert encode(lines) == b'# HELP x X.\n# TYPE x gauge\nx{name="a\\"b\\\\c\\nd"} 1 7\nx 2.5 7\n'


def test_the_process_tells_of_itself() -> None:
    values = dict(line.split() for line in process_families() if not line.startswith("#"))
    assert 0 < float(values["process_open_fds"]) <= float(values["process_max_fds"])
    assert float(values["process_resident_memory_bytes"]) > 1 << 20
    assert float(values["process_start_time_seconds"]) > 1.6e9
