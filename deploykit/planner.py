"""Spec and facts to Plan: every decision is taken here or in a driver, none later. Reads nothing, writes nothing."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from deploykit import app_servers, nginx, targets
from deploykit.errors import Problem, SpecError
from deploykit.nginx import FAIR_MODULE, FAIR_PACKAGE
from deploykit.plan import (
    AppPlan,
    BalanceMethod,
    Facts,
    FilePlan,
    NginxBuild,
    Plan,
    Probe,
    SecretRef,
    SitePlan,
    Slot,
    TargetName,
)
from deploykit.promises import promises
from deploykit.routing import plan_sites
from deploykit.sizing import workers_and_threads
from deploykit.spec.model import MONITOR_SECONDS, App, Instance, Secret, Spec
from deploykit.spec.short import SHELL_SYNTAX

Listings = Mapping[str, tuple[str, ...]]
"""App name to the files of its source (`source.listing`): what the planner knows of the checkout."""

GRACE_SECONDS = 5.0
"""What a stop may take beyond the longest request."""

REQUIREMENTS = ("requirements.txt", "requirements/production.txt", "requirements/prod.txt", "pyproject.toml")
"""What is taken where the spec names no requirements, the first that is there."""

ASSUMED_MODULES = frozenset(
    {"http_gzip_static", "http_stub_status", "http_ssl", "http_v2", "http_realip", "http_sub"}
    | {f"http_upstream_{method}" for method in ("least_conn", "ip_hash", "random", "hash", "keepalive", "zone")}
)


def assumed_facts(spec: Spec) -> Facts:
    """What is taken where no target is asked: Debian 12's nginx and Python, two CPUs."""
    return Facts(
        nginx=NginxBuild((1, 22, 1), ASSUMED_MODULES, loadable=(f"/usr/lib/nginx/modules/{FAIR_MODULE}",)),
        pythons={name: f"{app.python or '3.11'}.0" for name, app in spec.apps.items()},
        cpus=2,
        memory_bytes=4 << 30,
        user="deploykit",
        images={
            "nginx": spec.images.nginx or "nginx",
            **{name: spec.images.python or f"python:{app.python or '3.11'}-slim" for name, app in spec.apps.items()},
        },
        ports={
            name: tuple(8101 + 100 * number + slot for slot in range(len(app.instances)))
            for number, (name, app) in enumerate(spec.apps.items())
        },
    )


def build_plan(spec: Spec, facts: Facts, listings: Listings, target: TargetName, local: bool = True) -> Plan:
    """Everything that will exist on that target; only where it is `local` a site answers on `localhost` as well.

    Raises:
        SpecError: what the target, a driver or nginx can't honour, every problem at once, without places.
    """
    driver = targets.REGISTRY.get(target)
    layout = driver.layout(spec)
    problems = list(driver.check(spec))
    apps: list[AppPlan] = []
    longest: dict[str, tuple[float, int]] = {}
    sites = plan_sites(spec, listings, problems, local, facts.engine_host)
    for name, app in spec.apps.items():
        routes = [route for site in sites for route in site.routes if route.app == name and not route.folder]
        longest[name] = (
            max([app.timeout, *(route.timeout_seconds for route in routes)]),
            max([app.body_size, *(route.body_bytes for route in routes)]),
        )
        static = tuple(
            dict.fromkeys(
                route.directory.removeprefix(f"releases/{name}/current/code/").rstrip("/")
                for site in sites
                for route in site.routes
                if route.app == name and route.folder.startswith("releases/")
            )
        )
        host = next((_concrete_name(site) for site in sites if any(r.app == name for r in site.routes)), "localhost")
        apps.append(
            _app(name, app, facts, listings.get(name, ()), layout.config, host, static, longest[name][0], problems)
        )
    if problems:
        raise SpecError(*problems)
    plans = tuple(apps)
    files = nginx.files(facts, layout, spec.listen.port, plans, sites)
    for app_plan in plans:
        files += _app_files(app_plan, spec.apps[app_plan.name], *longest[app_plan.name])
    files += driver.files(spec, facts, plans)
    return Plan(
        name=spec.name,
        target=target,
        layout=layout,
        listen_host=spec.listen.host,
        listen_port=spec.listen.port,
        files=files,
        apps=plans,
        sites=sites,
        checks=promises(plans, sites, spec),
        facts=facts,
    )


def _concrete_name(site: SitePlan) -> str:
    """The first name that is no wildcard; the local one at the end of the list never is."""
    return next(name for name in site.server_names if not name.startswith("*"))


