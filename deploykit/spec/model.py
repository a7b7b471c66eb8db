"""What a spec may hold: names, defaults, rules and their documentation, in one declaration each.

Version 1 of the spec. A key is here only when something honours it. Shape is checked here; what a value
means together with others is checked in the planner and the drivers, which report to the same `Problem`s.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from deploykit.spec.short import Count, OneAsList, OneLine, Short
from deploykit.spec.values import (
    Address,
    CacheControl,
    Duration,
    Entrypoint,
    EnvironmentKey,
    HashKey,
    HostName,
    ImageName,
    Listen,
    LocationKey,
    Name,
    Origin,
    PythonVersion,
    Redirect,
    Registry,
    RelativePath,
    RequestTarget,
    Size,
    Table,
    Text,
    VersionRange,
    WholeNumber,
    as_written_number,
)


class Model(BaseModel):
    """A mapping of the spec: unknown keys are refused, values are strict and frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, arbitrary_types_allowed=True)


MONITOR_SECONDS = 2.0
"""About as long as the checks take, so that nobody waits for it; a release that dies later needs more."""


class AppServer(Model):
    """What runs the app. Short form: just its type."""

    type: Name = Field("gunicorn", description="The app server: the name of a driver, such as gunicorn or uwsgi.")
    protocol: Literal["http", "uwsgi"] | None = Field(
        None, description="What nginx speaks to it. Default: what the server does best."
    )
    socket: Literal["unix", "tcp"] = Field(
        "unix",
        description="What it listens on. `tcp` (process target only) needs a reload of nginx for each release.",
    )
    workers: WholeNumber | None = Field(
        None, ge=1, le=512, description="Worker processes of each instance. Default: from CPUs and memory."
    )
    threads: WholeNumber | None = Field(None, ge=1, le=512, description="Threads of each worker. Default: 4.")
    max_requests: WholeNumber | None = Field(
        None,
        ge=1,
        description="Renew a worker after this many requests, against memory leaks. Default: never.",
    )


class Instance(Model):
    """One member of the app's upstream."""

    weight: WholeNumber = Field(1, ge=1, le=1000, description="Its share of the requests, relative to the others.")
    backup: bool = Field(False, description="Gets requests only while none of the others can be reached.")
    down: bool = Field(
        False,
        description="Does not run; its place is kept, so that with `ip_hash` or `hash` the others' clients stay.",
    )
    max_conns: WholeNumber | None = Field(
        None, ge=1, le=65535, description="The most requests it may have at a time. Default: as many as come."
    )


class Balance(Model):
    """How nginx spreads requests over the instances. Short form: just the method."""

    method: Literal["round_robin", "least_conn", "ip_hash", "random", "fair", "url_hash"] | None = Field(
        None,
        description="`round_robin`: in turns; `least_conn`: the least busy; `ip_hash`: by the first three parts of "
        "the client's address; `random`: the less busy of two; `url_hash`: by the address of the page; `fair`: the "
        "least busy by a module of its own (Debian: libnginx-mod-http-upstream-fair).",
    )
    hash: HashKey | None = Field(
        None, description="Instead of a method: by any text with variables of nginx.", examples=["$cookie_session"]
    )
    consistent: bool = Field(
        False, description="With `hash` or `url_hash`: where an instance comes or goes, few of the others' keys move."
    )


class Healthcheck(Model):
    """How an instance is asked whether it is healthy. Short form: just the path."""

    path: RequestTarget = Field("/", description="What is asked for.")
    host: HostName | None = Field(None, description="The Host header. Default: the first name of the app's site.")
    status: WholeNumber | None = Field(
        None, ge=100, le=599, description="The status that means healthy. Default: any from 200 to 399."
    )
    contains: Text | None = Field(None, description="Text that the answer has to contain.")
    timeout: Duration = Field(3.0, description="How long one answer may take.")
    retries: WholeNumber = Field(3, ge=1, le=100, description="How often it is asked before it counts as unhealthy.")
    start_period: Duration = Field(
        30.0, description="How long a new instance may take to become healthy; `up` waits no longer for each."
    )
    monitor: Duration = Field(
        MONITOR_SECONDS,
        description="How long after a switch it has to stay healthy, the time of the checks included; else the release "
        "before it serves again.",
    )


