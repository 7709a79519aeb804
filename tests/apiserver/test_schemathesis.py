"""Schemathesis on the server's own OpenAPI: every documented operation conforms, whatever the document allows.

The short form takes some operations, the same each time; PODSTEAD_TEST_LONG=1 takes all of them.
"""

from __future__ import annotations

import asyncio
import warnings
from typing import Any

import aiohttp
import pytest
import requests
import schemathesis
from apiserver_harness import Instance
from fuzzing import ANSWER_SECONDS, LONG, examples, furnish
from hypothesis import given
from hypothesis import strategies as st
from schemathesis import Case, Response
from schemathesis.generation import GenerationMode

_SHORT = ("api/v1", "apis/apps/v1", "apis/autoscaling/v2", "apis/authorization.k8s.io/v1", "version")


async def operations(instance: Instance) -> list[schemathesis.APIOperation[Any, Any, Any]]:
    index = await instance.get("/openapi/v3")
    found = []
    for name, entry in index["paths"].items():
        if not LONG and name not in _SHORT:
            continue
        schema = schemathesis.openapi.from_dict(await instance.get(entry["serverRelativeURL"]))
        found += [result.ok() for result in schema.get_all_operations()]
    # One that streams has no end to wait for.
    return [
        operation for operation in found if not operation.path.endswith(("/log", "/exec", "/attach", "/portforward"))
    ]


@pytest.mark.timeout(3600 if LONG else 120)
async def test_the_documented_operations_answer_as_documented(instance: Instance) -> None:
    await furnish(instance)
    known = await operations(instance)
    assert len(known) > (500 if LONG else 150)
    loop = asyncio.get_running_loop()
    short = known if LONG else known[:: max(1, len(known) // 20)]

    def check(operation: schemathesis.APIOperation[Any, Any, Any]) -> None:
        modes = st.sampled_from([GenerationMode.POSITIVE, GenerationMode.NEGATIVE])

        @examples(short=1, long=5)
        @given(data=st.data())
        def run(data: st.DataObject) -> None:
            mode = data.draw(modes)
            try:
                case = data.draw(operation.as_strategy(generation_mode=mode))
            except schemathesis.errors.InvalidSchema:  # nothing can be wrong with what has no parameters
                return
            answer = asyncio.run_coroutine_threadsafe(call(instance, case), loop).result(2 * ANSWER_SECONDS)
            conforms(case, answer)

        run()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for operation in short:
            await asyncio.to_thread(check, operation)


async def call(instance: Instance, case: Case) -> Response:
    """Send a case as schemathesis would, through the harness's client."""
    prepared = requests.Request(**case.as_transport_kwargs(base_url=instance.url)).prepare()
    timeout = aiohttp.ClientTimeout(ANSWER_SECONDS)
    async with instance.http.request(
        prepared.method or "GET", prepared.path_url, data=prepared.body, headers=dict(prepared.headers), timeout=timeout
    ) as response:
        endless = response.headers.get("Transfer-Encoding") == "chunked"
        content = b"" if endless else await response.read()
        if endless:
            response.close()
    headers = {name: response.headers.getall(name) for name in response.headers}
    return Response(response.status, headers, content, prepared, elapsed=0, verify=False)


def conforms(case: Case, answer: Response) -> None:
    """No failure of the server; what is documented has the documented form; what is not documented is a Status."""
    assert answer.status_code < 500 or answer.status_code in (503, 504), (case.as_curl_command(), answer.content)
    if answer.status_code < 400:
        # An Event of core/v1 has no eventTime; events.k8s.io requires it, and Kubernetes' own answers have null there.
        if answer.content and "events.k8s.io" not in case.operation.path:
            case.operation.validate_response(answer)
    elif case.method != "HEAD":
        assert answer.json()["kind"] == "Status", (case.as_curl_command(), answer.content)
