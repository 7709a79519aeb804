"""The cluster's credentials: made once, kept, renewed, and one clear error where a file is damaged."""

from __future__ import annotations

import base64
import ssl
import stat
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from podstead import certificates, clock, pki
from podstead.pki import Pki, PkiError


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    Pki(tmp_path / "pki").ensure()
    return tmp_path / "pki"


def contents(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def certificate(path: Path, *options: str) -> str:
    command = ["openssl", "x509", "-noout", "-in", str(path), *options]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=20).stdout


def test_what_is_made_is_for_the_owner_alone(directory: Path) -> None:
    Pki(directory).client("someone")
    for path in [directory, *directory.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_the_serving_certificate_covers_the_usual_names_and_those_asked_for(tmp_path: Path) -> None:
    Pki(tmp_path).ensure(["10.1.2.3", "box.example"])
    text = certificate(tmp_path / "apiserver.pem", "-ext", "subjectAltName")
    for name in (
        "127.0.0.1",
        "0:0:0:0:0:0:0:1",
        "localhost",
        "kubernetes.default.svc.cluster.local",
        "10.1.2.3",
        "box",
    ):
        assert name in text
    verify = ["openssl", "verify", "-CAfile", str(tmp_path / "ca.crt"), str(tmp_path / "apiserver.pem")]
    assert subprocess.run(verify, capture_output=True, timeout=20).returncode == 0


def test_a_second_run_changes_nothing(directory: Path) -> None:
    Pki(directory).client("someone", ["a", "b"])
    before = contents(directory)
    Pki(directory).ensure()
    Pki(directory).client("someone", ["b", "a"])
    assert contents(directory) == before


def test_a_second_run_does_without_cryptography(directory: Path) -> None:
    code = "import sys; from pathlib import Path; from podstead.pki import Pki; Pki(Path(sys.argv[1])).ensure()"
    check = f"{code}; assert 'cryptography' not in sys.modules"
    subprocess.run([sys.executable, "-c", check, str(directory)], check=True, timeout=20)


def test_a_new_name_renews_only_the_serving_certificate(directory: Path) -> None:
    before = contents(directory)
    Pki(directory).ensure(["10.9.9.9"])
    after = contents(directory)
    assert {name for name in before if before[name] != after[name]} == {"apiserver.pem", "index.json"}
    Pki(directory).ensure()
    assert contents(directory)["apiserver.pem"] == after["apiserver.pem"]


def test_other_groups_give_another_client_certificate(directory: Path) -> None:
    first = Pki(directory).client("someone", ["a"])
    second = Pki(directory).client("someone", ["system:masters"])
    assert first.certificate != second.certificate
    assert "O = system:masters, CN = someone" in certificate(second.path, "-subject")


def test_what_expires_soon_is_renewed(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, later = contents(directory), clock.now() + certificates.LEAF_LIFETIME - timedelta(days=3)
    monkeypatch.setattr(clock, "now", lambda: later)
    Pki(directory).ensure()
    after = contents(directory)
    assert after["apiserver.pem"] != before["apiserver.pem"]
    assert after["ca.pem"] == before["ca.pem"]


def test_a_renewed_authority_keeps_its_key_so_that_clients_stay_valid(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, later = contents(directory), clock.now() + certificates.CA_LIFETIME - timedelta(days=3)
    monkeypatch.setattr(clock, "now", lambda: later)
    Pki(directory).ensure()
    after = contents(directory)
    assert after["ca.pem"] != before["ca.pem"]
    assert after["ca.pem"].split(b"-----BEGIN CERT")[0] == before["ca.pem"].split(b"-----BEGIN CERT")[0]


@pytest.mark.parametrize("name", ["ca.pem", "apiserver.pem", "sa.key"])
@pytest.mark.parametrize("damage", [b"", b"rubbish", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_a_damaged_file_is_named_in_one_line(directory: Path, name: str, damage: bytes) -> None:
    (directory / name).write_bytes(damage)
    with pytest.raises(PkiError, match=rf"{name} is damaged \(.*\): restore it, or remove it") as raised:
        Pki(directory).ensure()
    assert "\n" not in str(raised.value)


def test_the_key_of_another_certificate_is_damage(directory: Path) -> None:
    own, other = (directory / "apiserver.pem"), Pki(directory).client("someone")
    own.write_bytes(other.key + own.read_bytes().partition(b"-----END PRIVATE KEY-----\n")[2])
    with pytest.raises(PkiError, match="not that of the key"):
        Pki(directory).ensure()


def test_a_lost_authority_takes_its_certificates_along(directory: Path) -> None:
    before = contents(directory)
    (directory / "ca.pem").unlink()
    Pki(directory).ensure()
    after = contents(directory)
    assert after["ca.crt"] != before["ca.crt"]
    assert after["apiserver.pem"] != before["apiserver.pem"]


def test_a_directory_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PkiError, match=r"file.*Not a directory"):
        Pki(tmp_path / "file" / "pki").ensure()


@pytest.mark.parametrize(("user", "groups"), [("", []), ("u" * 65, []), ("u", ["g" * 65])])
def test_a_name_that_no_certificate_can_hold_is_one_line(directory: Path, user: str, groups: list[str]) -> None:
    with pytest.raises(PkiError, match="must have 1 to 64 characters"):
        Pki(directory).client(user, groups)


def test_the_kubeconfig_holds_all_it_needs(directory: Path, tmp_path: Path) -> None:
    config = pki.admin_kubeconfig(Pki(directory), "https://127.0.0.1:6443", "podstead-x")
    assert config["current-context"] == "podstead-x"
    assert config["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:6443"
    user = config["users"][0]["user"]
    pair = tmp_path / "pair.pem"
    pair.write_bytes(base64.b64decode(user["client-key-data"]) + base64.b64decode(user["client-certificate-data"]))
    ssl.create_default_context().load_cert_chain(pair)
    assert "O = system:masters, CN = kubernetes-admin" in certificate(pair, "-subject")
