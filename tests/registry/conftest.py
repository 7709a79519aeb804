"""Fixtures: a registry, a client of it, and a request's context."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from podstead.registry.client import RegistryClient
from podstead.registry.options import RequestContext
from podstead.registry.registry import Registry
from support.registry import ADMIN, open_registry


@pytest.fixture
async def registry(tmp_path: Path) -> AsyncIterator[Registry]:
    async with open_registry(tmp_path / "state.db") as opened:
        yield opened


@pytest.fixture
def client(registry: Registry) -> RegistryClient:
    return registry.client(ADMIN)


@pytest.fixture
def ctx() -> RequestContext:
    return RequestContext(ADMIN)
