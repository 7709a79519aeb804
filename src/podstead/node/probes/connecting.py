"""Connections from the node to a pod's ports, and their failures in the words of the kubelet's events (Go's net)."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket


class DialError(Exception):
    """Nobody could be reached: `dial tcp 10.1.0.2:80: connect: connection refused`."""


def join(host: str, port: int) -> str:
    """Return HOST:PORT, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def connect(host: str, port: int) -> socket.socket:
    """Return a connected non-blocking socket; raises DialError. The caller limits the time."""
    loop, where = asyncio.get_running_loop(), join(host, port)
    try:
        ipaddress.ip_address(host)
    except ValueError:
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise DialError(f"dial tcp: lookup {host}: no such host") from error
        host = str(found[0][4][0])
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    connection = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        await loop.sock_connect(connection, (host, port))
    except OSError as error:
        connection.close()
        raise DialError(f"dial tcp {where}: connect: {describe(error)}") from error
    except BaseException:
        connection.close()
        raise
    return connection


def describe(error: OSError) -> str:
    """Return what the kernel says, in small letters."""
    return os.strerror(error.errno).lower() if error.errno else str(error) or type(error).__name__
