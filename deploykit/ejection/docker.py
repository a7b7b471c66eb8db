"""What runs in containers, as a compose.yaml with a folder for each image; the data stays in its volumes."""

from __future__ import annotations

import math
import re
from dataclasses import replace

from deploykit.ejection import LOST, Ejected, Ejection, Part
from deploykit.engine import containers
from deploykit.engine.labels import APP_ID, APP_USER, NGINX_USER, PREFIX, PYTHON, Names, Settings
from deploykit.engine.nginx import TMPFS
from deploykit.plan import Desired, FilePlan, RenderedFile
from deploykit.runtimes import Stack

HEALTH = "/srv/app/config/health.py"


class Docker:
    """Answers with images that docker-compose builds from what is there: the base images are all that it pulls."""

    def ejected(self, stack: Stack, desired: Desired, parts: tuple[Part, ...], *, with_secrets: bool) -> Ejected:
        names = Names(stack)
        # What compose takes for the name of a project.
        project = re.sub(r"[^a-z0-9_-]", "-", stack.full_name)
        files = [
            FilePlan("compose.yaml", "eject/compose.yaml.j2", _compose(names, project, desired, parts), ""),
            FilePlan("nginx/Dockerfile", "eject/nginx.Dockerfile.j2", _nginx(desired), ""),
            FilePlan("README.md", "eject/README.md.j2", _readme(names, desired, parts, with_secrets), ""),
        ]
        files += [
            FilePlan(f"{part.app.name}/app/config/health.py", "eject/health.py.j2", _health(part), "") for part in parts
        ]
        statics = [(part.app.name, folder) for part in parts for folder in part.app.static_folders]
        return Ejected(
            files=tuple(files),
            rendered=(
                *(
                    replace(file, path=file.path.replace("nginx/", "nginx/current/", 1))
                    for file in desired.nginx_files()
                ),
                *(each for part in parts for each in _image_files(desired, part)),
                # The project's name is not the folder's: another folder would make other volumes for the sockets.
                _text(".env", f"COMPOSE_PROJECT_NAME={project}\n"),
            ),
            exports={part.app.name: f"{part.app.name}/app" for part in parts},
            copies=tuple((f"{app}/app/code/{at}", f"nginx/releases/{app}/current/code/{at}") for app, at in statics),
            # COPY wants a folder, also where no app has static files.
            folders=("nginx/releases",),
            secrets={part.app.name: f"secrets/{part.app.name}" for part in parts if part.has_secrets},
            links={},
        )


def _text(path: str, text: str) -> RenderedFile:
    return RenderedFile(path, text, "", "")


def _image_files(desired: Desired, part: Part) -> list[RenderedFile]:
    """The Dockerfile and the app's configuration, as its build context wants them."""
    app = part.app.name
    found = []
    for file in desired.app_files(app):
        name = file.path.removeprefix(f"apps/{app}/")
        if name == "Dockerfile":
            found.append(_text(f"{app}/Dockerfile", _dockerfile(file.text, app)))
        else:
            found.append(replace(file, path=f"{app}/app/config/{name}"))
    return found


def _dockerfile(text: str, app: str) -> str:
    """The same, its wheels where the export put them, and the sockets' folder with its owner for a fresh volume."""
    run = f"{PREFIX}/run/{app}"
    made = (
        "# A fresh volume takes its owner and mode from here: only the app and its group reach the sockets.\n"
        f"RUN mkdir -p {run} /srv/app/secrets && chown {APP_USER} {run} /srv/app/secrets"
        f" && chmod 0750 {run} && chmod 0700 /srv/app/secrets\n"
    )
    lines = [line for line in text.splitlines() if "adds its labels" not in line]
    text = "\n".join(lines).replace("COPY wheels ", "COPY app/wheels ").replace("COPY app /srv/app", _COPIES) + "\n"
    at = text.index("# Numeric,")
    return text[:at] + made + text[at:]


_COPIES = "COPY app/code /srv/app/code\nCOPY app/config /srv/app/config"


