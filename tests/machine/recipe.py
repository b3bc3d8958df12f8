"""The image of the machine: Debian with the servers, made once and kept outside of the repository.

It is kept by the digest of its recipe, which is everything in this module and in `guest/`, and what certvigil depends
on. Debian's archive is the one that apt on this host uses, with its proxy.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
_GUEST: Final = Path(__file__).parent / "guest"

RELEASE: Final = "bookworm"
PACKAGES: Final = (
    *("systemd-sysv", "udev", "dbus", "kmod", "libpam-systemd", "systemd-container", "iproute2", "procps"),
    *("linux-image-cloud-amd64", "initramfs-tools", "e2fsprogs", "ca-certificates", "openssl", "chrony"),
    *("python3", "python3-venv"),
    *("nginx-light", "lighttpd", "lighttpd-mod-openssl", "apache2", "haproxy", "postfix", "dovecot-imapd"),
    "default-jre-headless",
)
"""Debian's packages, as they are."""
_MODULES: Final = ("virtio_pci", "virtio_blk", "virtio_console", "ext4")
"""What the initrd has: few, for an emulated processor."""
_SIZE: Final = "3G"
_BUILD_WITHIN: Final = 1800.0
"""Seconds."""


class CannotBuildError(Exception):
    """The image cannot be made here: a sentence."""


@dataclass(frozen=True, slots=True)
class Image:
    """A disk that starts, and how."""

    disk: str
    """A file with a file system, ext4, and no partitions."""
    kernel: str
    initrd: str


def cache() -> str:
    """Return the directory in which images are kept: that of the environment, or one of this user's."""
    given = os.environ.get("CERTVIGIL_MACHINES")
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.abspath(given or os.path.join(base, "certvigil-machine"))


def digest_of(*parts: bytes) -> str:
    """Return a short digest that tells these contents from others."""
    made = hashlib.sha256()
    for each in parts:
        made.update(hashlib.sha256(each).digest())
    return made.hexdigest()[:16]


def recipe() -> str:
    """Return the digest of the recipe."""
    files = (Path(__file__), *sorted(_GUEST.iterdir()), ROOT / "pyproject.toml")
    return digest_of(*(each.read_bytes() for each in files if each.is_file()))


def image() -> Image:
    """Return the image, made where it is not there yet; raises CannotBuildError."""
    directory = os.path.join(cache(), f"image-{recipe()}")
    if not os.path.isdir(directory):
        os.makedirs(cache(), exist_ok=True)
        # Renamed when it is whole: a build that was broken off leaves nothing that looks like an image.
        with tempfile.TemporaryDirectory(prefix="making-", dir=cache()) as making:
            os.chmod(making, 0o755)
            made = os.path.join(making, "image")
            os.mkdir(made)
            _build(made, os.path.join(making, "root"))
            os.rename(made, directory)
    return Image(*(os.path.join(directory, each) for each in ("disk", "vmlinuz", "initrd")))


def wheel(directory: str) -> str:
    """Build certvigil's own wheel from this tree into `directory`; return its path."""
    _run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", directory, str(ROOT)])
    (found,) = glob(os.path.join(directory, "certvigil-*.whl"))
    return found


def _build(made: str, root: str) -> None:
    if os.getuid() != 0:
        raise CannotBuildError("only root can build the image")
    for program in ("mmdebstrap", "mke2fs"):
        if shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin") is None:
            raise CannotBuildError(f"{program} is not installed; tests/kit/install machine installs it on Debian")
    _say(f"building the image of the machine into {cache()}; this takes a few minutes")
    _debian(root)
    _furnish(root)
    _install_dependencies(root)
    for name, pattern in (("vmlinuz", "vmlinuz-*"), ("initrd", "initrd.img-*")):
        (found,) = glob(os.path.join(root, "boot", pattern))
        shutil.copyfile(found, os.path.join(made, name))
    _run(["mke2fs", "-q", "-t", "ext4", "-L", "root", "-d", root, os.path.join(made, "disk"), _SIZE])
    shutil.rmtree(root)


def _debian(root: str) -> None:
    command = ["mmdebstrap", "--mode=root", "--variant=minbase", f"--include={','.join(PACKAGES)}"]
    command += ["--dpkgopt=force-unsafe-io", "--dpkgopt=path-exclude=/usr/share/doc/*"]
    command += ["--dpkgopt=path-exclude=/usr/share/locale/*"]
    command += [f"--aptopt={each}" for each in _proxies()]
    # The initrd is made while packages are installed: what is to be in it must be said before.
    lines = "\\n".join(_MODULES)
    tell = (
        'mkdir -p "$1/etc/initramfs-tools/conf.d" && '
        f'printf "{lines}\\n" >"$1/etc/initramfs-tools/modules" && '
        'printf "MODULES=list\\nCOMPRESS=gzip\\n" >"$1/etc/initramfs-tools/conf.d/machine"'
    )
    command += [f"--essential-hook={tell}"]
    _run([*command, RELEASE, root, *_sources()])


