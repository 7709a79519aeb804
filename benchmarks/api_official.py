"""The official Python client, as its users call it: one thread, one connection, typed objects."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from api_sides import configmap
from raw_client import Pumped, RequestFailed


class Official:
    """A CoreV1Api of a kubeconfig's user; `port` asks another server than the kubeconfig's. Raises ImportError."""

    def __init__(self, kubeconfig: Path, port: int | None = None) -> None:
        from kubernetes import client, config

        connect: Any = config.new_client_from_config  # it has no types
        api = connect(str(kubeconfig))
        api.configuration.proxy = None
        if port is not None:
            api.configuration.host = f"https://127.0.0.1:{port}"
        self._api = api
        self._core: Any = client.CoreV1Api(api)

    def get(self, namespace: str, name: str, seconds: float) -> Pumped:
        began, count = time.perf_counter(), 0
        while (now := time.perf_counter()) < began + seconds or not count:
            found = self._core.read_namespaced_config_map(name, namespace)
            count += found.metadata.name == name
        return Pumped(count, now - began)

    def list(self, namespace: str, least: int, seconds: float) -> Pumped:
        began, count = time.perf_counter(), 0
        while (now := time.perf_counter()) < began + seconds or not count:
            if len(self._core.list_namespaced_config_map(namespace).items) < least:
                raise RequestFailed("the official client has listed too few")
            count += 1
        return Pumped(count, now - began)

    def create(self, namespace: str, prefix: str, count: int) -> Pumped:
        bodies = [configmap(f"{prefix}-{number}") for number in range(count)]
        began = time.perf_counter()
        for body in bodies:
            self._core.create_namespaced_config_map(namespace, body)
        return Pumped(count, time.perf_counter() - began)

    def close(self) -> None:
        self._api.close()
