import os

from blog import create_app

application = create_app(os.environ.get("BLOG_CONFIG", "production"))
