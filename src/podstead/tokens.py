"""JSON Web Tokens of service accounts: signed with one key, verified with that and with those before it.

The keys are PEM files: `signing` holds the private key that signs, the directory `retired` any number of others,
private or public, whose tokens are still taken. All are looked at again whenever one of them has changed, so that a
key is replaced while the server runs: see `Pki.rotate_service_account_key`.

ES256 and RS256 (RFC 7515, RFC 7518). The algorithm is the key's own, whatever a token says of itself.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
    PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey

log = logging.getLogger(__name__)

MAX_TOKEN = 64 * 1024
"""Bytes; a longer one is not looked at."""
_ES256_BYTES = 32  # of each half of a signature, and of each coordinate


class TokenError(Exception):
    """A token that is not to be taken; the message says why."""


class NotOursError(TokenError):
    """What was sent is no token that any of the keys has signed."""


class _Header(msgspec.Struct, frozen=True):
    alg: str = ""
    kid: str = ""


@dataclass(frozen=True, slots=True)
class _Key:
    kid: str
    algorithm: str
    public: PublicKey
    private: PrivateKey | None = None


class TokenKeys:
    """See the module's docstring. Nothing is read, nor `cryptography` imported (8 MB), before it is needed."""

    def __init__(self, signing: Path, retired: Path) -> None:
        self._signing = signing
        self._retired = retired
        self._state: object = None
        self._keys: dict[str, _Key] = {}
        self._current: _Key | None = None
        self.generation = 0
        """Rises when the keys have changed: what was verified before is to be verified again."""

    def refresh(self) -> int:
        """Read the keys if the files are others than before; returns `generation`.

        Raises OSError, ValueError at first; later, files that cannot be read leave the keys as they were.
        """
        state = self._stamp(self._signing), self._stamp(self._retired)
        if state != self._state:
            try:
                self._load()
                self.generation += 1
            except (OSError, ValueError) as error:
                if self._current is None:
                    raise
                log.error("the keys of service-account tokens stay as they were: %s", error)
            self._state = state
        return self.generation

    def prepare(self) -> None:
        """Read the keys and import what signs (30 ms): for a thread, so that no pod waits for it."""
        self.sign({})

    def sign(self, claims: dict[str, Any]) -> str:
        """Return the token that says `claims`. Raises OSError, ValueError where the key cannot be read."""
        self.refresh()
        key = self._current
        assert key is not None and key.private is not None
        header = {"alg": key.algorithm, "kid": key.kid}
        said = f"{_text(msgspec.json.encode(header))}.{_text(msgspec.json.encode(claims))}"
        return f"{said}.{_text(_sign(key.private, said.encode()))}"

    def verify(self, token: str) -> bytes:
        """Return the claims (JSON) of a token that one of the keys has signed; raises NotOursError, TokenError."""
        self.refresh()
        parts = token.split(".") if len(token) <= MAX_TOKEN else []
        if len(parts) != 3:
            raise NotOursError("not a JSON Web Token")
        try:
            header = msgspec.json.decode(_bytes(parts[0]), type=_Header)
            claims, signature = _bytes(parts[1]), _bytes(parts[2])
        except (ValueError, msgspec.DecodeError) as error:
            raise NotOursError("not a JSON Web Token") from error
        key = self._keys.get(header.kid)
        if key is None or header.alg != key.algorithm:
            raise NotOursError("signed by another key")
        if not _verify(key.public, signature, token.rpartition(".")[0].encode()):
            raise TokenError("the signature is not that of the key")
        return claims

    def jwks(self) -> dict[str, Any]:
        """Return all public keys as a JSON Web Key Set (RFC 7517), the one that signs first."""
        self.refresh()
        return {"keys": [_jwk(key) for key in self._keys.values()]}

    def _stamp(self, path: Path) -> tuple[int, int, int] | None:
        try:
            found = path.stat()
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    def _load(self) -> None:
        current = _read(self._signing)
        if current.private is None:
            raise ValueError(f"{self._signing} holds no private key")
        retired = sorted(self._retired.iterdir()) if self._retired.is_dir() else []
        others = (_read(path) for path in retired if not path.name.startswith("."))
        keys = {current.kid: current}
        for key in others:
            keys.setdefault(key.kid, key)
        self._current, self._keys = current, keys


def public_pem(path: Path) -> bytes:
    """Return the public half of the key in a PEM file. Raises OSError, ValueError."""
    from cryptography.hazmat.primitives import serialization as forms

    return _read(path).public.public_bytes(forms.Encoding.PEM, forms.PublicFormat.SubjectPublicKeyInfo)


def _read(path: Path) -> _Key:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization as forms
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    data = path.read_bytes()
    private = None
    try:
        if b"PRIVATE KEY-----" in data:
            private = forms.load_pem_private_key(data, password=None)
            public = private.public_key()
        else:
            public = forms.load_pem_public_key(data)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ValueError(f"{path} holds no key that can be read") from error
    if isinstance(public, ec.EllipticCurvePublicKey) and isinstance(public.curve, ec.SECP256R1):
        algorithm = "ES256"
    elif isinstance(public, rsa.RSAPublicKey):
        algorithm = "RS256"
    else:
        raise ValueError(f"{path} holds a key that is neither of the curve P-256 nor RSA")
    assert private is None or isinstance(private, (ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey))
    encoded = public.public_bytes(forms.Encoding.DER, forms.PublicFormat.SubjectPublicKeyInfo)
    return _Key(_text(hashlib.sha256(encoded).digest()), algorithm, public, private)


def _sign(key: PrivateKey, data: bytes) -> bytes:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, padding, utils

    if not isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(data, padding.PKCS1v15(), hashes.SHA256())
    r, s = utils.decode_dss_signature(key.sign(data, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(_ES256_BYTES, "big") + s.to_bytes(_ES256_BYTES, "big")


def _verify(key: PublicKey, signature: bytes, data: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, padding, utils

    try:
        if not isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, data, padding.PKCS1v15(), hashes.SHA256())
            return True
        if len(signature) != 2 * _ES256_BYTES:
            return False
        r, s = (int.from_bytes(half, "big") for half in (signature[:_ES256_BYTES], signature[_ES256_BYTES:]))
        key.verify(utils.encode_dss_signature(r, s), data, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def _jwk(key: _Key) -> dict[str, str]:
    from cryptography.hazmat.primitives.asymmetric import ec

    common = {"use": "sig", "kid": key.kid, "alg": key.algorithm}
    numbers = key.public.public_numbers()
    if isinstance(numbers, ec.EllipticCurvePublicNumbers):
        x, y = (_text(value.to_bytes(_ES256_BYTES, "big")) for value in (numbers.x, numbers.y))
        return common | {"kty": "EC", "crv": "P-256", "x": x, "y": y}
    n, e = (_text(value.to_bytes((value.bit_length() + 7) // 8, "big")) for value in (numbers.n, numbers.e))
    return common | {"kty": "RSA", "n": n, "e": e}


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    """Raises ValueError, also for an encoding of the same bytes that nobody would have written."""
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError("not base64url") from error
    if _text(data) != text:
        raise ValueError("not base64url")
    return data
