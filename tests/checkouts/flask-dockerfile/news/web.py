import os

from flask import Flask

MODE = os.environ["APP_MODE"]
SECRET_KEY = os.environ["SECRET_KEY"]


def create_app():
    return Flask(__name__)
