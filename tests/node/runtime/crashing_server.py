"""A server's part in the adoption tests: makes a pod with one container and dies by SIGKILL where it is told to.

argv: a JSON object: name, data, run, layer, wanted (the OCI runtime), args (of the container), count and moment: die
`before` or `after` the COUNT-th record is written; count 0: tell the ids on stdout and wait to be killed.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from runtime_instance import Instance, Pod

from podstead.node.runtime.records import RecordFolder
from podstead.paths import Paths


def die_at(count: int, moment: str) -> None:
    save, seen = RecordFolder.save, 0

    def counted(self: RecordFolder[Any], record: Any) -> None:
        nonlocal seen
        seen += 1
        if seen == count and moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        save(self, record)
        if seen == count:
            os.kill(os.getpid(), signal.SIGKILL)

    RecordFolder.save = counted  # type: ignore[method-assign]


async def serve(order: dict[str, Any]) -> None:
    paths = Paths(order["name"], Path(order["data"]), Path(order["run"]))
    instance = Instance(paths, Path(order["layer"]), order["wanted"])
    runtime = instance.make_runtime()
    await runtime.start()
    if order["count"]:
        die_at(order["count"], order["moment"])
    pod = Pod(instance, runtime, await runtime.run_pod_sandbox(instance.sandbox()))
    container_id = await pod.create(*order["args"], stdin=True)
    if order.get("start", True):
        await runtime.start_container(container_id)
    status = await runtime.container_status(container_id)
    print(json.dumps({"sandbox": pod.sandbox.id, "container": container_id, "pid": status.pid}), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(json.loads(sys.argv[1])))
