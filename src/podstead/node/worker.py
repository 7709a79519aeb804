"""One pod on this node: a task that brings what is (sandbox, volumes, containers) to what is wanted, pass by pass.

A pass compares desired with actual and does what is missing; it is run again whenever something happens (the pod
changed, a container ended, a pull ended) or a time it named has come. Nothing polls, and a missed event costs nothing
but the time to the next pass. A pass that starts things is cancelled when the pod is to end; one that ends things is
cancelled only to shorten the grace.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

from podstead.client.base import Object
from podstead.client.events import WARNING
from podstead.node.context import NodeContext
from podstead.node.ending import PodEnding
from podstead.node.probes.prober import PodProbes
from podstead.node.starting import PodStarting
from podstead.node.state import PassFailed, PodState
from podstead.node.status import TERMINAL
from podstead.node.stopping import ContainerStopper

log = logging.getLogger(__name__)

_RETRY = 2.0
"""Seconds to the next pass after one that failed unexpectedly; doubles to _RETRY_LIMIT."""
_RETRY_LIMIT = 60.0


class PodWorker:
    """Runs one pod (one uid). `run` returns when nothing of it is left on the node and in the API."""

    def __init__(self, context: NodeContext, obj: Object) -> None:
        self.state = PodState(context, obj, self._wake_up)
        self._context = context
        self._wake = asyncio.Event()
        self._pass: asyncio.Task[float | None] | None = None
        self._stopper = ContainerStopper(self.state)
        self._probes = PodProbes(self.state, self._stopper.stop)
        self.state.prober = self._probes
        self._starting = PodStarting(self.state, self._stopper)
        self._ending = PodEnding(self.state, self._stopper)
        self._failures = 0
        self._interrupted = False
        status = self.state.pod.status
        if status.start_time and status.phase not in TERMINAL:
            context.room.hold(self.state.pod)  # It was admitted by an earlier server.

    def update(self, obj: Object) -> None:
        """Take the pod's new object (same uid)."""
        state = self.state
        before, ending_before = state.pod.metadata.deletion_grace_period_seconds, state.to_end
        state.take(obj)
        grace = state.pod.metadata.deletion_grace_period_seconds
        shortened = grace is not None and (before is None or grace < before)
        if shortened or (state.to_end and not ending_before):
            self._interrupt()
        self._wake_up()

    def probe_counts(self) -> Iterator[tuple[dict[str, str], int]]:
        """Yield how often each probe came to each result, with the labels of the kubelet's prober_probe_total."""
        meta = self.state.pod.metadata
        pod = {"namespace": meta.namespace, "pod": meta.name, "pod_uid": meta.uid}
        for container, kind, result, count in self._probes.counts():
            yield {"container": container, "probe_type": kind, "result": result} | pod, count

    def removed(self) -> None:
        """The pod is not in the API any more: end it at once."""
        self.state.removed = True
        self._interrupt()
        self._wake_up()

    def changed(self) -> None:
        """A container of the pod has ended."""
        self.state.note_end()
        self._wake_up()

    def _wake_up(self) -> None:
        self._wake.set()

    def _interrupt(self) -> None:
        if self._pass is not None and not self._ending.settling:
            self._interrupted = True
            self._pass.cancel()

    async def run(self) -> None:
        """Run passes until the pod is gone."""
        try:
            while not self.state.gone:
                self._wake.clear()
                delay = await self._guarded_pass()
                if self.state.gone:
                    break
                await self._rest(delay)
        finally:
            await self._cancel_pass()
            await self._probes.close()
            await self._starting.close()
            await self._stopper.close()
            self._context.room.release(self.state.uid)

    async def _rest(self, delay: float | None) -> None:
        try:
            async with asyncio.timeout(delay):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _guarded_pass(self) -> float | None:
        """Run one pass; an unexpected failure is logged, told as an event, and tried again with a growing delay."""
        self._interrupted = False
        self._pass = asyncio.create_task(self._one_pass(), name=f"pass {self.state.pod.full_name}")
        await asyncio.wait([self._pass])
        if self._pass.cancelled():
            if self._interrupted:
                return 0
            error: BaseException = RuntimeError("a part of the pass was cancelled")
        else:
            failure = self._pass.exception()
            if failure is None:
                self._failures = 0
                return self._pass.result()
            error = _first(failure)
        if isinstance(error, PassFailed):
            self.state.record("", WARNING, error.reason, str(error))
        else:
            log.error("pod %s: a pass failed", self.state.pod.full_name, exc_info=error)
            self.state.record("", WARNING, "FailedSync", f"error syncing pod: {error}")
        return self._next_try()

    def _next_try(self) -> float:
        self._failures += 1
        return min(_RETRY * 2.0 ** (self._failures - 1), _RETRY_LIMIT)

    async def _cancel_pass(self) -> None:
        if self._pass is not None and not self._pass.done():
            self._pass.cancel()
            await asyncio.wait([self._pass])

    async def _one_pass(self) -> float | None:
        if self.state.to_end:
            await self._starting.close()
            return await self._ending.one_pass()
        return await self._starting.one_pass()


def _first(error: BaseException) -> BaseException:
    """Return what a TaskGroup failed of."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
