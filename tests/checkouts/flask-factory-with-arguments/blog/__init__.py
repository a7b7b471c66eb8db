from flask import Flask

from blog.config import CONFIGS


def create_app(config_name):
    app = Flask(__name__)
    app.config.from_object(CONFIGS[config_name])

    @app.route("/status")
    def status():
        return {"ok": True}

    return app
