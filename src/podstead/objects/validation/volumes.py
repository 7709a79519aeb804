"""Validation of a pod's volumes: their names, and that each has one source, which its own rules hold for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError
from podstead.objects.validation import projected, sources
from podstead.objects.validation.claims import validate_claim_template
from podstead.objects.validation.common import needs, required_name
from podstead.objects.validation.resources import quantity_errors

Object = Mapping[str, Any]
EMPTY_DIR_MODE_MAX = 0o1777


def validate_volumes(volumes: Sequence[Object], pod_name: str, path: str) -> tuple[dict[str, Object], list[FieldError]]:
    """Return the volumes that containers may mount by name (those that are right in themselves), and what is wrong.

    `pod_name` is empty where there is no pod yet, as in a template.
    """
    found: dict[str, Object] = {}
    errors: list[FieldError] = []
    made = {
        f"{pod_name}-{each.get('name') or ''}" for each in volumes if pod_name and each.get("ephemeral") is not None
    }
    for index, volume in enumerate(volumes):
        at, name = f"{path}[{index}]", volume.get("name") or ""
        wrong = [*_source(volume, pod_name, at), *required_name(name, f"{at}.name")]
        if name in found:
            wrong.append(meta.duplicate(f"{at}.name", name))
        if not wrong:
            found[name] = volume
        errors += wrong
        claim = (volume.get("persistentVolumeClaim") or {}).get("claimName") or ""
        if claim in made:
            detail = "must not reference a PVC that gets created for an ephemeral volume"
            errors.append(meta.invalid(f"{at}.persistentVolumeClaim.claimName", claim, detail))
    return found, errors


def _empty_dir(source: Object, path: str) -> Iterator[FieldError]:
    # The API server leaves an unknown medium to the kubelet, on which the pod then fails; it is said at once here.
    medium = source.get("medium") or ""
    if medium not in ("", "Memory", "HugePages") and not medium.startswith("HugePages-"):
        yield meta.unsupported(f"{path}.medium", medium, ("", "Memory"))
    if source.get("sizeLimit") is not None:
        quantity, errors = quantity_errors(f"{path}.sizeLimit", source["sizeLimit"])
        if quantity is not None and errors:
            yield meta.forbidden(f"{path}.sizeLimit", "SizeLimit field must be a valid resource quantity")
        else:
            yield from errors
    mode = source.get("mode")
    if mode is not None and not 0 <= mode <= EMPTY_DIR_MODE_MAX:
        yield meta.invalid(f"{path}.mode", mode, "must be a number between 0 and 01777 (octal), both inclusive")


def _claim(source: Object, path: str) -> Iterator[FieldError]:
    return needs(source, path, "claimName")


def _ephemeral(source: Object, path: str) -> Iterator[FieldError]:
    template = source.get("volumeClaimTemplate")
    if template is None:
        yield meta.required(f"{path}.volumeClaimTemplate")
    else:
        yield from validate_claim_template(template, f"{path}.volumeClaimTemplate")


# In the order in which the sources of one volume count: the first is looked into, the others are too many.
_SOURCES: dict[str, Callable[[Object, str], Iterator[FieldError]]] = {
    "emptyDir": _empty_dir,
    "hostPath": sources.host_path,
    "gitRepo": sources.git_repo,
    "gcePersistentDisk": sources.gce_disk,
    "awsElasticBlockStore": sources.aws_disk,
    "secret": projected.secret,
    "nfs": sources.nfs,
    "iscsi": sources.iscsi,
    "glusterfs": sources.glusterfs,
    "flocker": sources.flocker,
    "persistentVolumeClaim": _claim,
    "rbd": sources.rbd,
    "cinder": sources.cinder,
    "cephfs": sources.cephfs,
    "quobyte": sources.quobyte,
    "downwardAPI": projected.downward_api,
    "fc": sources.fibre_channel,
    "flexVolume": sources.flex_volume,
    "configMap": projected.config_map,
    "azureFile": sources.azure_file,
    "vsphereVolume": sources.vsphere,
    "photonPersistentDisk": sources.photon_disk,
    "portworxVolume": sources.portworx,
    "azureDisk": sources.azure_disk,
    "storageos": sources.storage_os,
    "projected": projected.projected,
    "scaleIO": sources.scale_io,
    "csi": sources.csi,
    "ephemeral": _ephemeral,
    "image": sources.image,
}
# Where the API server names a source otherwise than the field: within its own rules, and as one too many.
_CALLED = {"gcePersistentDisk": "persistentDisk"}
_CALLED_EXTRA = {"cephfs": "cephFS", "downwardAPI": "downwarAPI"}
_PORTAL_LENGTH = 64


def _source(volume: Object, pod_name: str, path: str) -> Iterator[FieldError]:
    given = [source for source in volume if source in _SOURCES and volume[source] is not None]
    if not given:
        yield meta.required(path, "must specify a volume type")
        return
    if len(given) > 1:
        order = list(_SOURCES)
        given.sort(key=order.index)
    for position, source in enumerate(given):
        if position:
            called = _CALLED_EXTRA.get(source, source)
            yield meta.forbidden(f"{path}.{called}", "may not specify more than 1 volume type")
        else:
            yield from _SOURCES[source](volume[source], f"{path}.{_CALLED.get(source, source)}")
        if source == "iscsi":
            yield from _portal_length(volume, path)
        elif source == "ephemeral" and not position:
            yield from _claim_name(volume.get("name") or "", pod_name, path)


def _portal_length(volume: Object, path: str) -> Iterator[FieldError]:
    name, source = volume.get("name") or "", volume["iscsi"]
    length = len(f"{name}:{source.get('targetPortal') or ''}".encode())
    if source.get("initiatorName") is not None and length > _PORTAL_LENGTH:
        detail = (
            "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters "
            "if iscsi.initiatorName is specified."
        )
        yield meta.invalid(f"{path}.name", name, detail)


def _claim_name(name: str, pod_name: str, path: str) -> Iterator[FieldError]:
    """The name of the claim that a generic ephemeral volume makes."""
    if name and pod_name:
        claim = f"{pod_name}-{name}"
        for problem in meta.dns_subdomain_problems(claim):
            yield meta.invalid(f"{path}.name", name, f"PVC name {meta.quoted(claim)}: {problem}")
