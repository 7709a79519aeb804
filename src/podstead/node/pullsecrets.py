"""The registries' credentials that a pod brings: the secrets that its imagePullSecrets name, read when it pulls."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from podstead.client.base import Client
from podstead.node.images.credentials import BadPullSecret, from_secret
from podstead.node.runtime.base import PullFailed, RegistryAuth
from podstead.objects.errors import StatusError
from podstead.objects.pod import Pod


@dataclass(frozen=True, slots=True)
class PullSecrets:
    """The credentials in the order of the secrets, and the names of secrets that could not be read."""

    auths: tuple[RegistryAuth, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def warning(self) -> str:
        """The kubelet's message of the event FailedToRetrieveImagePullSecret."""
        names = ", ".join(self.missing)
        return f"Unable to retrieve some image pull secrets ({names}); attempting to pull the image may not succeed."


async def read(client: Client, pod: Pod) -> PullSecrets:
    """Read the pod's secrets. Raises PullFailed for one that is there and cannot be understood."""
    names = [secret.name for secret in pod.spec.image_pull_secrets if secret.name]
    if not names:
        return PullSecrets()
    found = await asyncio.gather(*(_one(client, pod.metadata.namespace, name) for name in names))
    missing = tuple(name for name, auths in zip(names, found, strict=True) if auths is None)
    return PullSecrets(tuple(auth for auths in found for auth in auths or ()), missing)


async def _one(client: Client, namespace: str, name: str) -> list[RegistryAuth] | None:
    origin = f"secret {namespace}/{name}"
    try:
        return from_secret(await client.get("secrets", name, namespace), origin)
    except StatusError:
        return None
    except BadPullSecret as error:
        raise PullFailed(f"{origin}: {error}", "ErrImagePull") from error
