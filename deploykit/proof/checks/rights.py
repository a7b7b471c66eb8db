"""Who may read and write the files, as whom each process runs, and what listens where; ids and modes as numbers.

Read from /proc and by `stat` and `find` alone: slim images have neither `ps` nor `ss`.
"""

from __future__ import annotations

import posixpath
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from deploykit.plan import AppPlan, Check, Slot
from deploykit.proof.scene import Scene, Seen, broken, kept, not_run

__all__ = ["config_private", "listens", "process_user"]

CONTAINER_UID = "10001"
"""Who apps are in their containers."""

LISTENING = "0A"
"""The state of a listening socket in /proc/net/tcp (`TCP_LISTEN` of the kernel)."""


@dataclass(frozen=True)
class Running:
    """One process of nginx or a member."""

    pid: int
    parent: int
    uid: str
    """Its effective user, a number."""


# --- who -------------------------------------------------------------------------------------------------------------


def process_user(scene: Scene, check: Check) -> Seen:
    """Every process of nginx and the members runs as the user it should, and none as root where not all do."""
    told: dict[str, list[str]] = {}
    count = 0
    for name in _names(scene):
        processes = running(scene, name)
        if not processes:
            return not_run(f"the processes of {name} can't be looked at from here")
        for process in processes:
            wanted = expected_uid(scene, name)
            if process.uid == wanted or (not wanted and process.uid != "0"):
                continue
            return broken(f"{name}: process {process.pid} runs as user {process.uid}, not {wanted or 'without rights'}")
        told.setdefault(processes[0].uid, []).append(name)
        count += len(processes)
    users = "; ".join(f"{', '.join(names)} as user {uid}" for uid, names in told.items())
    return kept(f"{users} ({count} processes)")


def expected_uid(scene: Scene, name: str) -> str:
    """The number of the user that nginx or a member should run as; empty where any but root will do."""
    if scene.plan.target == "docker":
        return "" if name == "nginx" else CONTAINER_UID
    user = scene.plan.facts.user
    return user if user.isdigit() else (scene.run(name, "id -u %s", user) or "unknown").strip()


def _names(scene: Scene) -> list[str]:
    return ["nginx", *(_name(app, slot) for app in scene.plan.apps for slot in app.slots)]


def _name(app: AppPlan, slot: Slot) -> str:
    return f"{app.name}-{slot.number}"


def running(scene: Scene, name: str) -> list[Running]:
    """The processes of nginx or a member where it runs; none where they can't be seen."""
    if scene.plan.target == "docker":
        output = scene.run(name, "cat /proc/[0-9]*/status 2>/dev/null; true") or ""
        return _without_visitors(_parsed(output))
    pids = scene.runtime.process_ids().get(name, ())
    if not pids:
        return []
    paths = " ".join(f"/proc/{pid}/status" for pid in pids)
    return _parsed(scene.run(name, f"cat {paths} 2>/dev/null; true") or "")


def _parsed(output: str) -> list[Running]:
    found = []
    for part in re.split(r"(?m)^(?=Name:\t)", output):
        fields = dict(re.findall(r"(?m)^(Pid|PPid|Uid):\t(.*)$", part))
        if len(fields) == 3:
            found.append(Running(int(fields["Pid"]), int(fields["PPid"]), fields["Uid"].split()[1]))
    return found


def _without_visitors(processes: list[Running]) -> list[Running]:
    """Those of the container itself: what was sent in to look has a parent outside, as only process 1 has otherwise."""
    visitors = {process.pid for process in processes if process.parent == 0 and process.pid != 1}
    while True:
        more = {process.pid for process in processes if process.parent in visitors} - visitors
        if not more:
            return [process for process in processes if process.pid not in visitors]
        visitors |= more


# --- what listens ----------------------------------------------------------------------------------------------------


def listens(scene: Scene, check: Check) -> Seen:
    """nginx listens where it was promised to and nowhere else, members on sockets that strangers can't reach."""
    for name in _names(scene):
        found = listeners(scene, name)
        if found is None:
            return not_run(f"the sockets of {name} can't be looked at from here")
        if name == "nginx":
            wrong = _wrong_of_nginx(scene, found)
        else:
            wrong = [f"{name} listens on {address}" for address in found if not _is_loopback(address)]
        if wrong:
            return broken("; ".join(wrong))
    modes = dict.fromkeys(_socket_modes(scene))
    wrong = [mode for mode in modes if mode.startswith("!")]
    if wrong:
        return broken("; ".join(text[1:] for text in wrong))
    return kept(", ".join([f"nginx on {scene.plan.layout.listen}", *modes]))


