"""The cluster's certificate authority, the certificates that it signs, and the service-account key, kept as files.

Each credential is one PEM file with the private key first and the certificate behind it, so that a pair is never
half written: `ca.pem`, `apiserver.pem`, `clients/USER.pem`. `ca.crt` is the authority's certificate alone, for
others to trust. `sa.key` signs service-account tokens; the keys below `sa-retired/` only verify those that they have
signed, until they are removed. Every file has mode 0600, the directories 0700.

`index.json` remembers what was found in each file (its SHA-256, when it expires, whom it names). A file that still
has that hash is not parsed again, so that a server whose credentials are in order never imports `cryptography`
(18 MB and 60 ms): let the command that starts the server call `Pki.ensure` first.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec

from podstead import certificates, clock, tokens

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

SERVER_NAMES = (
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
    "127.0.0.1",
    "::1",
)
ADMIN_USER = "kubernetes-admin"
ADMIN_GROUPS = ("system:masters",)

RENEW_BEFORE = timedelta(days=30)
"""A certificate that expires sooner than this is replaced."""
_SUBJECT_LIMIT = 64  # of CN and O each (RFC 5280, appendix A)


class PkiError(Exception):
    """A file is damaged or cannot be read or written; the message names it and says what helps, in one line."""


class _Record(msgspec.Struct, frozen=True):
    """What index.json keeps of one file. `issuer` is the SHA-256 of the authority's public key."""

    sha256: str
    expires: datetime | None = None
    issuer: str = ""
    user: str = ""
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Credential:
    """A certificate and its private key, both PEM."""

    certificate: bytes
    key: bytes
    path: Path


