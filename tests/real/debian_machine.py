"""A Debian that is booted by its own systemd, in namespaces, for the tests of the package.

    with Machine() as machine:  # Debian 12
        machine.install(package)
        machine.run("systemctl", "start", "mxguard.service")
        machine.reboot()

The base system is made once by debootstrap, with what the package depends on and a Postfix, and is
kept in `.cache/` of the checkout. A machine is an overlay over it. It has a network of its own with
nothing but the loopback interface, and all of it is gone when the machine ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import signal
import stat
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "debian"
BOOKWORM, TRIXIE = "bookworm", "trixie"
"""Debian 12 and Debian 13."""
_EXTRA = ("dbus", "iptables", "postfix", "systemd", "systemd-sysv")
"""What a mail host has beside what the package needs: an init system, a mail server, tools."""

_CHANGING = frozenset(
    {
        "/root/.cache",
        "/tmp",
        "/var/cache",
        "/var/lib/dpkg",
        "/var/lib/postfix",
        "/var/log",
        "/var/spool/postfix",
        "/var/tmp",
    }
)

# Run as root of new mount and process namespaces, in a cgroup of its own: $1 is the base system,
# $2 a folder for what the machine writes, $3 the cgroup's name.
_BOOT = r"""
set -e
mount --make-rprivate /
mkdir -p "$2/upper" "$2/work" "$2/root"
mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" "$2/root"
cd "$2/root"
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=755 tmpfs dev
for device in null zero full random urandom tty; do
    touch dev/$device
    mount --bind /dev/$device dev/$device