def _compose(names: Names, project: str, desired: Desired, parts: tuple[Part, ...]) -> dict[str, object]:
    plan = desired.plan
    host = f"[{plan.listen_host}]" if ":" in plan.listen_host else plan.listen_host
    return {
        "name": names.stack.full_name,
        "project": project,
        "prefix": PREFIX,
        "nginx_user": NGINX_USER,
        "app_group": str(APP_ID),
        "app_owner": str(APP_ID),
        "published": f"{host}:{plan.listen_port}:{plan.layout.listen.rpartition(':')[2]}",
        "stop_seconds": round(max(app.stop_grace_seconds for app in plan.apps)) + 5,
        "nginx_tmpfs": [f"{path}:{options}" for path, options in TMPFS.items()],
        "app_tmpfs": next(f"{path}:{options}" for path, options in containers.TMPFS.items()),
        "log_bytes": containers.LOG_BYTES,
        "log_files": containers.LOG_FILES,
        "apps": [_app(names, part) for part in parts],
        "with_secrets": any(part.has_secrets for part in parts),
    }


def _app(names: Names, part: Part) -> dict[str, object]:
    app = part.app
    settings = Settings.of(app)
    return {
        "name": app.name,
        "release": part.release,
        "slots": [slot.number for slot in app.slots],
        "command": containers.instance_command(),
        "environment": dict(containers.ENVIRONMENT),
        "has_secrets": part.has_secrets,
        "health": ["CMD", PYTHON, HEALTH],
        "health_timeout_seconds": math.ceil(app.probe.timeout_seconds) + 1,
        "health_retries": app.probe.retries,
        "health_start_seconds": math.ceil(app.probe.start_period_seconds),
        "stop_signal": f"SIG{settings.stop_signal.removeprefix('SIG')}",
        "stop_seconds": round(settings.stop_grace_seconds) + 2,
        "most_processes": settings.most_processes,
        "volumes": [
            {
                "key": f"{app.name}-{name}",
                "name": name,
                "path": path.strip("/"),
                "external": names.volume(app.name, name),
            }
            for name, path in sorted(app.volumes.items(), key=lambda item: item[1])
        ],
    }


def _nginx(desired: Desired) -> dict[str, object]:
    return {
        "image": desired.plan.facts.images["nginx"],
        "apps": [app.name for app in desired.plan.apps],
        "prefix": PREFIX,
        "user": APP_USER,
        "nginx_user": NGINX_USER,
    }


def _health(part: Part) -> dict[str, object]:
    probe = part.app.probe
    return {
        "path": probe.path,
        "host": probe.host,
        "lowest": probe.statuses[0],
        "highest": probe.statuses[1],
        "contains": probe.contains,
        "seconds": probe.timeout_seconds,
        "protocol": part.app.protocol,
    }


def _readme(names: Names, desired: Desired, parts: tuple[Part, ...], with_secrets: bool) -> dict[str, object]:
    plan = desired.plan
    volumes = [names.volume(part.app.name, name) for part in parts for name in part.app.volumes]
    secret = [part.app.name for part in parts if part.has_secrets]
    data = [f"It is in the Docker volumes {', '.join(f'`{each}`' for each in volumes)}, which were there before."]
    data += ["`deploykit down` keeps them and `deploykit down --volumes` removes them; docker-compose does neither."]
    told = [
        *(f"`secrets/{app}` holds them as NAME=value, each ended by a NUL byte, mode 0600." for app in secret),
        "They were written by `--with-secrets`: keep them out of version control."
        if with_secrets
        else "They were not written. Write each file, `printf 'NAME=%s\\0' VALUE >> FILE`, or eject `--with-secrets`.",
    ]
    return {
        "name": names.stack.full_name,
        "listen": f"{plan.listen_host}:{plan.listen_port}",
        "commands": [
            "docker-compose up -d --build     # or: docker compose up -d --build",
            "docker-compose ps",
            "docker-compose logs -f",
            "docker-compose down              # the data stays",
        ],
        "map": [
            ("compose.yaml", "every container, with its user, rights, limits, health check and restart policy"),
            ("nginx/current/", "nginx's configuration; `docker-compose up -d --build nginx` after a change"),
            ("nginx/releases/", "the static files that nginx serves"),
            *((f"{part.app.name}/app/code/", f"the code of {part.app.name} as it served") for part in parts),
            *((f"{part.app.name}/app/config/", "its server's configuration and its environment") for part in parts),
            *((f"{part.app.name}/app/wheels/", "its dependencies; the build needs no network") for part in parts),
        ],
        "data": data if volumes else ["The spec names no volumes: there is none."],
        "secrets": told if secret else [],
        "lost": LOST,
    }


DRIVER: Ejection = Docker()
