"""What needs no running stack: check, schema, render."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import Run

MANIFEST = ".deploykit-render.json"


def rendered(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST
    }


# --- check -----------------------------------------------------------------------------------------------------


def test_a_right_spec_is_said_to_be_right(deploykit: Run) -> None:
    result = deploykit("check")
    assert (result.returncode, result.stdout, result.stderr) == (0, "deploykit.yaml is right: 1 app, 1 site\n", "")


def test_a_right_spec_is_told_to_programs(deploykit: Run) -> None:
    data = json.loads(deploykit("check", "--json").stdout)
    assert data["right"] is True
    assert data["apps"] == ["web"]
    assert data["urls"] == ["http://localhost:8080"]


def test_all_problems_are_told_at_once_with_their_lines(deploykit: Run, project: Path) -> None:
    spec = project / "deploykit.yaml"
    spec.write_text(spec.read_text().replace("entrypoint", "entrypint").replace("target: process", "target: proces"))
    result = deploykit("check")
    assert result.returncode == 2
    assert result.stdout == ""
    assert "deploykit.yaml:3:" in result.stderr
    assert "did you mean `entrypoint`?" in result.stderr
    assert result.stderr.index("proces") < result.stderr.index("entrypint")


def test_all_problems_are_told_to_programs(deploykit: Run, project: Path) -> None:
    spec = project / "deploykit.yaml"
    spec.write_text(spec.read_text() + "listn: 80\n")
    result = deploykit("check", "--json")
    data = json.loads(result.stdout)
    assert result.returncode == 2
    assert data["right"] is False
    assert [problem["path"] for problem in data["problems"]] == ["listn"]
    assert data["problems"][0]["place"]["line"] == 9


def test_what_a_target_cannot_honour_is_a_problem_of_the_spec(deploykit: Run, project: Path) -> None:
    spec = project / "deploykit.yaml"
    spec.write_text(spec.read_text().replace("threads: 2}", "threads: 2, socket: tcp}"))
    assert deploykit("check").returncode == 0
    result = deploykit("check", "--target", "docker")
    assert result.returncode == 2
    assert "deploykit.yaml:" in result.stderr


def test_the_spec_is_found_in_a_folder_above(deploykit: Run, project: Path) -> None:
    (project / "deep/er").mkdir(parents=True)
    assert deploykit("check", folder=project / "deep/er").returncode == 0


def test_without_a_spec_it_is_said_what_to_do(deploykit: Run, tmp_path: Path) -> None:
    result = deploykit("check", folder=tmp_path)
    assert result.returncode == 2
    assert "deploykit init" in result.stderr


def test_the_schema_is_one_of_json_schema(deploykit: Run) -> None:
    result = deploykit("schema")
    assert result.returncode == 0
    assert "apps" in json.loads(result.stdout)["properties"]


# --- render ----------------------------------------------------------------------------------------------------


def test_the_same_spec_and_facts_give_the_same_bytes(deploykit: Run, tmp_path: Path) -> None:
    for name, seed in (("one", "1"), ("two", "2")):
        assert deploykit("render", "--assumed", "-o", str(tmp_path / name), PYTHONHASHSEED=seed).returncode == 0
    one, two = rendered(tmp_path / "one"), rendered(tmp_path / "two")
    assert one == two
    assert "nginx/nginx.conf" in one
    assert (tmp_path / "one" / MANIFEST).read_text() == (tmp_path / "two" / MANIFEST).read_text()


def test_without_a_folder_the_files_go_to_standard_output(deploykit: Run, project: Path) -> None:
    before = rendered(project)
    result = deploykit("render", "--assumed")
    assert result.returncode == 0
    assert "# --- nginx/nginx.conf\n" in result.stdout
    assert rendered(project) == before


def test_check_is_silent_where_nothing_differs_and_needs_no_target(deploykit: Run, tmp_path: Path) -> None:
    tree = str(tmp_path / "tree")
    deploykit("render", "--assumed", "-o", tree)
    result = deploykit("render", "-o", tree, "--check", PATH="/nonexistent")
    assert (result.returncode, result.stdout) == (0, "")


@pytest.mark.parametrize("change", ["edited", "removed", "added"])
def test_check_shows_drift_and_writes_nothing(deploykit: Run, tmp_path: Path, change: str) -> None:
    tree = tmp_path / "tree"
    deploykit("render", "--assumed", "-o", str(tree))
    file = tree / "nginx/nginx.conf"
    if change == "edited":
        file.write_text(file.read_text().replace("worker_processes", "# by hand\nworker_processes"))
    elif change == "removed":
        file.unlink()
    else:
        (tree / "nginx/by-hand.conf").write_text("allow all;\n")
    before = rendered(tree)
    result = deploykit("render", "-o", str(tree), "--check")
    assert result.returncode == 1
    expected = {
        "edited": "\n-# by hand\n",
        "removed": "--- /dev/null\n",
        "added": "--- a/nginx/by-hand.conf\n+++ /dev/null\n",
    }
    assert expected[change] in result.stdout
    assert rendered(tree) == before


def test_a_changed_mode_is_drift(deploykit: Run, tmp_path: Path) -> None:
    deploykit("render", "--assumed", "-o", str(tmp_path / "tree"))
    (tmp_path / "tree/nginx/nginx.conf").chmod(0o777)
    result = deploykit("render", "-o", str(tmp_path / "tree"), "--check")
    assert result.returncode == 1
    assert "nginx/nginx.conf (mode 0777)" in result.stdout


def test_diff_shows_what_a_render_changes(deploykit: Run, project: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    deploykit("render", "--assumed", "-o", str(tree))
    spec = project / "deploykit.yaml"
    spec.write_text(spec.read_text().replace("weight: 3", "weight: 5"))
    result = deploykit("render", "--assumed", "-o", str(tree), "--diff")
    assert result.returncode == 0
    assert any(line.startswith("+") and "weight=5" in line for line in result.stdout.splitlines())
    assert deploykit("render", "-o", str(tree), "--check").returncode == 0


def test_files_that_the_spec_no_longer_gives_are_removed(deploykit: Run, project: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    spec = project / "deploykit.yaml"
    small = spec.read_text()
    site = "{server_name: %s.test, locations: {/: web}}"
    sites = f"sites: {{one: {site % 'one'}, two: {site % 'two'}}}\n"
    spec.write_text(small + sites)
    deploykit("render", "--assumed", "-o", str(tree))
    with_two = set(rendered(tree))
    spec.write_text(small)
    deploykit("render", "--assumed", "-o", str(tree))
    deploykit("render", "--assumed", "-o", str(tmp_path / "fresh"))
    assert set(rendered(tree)) == set(rendered(tmp_path / "fresh"))
    assert with_two - set(rendered(tree))


def test_a_folder_with_something_else_in_it_is_refused_and_left_alone(deploykit: Run, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home/letter.txt").write_text("dear")
    result = deploykit("render", "--assumed", "-o", str(tmp_path / "home"))
    assert result.returncode == 2
    assert "`letter.txt`" in result.stderr
    assert rendered(tmp_path / "home") == {"letter.txt": "dear"}


def test_a_link_is_refused(deploykit: Run, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    result = deploykit("render", "--assumed", "-o", str(tmp_path / "link"))
    assert result.returncode == 2
    assert list((tmp_path / "real").iterdir()) == []


def test_a_link_inside_the_tree_is_never_followed(deploykit: Run, tmp_path: Path) -> None:
    tree, outside = tmp_path / "tree", tmp_path / "outside"
    deploykit("render", "--assumed", "-o", str(tree))
    outside.mkdir()
    for path in (tree / "nginx").iterdir():
        if path.is_file():
            path.rename(outside / path.name)
    mark = {path.name: path.read_text() for path in outside.iterdir() if path.is_file()}
    import shutil

    shutil.rmtree(tree / "nginx")
    (tree / "nginx").symlink_to(outside)
    (outside / "nginx.conf").write_text("somebody else's")
    result = deploykit("render", "--assumed", "-o", str(tree))
    assert result.returncode == 2
    assert (outside / "nginx.conf").read_text() == "somebody else's"
    assert set(mark) == {path.name for path in outside.iterdir()}


def test_a_manifest_that_names_files_outside_is_refused(deploykit: Run, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    deploykit("render", "--assumed", "-o", str(tree))
    data = json.loads((tree / MANIFEST).read_text())
    (tmp_path / "letter.txt").write_text("dear")
    (tree / MANIFEST).write_text(json.dumps({**data, "files": [*data["files"], "../letter.txt"]}))
    result = deploykit("render", "--assumed", "-o", str(tree))
    assert result.returncode == 2
    assert (tmp_path / "letter.txt").read_text() == "dear"
