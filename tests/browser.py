"""A browser as small as the tests need: keeps cookies, follows redirects, sends forms, gives back whatever comes."""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from dataclasses import dataclass
from http.cookiejar import CookieJar

Fields = dict[str, str | tuple[str, bytes]]
"""Of a form; a field that is a tuple is a file's name and content."""


@dataclass(frozen=True)
class Page:
    """What came back."""

    status: int
    text: str
    headers: dict[str, str]
    """Names in small letters."""


class Browser:
    """One visitor of one site, with cookies."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._open = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar())).open

    def get(self, path: str) -> Page:
        """Raises URLError where nothing answers."""
        return self._ask(urllib.request.Request(self.url + path))

    def post(self, path: str, fields: Fields) -> Page:
        """What comes of a form, sent as browsers do, from a page of this site."""
        body = b""
        for name, value in fields.items():
            file_name, content = value if isinstance(value, tuple) else ("", value.encode())
            more = f'; filename="{file_name}"' if file_name else ""
            body += (
                f'--edge\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + content + b"\r\n"
            )
        headers = {"Content-Type": "multipart/form-data; boundary=edge", "Origin": self.url}
        return self._ask(urllib.request.Request(self.url + path, body + b"--edge--\r\n", headers))

    def fill_in(self, text: str, picture: tuple[str, bytes] | None = None) -> Fields:
        """The form on the first page of the examples, with that text in the field that is shown."""
        fields: Fields = {"picture": picture} if picture else {}
        if token := re.search(r'csrfmiddlewaretoken" value="(\w+)"', self.get("/").text):
            return {"csrfmiddlewaretoken": token[1], "item": text, "quantity": "1", **fields}
        return {"name": text, "message": "Hello", **fields}

    def _ask(self, request: urllib.request.Request) -> Page:
        try:
            with self._open(request, timeout=10) as answer:
                return Page(answer.status, answer.read().decode(), {k.lower(): v for k, v in answer.headers.items()})
        except urllib.error.HTTPError as error:
            return Page(error.code, error.read().decode(), {k.lower(): v for k, v in error.headers.items()})