def _wrong_of_nginx(scene: Scene, found: list[str]) -> list[str]:
    host, _, port = scene.plan.layout.listen.rpartition(":")
    host = host.strip("[]")
    if host in ("", "*"):
        promised = {f"0.0.0.0:{port}", f"[::]:{port}"}
        missing = not promised & set(found)
    else:
        address = ip_address(host)
        promised = {f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"}
        missing = not promised <= set(found)
    # Docker's own name server listens on loopback in each container.
    docker = scene.plan.target == "docker"
    strange = [address for address in found if address not in promised and not (docker and _is_loopback(address))]
    wrong = [f"nginx listens on {address} as well" for address in strange]
    return [f"nginx does not listen on {scene.plan.layout.listen}", *wrong] if missing else wrong


def _is_loopback(address: str) -> bool:
    return ip_address(address.rpartition(":")[0].strip("[]")).is_loopback


def listeners(scene: Scene, name: str) -> list[str] | None:
    """The TCP addresses that nginx or a member listens on; None where that can't be seen."""
    tables = scene.run(name, "cat /proc/net/tcp /proc/net/tcp6 2>/dev/null; true")
    if not tables:
        return None
    found = dict(_listening(tables))
    if scene.plan.target == "docker":
        return sorted(set(found.values()))
    processes = running(scene, name)
    folders = " ".join(f"/proc/{process.pid}/fd" for process in processes)
    handles = scene.run(name, f"ls -l {folders} 2>/dev/null; true") or ""
    inodes = set(re.findall(r"socket:\[(\d+)\]", handles))
    if not inodes:
        return None
    return sorted({address for inode, address in found.items() if inode in inodes})


def _listening(tables: str) -> Iterator[tuple[str, str]]:
    for line in tables.splitlines():
        words = line.split()
        if len(words) > 9 and words[3] == LISTENING:
            address, _, port = words[1].partition(":")
            # Each group of four bytes is a number of the machine's own byte order.
            data = b"".join(struct.pack("=I", int(address[at : at + 8], 16)) for at in range(0, len(address), 8))
            shown = str(IPv4Address(data)) if len(data) == 4 else f"[{IPv6Address(data)}]"
            yield words[9], f"{shown}:{int(port, 16)}"


def _socket_modes(scene: Scene) -> Iterator[str]:
    """What others may do with each member's socket; `!` in front where that is too much."""
    for app in scene.plan.apps:
        for slot in app.slots:
            if not slot.address.startswith("unix:"):
                continue
            path = posixpath.join(scene.prefix, slot.address.removeprefix("unix:"))
            socket = (scene.run("nginx", "stat -L -c %%a %s", path) or "").strip()
            folder = (scene.run("nginx", "stat -L -c %%a %s", posixpath.dirname(path)) or "").strip()
            if not socket or not folder:
                yield f"!there is no {slot.address.removeprefix('unix:')}"
            elif int(socket, 8) & 0o002 and int(folder, 8) & 0o001:
                yield f"!everybody may connect to {slot.address.removeprefix('unix:')} ({socket} in a folder {folder})"
            else:
                yield f"sockets {socket} in folders {folder}"


# --- who may read and write ------------------------------------------------------------------------------------------


def config_private(scene: Scene, check: Check) -> Seen:
    """Nobody else may write a config, and only the app's user may read its secrets."""
    if not scene.prefix or "nginx" not in scene.hosts:
        return not_run("nginx's files can't be looked at from here")
    places = [("nginx", posixpath.join(scene.prefix, "nginx/current"))]
    places += [(_name(app, app.slots[0]), _config_folder(scene, app)) for app in scene.plan.apps]
    count = 0
    for name, folder in places:
        files = scene.run(name, "find -L %s -type f", folder + "/")
        if files is None:
            return not_run(f"{folder} can't be looked at from here")
        count += len(files.splitlines())
        loose = (scene.run(name, "find -L %s -perm -0002", folder + "/") or "").splitlines()
        if loose:
            return broken(f"everybody may write {loose[0]}")
    told = [f"{count} configs that nobody else may write"]
    for app in scene.plan.apps:
        if app.secrets or app.env_file:
            found, wrong = _secrets(scene, app)
            if wrong:
                return broken(wrong)
            told.append(found)
    return kept(", ".join(told))


def _config_folder(scene: Scene, app: AppPlan) -> str:
    code = scene.plan.layout.code.replace("APP", app.name).replace("RELEASE", scene.desired.releases[app.name].id)
    return posixpath.normpath(posixpath.join(scene.prefix, code, scene.plan.layout.config))


def _secrets(scene: Scene, app: AppPlan) -> tuple[str, str]:
    """What was found of the app's secrets, and what is wrong with it."""
    name, release = _name(app, app.slots[0]), scene.desired.releases[app.name].id
    # One file of the release, or a folder that has one for each release.
    path = posixpath.join(posixpath.dirname(_config_folder(scene, app)), "secrets")
    tell = "find %s %s -type f -exec stat -c '%%a %%u %%n' {} + 2>/dev/null; true"
    output = scene.run(name, tell, path, posixpath.join(path, release)) or ""
    lines = [line.split(" ", 2) for line in dict.fromkeys(output.splitlines())]
    if not lines:
        return "", f"the secrets of {app.name} are not at {path}"
    wanted = expected_uid(scene, name)
    for mode, uid, path in lines:
        if mode not in ("600", "400") or uid != wanted:
            return "", f"{path} has mode {mode} and belongs to user {uid}, not 600 and {wanted}"
    return f"secrets of {app.name} {lines[0][0]}, user {lines[0][1]}", ""