class Pki:
    """The credentials of one instance below `directory`. All methods block for milliseconds."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._index: dict[str, _Record] = {}

    @property
    def ca_certificate(self) -> Path:
        return self.directory / "ca.crt"

    @property
    def authority(self) -> Path:
        """Key and certificate of the authority in one PEM file."""
        return self.directory / "ca.pem"

    @property
    def server_pem(self) -> Path:
        """Key and certificate of the API server, as ssl.SSLContext.load_cert_chain takes them."""
        return self.directory / "apiserver.pem"

    @property
    def service_account_key(self) -> Path:
        return self.directory / "sa.key"

    @property
    def retired_service_account_keys(self) -> Path:
        """A directory of PEM files: keys whose tokens are still taken."""
        return self.directory / "sa-retired"

    def ensure(self, extra_names: Iterable[str] = ()) -> None:
        """Make what is missing, renew what expires within RENEW_BEFORE, keep the rest.

        `extra_names` are host names and addresses that the serving certificate must cover besides SERVER_NAMES.
        Raises PkiError.
        """
        with _one_line_errors(self.directory):
            self._open()
            self._ensure_ca()
            self._ensure_leaf(self.server_pem, "kube-apiserver", (), (*SERVER_NAMES, *extra_names))
            self._ensure_service_account_key()
            self._save_index()

    def client(self, user: str, groups: Sequence[str] = ()) -> Credential:
        """Return a client certificate with CN `user` and one O a group, made or renewed if need be.

        `ensure` must have run once on this directory. Raises PkiError.
        """
        for part in (user, *groups):
            if not 1 <= len(part) <= _SUBJECT_LIMIT:
                raise PkiError(f"{part!r} cannot be in a certificate: it must have 1 to {_SUBJECT_LIMIT} characters")
        path = self.directory / "clients" / f"{quote(user, safe='')}.pem"
        with _one_line_errors(self.directory):
            self._open()
            path.parent.mkdir(mode=0o700, exist_ok=True)
            self._ensure_leaf(path, user, tuple(sorted(set(groups))), ())
            self._save_index()
            return _split(path)

    def rotate_service_account_key(self) -> Path:
        """Have a new key sign tokens; return the file with the old one's public half, which verifies until removed.

        A server that runs takes both over at its next look at a token. Raises PkiError.
        """
        with _one_line_errors(self.directory):
            self._open()
            try:
                old = tokens.public_pem(self.service_account_key)
            except ValueError as error:
                raise _damaged(self.service_account_key, str(error)) from error
            self.retired_service_account_keys.mkdir(mode=0o700, exist_ok=True)
            kept = self.retired_service_account_keys / f"{clock.now():%Y-%m-%dT%H%M%SZ}-{_digest(old)[:8]}.pem"
            _write(kept, old)  # before the new one signs: no token is ever without its key
            _write(self.service_account_key, certificates.pem_of_key(certificates.new_key()))
            digest = _digest(self.service_account_key.read_bytes())
            self._index[self._key(self.service_account_key)] = _Record(sha256=digest)
            self._save_index()
            return kept

    # -- files

    def _open(self) -> None:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            data = (self.directory / "index.json").read_bytes()
            self._index = msgspec.json.decode(data, type=dict[str, _Record])
        except (FileNotFoundError, msgspec.DecodeError):
            self._index = {}  # only a memory: everything is looked at again

    def _save_index(self) -> None:
        path, data = self.directory / "index.json", msgspec.json.encode(self._index)
        if not path.exists() or path.read_bytes() != data:
            _write(path, data)

    def _known(self, path: Path) -> _Record | None:
        """Return the record of `path` if it still has the content that was recorded."""
        record = self._index.get(self._key(path))
        if record is None or not path.exists() or _digest(path.read_bytes()) != record.sha256:
            return None
        return record

    def _key(self, path: Path) -> str:
        return str(path.relative_to(self.directory))

    # -- the authority

    def _ensure_ca(self) -> None:
        path = self.authority
        record = self._known(path)
        if record is None and path.exists():
            record = _inspect(path)
        if record is None or _expiring(record):
            # The key outlives its certificate, so that what it signed stays valid under the new one.
            key = _load_pair(path)[0] if record is not None else certificates.new_key()
            _write(path, certificates.pem_of_key(key) + certificates.pem_of(certificates.new_authority(key)))
            record = _inspect(path)
        self._index[self._key(path)] = record
        certificate = _split(path).certificate
        if not self.ca_certificate.exists() or self.ca_certificate.read_bytes() != certificate:
            _write(self.ca_certificate, certificate)

    def _ensure_leaf(self, path: Path, user: str, groups: tuple[str, ...], names: tuple[str, ...]) -> None:
        authority = self._index.get("ca.pem")
        if authority is None:
            raise PkiError(f"{self.directory} has no certificate authority yet")
        record = self._known(path)
        if record is None and path.exists():
            record = _inspect(path)
        fits = (
            record is not None
            and not _expiring(record)
            and record.issuer == authority.issuer
            and record.user == _subject(user, groups)
            and set(map(certificates.canonical, names)) <= set(record.names)
        )
        if not fits:
            key = certificates.new_key()
            try:
                certificate = certificates.new_leaf(key, _load_pair(self.directory / "ca.pem"), user, groups, names)
            except ValueError as error:
                raise PkiError(str(error)) from error
            _write(path, certificates.pem_of_key(key) + certificates.pem_of(certificate))
            record = _inspect(path)
        assert record is not None
        self._index[self._key(path)] = record

    def _ensure_service_account_key(self) -> None:
        path = self.service_account_key
        if self._known(path) is not None:
            return
        if path.exists():
            try:
                tokens.public_pem(path)
            except ValueError as error:
                raise _damaged(path, "the private key cannot be read") from error
        else:
            _write(path, certificates.pem_of_key(certificates.new_key()))
        self._index[self._key(path)] = _Record(sha256=_digest(path.read_bytes()))


def kubeconfig(pki: Pki, server: str, cluster: str, credential: Credential) -> dict[str, Any]:
    """Return a kubeconfig with one context, all three entries named `cluster`, the certificates embedded.

    `server` is the URL, such as https://127.0.0.1:6443.
    """

    def encoded(data: bytes) -> str:
        return base64.b64encode(data).decode()

    authority = encoded(pki.ca_certificate.read_bytes())
    user = {
        "client-certificate-data": encoded(credential.certificate),
        "client-key-data": encoded(credential.key),
    }
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": cluster, "cluster": {"certificate-authority-data": authority, "server": server}}],
        "users": [{"name": cluster, "user": user}],
        "contexts": [{"name": cluster, "context": {"cluster": cluster, "user": cluster}}],
        "current-context": cluster,
    }


def admin_kubeconfig(pki: Pki, server: str, cluster: str) -> dict[str, Any]:
    """Return the kubeconfig of the administrator (ADMIN_USER in ADMIN_GROUPS). Raises PkiError."""
    return kubeconfig(pki, server, cluster, pki.client(ADMIN_USER, ADMIN_GROUPS))


# -- files


@contextlib.contextmanager
def _one_line_errors(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        why = f"{error.filename or directory}: {error.strerror or error}"
        raise PkiError(f"the certificates cannot be kept or read: {why}; put that right, then up again") from error


def _write(path: Path, data: bytes) -> None:
    """Replace `path` by `data` at once, durably, with mode 0600."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _damaged(path: Path, why: str) -> PkiError:
    return PkiError(f"{path} is damaged ({why}): restore it, or remove it to have a new one made")


