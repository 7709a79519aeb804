"""A container that writes more than its log may hold, under a real conmon."""

from __future__ import annotations

import asyncio

from runtime_instance import DEADLINE, Instance, Pod

from podstead.node.logs import LogFile, LogOptions
from podstead.node.runtime import logfiles
from podstead.node.runtime.logfiles import LogLimits
from podstead.node.runtime.oci import OCIRuntime

LIMITS = LogLimits(size=256 << 10, files=3)


async def test_a_burst_stays_within_the_bound_and_its_end_is_there(instance: Instance) -> None:
    runtime = OCIRuntime(instance.paths, instance.images, instance.network, wanted=instance.wanted, log_limits=LIMITS)
    await runtime.start()
    try:
        pod = Pod(instance, runtime, await runtime.run_pod_sandbox(instance.sandbox()))
        script = "i=0; while [ $i -lt 60000 ]; do echo number $i; i=$((i+1)); done"
        async with asyncio.timeout(DEADLINE):
            status = await pod.end(await pod.run("sh", "-c", script))
        path = status.log_path
        files = [*logfiles.rotated(path), path]
        assert 1 < len(files) <= LIMITS.files
        assert all(file.stat().st_size <= LIMITS.size for file in files)
        assert {file.name for file in path.parent.iterdir()} == {file.name for file in files}
        with LogFile(path, LogOptions(tail_lines=4000)) as log:
            log.seek()
            text = b""
            while (found := log.read())[0]:
                text += found[1]
        numbers = [int(line.split()[1]) for line in text.splitlines()]
        assert numbers == list(range(56000, 60000))
    finally:
        await runtime.close()
