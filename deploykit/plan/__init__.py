"""What will exist, as frozen data: files, apps, upstreams, sites, checks, steps, and what was seen of the world.

Nothing here decides, reads or writes anything. Durations are seconds, sizes bytes, ports and modes integers.
Paths of files are relative to the *prefix* of the target (see `Layout`): a rendered tree is the same wherever it lies.
"""

from __future__ import annotations

from deploykit.plan.facts import Facts, NginxBuild
from deploykit.plan.observed import Member, NginxSeen, Observed
from deploykit.plan.release import Build, Desired, Origin, Release
from deploykit.plan.report import Report, Verdict
from deploykit.plan.stack import (
    AppPlan,
    Check,
    Effect,
    FilePlan,
    Layout,
    Plan,
    Probe,
    RenderedFile,
    Route,
    SecretRef,
    SitePlan,
    Slot,
    is_loopback,
)
from deploykit.plan.steps import (
    BuildRelease,
    DiscardRelease,
    EndOrphans,
    PrepareBase,
    RemoveLeftovers,
    RunNginx,
    RunReleaseCommands,
    StageNginx,
    StartMember,
    Step,
    StopMember,
    StopNginx,
    SwitchRelease,
)
from deploykit.plan.words import BalanceMethod, Match, SpecPath, TargetName

__all__ = [
    "AppPlan",
    "BalanceMethod",
    "Build",
    "BuildRelease",
    "Check",
    "Desired",
    "DiscardRelease",
    "Effect",
    "EndOrphans",
    "Facts",
    "FilePlan",
    "Layout",
    "Match",
    "Member",
    "NginxBuild",
    "NginxSeen",
    "Observed",
    "Origin",
    "Plan",
    "PrepareBase",
    "Probe",
    "Release",
    "RemoveLeftovers",
    "RenderedFile",
    "Report",
    "Route",
    "RunNginx",
    "RunReleaseCommands",
    "SecretRef",
    "SitePlan",
    "Slot",
    "SpecPath",
    "StageNginx",
    "StartMember",
    "Step",
    "StopMember",
    "StopNginx",
    "SwitchRelease",
    "TargetName",
    "Verdict",
    "is_loopback",
]
