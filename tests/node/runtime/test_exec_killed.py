"""A command that is killed as soon as it was asked for."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from runtime_instance import Pod

from podstead.node.runtime.base import CreateFailed, ExecConfig


async def test_a_command_that_is_killed_before_it_has_begun_ends(pod: Pod) -> None:
    container = await pod.run("sleep", "10000")
    for moment in range(20):
        process = await pod.runtime.exec(container, ExecConfig(["sleep", "9999"]))
        await asyncio.sleep(moment / 1000)  # Another step of the runtime each time.
        process.kill()
        with suppress(CreateFailed):
            await asyncio.wait_for(process.wait(), 5)
