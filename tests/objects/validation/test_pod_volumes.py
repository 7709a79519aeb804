"""Volumes of every type: fragment, and the API server's causes in its order."""

from __future__ import annotations

from typing import Any

import pytest

from support.manifests import causes, pod

FILE_MODE = "must be a number between 0 and 0777 (octal), both inclusive"
HOSTS = "must be a host:port pair or multiple pairs separated by commas"
SUBDOMAIN = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
    "and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
CLAIM = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
ISCSI = {"targetPortal": "p", "iqn": "iqn.2001-04.com.example:storage", "lun": 0}


def claim(**spec: Any) -> dict[str, Any]:
    return {"volumeClaimTemplate": {"spec": {**CLAIM, **spec}}}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ({"hostPath": {"path": ""}}, ["hostPath.path: Required value"]),
        ({"hostPath": {"path": "/a/../b"}}, ["hostPath.path: Invalid value: \"/a/../b\": must not contain '..'"]),
        (
            {"hostPath": {"path": "/a", "type": "Dir"}},
            [
                'hostPath.type: Unsupported value: "Dir": supported values: "", "BlockDevice", "CharDevice", '
                '"Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"'
            ],
        ),
        ({"gitRepo": {"repository": ""}}, ["gitRepo.repository: Required value"]),
        (
            {"gitRepo": {"repository": "r", "directory": "/a"}},
            ['gitRepo.directory: Invalid value: "/a": must be a relative path'],
        ),
        ({"gcePersistentDisk": {"pdName": ""}}, ["persistentDisk.pdName: Required value"]),
        (
            {"awsElasticBlockStore": {"volumeID": "v", "partition": 256}},
            ["awsElasticBlockStore.partition: Invalid value: 256: must be between 1 and 255, inclusive"],
        ),
        (
            {"secret": {"defaultMode": 512}},
            [
                "secret.secretName: Required value",
                f"secret.defaultMode: Invalid value: 512: {FILE_MODE}",
            ],
        ),
        (
            {
                "secret": {
                    "secretName": "s",
                    "items": [{"key": "", "path": ""}, {"key": "k", "path": "..a", "mode": -1}],
                }
            },
            [
                "secret.items[0].key: Required value",
                "secret.items[0].path: Required value",
                "secret.items[1].path: Invalid value: \"..a\": must not start with '..'",
                f"secret.items[1].mode: Invalid value: -1: {FILE_MODE}",
            ],
        ),
        ({"configMap": {}}, ["configMap.name: Required value"]),
        (
            {"configMap": {"name": "c", "items": [{"key": "k", "path": "/a/../b"}]}},
            [
                'configMap.items[0].path: Invalid value: "/a/../b": must be a relative path',
                "configMap.items[0].path: Invalid value: \"/a/../b\": must not contain '..'",
            ],
        ),
        (
            {"nfs": {"server": "", "path": "a"}},
            ["nfs.server: Required value", 'nfs.path: Invalid value: "a": must be an absolute path'],
        ),
        (
            {"iscsi": {"targetPortal": "", "iqn": "abc", "lun": 256, "chapAuthSession": True}},
            [
                "iscsi.targetPortal: Required value",
                'iscsi.iqn: Invalid value: "abc": must be valid format starting with iqn, eui, or naa',
                "iscsi.lun: Invalid value: 256: must be between 0 and 255, inclusive",
                "iscsi.secretRef: Required value",
            ],
        ),
        (
            {"iscsi": {**ISCSI, "initiatorName": "iqn.x"}},
            ['iscsi.initiatorname: Invalid value: "iqn.x": must be valid format'],
        ),
        (
            {"iscsi": {**ISCSI, "targetPortal": "p" * 70, "initiatorName": ISCSI["iqn"]}},
            [
                'name: Invalid value: "v": Total length of <volume name>:<iscsi.targetPortal> must be under 64 '
                "characters if iscsi.initiatorName is specified."
            ],
        ),
        (
            {"glusterfs": {"endpoints": "", "path": ""}},
            ["glusterfs.endpoints: Required value", "glusterfs.path: Required value"],
        ),
        ({"flocker": {}}, ["flocker: Required value: one of datasetName and datasetUUID is required"]),
        (
            {"flocker": {"datasetName": "a/b", "datasetUUID": "u"}},
            [
                'flocker: Invalid value: "resource": datasetName and datasetUUID can not be specified simultaneously',
                "flocker.datasetName: Invalid value: \"a/b\": must not contain '/'",
            ],
        ),
        ({"persistentVolumeClaim": {"claimName": ""}}, ["persistentVolumeClaim.claimName: Required value"]),
        ({"rbd": {"monitors": [], "image": ""}}, ["rbd.monitors: Required value", "rbd.image: Required value"]),
        (
            {"cinder": {"volumeID": "", "secretRef": {}}},
            ["cinder.volumeID: Required value", "cinder.secretRef.name: Required value"],
        ),
        ({"cephfs": {"monitors": []}}, ["cephfs.monitors: Required value"]),
        ({"quobyte": {"registry": "", "volume": "v"}}, [f"quobyte.registry: Required value: {HOSTS}"]),
        (
            {"quobyte": {"registry": "host", "volume": ""}},
            [f'quobyte.registry: Invalid value: "host": {HOSTS}', "quobyte.volume: Required value"],
        ),
        ({"fc": {}}, ["fc.targetWWNs: Required value: must specify either targetWWNs or wwids, but not both"]),
        (
            {"fc": {"targetWWNs": ["a"], "wwids": ["b"]}},
            [
                'fc.targetWWNs: Invalid value: ["a"]: targetWWNs and wwids can not be specified simultaneously',
                "fc.lun: Required value: lun is required if targetWWNs is specified",
            ],
        ),
        (
            {"flexVolume": {"driver": "", "options": {"kubernetes.io/x": "y"}}},
            [
                "flexVolume.driver: Required value",
                'flexVolume.options[kubernetes.io/x]: Invalid value: "kubernetes.io/x": '
                "kubernetes.io and k8s.io namespaces are reserved",
            ],
        ),
        (
            {"azureFile": {"secretName": "", "shareName": ""}},
            ["azureFile.secretName: Required value", "azureFile.shareName: Required value"],
        ),
        (
            {"azureDisk": {"diskName": "d", "diskURI": "u", "cachingMode": "x", "kind": "Dedicated"}},
            [
                'azureDisk.cachingMode: Unsupported value: "x": supported values: "None", "ReadOnly", "ReadWrite"',
                'azureDisk.diskURI: Unsupported value: "u": supported values: '
                '"https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"',
            ],
        ),
        ({"vsphereVolume": {"volumePath": ""}}, ["vsphereVolume.volumePath: Required value"]),
        ({"photonPersistentDisk": {"pdID": ""}}, ["photonPersistentDisk.pdID: Required value"]),
        ({"portworxVolume": {"volumeID": ""}}, ["portworxVolume.volumeID: Required value"]),
        ({"storageos": {}}, ["storageos.volumeName: Required value"]),
        (
            {"scaleIO": {"gateway": "", "system": "", "secretRef": {"name": "s"}}},
            [
                "scaleIO.gateway: Required value",
                "scaleIO.system: Required value",
                "scaleIO.volumeName: Required value",
            ],
        ),
        ({"csi": {"driver": ""}}, ["csi.driver: Required value", f'csi.driver: Invalid value: "": {SUBDOMAIN}']),
        ({"csi": {"driver": "a.b", "nodePublishSecretRef": {}}}, ["csi.nodePublishSecretRef.name: Required value"]),
        (
            {"csi": {"driver": "a" * 64}},
            ["csi.driver: Too long: may not be more than 63 bytes"],
        ),
        ({"ephemeral": {}}, ["ephemeral.volumeClaimTemplate: Required value"]),
        ({"ephemeral": claim()}, []),
        (
            {"ephemeral": claim(accessModes=[], resources={})},
            [
                "ephemeral.volumeClaimTemplate.spec.accessModes: Required value: at least 1 access mode is required",
                "ephemeral.volumeClaimTemplate.spec.resources[storage]: Required value",
            ],
        ),
        (
            {"ephemeral": claim(accessModes=["ReadWriteOncePod", "ReadOnlyMany"], volumeMode="Fs")},
            [
                "ephemeral.volumeClaimTemplate.spec.accessModes: Forbidden: "
                "may not use ReadWriteOncePod with other access modes",
                'ephemeral.volumeClaimTemplate.spec.volumeMode: Unsupported value: "Fs": '
                'supported values: "Block", "Filesystem"',
            ],
        ),
        (
            {"ephemeral": claim(resources={"requests": {"storage": "0"}}, dataSource={"kind": "Other", "name": "d"})},
            [
                'ephemeral.volumeClaimTemplate.spec.resources[storage]: Invalid value: "0": must be greater than zero',
                'ephemeral.volumeClaimTemplate.spec.dataSource: Invalid value: "Other": '
                "must be 'PersistentVolumeClaim' when referencing the default apiGroup",
            ],
        ),
        ({"image": {}}, ["image.reference: Required value"]),
        (
            {"image": {"reference": "a", "pullPolicy": "x"}},
            ['image.pullPolicy: Unsupported value: "x": supported values: "Always", "IfNotPresent", "Never"'],
        ),
        (
            {"emptyDir": {}, "cephfs": {"monitors": ["m"]}, "downwardAPI": {}, "image": {"reference": "a"}},
            [
                "cephFS: Forbidden: may not specify more than 1 volume type",
                "downwarAPI: Forbidden: may not specify more than 1 volume type",
                "image: Forbidden: may not specify more than 1 volume type",
            ],
        ),
    ],
)
def test_a_source_is_held_to_its_rules(source: dict[str, Any], expected: list[str]) -> None:
    assert causes(pod(volumes=[{"name": "v", **source}])) == [f"spec.volumes[0].{line}" for line in expected]


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ({"path": "a", "fieldRef": {"fieldPath": "metadata.labels"}}, []),
        ({"path": "a", "fieldRef": {"fieldPath": "metadata.labels['a.b/c']"}}, []),
        ({"path": "a"}, ["downwardAPI: Required value: one of fieldRef and resourceFieldRef is required"]),
        (
            {"path": "a", "fieldRef": {"fieldPath": "spec.nodeName"}},
            [
                'downwardAPI.fieldRef.fieldPath: Unsupported value: "spec.nodeName": supported values: '
                '"metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"'
            ],
        ),
        (
            {"path": "a", "resourceFieldRef": {"resource": "limits.cpu"}},
            ["downwardAPI.resourceFieldRef.containerName: Required value"],
        ),
        (
            {"path": "a", "resourceFieldRef": {"containerName": "c", "resource": "limits.cpu", "divisor": "2"}},
            [
                'downwardAPI.resourceFieldRef.divisor: Invalid value: "limits.cpu": '
                "only divisor's values 1m and 1 are supported with the cpu resource"
            ],
        ),
    ],
)
def test_an_item_of_the_downward_api_names_what_there_is(item: dict[str, Any], expected: list[str]) -> None:
    volumes = [{"name": "v", "downwardAPI": {"items": [item]}}]
    assert causes(pod(volumes=volumes)) == [f"spec.volumes[0].{line}" for line in expected]


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        ([{"secret": {}}], ["projected.sources[0].secret.name: Required value"]),
        (
            [{"secret": {"name": "s"}, "configMap": {"name": "c"}}],
            ["projected.sources[0]: Forbidden: may not specify more than 1 volume type per source"],
        ),
        (
            [{kind: {"name": "n", "items": [{"key": "k", "path": "p"}]}} for kind in ("secret", "configMap")],
            ['projected: Invalid value: "n": conflicting duplicate paths'],
        ),
        (
            [{"serviceAccountToken": {"path": "", "expirationSeconds": 599}}],
            [
                "projected.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 599: "
                "may not specify a duration less than 10 minutes",
                "projected.path: Required value",
            ],
        ),
        (
            [{"clusterTrustBundle": {"path": ""}}],
            [
                "projected.sources[0].clusterTrustBundle: Required value: either name or signerName must be specified",
                "projected.sources[0].clusterTrustBundle.path: Required value",
            ],
        ),
        (
            [{"podCertificate": {"signerName": "a.b/c", "keyType": "RSA", "keyPath": "k", "maxExpirationSeconds": 9}}],
            [
                'projected.sources[0].podCertificate.keyType: Unsupported value: "RSA": supported values: '
                '"ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519", "RSA3072", "RSA4096"',
                "projected.sources[0].podCertificate.maxExpirationSeconds: Invalid value: 9: "
                "if provided, maxExpirationSeconds must be >= 3600",
            ],
        ),
    ],
)
def test_a_projection_is_held_to_its_rules(sources: list[dict[str, Any]], expected: list[str]) -> None:
    volumes = [{"name": "v", "projected": {"sources": sources}}]
    found = causes(pod(volumes=volumes, serviceAccountName="default"))
    assert found == [f"spec.volumes[0].{line}" for line in expected]


