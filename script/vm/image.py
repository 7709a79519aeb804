"""The image of a release: built once by mmdebstrap and mke2fs, kept in a cache under a hash of all that it is made of.

It holds the addresses of this machine's package mirrors: for this machine alone, never part of the repository.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import IO

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
SUITES = {"12": "bookworm", "13": "trixie"}
PYTHONS = {"12": "python3.11", "13": "python3.13"}
MIRROR, SECURITY = "http://deb.debian.org/debian", "http://deb.debian.org/debian-security"
SIZE = "4G"
"""Of the root file system; the file is sparse."""
PACKAGES = [
    *("systemd", "systemd-sysv", "dbus", "udev", "kmod", "linux-image-cloud-amd64", "apparmor", "procps"),
    *("runc", "crun", "conmon", "skopeo", "nftables", "iproute2", "ca-certificates"),
    *("python3", "python3-venv", "bash-static", "busybox-static"),
]
VENV = "opt/podstead-venv"
_TOOLS = re.compile(r"(mypy|ruff|import-linter|types-)")
"""What pyproject.toml's `dev` has for the source, not for running the tests."""
_BUILD_SECONDS = 900


class ImageError(Exception):
    """The image cannot be built; the message says why and where to look."""


@dataclass(frozen=True, slots=True)
class Image:
    """`python`: the name of the release's Python."""

    python: str
    root: Path
    kernel: Path
    initrd: Path


def cache() -> Path:
    return Path(os.environ.get("PODSTEAD_VM_CACHE", "/var/cache/podstead-vm"))


def provide(release: str) -> Image:
    """Return the image of a release, built if this recipe's is not there. Raises ImageError."""
    suite = SUITES[release]
    mirrors, libraries = _mirrors(suite), _libraries()
    recipe = hashlib.sha256("\n".join([suite, *mirrors, *libraries]).encode())
    for file in (Path(__file__), *sorted(path for path in (HERE / "overlay").rglob("*") if path.is_file())):
        recipe.update(file.read_bytes())
    directory = cache() / f"debian{release}-{recipe.hexdigest()[:12]}"
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / f".debian{release}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not directory.is_dir():
            print(f"test-vm: building the image of Debian {release} in {directory} (once)", flush=True)
            for old in (path for path in cache().glob(f"*debian{release}-*") if path.is_dir()):
                shutil.rmtree(old)
            _build(suite, mirrors, libraries, directory)
    return Image(PYTHONS[release], directory / "root.ext4", directory / "vmlinuz", directory / "initrd.img")


def make_disk(tree: Path, disk: Path, size: str, label: str, output: IO[str] | int = subprocess.DEVNULL) -> None:
    """Make a labelled ext4 file system of the files in `tree`. Raises subprocess.SubprocessError."""
    argv = ["mke2fs", "-q", "-t", "ext4", "-L", label, "-d", str(tree), "-E", "lazy_itable_init=1", str(disk), size]
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, stdout=output, stderr=output, timeout=_BUILD_SECONDS)


def _build(suite: str, mirrors: list[str], libraries: list[str], directory: Path) -> None:
    fresh, log = directory.with_name(f".{directory.name}"), directory.with_name(f"{directory.name}.log")
    root = fresh / "root"
    fresh.mkdir()
    try:
        with log.open("w") as output:
            _bootstrap(suite, mirrors, root, output)
            _make_venv(root, libraries, output)
            _shape(root)
            for name in ("vmlinuz", "initrd.img"):
                shutil.move(next((root / "boot").glob(f"{name}-*")), fresh / name)
            make_disk(root, fresh / "root.ext4", SIZE, "podstead-root", output)
        shutil.rmtree(root)
        fresh.rename(directory)
        log.unlink()
    except (subprocess.SubprocessError, OSError, StopIteration) as error:
        last = "\n  ".join(log.read_text(errors="replace").splitlines()[-5:])
        raise ImageError(f"the image was not built: {error}\n  {last}\nmore in {log}") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _run(argv: list[str], output: IO[str], env: dict[str, str] | None = None) -> None:
    subprocess.run(
        argv, check=True, stdin=subprocess.DEVNULL, stdout=output, stderr=output, timeout=_BUILD_SECONDS, env=env
    )


