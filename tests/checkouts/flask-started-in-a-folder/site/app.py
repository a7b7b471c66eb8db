import flask

server = flask.Flask(__name__)
other = flask.Flask("other")