def test_a_token_needs_an_account() -> None:
    volumes = [{"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]
    assert causes(pod(volumes=volumes)) == [
        "spec.volumes[0].projected.sources[0].serviceAccountToken: Forbidden: "
        "must not be specified when serviceAccountName is not set"
    ]


def test_a_claim_that_the_pod_makes_is_not_one_to_ask_for() -> None:
    volumes = [
        {"name": "a", "ephemeral": claim()},
        {"name": "b", "persistentVolumeClaim": {"claimName": "web-a"}},
    ]
    assert causes(pod(volumes=volumes)) == [
        'spec.volumes[1].persistentVolumeClaim.claimName: Invalid value: "web-a": '
        "must not reference a PVC that gets created for an ephemeral volume"
    ]


@pytest.mark.parametrize(
    ("mounts", "expected"),
    [
        (
            [{"name": "v", "mountPath": "/a", "subPath": "../b"}],
            ["volumeMounts.subPath: Invalid value: \"../b\": must not contain '..'"],
        ),
        (
            [{"name": "v", "mountPath": "/a", "subPath": "b", "subPathExpr": "/c"}],
            [
                'volumeMounts[0].subPathExpr: Invalid value: "/c": subPathExpr and subPath are mutually exclusive',
                'volumeMounts.subPathExpr: Invalid value: "/c": must be a relative path',
            ],
        ),
        (
            [{"name": "v", "mountPath": "/a", "mountPropagation": "Both"}],
            [
                'volumeMounts.mountPropagation: Unsupported value: "Both": supported values: '
                '"Bidirectional", "HostToContainer", "None"'
            ],
        ),
        (
            [{"name": "v", "mountPath": "/a", "mountPropagation": "Bidirectional"}],
            [
                "volumeMounts.mountPropagation: Forbidden: "
                "Bidirectional mount propagation is available only to privileged containers"
            ],
        ),
        (
            [{"name": "v", "mountPath": "/a", "recursiveReadOnly": "Enabled"}],
            ["volumeMounts.recursiveReadOnly: Forbidden: may only be specified when readOnly is true"],
        ),
        (
            [{"name": "v", "mountPath": "/a"}, {"name": "w", "mountPath": "/a"}],
            [
                'volumeMounts[1].name: Not found: "w"',
                'volumeMounts[1].mountPath: Invalid value: "/a": must be unique',
            ],
        ),
    ],
)
def test_a_mount_is_held_to_its_rules(mounts: list[dict[str, Any]], expected: list[str]) -> None:
    found = causes(pod({"volumeMounts": mounts}, volumes=[{"name": "v", "emptyDir": {}}]))
    assert found == [f"spec.containers[0].{line}" for line in expected]


def test_a_device_is_a_claim_of_its_own() -> None:
    container = {
        "volumeMounts": [{"name": "p", "mountPath": "/x"}],
        "volumeDevices": [{"name": "v", "devicePath": "/d"}, {"name": "p", "devicePath": "/x/.."}],
    }
    volumes = [{"name": "v", "emptyDir": {}}, {"name": "p", "persistentVolumeClaim": {"claimName": "c"}}]
    assert causes(pod(container, volumes=volumes)) == [
        'spec.containers[0].volumeMounts[0].name: Invalid value: "p": must not already exist in volumeDevices',
        'spec.containers[0].volumeDevices[0].name: Invalid value: "v": '
        "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode",
        "spec.containers[0].volumeDevices[1].devicePath: Invalid value: \"/x/..\": can not contain backsteps ('..')",
        'spec.containers[0].volumeDevices[1].name: Invalid value: "p": must not already exist in volumeMounts',
    ]
