"""Projected volumes, filled from a real registry."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from podstead import clock
from podstead.linux import mounts
from podstead.node.volumes.base import VolumeError
from podstead.node.volumes.manager import VolumeManager
from podstead.objects.pod import Pod, from_object
from podstead.objects.user import UserInfo
from podstead.paths import Paths
from podstead.pki import Pki
from podstead.registry.client import RegistryClient
from podstead.tokens import TokenKeys
from support.registry import make_map, make_pod, open_registry

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

BUNDLES = "clustertrustbundles.certificates.k8s.io"
TOKEN = {"serviceAccountToken": {"path": "token", "expirationSeconds": 600}}


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[RegistryClient]:
    pki = Pki(tmp_path / "pki")
    pki.ensure()
    keys = TokenKeys(pki.service_account_key, pki.retired_service_account_keys)
    async with open_registry(tmp_path / "state.db", token_keys=keys) as registry:
        yield registry.client(UserInfo("system:node:here", ("system:nodes",)))


@pytest.fixture
async def manager(tmp_path: Path, client: RegistryClient) -> AsyncIterator[VolumeManager]:
    paths = Paths("test", tmp_path / "data", tmp_path / "run")
    made = VolumeManager(paths)
    made.connect(client)
    yield made
    for entry in mounts.mounts_below(tmp_path):
        mounts.umount(entry)


async def a_pod(client: RegistryClient, *sources: Any, mode: int = 0o644, **metadata: Any) -> Pod:
    manifest = make_pod(**metadata)
    created = await client.create("pods", manifest, "default")
    volume = {"name": "v", "projected": {"defaultMode": mode, "sources": list(sources)}}
    return from_object({**created, "spec": {**created["spec"], "volumes": [volume]}})


async def test_all_sources_are_in_one_volume(client: RegistryClient, manager: VolumeManager) -> None:
    await client.create("configmaps", make_map("m", {"a": "1", "b": "2"}) | {"binaryData": {"c": "AAE="}}, "default")
    pod = await a_pod(
        client,
        TOKEN,
        {"configMap": {"name": "m"}},
        {"configMap": {"name": "m", "items": [{"key": "a", "path": "deep/a", "mode": 0o600}]}},
        {"configMap": {"name": "absent", "optional": True}},
        {
            "downwardAPI": {
                "items": [
                    {"path": "notes", "fieldRef": {"fieldPath": "metadata.annotations"}},
                    {"path": "app", "fieldRef": {"fieldPath": "metadata.labels['app']"}},
                    {"path": "uid", "fieldRef": {"fieldPath": "metadata.uid"}},
                ]
            }
        },
        mode=0o640,
        labels={"app": "x"},
        annotations={"note": 'two\n"lines"', "a": ""},
    )
    path = (await manager.set_up(pod))["v"]
    read = {name: (path / name).read_text() for name in ("a", "b", "deep/a", "app", "uid")}
    assert read == {"a": "1", "b": "2", "deep/a": "1", "app": "x", "uid": pod.metadata.uid}
    assert (path / "notes").read_text() == 'a=""\nnote="two\\n\\"lines\\""'
    assert (path / "c").read_bytes() == b"\0\1"
    assert (path / "a").stat().st_mode & 0o777 == 0o640 and (path / "deep/a").stat().st_mode & 0o777 == 0o600
    claims = json.loads(base64.urlsafe_b64decode((path / "token").read_text().split(".")[1] + "=="))
    assert claims["kubernetes.io"]["pod"]["uid"] == pod.metadata.uid
    assert any(entry.target == path and entry.fstype == "tmpfs" for entry in mounts.mount_table())
    await manager.tear_down(pod.metadata.uid)
    assert not path.exists()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"configMap": {"name": "absent"}}, 'configmap "absent" not found'),
        (
            {"configMap": {"name": "m", "items": [{"key": "x", "path": "x"}]}},
            "configmap references non-existent config key: x",
        ),
        ({"configMap": {"name": "m", "items": [{"key": "a", "path": "../x"}]}}, "no relative path inside of a volume"),
    ],
)
async def test_what_is_not_there_is_told(
    client: RegistryClient, manager: VolumeManager, source: Any, message: str
) -> None:
    await client.create("configmaps", make_map("m", {"a": "1"}), "default")
    with pytest.raises(VolumeError, match=r'MountVolume\.SetUp failed for volume "v" : ') as told:
        await manager.set_up(await a_pod(client, source))
    assert message in str(told.value)


async def test_a_token_is_renewed_before_it_ends(
    client: RegistryClient, manager: VolumeManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod = await a_pod(client, TOKEN)
    path = (await manager.set_up(pod))["v"]
    first = (path / "token").read_text()
    [shown] = manager._contents._pods[pod.metadata.uid].values()
    assert shown.due is not None and 465 <= shown.due - clock.now().timestamp() <= 480
    now = clock.now() + timedelta(seconds=481)
    monkeypatch.setattr(clock, "now", lambda: now)
    running = asyncio.create_task(manager.run())
    try:
        async with asyncio.timeout(10):
            while (path / "token").read_text() == first:
                await asyncio.sleep(0.01)
    finally:
        running.cancel()
        await asyncio.wait([running])
    assert shown.due > now.timestamp()


async def test_labels_that_change_are_shown(client: RegistryClient, manager: VolumeManager) -> None:
    item = {"path": "app", "fieldRef": {"fieldPath": "metadata.labels['app']"}}
    pod = await a_pod(client, {"downwardAPI": {"items": [item]}}, labels={"app": "x"})
    path = (await manager.set_up(pod))["v"]
    patched = await client.patch("pods", "p", "default", {"metadata": {"labels": {"app": "y"}}})
    volumes = [{"name": "v", "projected": {"sources": [{"downwardAPI": {"items": [item]}}]}}]
    await manager.update(from_object({**patched, "spec": {**patched["spec"], "volumes": volumes}}))
    assert (path / "app").read_text() == "y"


async def test_a_server_that_comes_back_finds_the_volume(client: RegistryClient, manager: VolumeManager) -> None:
    pod = await a_pod(client, TOKEN, {"configMap": {"name": "absent", "optional": True}})
    path = (await manager.set_up(pod))["v"]
    assert (await manager.set_up(pod))["v"] == path
    assert len([entry for entry in mounts.mount_table() if entry.target == path]) == 1


def pem(common_name: str) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    built = x509.CertificateBuilder(name, name, key.public_key(), 1, clock.now(), clock.now() + timedelta(days=1))
    built = built.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return built.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


async def test_certificates_to_trust_come_by_name_and_by_signer(client: RegistryClient, manager: VolumeManager) -> None:
    one, two, signer = pem("one"), pem("two"), "sign.example/er"
    for name, text, labels in (("sign.example:er:a", one, {"live": "1"}), ("sign.example:er:b", one + two, {})):
        spec = {"signerName": signer, "trustBundle": text}
        await client.create(BUNDLES, {"metadata": {"name": name, "labels": labels}, "spec": spec})
    await client.create(BUNDLES, {"metadata": {"name": "plain"}, "spec": {"trustBundle": f"# two\n{two}"}})

    def source(path: str, **chosen: Any) -> dict[str, Any]:
        return {"clusterTrustBundle": {"path": path, **chosen}}

    everything: dict[str, Any] = {"signerName": signer, "labelSelector": {}}
    pod = await a_pod(
        client,
        source("name.pem", name="plain"),
        source("signer.pem", **everything),
        source("live.pem", signerName=signer, labelSelector={"matchLabels": {"live": "1"}}),
        source("none.pem", signerName=signer, optional=True),
    )
    path = (await manager.set_up(pod))["v"]
    assert (path / "name.pem").read_text() == two
    assert (path / "signer.pem").read_text() == one + two
    assert (path / "live.pem").read_text() == one
    assert (path / "none.pem").read_text() == "", "no selector selects nothing"
    with pytest.raises(VolumeError, match="combination of signerName and labelSelector matched zero"):
        await manager.set_up(await a_pod(client, source("x", signerName="other.example/x", labelSelector={}), name="q"))


async def test_a_token_belongs_to_the_pods_one_user(client: RegistryClient, manager: VolumeManager) -> None:
    pod = await a_pod(client, TOKEN, {"configMap": {"name": "absent", "optional": True}})
    security = msgspec.structs.replace(pod.spec.security_context, run_as_user=1000)
    mine = msgspec.structs.replace(pod, spec=msgspec.structs.replace(pod.spec, security_context=security))
    token = (await manager.set_up(mine))["v"] / "token"
    assert (token.stat().st_mode & 0o777, token.stat().st_uid) == (0o600, 1000)
    first = token.read_text()
    await client.create("configmaps", make_map("absent", {"a": "1"}), "default")
    await manager.set_up(mine)
    assert (token.parent / "a").read_text() == "1"
    assert token.read_text() == first, "what else changes brings no new token"