def _sources() -> list[str]:
    """Return Debian's archive, as apt on this host has it, in lines of sources.list(5)."""
    form = "$(REPO_URI) $(RELEASE) $(COMPONENT) $(ORIGIN)"
    listed = _run(["apt-get", "indextargets", "--format", form, "Created-By: Packages"])
    found = dict.fromkeys(each for each in listed.splitlines() if each.endswith(" Debian"))
    lines = [f"deb {each.removesuffix(' Debian')}" for each in found if f" {RELEASE}" in each]
    return lines or ["http://deb.debian.org/debian"]


def _proxies() -> list[str]:
    """Return how apt on this host reaches its archives."""
    dumped = _run(["apt-config", "dump", "--format", "%f %v%n", "Acquire"])
    pairs = (each.partition(" ") for each in dumped.splitlines())
    return [f'{name} "{value}"' for name, _, value in pairs if "Proxy" in name and value]


def _furnish(root: str) -> None:
    """Put in what makes a machine of it, and the program that runs commands for the host."""

    def put(path: str, text: str, mode: int = 0o644) -> None:
        where = os.path.join(root, path.lstrip("/"))
        os.makedirs(os.path.dirname(where), exist_ok=True)
        Path(where).write_text(text)
        os.chmod(where, mode)

    put("/etc/fstab", "LABEL=root / ext4 defaults,errors=remount-ro 0 1\n")
    put("/etc/hostname", "machine\n")
    put("/etc/hosts", "127.0.0.1 localhost\n127.0.1.1 machine.example.com machine\n")
    put("/etc/mailname", "machine.example.com\n")
    put("/usr/local/lib/machine-agent", (_GUEST / "agent.py").read_text())
    for each in _GUEST.glob("*.service"):
        put(f"/etc/systemd/system/{each.name}", each.read_text())
    # The machine has no network: chrony has its time from a second chrony.
    put(
        "/etc/time-source.conf",
        "local stratum 3\nport 11123\nbindaddress 127.0.0.1\nallow 127.0.0.1\ncmdport 0\n"
        "pidfile /run/time-source.pid\n",
    )
    put("/etc/chrony/sources.d/machine.sources", "server 127.0.0.1 port 11123 iburst minpoll 0 maxpoll 2\n")
    for name, target in (("machine-agent", "sysinit"), ("time-source", "multi-user")):
        wants = os.path.join(root, f"etc/systemd/system/{target}.target.wants")
        os.makedirs(wants, exist_ok=True)
        os.symlink(f"/etc/systemd/system/{name}.service", os.path.join(wants, f"{name}.service"))
    units = ("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer")
    for masked in units:
        os.symlink("/dev/null", os.path.join(root, "etc/systemd/system", masked))
    Path(root, "etc/machine-id").write_text("")


def _install_dependencies(root: str) -> None:
    """Make the virtual environment that docs/operate.md has, with everything in it but certvigil itself."""
    project = (ROOT / "pyproject.toml").read_text()
    wheels = os.path.join(cache(), f"wheels-{digest_of(project.encode())}")
    if not os.path.isdir(wheels):
        with tempfile.TemporaryDirectory(prefix="making-", dir=cache()) as making:
            into = os.path.join(making, "wheels")
            _run([sys.executable, "-m", "pip", "wheel", "--quiet", "--wheel-dir", into, str(ROOT)])
            for own in glob(os.path.join(into, "certvigil-*.whl")):
                os.remove(own)
            os.rename(into, wheels)
    inside = os.path.join(root, "wheels")
    shutil.copytree(wheels, inside)
    names = [f"/wheels/{each}" for each in sorted(os.listdir(wheels))]
    _run(["chroot", root, "python3", "-m", "venv", "/opt/certvigil"])
    _run(["chroot", root, "/opt/certvigil/bin/pip", "install", "--quiet", "--no-index", *names])
    shutil.rmtree(inside)


def _run(command: Sequence[str]) -> str:
    ran = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=_BUILD_WITHIN,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"},
    )
    if ran.returncode:
        said = (ran.stderr or ran.stdout).strip()[-3000:]
        raise CannotBuildError(f"`{shlex.join(command)[:200]}` ended with {ran.returncode}: {said}")
    return ran.stdout


def _say(what: str) -> None:
    sys.stderr.write(f"{what}\n")
    sys.stderr.flush()
