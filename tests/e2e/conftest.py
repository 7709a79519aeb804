"""One instance for all end-to-end tests of a run; tests that stop or break theirs make one of their own."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from support.instance import TestInstance

WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")
"""In front of the pid, so that no instance's name begins as another's that runs at the same time."""


@pytest.fixture(scope="session")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestInstance]:
    """A running instance with the image centos:7; nothing of it may be left at the end."""
    yield from _running(TestInstance(f"t{WORKER}-{os.getpid()}", tmp_path_factory.mktemp("shared")))


@pytest.fixture
def own_instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestInstance]:
    """A running instance for one test alone."""
    yield from _running(TestInstance(f"o{WORKER}-{os.getpid()}", tmp_path_factory.mktemp("own")))


def _running(made: TestInstance) -> Iterator[TestInstance]:
    try:
        made.up()
        made.import_image()
        yield made
    finally:
        made.down("--purge", check=False)
    assert made.leftovers() == []
