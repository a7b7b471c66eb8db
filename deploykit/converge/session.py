"""One stack, from its spec to what runs: the line load, plan, render, observe, reconcile, apply, prove, in that order.

Commands are prefixes of this line. Nothing here draws; what happens is told through `Progress`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from deploykit import disk, exclusion, releases, render, secrets
from deploykit.converge import kept
from deploykit.converge.deployment import Deployment, measured
from deploykit.converge.locking import Lock
from deploykit.converge.outcome import Outcome, Progress
from deploykit.converge.planning import plan_spec
from deploykit.converge.promotion import builds_of, dockerfile, promoted_build, refuse_push_to_nowhere
from deploykit.converge.record import FILE, recall, refuse_copied
from deploykit.converge.rollback import chosen, going_back, known
from deploykit.converge.watching import Watch
from deploykit.errors import (
    EnvironmentLacks,
    SpecError,
)
from deploykit.plan import (
    AppPlan,
    Build,
    Desired,
    Effect,
    Facts,
    Observed,
    Plan,
    Release,
    RenderedFile,
    Report,
    RunNginx,
    SecretRef,
    Step,
    TargetName,
)
from deploykit.provenance import provenance
from deploykit.reconcile import Changes, reconcile
from deploykit.runtimes import REGISTRY, Runtime, Stack
from deploykit.secret_commands import Commands
from deploykit.spec.environments import LOCAL
from deploykit.spec.load import Source
from deploykit.spec.model import Spec

Agree = Callable[[tuple[Step, ...]], None]

ALL_EFFECTS: frozenset[Effect] = frozenset({"read", "load", "disruptive"})


class Session:
    """One stack and one command of deploykit on it."""

    def __init__(
        self,
        spec: Spec,
        origin: Source,
        stack: Stack,
        target: TargetName,
        why_target: str,
        tell: Callable[[str], None],
        lock: Lock,
    ) -> None:
        self.spec = spec
        self.source = origin
        self.stack = stack
        self.target = target
        self.why_target = why_target
        self.lock = lock
        self.wait_seconds = 0.0
        """How long to wait for another deploykit that works on this stack."""
        self.redact = secrets.Redactor()
        self._tell = tell
        self._runtime: Runtime | None = None
        self._builds: Mapping[str, Build] = {}
        """By app, what is promoted and not made from the checkout."""
        self._commands = Commands(stack.folder, self._written_at, self.redact)
        self._watch = Watch(serves=False)

    @property
    def runtime(self) -> Runtime:
        """What runs the stack; made when it is first asked for."""
        if self._runtime is None:
            self._runtime = REGISTRY.get(self.target)(self.stack, lambda line: self._tell(self.redact(line)))
        return self._runtime

    def tell_to(self, tell: Callable[[str], None]) -> None:
        """Details go there from now on."""
        self._tell = tell

    # --- pure prefixes of the line ---

    def plan(self, facts: Facts | None = None) -> Plan:
        """The plan, from the facts of the target or from those given.

        Raises:
            SpecError: what the target can't honour, with places.
        """
        facts = facts or self.runtime.facts(self.spec)
        return plan_spec(self.spec, self.source, self.stack.folder, facts, self.target, self._builds)

    def rendered(self, facts: Facts | None = None) -> tuple[Plan, tuple[RenderedFile, ...], str]:
        """The plan, every file of it as text, and the generation; reads no secret and asks for no release."""
        plan = self.plan(facts)
        with self._placed():
            return (plan, *render.render(plan))

    def desired(self, facts: Facts | None = None) -> Desired:
        """The plan as text, with the release of each app; reads the checkout and the secrets."""
        plan, files, generation = self.rendered(facts)
        values = self.secret_values(plan)
        with disk.explained("can't read the source"):
            wanted = releases.wanted(
                plan, files, self.stack.folder, values, kept.key(self.stack, self._tell), self._builds
            )
        self.runtime.secrets_reached(values)
        return Desired(plan, files, generation, wanted)

    def secret_values(self, plan: Plan) -> dict[str, dict[str, str]]:
        """App name to variable to value of all secrets; hidden from here on in what is told.

        Raises:
            SpecError: those that are not there, with places.
        """
        for app in plan.apps:
            self.redact.add(secrets.at_hand(app, self.stack.folder).values())
        with self._placed():
            values = {app.name: secrets.read(app, self.stack.folder, printed=self._commands) for app in plan.apps}
        for app_values in values.values():
            self.redact.add(app_values.values())
        return values

    def as_it_runs(self, observed: Observed) -> Desired:
        """The plan as text, with the release of each app that serves; runs no command of a secret and needs none."""
        self._promote(promoted_build(observed, set(self.spec.apps)))
        plan, files, generation = self.rendered()
        for app in plan.apps:
            self.redact.add(secrets.at_hand(app, self.stack.folder).values())
        live = {each.release.app: each.release for each in known(observed) if each.live}
        return Desired(
            plan, files, generation, {app.name: live.get(app.name, Release(app.name, "", {})) for app in plan.apps}
        )

    def _promote(self, build: str) -> None:
        if build:
            with self._placed():
                self._builds = self.runtime.promote(self.spec, build)

    def build(self, progress: Progress, *, push: bool) -> Mapping[str, tuple[Build, bool]]:
        """App name to its image, the same for every environment, and whether it was made now; nothing is started.

        Raises:
            SpecError: `push` without `images.registry`, or the target has no images.
            EnvironmentLacks: the registry can't be reached, or lets this user not in.
        """
        self.tell_to(progress.tell)
        with self._placed():
            refuse_push_to_nowhere(self.spec, push)
        with self._alone():
            plan, files, _ = self.rendered()
            with disk.explained("can't read the source"):
                wanted = builds_of(plan, self.stack.folder)
            dockerfiles = {app.name: dockerfile(files, app.name) for app in plan.apps}
            return self.runtime.make_builds(self.spec, plan, dockerfiles, wanted, push=push)

    def changes(self, probes: bool = True) -> tuple[Changes, Desired, Observed]:
        """What `up` would do now; changes nothing."""
        desired = self.desired()
        observed = self.runtime.observe(probes)
        live = observed.live
        renewed = {app for app, release in desired.releases.items() if live.get(app, release.id) != release.id}
        if renewed & {app.name for app in desired.plan.apps if app.socket == "tcp"}:
            # Only now it is known that their releases change; which ports they are given changes no release.
            desired = self.desired(self.runtime.facts(self.spec, renewed))
        return reconcile(desired, observed), desired, observed

    # --- what changes the world ---

    def up(
        self,
        progress: Progress,
        allow: frozenset[Effect] | None = None,
        agree: Agree | None = None,
        *,
        locked: bool = False,
        build: str = "",
    ) -> Outcome:
        """The stack runs as the spec says, and its checks were measured, those whose effect is allowed.

        `agree` is shown the steps, where there are any, before the first one; what it raises ends it there. What the
        lock file says otherwise is told; where it is `locked`, that ends it before anything is done. With the id of a
        `build`, that is what is promoted: nothing is made from the checkout.

        Raises:
            DeployFailed: a step failed; what served before serves again.
            PromiseBroken: a check is broken and nothing served before; the stack is up to be looked at.
            EnvironmentLacks: also where this name is up on another target.
        """
        began = time.monotonic()
        self.tell_to(progress.tell)
        self._commands.paused = progress.paused
        with self._alone():
            self._own_target()
            self._promote(build)
            changes, desired, observed = self.changes()
            self.lock.compare(desired.plan.facts, self.target, self._tell, strictly=locked)
            if any(isinstance(step, RunNginx) for step in changes.deploy):
                self.runtime.refuse_taken(desired, observed)
            if agree is not None and changes.steps:
                agree(changes.steps)
            desired = self._signed(desired, observed)
            kept.remember(self.stack, self.target, self.source.path.name)
            report = self._settle(changes, desired, observed, progress, self._allowed(allow))
        urls = tuple(site.url for site in desired.plan.sites)
        versions = {"nginx": desired.plan.facts.nginx.version_text, "generation": desired.generation}
        seconds, seen = time.monotonic() - began, self._watch.seen()
        return Outcome(bool(changes.steps), changes.steps, report, urls, seconds, versions, desired.plan.only_on, seen)

    def rollback(self, wanted: str, progress: Progress, agree: Agree | None = None) -> Outcome:
        """A release that is still there serves again; nothing is built and no network is needed.

        Release commands are not undone: what they did to the data stays. `agree` is shown the steps, as by `up`.

        Raises:
            SpecError: there is no such release.
            DeployFailed: it did not become healthy, or breaks a promise; what served before serves.
        """
        began = time.monotonic()
        self.tell_to(progress.tell)
        with self._alone():
            self._own_target()
            observed = self.must_run()
            release = chosen(observed, wanted)
            changes, desired = going_back(self.as_it_runs(observed), observed, release)
            if agree is not None:
                agree(changes.steps)
            report = self._settle(changes, desired, observed, progress, frozenset({"read"}))
        urls = tuple(site.url for site in desired.plan.sites)
        return Outcome(True, changes.steps, report, urls, time.monotonic() - began, traffic=self._watch.seen())

    def test(self, progress: Progress, allow: frozenset[Effect] | None = None, *, locked: bool = False) -> Report:
        """The checks of the spec, measured on what runs.

        Raises:
            EnvironmentLacks: nothing of this stack runs.
        """
        self.tell_to(progress.tell)
        observed = self.must_run()
        desired = self.as_it_runs(observed)
        self.lock.compare(desired.plan.facts, self.target, self._tell, strictly=locked)
        return self._prove(desired, progress, self._allowed(allow))

    def down(self, volumes: bool) -> tuple[str, ...]:
        """All of the stack is gone, and only it; what was kept."""
        with self._alone():
            kept = self.runtime.down(volumes=volumes)
            disk.remove(self.stack.home / FILE)
        return kept

    def must_run(self) -> Observed:
        """What runs.

        Raises:
            EnvironmentLacks: nothing does.
        """
        observed = self.runtime.observe(False)
        if not observed.anything:
            raise EnvironmentLacks(
                f"nothing of `{self.stack.full_name}` runs here", hint=f"deploykit up{self.stack.option}"
            )
        return observed

    # --- parts of up ---

    def _allowed(self, allow: frozenset[Effect] | None) -> frozenset[Effect]:
        """The effects that checks may have: what was allowed, else all in `local`, and elsewhere only reading."""
        if allow is not None:
            return allow
        return ALL_EFFECTS if self.stack.environment == LOCAL else frozenset({"read"})

    def _signed(self, desired: Desired, observed: Observed) -> Desired:
        """The same, each release that is new with where it comes from."""
        signed = dict(desired.releases)
        for app in desired.plan.apps:
            release = signed[app.name]
            complete = {each.id: each for each in observed.complete.get(app.name, ())}
            if release.id not in complete:
                why = releases.cause(release, complete.get(observed.live.get(app.name, "")))
                build = self._builds.get(app.name)
                signed[app.name] = replace(release, origin=provenance(app, self.stack.folder, why, build))
        return replace(desired, releases=signed)

    def _settle(
        self, changes: Changes, desired: Desired, observed: Observed, progress: Progress, allow: frozenset[Effect]
    ) -> Report:
        self._watch = Watch(serves=observed.nginx.state == "running")
        option, watch = self.stack.option, self._watch
        return Deployment(changes, desired, observed, self.runtime, self.redact, progress, option, watch).settle(allow)

    def _prove(self, desired: Desired, progress: Progress, allow: frozenset[Effect]) -> Report:
        return measured(desired, self.runtime, self.redact, progress, allow)

    # --- what is kept beside the spec ---

    @contextmanager
    def _alone(self) -> Iterator[None]:
        runtime = self.runtime  # may give up root's rights, so before the first file is made
        del runtime
        kept.prepare(self.stack)
        with exclusion.held(self.stack.home / "lock", self.wait_seconds, lambda line: self._tell(line)):
            for folder in (self.stack.home.parent, self.stack.home):
                disk.sweep(folder)
            yield

    def _own_target(self) -> None:
        record = recall(self.stack, self._tell)
        if record is None:
            return
        refuse_copied(self.stack, record)
        if record.target != self.target:
            raise EnvironmentLacks(
                f"`{self.stack.full_name}` is up on the target {record.target}",
                hint=f"deploykit down{self.stack.option}, then deploykit up{self.stack.option} --target {self.target}",
            )

    def _written_at(self, app: AppPlan, ref: SecretRef) -> str:
        return str(self.source.place(("apps", app.name, "secrets", ref.name, "command")))

    @contextmanager
    def _placed(self) -> Iterator[None]:
        try:
            yield
        except SpecError as error:
            raise SpecError(*self.source.locate(error.problems)) from error
