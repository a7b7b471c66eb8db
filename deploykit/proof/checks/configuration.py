"""Whether nginx has the configuration that was rendered: on disk, in its own eyes, and live."""

from __future__ import annotations

from deploykit.plan import Check
from deploykit.proof.scene import Scene, Seen, broken, described, kept

__all__ = ["nginx_accepts"]

TELLING_HOST = "deploykit.invalid"
TELLING_PATH = "/generation"


def nginx_accepts(scene: Scene, check: Check) -> Seen:
    """nginx accepts the files on disk, they are those that were rendered, and the live nginx runs just these."""
    result = scene.runtime.nginx_accepts(scene.desired)
    if result.exit_code:
        return broken(f"nginx -t: {_complaint(result.output)}")
    differing = _differing(scene)
    if differing:
        more = f" and {len(differing) - 1} more" if len(differing) > 1 else ""
        return broken(f"on disk {differing[0]}{more}")
    wanted = scene.desired.generation
    told = scene.ask(scene.telling(TELLING_PATH), vantage="nginx")[0]
    if told.status != 200:
        return broken(f"the running nginx tells no generation: {described(told)}")
    if told.body.strip() != wanted:
        return broken(f"nginx runs {told.body.strip()[:40]}, on disk is {wanted}")
    if leak := _leak(scene):
        return broken(leak)
    return kept(f"{len(scene.desired.nginx_files())} files accepted, runs {wanted}")


def _complaint(output: str) -> str:
    """The line of nginx's output that says what is wrong; the last one just says that it failed."""
    lines = [line for line in output.splitlines() if line.strip()]
    return next((line for line in lines if "[emerg]" in line), lines[-1] if lines else "failed without a word")


def _differing(scene: Scene) -> list[str]:
    wanted = {file.path: file.digest for file in scene.desired.nginx_files()}
    found = scene.runtime.nginx_files_on_disk()
    told = []
    for path in sorted(wanted.keys() | found.keys()):
        if path not in found:
            told.append(f"{path} is missing")
        elif path not in wanted:
            told.append(f"{path} is not of this configuration")
        elif wanted[path] != found[path]:
            told.append(f"{path} is not what was rendered")
    return told


def _leak(scene: Scene) -> str:
    """Who is told the generation without being entitled to it; empty where nobody is."""
    generation = scene.desired.generation
    names = [site.server_names[0].replace("*", "deploykit-check") for site in scene.plan.sites]
    for name in names:
        if generation in scene.ask(scene.telling(TELLING_PATH, name), vantage="nginx")[0].body:
            return f"the generation is told to Host {name} as well"
    # From outside a container only published ports lead in, and none of their clients is on nginx's loopback.
    outside = scene.request(TELLING_HOST, TELLING_PATH)
    if scene.plan.target == "docker" and generation in scene.ask(outside)[0].body:
        return "the generation is told to clients from outside as well"
    return ""