class Secret(Model):
    """Where a secret value comes from; exactly one of these."""

    env: EnvironmentKey | None = Field(None, description="A variable of the environment that deploykit runs in.")
    file: Text | None = Field(None, description="A file, relative to the spec; one trailing newline is not part of it.")
    command: Annotated[tuple[Text, ...], OneLine()] | None = Field(
        None,
        description="A command that prints it, as in `pass show shop/db`, or a list of its words; no shell reads it. "
        "It runs in the spec's folder where `plan` and `up` need the value, once; one trailing newline is not part "
        "of it.",
    )


class App(Model):
    """One Python application and what runs it."""

    source: RelativePath = Field(".", description="The folder with the code, relative to the spec.")
    framework: Name | None = Field(
        None, description="flask, django or wsgi. Sets the defaults of what follows. Default: wsgi."
    )
    entrypoint: Entrypoint = Field(
        description="Where the application is: `package.module:callable`.", examples=["shop.wsgi:application"]
    )
    python: PythonVersion | None = Field(None, description="The Python it runs on. Default: the target's own.")
    requirements: RelativePath | None = Field(
        None,
        description="A requirements file or pyproject.toml in the source. Default: the one that is there.",
    )
    app_server: Annotated[AppServer, Short("type", "the name of an app server")] = Field(
        AppServer(),  # type: ignore[call-arg]
        description="What runs it: gunicorn, uwsgi, or a mapping.",
    )
    instances: Annotated[tuple[Instance, ...], Count(64)] = Field(
        (Instance(),),  # type: ignore[call-arg]
        description="The members of its upstream: a number, or a list of mappings such as `{weight: 3}`. Default: 1.",
    )
    balance: Annotated[Balance, Short("method", "the name of a method")] = Field(
        Balance(method="round_robin"),  # type: ignore[call-arg]
        description="How nginx spreads requests over the instances: a method, or a mapping. Default: round_robin.",
    )
    healthcheck: Annotated[Healthcheck, Short("path", "a path such as `/healthz`")] | None = Field(
        None, description="A path or a mapping. Default: `/` answers with anything below 500."
    )
    environment: Table[EnvironmentKey, Text] = Field({}, description="Environment variables that are no secrets.")
    env_file: Text | None = Field(
        None,
        description="A file of NAME=value lines, relative to the spec. Its values are treated as secrets.",
    )
    secrets: Table[EnvironmentKey, Secret] = Field({}, description="Environment variables that nobody else may read.")
    release: Annotated[tuple[Text, ...], OneAsList("a command")] = Field(
        (),
        description="Commands that run once per release, before it gets traffic: migrations, static files.",
    )
    volumes: Table[Name, RelativePath] = Field(
        {},
        description="Folders of the source whose data outlives releases: name and path. `down` keeps them.",
    )
    timeout: Duration = Field(
        30.0,
        ge=1,
        le=86400,
        description="How long one request may take, in every layer. What gets no answer in that time is asked of "
        "another instance once more, but never a POST.",
    )
    stop_grace_period: Duration | None = Field(
        None,
        ge=1,
        le=86400,
        description="How long requests, and streams and WebSockets of a release that is replaced, may go on at a stop. "
        "Default: timeout + 5s.",
    )
    body_size: Size = Field(10 << 20, description="The largest request body, in every layer.")


