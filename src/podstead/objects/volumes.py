"""Typed, read-only views of a pod's volumes: one struct a source, as the API names them."""

from __future__ import annotations

from typing import Any

from msgspec import field

from podstead.objects.quantity import Quantity, QuantityText
from podstead.objects.struct import Struct


class EmptyDir(Struct, frozen=True, kw_only=True):
    """An emptyDir volume. `medium`: empty (the node's disk) or Memory."""

    medium: str = ""
    size_limit: QuantityText | None = None
    mode: int | None = None
    """Permission bits of its directory; None: 0777."""

    @property
    def size_bytes(self) -> int:
        """The limit in bytes, 0 where there is none."""
        return 0 if self.size_limit is None else Quantity.parse(self.size_limit).value()


class KeyToPath(Struct, frozen=True, kw_only=True):
    """Which key of a ConfigMap or a Secret becomes which file; `mode` None: the volume's default."""

    key: str = ""
    path: str = ""
    mode: int | None = None


class ConfigMapProjection(Struct, frozen=True, kw_only=True):
    """`items` empty: every key is a file."""

    name: str = ""
    items: tuple[KeyToPath, ...] = ()
    optional: bool = False


class SecretProjection(Struct, frozen=True, kw_only=True):
    """`items` empty: every key is a file."""

    name: str = ""
    items: tuple[KeyToPath, ...] = ()
    optional: bool = False


class ConfigMapVolume(ConfigMapProjection, frozen=True, kw_only=True):
    """A configMap volume."""

    default_mode: int = 0o644


class SecretVolume(Struct, frozen=True, kw_only=True):
    """A secret volume; it names its Secret otherwise than the other sources do."""

    secret_name: str = ""
    items: tuple[KeyToPath, ...] = ()
    optional: bool = False
    default_mode: int = 0o644


class ObjectFieldSelector(Struct, frozen=True, kw_only=True):
    """A field of the pod: `metadata.labels['app']`."""

    field_path: str = ""


class ResourceFieldSelector(Struct, frozen=True, kw_only=True):
    """What a container asks for or is limited to: `limits.memory`, counted in units of `divisor` (0: one)."""

    container_name: str = ""
    resource: str = ""
    divisor: QuantityText = 0


class DownwardAPIFile(Struct, frozen=True, kw_only=True):
    """A file that holds one of the pod's own fields, or of a container's resources."""

    path: str = ""
    field_ref: ObjectFieldSelector | None = None
    resource_field_ref: ResourceFieldSelector | None = None
    mode: int | None = None


class DownwardAPIProjection(Struct, frozen=True, kw_only=True):
    items: tuple[DownwardAPIFile, ...] = ()


class DownwardAPIVolume(DownwardAPIProjection, frozen=True, kw_only=True):
    """A downwardAPI volume."""

    default_mode: int = 0o644


class ServiceAccountTokenProjection(Struct, frozen=True, kw_only=True):
    """A token of the pod's account; `audience` empty: the API server."""

    path: str = ""
    audience: str = ""
    expiration_seconds: int = 3600


class ClusterTrustBundleProjection(Struct, frozen=True, kw_only=True):
    """Certificates to trust (KEP-3257): of the bundle `name`, or of all of a signer that `label_selector` selects.

    A selector that is None selects nothing, an empty one everything.
    """

    name: str | None = None
    signer_name: str | None = None
    label_selector: dict[str, Any] | None = None
    optional: bool = False
    path: str = ""


class VolumeProjection(Struct, frozen=True, kw_only=True):
    """One source of a projected volume; one of its fields is set."""

    secret: SecretProjection | None = None
    config_map: ConfigMapProjection | None = None
    downward_api: DownwardAPIProjection | None = field(default=None, name="downwardAPI")
    service_account_token: ServiceAccountTokenProjection | None = None
    cluster_trust_bundle: ClusterTrustBundleProjection | None = None


class Projected(Struct, frozen=True, kw_only=True):
    """Several sources in one volume."""

    sources: tuple[VolumeProjection, ...] = ()
    default_mode: int = 0o644


class HostPath(Struct, frozen=True, kw_only=True):
    """What the node has at `path`; `type` says what is to be there, empty: anything."""

    path: str = ""
    type: str = ""


class ImageVolume(Struct, frozen=True, kw_only=True):
    """The files of an image (KEP-4639)."""

    reference: str = ""
    pull_policy: str = "IfNotPresent"


class NFS(Struct, frozen=True, kw_only=True):
    """What `server` exports at `path`."""

    server: str = ""
    path: str = ""
    read_only: bool = False


class CSI(Struct, frozen=True, kw_only=True):
    """What the CSI driver of that name makes for this pod alone."""

    driver: str = ""


class Volume(Struct, frozen=True, kw_only=True):
    """A volume of the pod; one of the sources is set."""

    name: str = ""
    empty_dir: EmptyDir | None = None
    config_map: ConfigMapVolume | None = None
    secret: SecretVolume | None = None
    downward_api: DownwardAPIVolume | None = field(default=None, name="downwardAPI")
    projected: Projected | None = None
    host_path: HostPath | None = None
    image: ImageVolume | None = None
    nfs: NFS | None = None
    csi: CSI | None = None

    @property
    def is_content(self) -> bool:
        """Whether it shows what the API says, and nobody but the node writes there."""
        sources = (self.config_map, self.secret, self.downward_api, self.projected)
        return any(source is not None for source in sources)