def _app(
    name: str,
    app: App,
    facts: Facts,
    files: tuple[str, ...],
    config: str,
    host: str,
    static: tuple[str, ...],
    request_seconds: float,
    problems: list[Problem],
) -> AppPlan:
    server = app_servers.REGISTRY.get(app.app_server.type)
    problems += server.check(name, app)
    protocol = app.app_server.protocol or server.protocols[0]
    sizing = workers_and_threads(facts.cpus, facts.memory_bytes, _instances(app))
    workers = app.app_server.workers or sizing.workers
    threads = app.app_server.threads or sizing.threads
    given = app.app_server.workers is not None and app.app_server.threads is not None
    places = _places(name, app, facts)
    method, key = _method(name, app, facts.nginx, problems)
    return AppPlan(
        name=name,
        source=app.source,
        framework=app.framework or "wsgi",
        entrypoint=app.entrypoint,
        python=".".join(facts.pythons[name].split(".")[:2]),
        requirements=_requirements(name, app, files, problems),
        server=app.app_server.type,
        server_requirement=server.requirement,
        protocol=protocol,
        socket=app.app_server.socket,
        workers=workers,
        threads=threads,
        sizing="as the spec says" if given else sizing.sentence,
        command=server.command(app, config),
        stop_signal=server.stop_signal,
        stop_grace_seconds=app.stop_grace_period or request_seconds + GRACE_SECONDS,
        slots=tuple(slot for slot, instance in places if not instance.down),
        vacant=tuple(slot for slot, instance in places if instance.down),
        balance=method,
        hash_key=key,
        consistent=app.balance.consistent,
        environment=app.environment,
        secrets=tuple(_secret(key, secret) for key, secret in app.secrets.items()),
        env_file=app.env_file or "",
        release_commands=_commands(name, app, problems),
        volumes={volume: path.strip("/") for volume, path in app.volumes.items()},
        static_folders=static,
        probe=_probe(app, host),
        monitor_seconds=app.healthcheck.monitor if app.healthcheck else MONITOR_SECONDS,
        spec_path=("apps", name),
    )


def _secret(name: str, secret: Secret) -> SecretRef:
    if secret.command is not None:
        return SecretRef(name, "command", "", secret.command)
    return SecretRef(name, "env" if secret.env else "file", secret.env or secret.file or "")


def _instances(app: App) -> int:
    return sum(not instance.down for instance in app.instances)


def _places(name: str, app: App, facts: Facts) -> list[tuple[Slot, Instance]]:
    ports = facts.ports.get(name, ())
    places = []
    for number, instance in enumerate(app.instances, 1):
        unix = app.app_server.socket == "unix"
        address = f"unix:run/{name}/{number}.sock" if unix else f"127.0.0.1:{ports[number - 1]}"
        slot = Slot(number, instance.weight, address, instance.backup, instance.max_conns or 0)
        places.append((slot, instance))
    return places


def _method(name: str, app: App, build: NginxBuild, problems: list[Problem]) -> tuple[BalanceMethod, str]:
    """How the app's requests are spread, and by which key; a problem where the nginx that will run it can't."""
    balance = app.balance
    asked = balance.method
    method: BalanceMethod = "hash" if asked is None or asked == "url_hash" else asked
    at = f"apps.{name}.balance"
    if method == "fair":
        if not build.loads(FAIR_MODULE) and "http_upstream_fair" not in build.modules:
            said = f"is not in this nginx ({build.version_text}): it is a module of somebody else's"
            problems.append(Problem(at, said, f"use `least_conn`, or on Debian: apt install {FAIR_PACKAGE}"))
    elif method != "round_robin" and f"http_upstream_{method}" not in build.modules:
        problems.append(Problem(at, f"this nginx ({build.version_text}) was built without it", "use `round_robin`"))
    return method, "$request_uri" if balance.method == "url_hash" else balance.hash or ""


def _requirements(name: str, app: App, files: tuple[str, ...], problems: list[Problem]) -> str:
    if app.requirements is None:
        return next((candidate for candidate in REQUIREMENTS if candidate in files), "")
    path = app.requirements.removeprefix("./")
    if path not in files:
        near = [file for file in files if file.endswith((".txt", "pyproject.toml")) and "require" in file + "require"]
        hint = f"there is {', '.join(f'`{file}`' for file in near[:5])}" if near else ""
        problems.append(Problem(f"apps.{name}.requirements", f"there is no `{path}` in the source", hint))
    return path


def _commands(name: str, app: App, problems: list[Problem]) -> tuple[tuple[str, ...], ...]:
    commands = []
    for index, text in enumerate(app.release):
        at = f"apps.{name}.release[{index}]"
        try:
            words = tuple(shlex.split(text))
        except ValueError as error:
            problems.append(Problem(at, f"can't be read as a command: {str(error).lower()}"))
            continue
        if not words:
            problems.append(Problem(at, "should be a command, not nothing"))
        elif syntax := next((word for word in words if word in SHELL_SYNTAX), None):
            problems.append(
                Problem(at, f"no shell reads this, so `{syntax}` would be an argument", "write one command per line")
            )
        commands.append(words)
    return tuple(commands)


def _probe(app: App, host: str) -> Probe:
    check = app.healthcheck
    if check is None:
        # Nobody said where to look: any answer but a server's error shows that the app runs.
        return Probe("/", host, (200, 499), "", 3.0, 3, 30.0)
    return Probe(
        path=check.path,
        host=check.host or host,
        statuses=(check.status, check.status) if check.status else (200, 399),
        contains=check.contains or "",
        timeout_seconds=check.timeout,
        retries=check.retries,
        start_period_seconds=check.start_period,
    )


def _app_files(plan: AppPlan, app: App, request_seconds: float, body_bytes: int) -> tuple[FilePlan, ...]:
    limits = app_servers.Limits(
        protocol=plan.protocol,
        socket=plan.socket,
        workers=plan.workers,
        threads=plan.threads,
        request_seconds=request_seconds,
        body_bytes=body_bytes,
        stop_grace_seconds=plan.stop_grace_seconds,
    )
    launcher = FilePlan(
        f"apps/{plan.name}/launch.py",
        "app/launch.py.j2",
        {"name": plan.name, "environment": plan.environment, "command": plan.command},
        "hands the app its environment and secrets",
        ("apps", plan.name, "environment"),
    )
    return (launcher, *app_servers.REGISTRY.get(plan.server).files(plan.name, app, limits))
