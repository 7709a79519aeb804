"""tcpSocket: a port that accepts a connection is well."""

from __future__ import annotations

import asyncio

from podstead.node.probes.connecting import DialError, connect, join
from podstead.node.probes.result import SUCCESS, Result, failure


async def probe_tcp(host: str, port: int, timeout: float) -> Result:
    """`timeout` in seconds."""
    try:
        async with asyncio.timeout(timeout):
            connection = await connect(host, port)
    except DialError as error:
        return failure(str(error))
    except TimeoutError:
        return failure(f"dial tcp {join(host, port)}: i/o timeout")
    connection.close()
    return SUCCESS
