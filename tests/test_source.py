"""What belongs to a project is what git and Docker would take, and never history or secrets."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from deploykit import source


def lay(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)


def test_history_secrets_and_what_is_ignored_stay_out(tmp_path: Path) -> None:
    lay(
        tmp_path,
        ".git/config",
        ".env",
        ".deploykit/x",
        "app.py",
        "a.pyc",
        "build/x",
        "docs/b.md",
        "web/.env",
        "keep.log",
    )
    lay(tmp_path, "web/local.py", "web/real.py", "web/sub/local.py")
    (tmp_path / ".gitignore").write_text("*.pyc\n/build\n*.log\n!keep.log\n")
    (tmp_path / ".dockerignore").write_text("docs\n")
    (tmp_path / "web" / ".gitignore").write_text("local.py\n")
    assert source.listing(tmp_path) == (
        ".dockerignore",
        ".gitignore",
        "app.py",
        "keep.log",
        "web/.gitignore",
        "web/real.py",
    )


def test_a_link_is_listed_and_never_followed(tmp_path: Path) -> None:
    lay(tmp_path, "real/a")
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "loop").symlink_to(".")
    assert source.listing(tmp_path) == ("link", "loop", "real/a")


def test_a_digest_sees_content_names_the_executable_bit_and_link_targets(tmp_path: Path) -> None:
    lay(tmp_path, "a", "b")
    (tmp_path / "l").symlink_to("a")
    seen = {source.digest(tmp_path, source.listing(tmp_path))}
    (tmp_path / "a").write_text("other")
    seen.add(source.digest(tmp_path, source.listing(tmp_path)))
    (tmp_path / "b").chmod(0o755)
    seen.add(source.digest(tmp_path, source.listing(tmp_path)))
    (tmp_path / "l").unlink()
    (tmp_path / "l").symlink_to("b")
    seen.add(source.digest(tmp_path, source.listing(tmp_path)))
    (tmp_path / "b").rename(tmp_path / "c")
    seen.add(source.digest(tmp_path, source.listing(tmp_path)))
    assert len(seen) == 5


def test_a_touch_changes_nothing(tmp_path: Path) -> None:
    lay(tmp_path, "a")
    before = source.digest(tmp_path, ("a",))
    os.utime(tmp_path / "a", (1, 1))
    assert source.digest(tmp_path, ("a",)) == before


def test_odd_names_are_names(tmp_path: Path) -> None:
    lay(tmp_path, "sp ace", "ümlaut", "new\nline", "-dash")
    assert set(source.listing(tmp_path)) == {"sp ace", "ümlaut", "new\nline", "-dash"}
    assert len(source.digest(tmp_path, source.listing(tmp_path))) == 64


def test_a_digest_takes_little_memory_however_large_a_file_is(tmp_path: Path) -> None:
    size = 1 << 30
    with (tmp_path / "large").open("wb") as file:
        file.truncate(size)
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from deploykit import source\n"
        "source.digest(Path(sys.argv[1]), ('large',))\n"
        # Not getrusage(): an exec keeps the peak of what forked it, which is the tests' own.
        "print(Path('/proc/self/status').read_text().partition('VmHWM:')[2].split()[0])\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True)
    assert int(done.stdout) * 1024 < size // 4
