import flask


def make_site(title: str = "") -> flask.Flask:
    site = flask.Flask(__name__, static_folder=None)
    return site


def make_other():
    return flask.Flask("other")