def _split(path: Path) -> Credential:
    data = path.read_bytes()
    border = data.find(b"-----BEGIN CERTIFICATE-----")
    if border < 0 or b"PRIVATE KEY-----" not in data[:border]:
        raise _damaged(path, "not a private key followed by a certificate")
    return Credential(certificate=data[border:], key=data[:border], path=path)


# -- what a file holds


def _expiring(record: _Record) -> bool:
    return record.expires is None or record.expires - clock.now() < RENEW_BEFORE


def _subject(user: str, groups: Sequence[str]) -> str:
    return "/".join([quote(user, safe=""), *(quote(group, safe="") for group in groups)])


def _load_key(path: Path, data: bytes) -> ec.EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        key = serialization.load_pem_private_key(data, password=None)
    except (ValueError, TypeError) as error:
        raise _damaged(path, "the private key cannot be read") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise _damaged(path, "the private key is not of an elliptic curve")
    return key


def _load_pair(path: Path) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    from cryptography import x509

    credential = _split(path)
    key = _load_key(path, credential.key)
    try:
        certificate = x509.load_pem_x509_certificate(credential.certificate)
    except ValueError as error:
        raise _damaged(path, "the certificate cannot be read") from error
    if certificate.public_key() != key.public_key():
        raise _damaged(path, "the certificate is not that of the key")
    return key, certificate


def _inspect(path: Path) -> _Record:
    """Return what a credential's file holds; raises PkiError if it is damaged."""
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    _, certificate = _load_pair(path)
    names: list[str] = []
    issuer = ""
    with contextlib.suppress(x509.ExtensionNotFound):
        alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names.extend(str(name.value) for name in alternatives)
    with contextlib.suppress(x509.ExtensionNotFound):
        identifier = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
        issuer = (identifier or b"").hex()
    common = [str(part.value) for part in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    groups = [str(part.value) for part in certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
    return _Record(
        sha256=_digest(path.read_bytes()),
        expires=certificate.not_valid_after_utc,
        issuer=issuer,
        user=_subject("".join(common), groups),
        names=tuple(names),
    )


def main(directory: str, *extra_names: str) -> None:
    """Make all credentials that a first start needs: `python -m podstead.pki DIRECTORY NAME...`."""
    pki = Pki(Path(directory))
    pki.ensure(extra_names)
    pki.client(ADMIN_USER, ADMIN_GROUPS)


if __name__ == "__main__":
    main(*sys.argv[1:])
