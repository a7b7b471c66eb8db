"""A second, real Docker Engine of the tests' own, reached as a team's is: by its socket, by TCP with TLS, and by ssh.

It has a network namespace for its own: what it publishes is at `Engine.address`, and on no address of this machine. It
shares nothing with the Engine that the other tests use, and nothing of it stays. It needs root, as that one does.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import docker
import psutil

BASES = ("deploykit/python:3.11", "deploykit/nginx:1.22")
START_SECONDS = 120
"""Generous: what is measured here is never how fast this machine starts an Engine."""
TLS_PORT, SSH_PORT = 2376, 22
_held: list[int] = []
"""Locks on networks that end with this process."""


class Engine:
    """An Engine with its own images, containers and network; `killed` and `start` as often as a test wants."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.network = f"tests{os.getpid()}-{folder.name[-4:]}"
        self.gateway, self.address = _addresses()
        self.certificates = Certificates(folder / "tls", self.address)
        self._process: subprocess.Popen[bytes] | None = None
        self._ssh: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> str:
        """As DOCKER_HOST has it."""
        return f"unix://{self.folder}/docker.sock"

    @property
    def tls(self) -> dict[str, str]:
        """The variables by which a user reaches it by TCP."""
        return {
            "DOCKER_HOST": f"tcp://{self.address}:{TLS_PORT}",
            "DOCKER_TLS_VERIFY": "1",
            "DOCKER_CERT_PATH": str(self.certificates.client()),
        }

    @property
    def pid(self) -> int:
        """Of its dockerd, which runs."""
        assert self._process is not None
        return self._process.pid

    def client(self) -> docker.DockerClient:
        """A client of it, past deploykit."""
        return docker.DockerClient(base_url=self.socket, timeout=120)

    # --- its life ---

    def start(self) -> None:
        """It answers. Where it was killed, it has what it had."""
        words = [
            *("dockerd", "--config-file", str(self.folder / "daemon.json"), "--host", self.socket),
            *("--data-root", str(self.folder / "data"), "--exec-root", str(self.folder / "exec")),
            *("--pidfile", str(self.folder / "pid"), "--storage-driver", _storage_driver()),
            *("--host", f"tcp://{self.address}:{TLS_PORT}", *self.certificates.server_words(), "--log-level", "warn"),
        ]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(self._inside(*words), stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self._until(self._answers, "the second Engine does not answer")

    def kill(self) -> None:
        """Its processes end at once, as if the power went; its containers go on."""
        assert self._process is not None
        others = psutil.Process(self.pid).children()
        self._process.kill()
        self._process.wait()
        # Its containerd goes with it. A new dockerd takes one that is just going for one that will answer.
        psutil.wait_procs(others, timeout=START_SECONDS)
        (self.folder / "exec" / "containerd" / "containerd.pid").unlink(missing_ok=True)

    def pause(self) -> None:
        """It takes connections and answers none."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """It answers again."""
        os.kill(self.pid, signal.SIGCONT)

    def cut(self) -> None:
        """Nothing on this machine reaches its machine any more."""
        _ran("ip", "-netns", self.network, "link", "set", f"{self.network[5:]}b", "down")

    def mend(self) -> None:
        """As before it was cut."""
        _ran("ip", "-netns", self.network, "link", "set", f"{self.network[5:]}b", "up")

    def load(self, *images: str) -> None:
        """It has these images of the other Engine."""
        source = docker.from_env()
        mine = self.client()
        try:
            for name in images:
                mine.images.load(source.images.get(name).save(named=True))  # type: ignore[arg-type]
        finally:
            mine.close()
            source.close()

    def run(self, *words: str) -> subprocess.Popen[bytes]:
        """A program on its machine: in its network, and with its socket as DOCKER_HOST."""
        environment = {**os.environ, "DOCKER_HOST": self.socket}
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(self._inside(*words), env=environment, stdout=log, stderr=log)

    # --- ssh ---

    def serve_ssh(self) -> Ssh:
        """Its machine takes ssh connections; how a user reaches it."""
        ssh = Ssh(self.folder / "ssh", self.address)
        self._ssh = self.run(*ssh.server_words(self.socket))
        self._until(lambda: _listens(self.address, SSH_PORT), "sshd does not listen")
        return ssh

    def stop_ssh(self) -> None:
        """Its machine takes no ssh connections any more, and what came by them ends."""
        if self._ssh is not None:
            _end(self._ssh.pid)
            self._ssh.wait()
            self._ssh = None

    # --- the machine around it ---

    def make_network(self) -> None:
        """There is a network of its own, with a cable to this machine."""
        here, there = f"{self.network[5:]}a", f"{self.network[5:]}b"
        inside = ["ip", "-netns", self.network]
        for words in (
            ["ip", "netns", "add", self.network],
            ["ip", "link", "add", here, "type", "veth", "peer", "name", there, "netns", self.network],
            ["ip", "address", "add", f"{self.gateway}/30", "dev", here],
            ["ip", "link", "set", here, "up"],
            [*inside, "address", "add", f"{self.address}/30", "dev", there],
            [*inside, "link", "set", there, "up"],
            [*inside, "link", "set", "lo", "up"],
            [*inside, "route", "add", "default", "via", self.gateway],
        ):
            _ran(*words)

    def remove(self) -> None:
        """Nothing of it stays: no process, container, mount, network and file."""
        self.stop_ssh()
        if self._process is not None and self._process.poll() is None:
            self.resume()
            with contextlib.suppress(Exception):  # what it does not do is done below
                mine = self.client()
                for container in mine.containers.list(all=True, ignore_removed=True):
                    container.remove(force=True, v=True)
                mine.close()
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(START_SECONDS)
            self._process.kill()
            self._process.wait()
        self._end_what_is_left()
        mounted = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for place in reversed(mounted):
            if place.startswith(f"{self.folder}/"):
                _ran("umount", "--lazy", place)
        subprocess.run(["ip", "netns", "delete", self.network], capture_output=True, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)
        assert not self.folder.exists(), f"{self.folder} can't be removed"

    def _end_what_is_left(self) -> None:
        """Shims of a killed Engine, which name its folder, and what runs in its containers' control groups."""
        for process in psutil.process_iter(["cmdline"]):
            words = process.info["cmdline"] or []
            if any(word.startswith(f"{self.folder}/") for word in words):
                _end(process.pid)
        for container in (self.folder / "data" / "containers").glob("*"):
            for group in Path("/sys/fs/cgroup").glob(f"*/docker/{container.name}"):
                with contextlib.suppress(OSError):
                    for pid in (group / "cgroup.procs").read_text().split():
                        _end(int(pid))
                with contextlib.suppress(OSError):
                    group.rmdir()

    def _inside(self, *words: str) -> list[str]:
        # Not `ip netns exec`, which hides the control groups below /sys. With the tests it ends, whatever ends those.
        return ["setpriv", "--pdeathsig", "TERM", "nsenter", f"--net=/run/netns/{self.network}", *words]

    def _answers(self) -> bool:
        mine = docker.DockerClient(base_url=self.socket, version="1.41", timeout=10)
        try:
            return mine.ping()
        except Exception:  # not yet
            return False
        finally:
            mine.close()

    def _until(self, ready: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not ready():
            log = (self.folder / "log").read_text(errors="replace")[-2000:]
            assert time.monotonic() < deadline, f"{what}:\n{log}"
            assert self._process is None or self._process.poll() is None, f"{what}, it ended:\n{log}"
            time.sleep(0.1)


@contextlib.contextmanager
def second_engine(images: Sequence[str] = BASES) -> Iterator[Engine]:
    """An Engine of the test's own that answers and has these images; nothing of it stays."""
    for tool, package in {
        "dockerd": "docker.io",
        "ip": "iproute2",
        "nsenter": "util-linux",
        "sshd": "openssh-server",
    }.items():
        assert shutil.which(tool), f"{tool} is missing: apt-get install {package}"
    assert os.geteuid() == 0, "a second Docker Engine is started by root: run the tests as root"
    # Short, and not pytest's: the path of a socket has to fit into 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="engine-"))
    (folder / "daemon.json").write_text("{}\n")
    engine = Engine(folder)
    try:
        engine.make_network()
        engine.start()
        engine.load(*images)
        yield engine
    finally:
        engine.remove()


class Certificates:
    """An authority, and what it signs: the Engine's certificate and those of clients."""

    def __init__(self, folder: Path, address: str) -> None:
        self.folder, self.address = folder, address
        folder.mkdir(parents=True)
        self._openssl(
            *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=authority of a test"),
            *("-keyout", "ca-key.pem", "-out", "ca.pem"),
        )
        self.issue("server", f"subjectAltName=IP:{address}\nextendedKeyUsage=serverAuth")

    def issue(self, name: str, extensions: str, days: int = 30) -> None:
        """There is NAME.pem with NAME-key.pem, signed by the authority; expired where `days` is -1."""
        (self.folder / f"{name}.ext").write_text(extensions + "\n")
        self._openssl(
            *("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}"),
            *("-keyout", f"{name}-key.pem", "-out", f"{name}.csr"),
        )
        self._openssl(
            *("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca-key.pem", "-CAcreateserial"),
            *("-days", str(days), "-extfile", f"{name}.ext", "-out", f"{name}.pem"),
        )

    def client(self, days: int = 30) -> Path:
        """A folder as DOCKER_CERT_PATH names it."""
        folder = self.folder / f"client-{days}"
        if not folder.exists():
            name = f"client{days}"
            self.issue(name, "extendedKeyUsage=clientAuth", days)
            folder.mkdir()
            for kind, file in {"ca": "ca", "cert": name, "key": f"{name}-key"}.items():
                shutil.copy(self.folder / f"{file}.pem", folder / f"{kind}.pem")
        return folder

    def server_words(self) -> list[str]:
        """What dockerd is told about them."""
        at = self.folder
        return [
            "--tlsverify",
            f"--tlscacert={at}/ca.pem",
            f"--tlscert={at}/server.pem",
            f"--tlskey={at}/server-key.pem",
        ]

    def _openssl(self, *words: str) -> None:
        _ran("openssl", *words, cwd=self.folder)


class Ssh:
    """Keys of a machine and of a user on it, and the `ssh` by which the user gets there."""

    def __init__(self, folder: Path, address: str) -> None:
        self.folder, self.address = folder, address
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("host", "user", "stranger"):
            if not (folder / name).exists():
                _ran("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"{name} of a test", "-f", str(folder / name))
        shutil.copy(folder / "user.pub", folder / "authorized_keys")
        self.trust("host")

    def trust(self, key: str, known: Path | None = None) -> None:
        """In the user's list of known hosts, the machine has this host key."""
        kind, text, *_ = (self.folder / f"{key}.pub").read_text().split()
        (known or self.folder / "known_hosts").write_text(f"{self.address} {kind} {text}\n")

    def server_words(self, engine: str) -> list[str]:
        """The command of the machine's sshd. Who comes in finds that Engine."""
        # Debian's own service makes it when it starts.
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        settings = {
            "ListenAddress": f"{self.address}:{SSH_PORT}",
            "HostKey": self.folder / "host",
            "AuthorizedKeysFile": self.folder / "authorized_keys",
            "PidFile": "none",
            "StrictModes": "no",
            "UsePAM": "no",
            "PermitRootLogin": "prohibit-password",
            "PasswordAuthentication": "no",
            "KbdInteractiveAuthentication": "no",
            "MaxStartups": "100",
            "SetEnv": f"DOCKER_HOST={engine}",
        }
        path = self.folder / "sshd_config"
        path.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
        return [shutil.which("sshd") or "/usr/sbin/sshd", "-D", "-e", "-f", str(path)]

    def variables(self, bin_folder: Path, key: str = "user", known: Path | None = None) -> dict[str, str]:
        """What a user's environment has: DOCKER_HOST, and an `ssh` that reads the user's own configuration.

        OpenSSH takes the home folder from the password database and no variable, so a test's user has an `ssh` on
        PATH that names the configuration that would lie there.
        """
        config = bin_folder / "ssh_config"
        bin_folder.mkdir(parents=True, exist_ok=True)
        known = known or self.folder / "known_hosts"
        config.write_text(
            f"Host *\n  IdentityFile {self.folder / key}\n  IdentitiesOnly yes\n  UserKnownHostsFile {known}\n"
            "  GlobalKnownHostsFile /dev/null\n"
        )
        script = bin_folder / "ssh"
        script.write_text(
            f'#!/bin/sh\nexec {shlex.quote(shutil.which("ssh") or "ssh")} -F {shlex.quote(str(config))} "$@"\n'
        )
        script.chmod(0o755)
        path = f"{bin_folder}{os.pathsep}{os.environ['PATH']}"
        return {"DOCKER_HOST": f"ssh://root@{self.address}", "PATH": path}


def _addresses() -> tuple[str, str]:
    """This machine's and the other's on a cable between them, which no other test has."""
    folder = Path(tempfile.gettempdir()) / f"networks-of-tests-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    for number in range(1, 255):
        lock = os.open(folder / str(number), os.O_RDWR | os.O_CREAT, 0o600)
        with contextlib.suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            taken = {each.address for its in psutil.net_if_addrs().values() for each in its}
            # For measurements between machines of a laboratory (RFC 2544): no team's network has them.
            here, there = f"198.18.{number}.1", f"198.18.{number}.2"
            if here not in taken:
                _held.append(lock)
                return here, there
        os.close(lock)
    raise AssertionError("no network is free for a second Engine")


def _storage_driver() -> str:
    """That of the Engine which the other tests use: it works on this machine."""
    source = docker.from_env()
    try:
        return str(source.info()["Driver"])
    finally:
        source.close()


def _listens(address: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(5)
        return probe.connect_ex((address, port)) == 0


def _end(pid: int) -> None:
    """That process and its children are gone."""
    with contextlib.suppress(psutil.NoSuchProcess):
        family = [*psutil.Process(pid).children(recursive=True), psutil.Process(pid)]
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs([each for each in family if each.pid != os.getpid()], timeout=START_SECONDS)


def _ran(*words: str, cwd: Path | None = None) -> str:
    ended = subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, f"{shlex.join(words)}: exit {ended.returncode}\n{ended.stdout}{ended.stderr}"
    return ended.stdout
