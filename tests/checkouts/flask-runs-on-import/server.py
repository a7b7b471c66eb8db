import sqlite3
from flask import Flask
app = Flask(__name__)
db = sqlite3.connect("todo.db", check_same_thread=False)
app.run(host="0.0.0.0", port=80)
