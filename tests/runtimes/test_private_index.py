"""Dependencies come from a private index by pip's own settings, and its password is in nothing that is kept or told."""

from __future__ import annotations

import base64
import http.server
import json
import tempfile
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from small import Small

pytestmark = [pytest.mark.slow, pytest.mark.docker]

PASSWORD = "canary-of-a-private-index"
WHEEL = "dk_private_thing-1.0-py3-none-any.whl"
FORMS = (PASSWORD.encode(), base64.b64encode(f"user:{PASSWORD}".encode()))


@pytest.fixture
def index(tmp_path: Path) -> Iterator[tuple[str, list[str]]]:
    """The URL of an index on loopback that wants a password, and what was fetched from it with the right one."""
    folder = tmp_path / "index" / "simple" / "dk-private-thing"
    folder.mkdir(parents=True)
    info = "dk_private_thing-1.0.dist-info"
    with zipfile.ZipFile(folder / WHEEL, "w") as wheel:
        wheel.writestr("dk_private_thing.py", "WORD = 'private'\n")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: dk-private-thing\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    wanted = "Basic " + base64.b64encode(f"user:{PASSWORD}".encode()).decode()
    fetched: list[str] = []

    class Index(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(tmp_path / "index"))  # type: ignore[arg-type]

        def do_GET(self) -> None:
            if self.headers.get("Authorization") != wanted:
                self.send_response(401)
                self.send_header("WWW-Authenticate", "Basic")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            fetched.append(self.path)
            super().do_GET()

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Index) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://user:{PASSWORD}@127.0.0.1:{server.server_address[1]}/simple", fetched
        server.shutdown()
        thread.join()


def test_the_password_of_a_private_index_is_in_no_layer(
    index: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    url, fetched = index
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", url)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    small = Small("docker", tmp_path / "app")
    try:
        (small.folder / "requirements.txt").write_text("dk-private-thing\n")
        small.edit("small.py", "def app(", "import dk_private_thing  # from the private index\n\n\ndef app(")
        small.up()
        assert small.get().status == 200
        assert any(path.endswith(WHEEL) for path in fetched)
        engine = docker.from_env()
        own = {"label": f"deploykit.stack={small.session.stack.id}"}
        images = engine.images.list(filters=own)
        assert images
        kept = json.dumps([[image.attrs, image.history()] for image in images]) + "\n".join(small.told)
        assert not [form for form in FORMS if form in kept.encode()]
        for path in small.session.stack.home.rglob("*"):
            assert not path.is_file() or not [form for form in FORMS if form in path.read_bytes()], path
        with tempfile.TemporaryFile() as saved:
            for image in images:
                for chunk in image.save():
                    saved.write(chunk)
            saved.seek(0)
            whole = saved.read()  # layers lie in it uncompressed
        assert b"dk_private_thing" in whole
        assert not [form for form in FORMS if form in whole]
    finally:
        small.remove()
