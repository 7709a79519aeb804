"""A runtime of its own for each test; nothing of it is left afterwards, whatever the test does."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import uvloop
from runtime_instance import Instance, Pod, make_rootfs

from podstead.node.runtime.oci import OCIRuntime

RUNTIMES = (os.environ["PODSTEAD_TEST_RUNTIME"],) if "PODSTEAD_TEST_RUNTIME" in os.environ else ("runc", "crun")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.vm)
    if os.geteuid() != 0:
        for item in items:
            if "instance" in getattr(item, "fixturenames", ()):
                item.add_marker(pytest.mark.skip(reason="containers need root"))


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop that the server runs on."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def layer() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="pstest-") as directory:
        yield make_rootfs(Path(directory) / "layer")


@pytest.fixture(params=RUNTIMES)
def instance(request: pytest.FixtureRequest, tmp_path: Path, layer: Path) -> Iterator[Instance]:
    made = Instance.fresh(tmp_path, layer, request.param)
    try:
        yield made
    finally:
        made.destroy()


@pytest.fixture
async def runtime(instance: Instance) -> AsyncIterator[OCIRuntime]:
    made = instance.make_runtime()
    await made.start()
    try:
        yield made
    finally:
        instance.network.open.set()
        for container in await made.list_containers():
            await made.stop_container(container.id, 0)
        await made.close()


@pytest.fixture
async def pod(instance: Instance, runtime: OCIRuntime) -> Pod:
    return Pod(instance, runtime, await runtime.run_pod_sandbox(instance.sandbox()))
