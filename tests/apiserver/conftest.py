"""Fixtures of this folder; what they are made of is in apiserver_harness."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop
from apiserver_harness import instance, shared_pki

__all__ = ["instance", "shared_pki"]

_ON_BOTH = ("test_proxy", "test_logs", "test_watch")


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """What streams runs on both loops: how they treat a connection that is taken over or dropped differs."""
    if item.path.stem in _ON_BOTH:
        return {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}
    return {"uvloop": uvloop.new_event_loop}
