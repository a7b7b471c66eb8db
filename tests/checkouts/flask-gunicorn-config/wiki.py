from flask import Flask

app = Flask(__name__)
admin = Flask('admin')
