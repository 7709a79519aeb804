"""Back-off: 10 s, doubled to 300 s, forgotten after ten quiet minutes."""

from __future__ import annotations

from podstead.node.backoff import Backoff


def test_it_doubles_to_the_limit() -> None:
    backoff, now = Backoff(), 0.0
    delays = []
    for _ in range(7):
        delays.append(backoff.failed("k", now))
        now += delays[-1]
    assert delays == [10, 20, 40, 80, 160, 300, 300]


def test_what_never_failed_need_not_wait() -> None:
    assert Backoff().remaining("k", 100, 100) == 0


def test_the_rest_counts_from_the_failure() -> None:
    backoff = Backoff()
    backoff.failed("k", 100)
    assert backoff.remaining("k", 104, 107) == 7
    assert backoff.remaining("k", 104, 114) == 0


def test_ten_quiet_minutes_are_a_new_beginning() -> None:
    backoff = Backoff()
    for now in (0, 10, 30):
        backoff.failed("k", now)
    assert backoff.remaining("k", 631, 631) == 0
    assert backoff.failed("k", 631) == 10


def test_keys_do_not_know_each_other_and_can_be_forgotten() -> None:
    backoff = Backoff()
    backoff.failed("a", 0)
    assert backoff.remaining("b", 0, 0) == 0
    backoff.forget("a")
    backoff.forget("never there")
    assert (backoff.delay("a"), backoff.remaining("a", 0, 0)) == (0, 0)
