"""The examples work by themselves, as their READMEs say: a form, an upload, and what they refuse."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Browser
from ports import free_port

EXAMPLES = Path(__file__).parent.parent / "examples"
PICTURE = b"GIF89a, or nearly"
SERVERS = {
    "flask": ["-m", "flask", "run", "--port"],
    "django": ["manage.py", "runserver", "--noreload"],
}


@pytest.fixture(scope="module", params=list(SERVERS))
def browser(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser in front of a fresh copy of one example under its framework's development server."""
    folder = tmp_path_factory.mktemp("example") / request.param
    shutil.copytree(EXAMPLES / request.param, folder, ignore=shutil.ignore_patterns(".deploykit", "media"))
    port = free_port()
    environment = os.environ | {"DEBUG": "1", "SECRET_KEY": "development", "RELEASE_NOTE": "one"}
    if request.param == "django":
        subprocess.run([sys.executable, "manage.py", "migrate"], cwd=folder, env=environment, check=True)
    words = [sys.executable, *SERVERS[request.param], str(port)]
    server = subprocess.Popen(words, cwd=folder, env=environment)
    try:
        browser, deadline = Browser(f"http://localhost:{port}"), time.monotonic() + 30
        while not _answers(browser):
            assert time.monotonic() < deadline, "the development server did not come up"
            time.sleep(0.05)
        yield browser
    finally:
        server.terminate()
        server.wait(10)


def _answers(browser: Browser) -> bool:
    try:
        return browser.get("/healthz").status == 200
    except urllib.error.URLError:
        return False


def test_what_is_sent_is_shown_and_escaped(browser: Browser) -> None:
    page = browser.post("/", browser.fill_in("<b>Ann</b>"))
    assert page.status == 200
    assert "&lt;b&gt;Ann&lt;/b&gt;" in page.text


def test_an_uploaded_picture_comes_back(browser: Browser) -> None:
    page = browser.post("/", browser.fill_in("Picture", ("a.gif", PICTURE)))
    address = re.search(r'src="(/media/[^"]+\.gif)"', page.text)
    assert address is not None, page
    assert browser.get(address[1]).text == PICTURE.decode()


def test_a_page_is_no_picture(browser: Browser) -> None:
    page = browser.post("/", browser.fill_in("Attack", ("a.html", b"<script>alert(1)</script>")))
    assert page.status in (400, 415)


def test_nothing_is_no_entry(browser: Browser) -> None:
    assert browser.post("/", browser.fill_in("")).status == 400


def test_echo_gives_back_what_it_got(browser: Browser) -> None:
    assert browser.post("/echo", {"text": "x"}).text.splitlines()[3] == "x"


def test_whoami_tells_what_the_app_sees(browser: Browser) -> None:
    page = browser.get("/whoami?a=b").text
    for seen in ('"http"', urllib.parse.urlsplit(browser.url).netloc, "127.0.0.1", "/whoami?a=b", '"one"'):
        assert seen in page


@pytest.mark.parametrize("seconds", ["0", "0.01", "-1", "nan"])
def test_slow_takes_no_longer_than_asked_for(browser: Browser, seconds: str) -> None:
    assert browser.get(f"/slow?seconds={seconds}").text.startswith("slept 0")


def test_every_file_that_the_page_names_is_there(browser: Browser) -> None:
    page = browser.get("/").text
    addresses = re.findall(r'(?:src|href)="(/static/[^"]+)"', page)
    assert addresses
    assert {browser.get(address).status for address in addresses} == {200}
