"""What goes with a release that is discarded, and what stays for the next one."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploykit.supervision.building import Builder
from deploykit.supervision.home import Home


@pytest.mark.parametrize("dropped", [False, True])
def test_the_folders_of_an_app_go_with_its_last_release_only_where_the_app_goes(tmp_path: Path, dropped: bool) -> None:
    home = Home(tmp_path / "home", "0" * 12)
    (home.release("web", "half") / "code").mkdir(parents=True)
    (home.sockets / "web").mkdir(parents=True)
    Builder(home, tmp_path, lambda _: None).discard("web", "half", dropped=dropped)
    assert not home.release("web", "half").exists()
    assert (home.sockets / "web").is_dir() is not dropped
