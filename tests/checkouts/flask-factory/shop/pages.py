from flask import Blueprint

bp = Blueprint("pages", __name__)


@bp.route("/healthz")
def healthz():
    return "ok"


@bp.route("/ping/<name>")
def ping(name):
    return name


@bp.route("/up", methods=["POST"])
def up():
    return "up"