def _bootstrap(suite: str, mirrors: list[str], root: Path, output: IO[str]) -> None:
    argv = ["mmdebstrap", "--variant=minbase", "--mode=root", "--format=directory", f"--include={','.join(PACKAGES)}"]
    # The initramfs is made when the kernel is installed: what shapes it must be there before.
    argv.append(f'--setup-hook=cp -r {HERE / "overlay"}/. "$1"')
    argv += [f"--dpkgopt=path-exclude=/usr/share/{kind}/*" for kind in ("doc", "man", "locale", "info")]
    _run([*argv, suite, str(root), *mirrors], output)


def _make_venv(root: Path, libraries: list[str], output: IO[str]) -> None:
    """Install podstead's libraries and its tests' where computing is fast; podstead itself comes with the source."""
    certificates = root / "tmp/certificates.pem"
    shutil.copy("/etc/ssl/certs/ca-certificates.crt", certificates)
    shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
    env = {"PATH": "/usr/sbin:/usr/bin", "HOME": "/root", "PIP_CERT": "/tmp/certificates.pem"}
    index = subprocess.run(["pip", "config", "get", "global.index-url"], capture_output=True, text=True, timeout=60)
    if index.returncode == 0 and index.stdout.startswith("http"):
        env["PIP_INDEX_URL"] = index.stdout.strip()
    env |= {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}
    _run(["chroot", str(root), "python3", "-m", "venv", f"/{VENV}"], output, env)
    pip = ["chroot", str(root), f"/{VENV}/bin/pip", "install", "-q", "--no-cache-dir", "--disable-pip-version-check"]
    _run([*pip, *libraries], output, env)
    certificates.unlink()
    packages = next((root / VENV / "lib").glob("python3*")) / "site-packages"
    (packages / "podstead.pth").write_text("/src/src\n")
    program = root / VENV / "bin/podstead"
    program.write_text(f"#!/{VENV}/bin/python\nimport sys\n\nfrom podstead.cli import main\n\nsys.exit(main())\n")
    program.chmod(0o755)
    # script/bootstrap's marks: nothing is to be installed inside.
    for extra in ("kubectl", "dev"):
        (root / VENV / f".podstead-{extra}").touch()


def _shape(root: Path) -> None:
    """What only takes time or output inside is masked; the job is started by the boot."""
    (root / "src").mkdir()
    (root / "etc/resolv.conf").write_text("nameserver 10.0.2.3\n")  # qemu's user network
    (root / "etc/hostname").write_text("debian-vm\n")
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n127.0.1.1 debian-vm\n::1 localhost\n")
    (root / "etc/machine-id").write_text(hashlib.sha256(b"podstead").hexdigest()[:32] + "\n")
    units = root / "etc/systemd/system"
    for name in ("getty@tty1", "serial-getty@ttyS0", "systemd-journal-flush", "e2scrub_reap", "ldconfig"):
        _link(units / f"{name}.service", "/dev/null")
    for name in ("apt-daily", "apt-daily-upgrade", "dpkg-db-backup", "e2scrub_all", "fstrim"):
        _link(units / f"{name}.timer", "/dev/null")
    wants = units / "multi-user.target.wants"
    for unit, folder in (("podstead-job", "/etc"), ("systemd-networkd", "/lib")):
        _link(wants / f"{unit}.service", f"{folder}/systemd/system/{unit}.service")


def _link(link: Path, target: str) -> None:
    link.parent.mkdir(exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(target)


def _libraries() -> list[str]:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    development = [name for name in project["optional-dependencies"]["dev"] if not _TOOLS.match(name)]
    return [*project["dependencies"], *development]


def _mirrors(suite: str) -> list[str]:
    """Return sources.list lines with the mirrors that this machine's apt uses, Debian's own where it is no Debian."""
    argv = ["apt-get", "indextargets", "--format", "$(LABEL) $(REPO_URI)", "Created-By: Packages"]
    listed = subprocess.run(argv, capture_output=True, text=True, timeout=60).stdout
    known = dict(line.split()[:2] for line in reversed(listed.splitlines()) if len(line.split()) == 2)
    mirror, security = known.get("Debian", MIRROR), known.get("Debian-Security", SECURITY)
    return [f"deb {mirror} {suite} main", f"deb {mirror} {suite}-updates main", f"deb {security} {suite}-security main"]