class Location(Model):
    """What answers below one path: an app, files, or another address. Short form: just the name of the app."""

    app: Name | None = Field(None, description="The app that answers.")
    files: RelativePath | None = Field(
        None,
        description="A folder that nginx serves itself, relative to the spec: in an app's source or volume.",
    )
    redirect: Redirect | None = Field(
        None,
        description="Where clients are sent. What comes after the path stays where both end in `/`, the query always.",
        examples=["/new/"],
    )
    status: Annotated[Literal[301, 302, 303, 307, 308], as_written_number] | None = Field(
        None,
        description="With `redirect`: 301 (for good), 302 or 307 (for now), 308 and 307 keep the method. Default: 301.",
    )
    strip_prefix: bool = Field(
        False,
        description="With `app`: the app is asked without the path of this location, which it is told as its prefix.",
    )
    cache_control: CacheControl | None = Field(
        None,
        description="How browsers may cache the files: `immutable` (a year), `hashed` (a year where the name has a "
        "hash, no-cache elsewhere), `no-cache`, `no-store`, or a duration. What is cached for a year is "
        "answered for one release longer. Default: no-cache.",
    )
    timeout: Duration | None = Field(None, ge=1, le=86400, description="Like the app's, for this path only.")
    body_size: Size | None = Field(None, description="Like the app's, for this path only.")


class Site(Model):
    """One web site: the names it answers to, and what is below which path."""

    server_name: Annotated[tuple[HostName, ...], OneAsList("a host name")] = Field(
        (),
        description="Its host names: one, or a list. In `local` an only site answers on localhost too, others on "
        "NAME.localhost.",
    )
    locations: Table[LocationKey, Annotated[Location, Short("app", "the name of an app")]] = Field(
        {},
        description="Path and what answers below it; `= /path` is that path alone, `~ REGEX` what it finds (`~*` in "
        "any case). A path alone goes first, then files, then the first regex, then the longest path.",
        examples=["{/: web}"],
    )
    redirect: Origin | None = Field(
        None,
        description="Instead of locations: another address of the same pages, such as `https://www.example.com`.",
    )


class Images(Model):
    """The base images of the docker target."""

    python: ImageName | None = Field(
        None, description="Default: `python:X.Y-slim`, else what `deploykit images build` made."
    )
    nginx: ImageName | None = Field(None, description="Default: `nginx`, else what `deploykit images build` made.")
    registry: Registry | None = Field(
        None,
        description="Where `deploykit build --push` puts the images of the apps, and `up --release` gets them.",
        examples=["registry.example.com/team"],
    )


class UserCheck(Model):
    """A check of your own, beside those that the spec implies."""

    get: RequestTarget = Field(description="What is asked for.", examples=["/login"])
    site: Name | None = Field(None, description="The site that is asked. Default: the only one.")
    status: WholeNumber = Field(200, ge=100, le=599, description="The status that has to come back.")
    contains: Text | None = Field(None, description="Text that the answer has to contain.")


class Spec(Model):
    """A whole stack."""

    version: Annotated[Literal[1], as_written_number] = Field(
        description="The version of the spec's language: 1.", examples=["1"]
    )
    name: Name = Field(
        description="The name of the stack; names its containers, volumes and networks.", examples=["shop"]
    )
    requires: VersionRange | None = Field(
        None, description="The versions of deploykit that may read this, as in `~=1.0`."
    )
    target: Literal["process", "docker"] | None = Field(
        None,
        description="Where it runs. Default: docker where an Engine and the base images are, else process.",
    )
    apps: Table[Name, App] = Field(
        min_length=1,
        description="The applications, by name.",
        examples=["{web: {entrypoint: shop.wsgi:application}}"],
    )
    sites: Table[Name, Site] = Field(
        {}, description="The web sites, by name. Default: one, with the only app at `/` and its static files."
    )
    listen: Listen = Field(
        Address("127.0.0.1", 8080),
        description="Where the stack answers. Default: 127.0.0.1:8080, for this machine only; `0.0.0.0:80` is for all.",
    )
    images: Images = Field(
        Images(),  # type: ignore[call-arg]
        description="The base images of the docker target, where its own choice will not do.",
    )
    checks: tuple[UserCheck, ...] = Field((), description="Checks of your own.")
