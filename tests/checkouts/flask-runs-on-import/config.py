import os

TOKEN = os.environ['TOKEN']
REGION = os.environ['REGION']
