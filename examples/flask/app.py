"""A guest book: entries in SQLite, pictures in a folder, and a few routes that show what serves them."""

from __future__ import annotations

import os
import socket
import sqlite3
import time
import uuid
from pathlib import Path

from flask import Flask, abort, g, jsonify, redirect, render_template, request, send_from_directory, url_for
from werkzeug.middleware.proxy_fix import ProxyFix

HERE = Path(__file__).parent
DATABASE = HERE / "data" / "guestbook.sqlite3"  # `data/` and `media/` are volumes: they outlive releases
MEDIA = HERE / "media"
PICTURES = {".gif", ".jpeg", ".jpg", ".png", ".webp"}  # nothing that a browser would run as a page of ours
RELEASE_NOTE = os.environ.get("RELEASE_NOTE", "")

app = Flask(__name__)
app.config["MAX_CONTENT_LENGTH"] = 10 << 20  # as `body_size` in deploykit.yaml
if os.environ.get("BEHIND_NGINX"):
    # Believe what nginx says of the client. Without nginx in front, anybody could send these headers.
    app.wsgi_app = ProxyFix(app.wsgi_app)


def database() -> sqlite3.Connection:
    """This request's connection; the first one ever makes the table."""
    if "database" not in g:
        DATABASE.parent.mkdir(exist_ok=True)
        g.database = sqlite3.connect(DATABASE, timeout=10)
        g.database.row_factory = sqlite3.Row
        g.database.execute("CREATE TABLE IF NOT EXISTS entries (name TEXT, message TEXT, picture TEXT, at REAL)")
    return g.database


@app.teardown_appcontext
def close_database(_error: BaseException | None) -> None:
    if "database" in g:
        g.pop("database").close()


@app.after_request
def say_release(response):
    """Every answer tells which release gave it: watch a roll-out with `curl -i`."""
    response.headers["X-Release-Note"] = RELEASE_NOTE
    return response


@app.get("/")
def index():
    entries = database().execute("SELECT * FROM entries ORDER BY at DESC LIMIT 50").fetchall()
    return render_template("index.html", entries=entries, accept=",".join(sorted(PICTURES)))


@app.post("/")
def sign():
    name, message = request.form.get("name", "").strip(), request.form.get("message", "").strip()
    if not name or not message:
        abort(400, "A name and a message, please.")
    picture = save(request.files.get("picture"))
    with database() as connection:
        connection.execute("INSERT INTO entries VALUES (?, ?, ?, ?)", (name[:80], message[:2000], picture, time.time()))
    return redirect(url_for("index"), 303)


def save(upload) -> str:
    """The name under which an uploaded picture lies in `media/`; empty where there was none."""
    if not upload or not upload.filename:
        return ""
    suffix = Path(upload.filename).suffix.lower()
    if suffix not in PICTURES:
        abort(415, f"A picture is one of {', '.join(sorted(PICTURES))}.")
    name = uuid.uuid4().hex + suffix
    MEDIA.mkdir(exist_ok=True)
    upload.save(MEDIA / name)
    return name


@app.get("/media/<name>")
def media(name: str):
    """Only for `flask run`: behind deploykit, nginx serves the pictures itself."""
    return send_from_directory(MEDIA, name)


@app.get("/healthz")
def healthz():
    """Healthy means: this process answers and its database does too."""
    database().execute("SELECT 1")
    return "ok\n"


@app.get("/whoami")
def whoami():
    """What the app sees of a request, and which instance of which release sees it."""
    return jsonify(
        app="guestbook",
        scheme=request.scheme,
        host=request.host,
        client=request.remote_addr,
        path=request.full_path.rstrip("?"),
        instance=f"{socket.gethostname()}:{os.getpid()}",
        release_note=RELEASE_NOTE,
    )


@app.post("/echo")
def echo():
    return request.get_data(), {"Content-Type": "application/octet-stream"}


@app.get("/slow")
def slow():
    """Takes its time, as a report would; a roll-out must not cut it off."""
    seconds = min(20.0, max(0.0, request.args.get("seconds", 2.0, type=float)))
    time.sleep(seconds)
    return f"slept {seconds:g} s\n"