done
mkdir dev/shm dev/pts
ln -s /proc/self/fd dev/fd
ln -s pts/ptmx dev/ptmx
ip link set lo up
hostname mail.example.org
mkdir -p .outside
pivot_root . .outside
umount -l /.outside
exec env -i container=mxguard-test PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --system --unit=multi-user.target
"""
# The cgroup is joined before the cgroup namespace is made, so that the machine sees it as its root.
_OUTSIDE = r"""
set -e
mount -t cgroup2 cgroup2 /mnt
mkdir "/mnt/$3"
echo $$ > "/mnt/$3/cgroup.procs"
exec unshare --net --pid --cgroup --uts --ipc --fork --kill-child sh -c "$4" boot "$1" "$2" "$3"
"""
_WITH_US = ("setpriv", "--pdeathsig", "KILL")
"""A machine ends with the process that started it, even where that is killed."""
_REMOVE_CGROUP = 'mount -t cgroup2 cgroup2 /mnt; find "/mnt/$1" -depth -type d -exec rmdir {} +'


class Machine:
    """One booted Debian; a context manager."""

    def __init__(self, suite: str = BOOKWORM) -> None:
        self._suite = suite
        self._name = f"mxgt-{uuid.uuid4().hex[:8]}"
        self._folder = Path(tempfile.mkdtemp(prefix="mxgt-machine-"))
        self._outside: subprocess.Popen[bytes] | None = None
        self._init = 0

    def __enter__(self) -> Machine:
        try:
            self._boot()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._halt()
        shutil.rmtree(self._folder)

    @property
    def pid(self) -> int:
        """Its init, as it is seen from here."""
        return self._init

    def run(self, *argv: str, stdin: str = "", check: bool = True, timeout: float = 120) -> str:
        """Standard output and standard error of a program run in the machine."""
        code, said = self.attempt(*argv, stdin=stdin, timeout=timeout)
        if check and code:
            raise AssertionError(f"{argv} ended with {code}: {said}")
        return said

    def attempt(self, *argv: str, stdin: str = "", timeout: float = 120) -> tuple[int, str]:
        """The exit code of a program run in the machine, and what it said."""
        namespaces = ["nsenter", "-t", str(self._init), "-m", "-p", "-n", "-C", "-u", "-i"]
        environment = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8"]
        done = subprocess.run(
            [*namespaces, *environment, "DEBIAN_FRONTEND=noninteractive", *argv],
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
            cwd="/",
        )
        return done.returncode, done.stdout

    def read(self, path: str) -> str:
        return self.run("cat", path)

    def write(self, path: str, text: str) -> None:
        self.run("sh", "-c", f"mkdir -p $(dirname {path}) && cat > {path}", stdin=text)

    def exists(self, path: str) -> bool:
        return self.attempt("test", "-e", path)[0] == 0

    def install(self, *packages: Path, options: Sequence[str] = ()) -> str:
        """`dpkg -i`, which fails where a dependency is missing: there is no network to get it."""
        folder = Path(f"/proc/{self._init}/root/root")
        for package in packages:
            shutil.copy(package, folder)
        try:
            inside = [f"/root/{package.name}" for package in packages]
            return self.run("dpkg", *options, "-i", *inside)
        finally:
            for package in packages:
                (folder / package.name).unlink()

    def network(self, address: str, router: str) -> None:
        """Give it eth0, with an address and a router that nobody has: nothing leaves."""
        self.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "wire0")
        self.run("ip", "addr", "add", address, "dev", "eth0")
        for link in ("wire0", "eth0"):
            self.run("ip", "link", "set", link, "up")
        self.run("ip", "route", "add", "default", "via", router)

    def files(self) -> dict[str, str]:
        """Every file and folder on disk with its owner, mode and content.

        Left out are logs, caches, dpkg's own books, and what a running Postfix renews.
        """
        root = Path(f"/proc/{self._init}/root")
        device = os.stat(f"{root}/.").st_dev
        found = {}
        for folder, folders, names in os.walk(f"{root}/."):
            inside = os.path.normpath(f"/{os.path.relpath(folder, f'{root}/.')}")
            folders[:] = [
                name
                for name in folders
                if os.path.join(inside, name) not in _CHANGING
                and os.lstat(os.path.join(folder, name)).st_dev == device
            ]
            for name in (*folders, *names):
                found[os.path.join(inside, name)] = _description(os.path.join(folder, name))
        return found

    def reboot(self) -> None:
        """Halt as by a power cut, and boot again: only what is on disk stays."""
        self._halt()
        self._boot()

    def _boot(self) -> None:
        arguments = (str(base_system(self._suite)), str(self._folder), self._name, _BOOT)
        console = os.open(self._folder / "console", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._outside = subprocess.Popen(
            [*_WITH_US, "unshare", "--mount", "sh", "-c", _OUTSIDE, "outside", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
        )
        os.close(console)
        deadline = time.monotonic() + 60
        while not self._is_up():
            if time.monotonic() > deadline or self._outside.poll() is not None:
                console = (self._folder / "console").read_text(errors="replace")
                raise AssertionError(f"the machine did not boot: {console[-2000:]}")
            time.sleep(0.2)

    def _is_up(self) -> bool:
        assert self._outside is not None
        children = Path(f"/proc/{self._outside.pid}/task/{self._outside.pid}/children").read_text()
        if not children.split():
            return False
        self._init = int(children.split()[0])
        if b"systemd" not in Path(f"/proc/{self._init}/cmdline").read_bytes():
            return False
        said = self.attempt("systemctl", "is-system-running")[1].strip()
        return said in ("running", "degraded")

    def _halt(self) -> None:
        if self._outside is None:
            return
        if self._init:
            # The first process of a process namespace takes all others of it along.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._init, signal.SIGKILL)
        else:
            self._outside.kill()
        self._outside.wait(30)
        self._outside, self._init = None, 0
        subprocess.run(
            ["unshare", "--mount", "sh", "-c", _REMOVE_CGROUP, "remove", self._name],
            check=False,
            stderr=subprocess.DEVNULL,
        )


def base_system(suite: str) -> Path:
    """The folder of a suite's base system, made where it is missing."""
    packages = sorted({*_dependencies(), *_EXTRA})
    key = hashlib.sha256(f"{suite} {packages}".encode()).hexdigest()[:12]
    folder = CACHE / f"{suite}-{key}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with _locked(CACHE / "lock"):
        if not folder.exists():
            begun = CACHE / f"{suite}-{key}.begun"
            shutil.rmtree(begun, ignore_errors=True)
            _debootstrap(suite, begun, packages)
            begun.rename(folder)
    return folder


def _description(path: str) -> str:
    seen = os.lstat(path)
    content = ""
    if stat.S_ISREG(seen.st_mode):
        content = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    elif stat.S_ISLNK(seen.st_mode):
        content = os.readlink(path)
    return f"{stat.filemode(seen.st_mode)} {seen.st_uid}:{seen.st_gid} {content}"


def _dependencies() -> list[str]:
    control = (ROOT / "packaging" / "debian" / "control").read_text()
    depends = control.partition("\nDepends:")[2].partition("\nSuggests:")[0]
    named = (re.sub(r"\(.*\)", "", item).strip() for item in depends.split(","))
    return [name for name in named if not name.startswith("$")] + ["python3"]


def _debootstrap(suite: str, folder: Path, packages: list[str]) -> None:
    done = subprocess.run(
        ["debootstrap", "--variant=minbase", f"--include={','.join(packages)}", suite, str(folder)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=900,
        check=False,
    )
    if done.returncode:
        raise AssertionError(f"debootstrap ended with {done.returncode}: {done.stdout[-2000:]}")


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with open(path, "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
