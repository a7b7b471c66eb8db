from flask import Flask

from board.models import Entry

app = Flask(__name__)
app.config["LIMIT"] = Entry.limit


@app.get("/health")
def health():
    return "ok"
