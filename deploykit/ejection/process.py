"""What runs as processes, as a tree with a start script: all paths relative, the data where it was."""

from __future__ import annotations

import math
from dataclasses import replace

from deploykit.ejection import LOST, Ejected, Ejection, Part
from deploykit.plan import Desired, FilePlan
from deploykit.runtimes import Stack
from deploykit.supervision.home import PATH
from deploykit.supervision.programs import LOG_BACKUPS, LOG_BYTES

SUPERVISOR = "supervisor>=4.2.5"
UP = "../../../.."
"""From a release's code to the top of the tree."""


class Process:
    """Answers with the tree of the process target, each app's live release as its only one."""

    def ejected(self, stack: Stack, desired: Desired, parts: tuple[Part, ...], *, with_secrets: bool) -> Ejected:
        plan = desired.plan
        command = plan.facts.nginx.command
        apps = [{"name": part.app.name, "python": part.app.python, "has_secrets": part.has_secrets} for part in parts]
        start = {"name": stack.full_name, "nginx": command, "apps": apps, "supervisor": SUPERVISOR, "path": PATH}
        files = [
            FilePlan("start", "eject/start.j2", start, "", mode=0o755),
            FilePlan("control", "eject/control.j2", {}, "", mode=0o755),
            FilePlan("bin/nginx", "eject/nginx.j2", {"nginx": command}, "", mode=0o755),
            FilePlan("supervisord.conf", "eject/supervisord.conf.j2", _supervisor(stack, parts), ""),
            FilePlan("README.md", "eject/README.md.j2", _readme(stack, desired, parts, with_secrets), ""),
        ]
        files += [
            FilePlan(f"bin/{part.app.name}", "eject/program.j2", {"app": part.app.name}, "", mode=0o755)
            for part in parts
        ]
        config = [
            replace(
                file, path=file.path.replace(f"apps/{part.app.name}/", f"releases/{part.app.name}/current/config/", 1)
            )
            for part in parts
            for file in desired.app_files(part.app.name)
        ]
        has_data = any(part.app.volumes for part in parts)
        return Ejected(
            files=tuple(files),
            rendered=(
                *(
                    replace(file, path=file.path.replace("nginx/", "nginx/current/", 1))
                    for file in desired.nginx_files()
                ),
                *config,
            ),
            exports={part.app.name: f"releases/{part.app.name}/current" for part in parts},
            copies=(),
            folders=(),
            secrets={part.app.name: f"releases/{part.app.name}/current/secrets" for part in parts if part.has_secrets},
            links={"volumes": stack.home / "volumes"} if has_data else {},
        )


def _supervisor(stack: Stack, parts: tuple[Part, ...]) -> dict[str, object]:
    programs: list[dict[str, object]] = []
    for part in parts:
        for slot in part.app.slots:
            unix = part.app.socket == "unix"
            address = f"{UP}/run/{part.app.name}/{slot.number}.sock" if unix else slot.address
            secret = {"DEPLOYKIT_SECRETS": "../secrets"} if part.has_secrets else {}
            programs.append(
                {
                    "name": f"{part.app.name}-{slot.number}",
                    "script": part.app.name,
                    "priority": 100,
                    "stop_signal": part.app.stop_signal,
                    "stop_seconds": max(1, math.ceil(part.app.stop_grace_seconds)),
                    "environment": {"DEPLOYKIT_SOCKET": address, **secret},
                }
            )
    patience = max(part.app.stop_grace_seconds for part in parts)
    # Started last and stopped first; QUIT finishes the requests that run, TERM would cut them.
    front = {"name": "nginx", "script": "nginx", "priority": 200, "stop_signal": "QUIT", "environment": {}}
    programs.append({**front, "stop_seconds": math.ceil(patience)})
    return {
        "name": stack.full_name,
        "programs": programs,
        "log_bytes": LOG_BYTES,
        "log_backups": LOG_BACKUPS,
    }


def _readme(stack: Stack, desired: Desired, parts: tuple[Part, ...], with_secrets: bool) -> dict[str, object]:
    plan = desired.plan
    secret = [part.app.name for part in parts if part.has_secrets]
    told = [
        *(
            f"`releases/{app}/current/secrets` holds them as NAME=value, each ended by a NUL byte, mode 0600."
            for app in secret
        ),
        "They were written by `--with-secrets`: keep them out of version control."
        if with_secrets
        else "They were not written. Write each file, `printf 'NAME=%s\\0' VALUE >> FILE`, or eject `--with-secrets`.",
    ]
    data = [
        f"`volumes` links to `{stack.home / 'volumes'}`, where it was: `deploykit down` keeps it there and",
        "`deploykit down --volumes` removes it. To have it here, move that folder into the place of the link.",
    ]
    return {
        "name": stack.full_name,
        "listen": f"{plan.listen_host}:{plan.listen_port}",
        "commands": [
            "./start                     # the first time it makes the environments, with pip",
            "./control status",
            "./control restart nginx     # after a change of nginx/current/",
            "./control shutdown          # the data stays",
        ],
        "map": [
            ("start", "makes what is missing and starts supervisord, which starts the rest"),
            ("control", "supervisorctl on it"),
            ("supervisord.conf", "every process, with its stop signal, its patience and its log"),
            (
                "nginx/current/",
                f"nginx's configuration; it is run by `{plan.facts.nginx.command}`, or by what NGINX names",
            ),
            *(
                (f"releases/{part.app.name}/current/code/", f"the code of {part.app.name} as it served")
                for part in parts
            ),
            *((f"releases/{part.app.name}/current/config/", "its server's configuration") for part in parts),
            *((f"releases/{part.app.name}/current/requirements.txt", "what was installed, frozen") for part in parts),
            ("venvs/", "made by start; they can't be moved, so remove them where this folder goes elsewhere"),
        ],
        "data": data if any(part.app.volumes for part in parts) else ["The spec names no volumes: there is none."],
        "secrets": told if secret else [],
        "lost": LOST,
    }


DRIVER: Ejection = Process()
