"""Validation of volume sources: directories of the host, network storage, drivers, images.

Most of the older network types are served by CSI drivers nowadays or by nobody; the API still has their rules.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError
from podstead.objects.validation.common import (
    choice,
    descending_path,
    each,
    needs,
    no_backsteps,
    one_of,
    required_name,
)

Object = Mapping[str, Any]
Errors = Iterator[FieldError]

HOST_PATH_TYPES = ("", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket")
PULL_POLICIES = ("Always", "IfNotPresent", "Never")
_CACHING_MODES = ("None", "ReadOnly", "ReadWrite")
_DISK_KINDS = ("Dedicated", "Managed", "Shared")
_MANAGED_URI = "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}"
_BLOB_URI = "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"
_ISCSI_NAMES = {
    "iqn": re.compile(r"iqn\.\d{4}-\d{2}\.([a-zA-Z0-9.-]+)(:[^,;*&$|\s]+)\Z", re.ASCII),
    "eui": re.compile(r"eui.[a-zA-Z0-9]{16}\Z"),
    "naa": re.compile(r"naa.[a-zA-Z0-9]{32}\Z"),
}
_DRIVER_LENGTH = 63
_TENANT_LENGTH = 64


def host_path(source: Object, path: str) -> Errors:
    target = source.get("path") or ""
    if not target:
        yield meta.required(f"{path}.path")
        return
    yield from no_backsteps(target, f"{path}.path")
    yield from choice(source, "type", HOST_PATH_TYPES, path)


def image(source: Object, path: str) -> Errors:
    yield from needs(source, path, "reference")
    yield from one_of(source.get("pullPolicy"), PULL_POLICIES, f"{path}.pullPolicy")


def git_repo(source: Object, path: str) -> Errors:
    yield from needs(source, path, "repository")
    yield from descending_path(source.get("directory") or "", f"{path}.directory")


def nfs(source: Object, path: str) -> Errors:
    yield from needs(source, path, "server", "path")
    target = source.get("path") or ""
    if not target.startswith("/"):
        yield meta.invalid(f"{path}.path", target, "must be an absolute path")


def gce_disk(source: Object, path: str) -> Errors:
    yield from needs(source, path, "pdName")
    yield from _range(source, "partition", (0, 255), meta.in_range(1, 255), path)


def aws_disk(source: Object, path: str) -> Errors:
    yield from needs(source, path, "volumeID")
    yield from _range(source, "partition", (0, 255), meta.in_range(1, 255), path)


def _range(source: Object, field: str, bounds: tuple[int, int], detail: str, path: str) -> Errors:
    number = source.get(field) or 0
    if not bounds[0] <= number <= bounds[1]:
        yield meta.invalid(f"{path}.{field}", number, detail)


def iscsi(source: Object, path: str) -> Errors:
    yield from needs(source, path, "targetPortal", "iqn")
    if source.get("iqn"):
        yield from _iscsi_name(source["iqn"], f"{path}.iqn")
    yield from _range(source, "lun", (0, 255), meta.in_range(0, 255), path)
    if (source.get("chapAuthDiscovery") or source.get("chapAuthSession")) and source.get("secretRef") is None:
        yield meta.required(f"{path}.secretRef")
    if source.get("initiatorName") is not None:
        yield from _iscsi_name(source["initiatorName"], f"{path}.initiatorname")


def _iscsi_name(name: str, path: str) -> Errors:
    pattern = _ISCSI_NAMES.get(name[:3])
    if pattern is None:
        yield meta.invalid(path, name, "must be valid format starting with iqn, eui, or naa")
    elif not pattern.match(name):
        yield meta.invalid(path, name, "must be valid format")


def glusterfs(source: Object, path: str) -> Errors:
    return needs(source, path, "endpoints", "path")


def flocker(source: Object, path: str) -> Errors:
    name, uuid = source.get("datasetName") or "", source.get("datasetUUID") or ""
    if not name and not uuid:
        yield meta.required(path, "one of datasetName and datasetUUID is required")
    if name and uuid:
        yield meta.invalid(path, "resource", "datasetName and datasetUUID can not be specified simultaneously")
    if "/" in name:
        yield meta.invalid(f"{path}.datasetName", name, "must not contain '/'")


def rbd(source: Object, path: str) -> Errors:
    return needs(source, path, "monitors", "image")


def cephfs(source: Object, path: str) -> Errors:
    return needs(source, path, "monitors")


def cinder(source: Object, path: str) -> Errors:
    yield from needs(source, path, "volumeID")
    yield from _secret_name(source, path)


def _secret_name(source: Object, path: str) -> Errors:
    if source.get("secretRef") is not None:
        yield from needs(source["secretRef"], f"{path}.secretRef", "name")


def quobyte(source: Object, path: str) -> Errors:
    hosts = "must be a host:port pair or multiple pairs separated by commas"
    registry = source.get("registry") or ""
    if not registry:
        yield meta.required(f"{path}.registry", hosts)
    elif len((source.get("tenant") or "").encode()) > _TENANT_LENGTH:
        detail = f"must be a UUID and may not exceed a length of {_TENANT_LENGTH} characters"
        yield meta.required(f"{path}.tenant", detail)
    else:
        wrong = [pair for pair in registry.split(",") if not _is_host_and_port(pair)]
        yield from (meta.invalid(f"{path}.registry", registry, hosts) for _ in wrong)
    yield from needs(source, path, "volume")


def _is_host_and_port(pair: str) -> bool:
    if pair.startswith("["):
        return bool(re.fullmatch(r"\[[^\[\]]*\]:[^:\[\]]*", pair))
    return pair.count(":") == 1 and "[" not in pair and "]" not in pair


def fibre_channel(source: Object, path: str) -> Errors:
    names, identifiers, lun = source.get("targetWWNs"), source.get("wwids"), source.get("lun")
    if not names and not identifiers:
        yield meta.required(f"{path}.targetWWNs", "must specify either targetWWNs or wwids, but not both")
    if names and identifiers:
        yield meta.invalid(f"{path}.targetWWNs", names, "targetWWNs and wwids can not be specified simultaneously")
    if names and lun is None:
        yield meta.required(f"{path}.lun", "lun is required if targetWWNs is specified")
    elif names:
        yield from _range(source, "lun", (0, 255), meta.in_range(0, 255), path)


def flex_volume(source: Object, path: str) -> Errors:
    yield from needs(source, path, "driver")
    for key in source.get("options") or {}:
        domain = "." + key.partition("/")[0].lower()
        if domain.endswith((".kubernetes.io", ".k8s.io")):
            yield meta.invalid(f"{path}.options[{key}]", key, "kubernetes.io and k8s.io namespaces are reserved")


def azure_file(source: Object, path: str) -> Errors:
    return needs(source, path, "secretName", "shareName")


def azure_disk(source: Object, path: str) -> Errors:
    yield from needs(source, path, "diskName", "diskURI")
    yield from choice(source, "cachingMode", _CACHING_MODES, path)
    yield from choice(source, "kind", _DISK_KINDS, path)
    kind, uri = source.get("kind"), source.get("diskURI") or ""
    if kind == "Managed" and not uri.startswith("/subscriptions/"):
        yield meta.unsupported(f"{path}.diskURI", uri, (_MANAGED_URI,))
    if kind not in (None, "Managed") and not uri.startswith("https://"):
        yield meta.unsupported(f"{path}.diskURI", uri, (_BLOB_URI,))


def vsphere(source: Object, path: str) -> Errors:
    return needs(source, path, "volumePath")


def photon_disk(source: Object, path: str) -> Errors:
    return needs(source, path, "pdID")


def portworx(source: Object, path: str) -> Errors:
    return needs(source, path, "volumeID")


def storage_os(source: Object, path: str) -> Errors:
    yield from required_name(source.get("volumeName") or "", f"{path}.volumeName")
    namespace = source.get("volumeNamespace") or ""
    if namespace:
        yield from required_name(namespace, f"{path}.volumeNamespace")
    yield from _secret_name(source, path)


def scale_io(source: Object, path: str) -> Errors:
    return needs(source, path, "gateway", "system", "volumeName")


def csi(source: Object, path: str) -> Errors:
    """An inline volume of a CSI driver."""
    driver = source.get("driver") or ""
    yield from needs(source, path, "driver")
    if len(driver.encode()) > _DRIVER_LENGTH:
        yield meta.longer_than(f"{path}.driver", _DRIVER_LENGTH)
    yield from each(f"{path}.driver", driver, meta.dns_subdomain_problems(driver.lower()))
    secret = source.get("nodePublishSecretRef")
    if secret is not None:
        name = secret.get("name") or ""
        if name:
            yield from each(f"{path}.name", name, meta.dns_subdomain_problems(name))
        else:
            yield meta.required(f"{path}.nodePublishSecretRef.name")
