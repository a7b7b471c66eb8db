import web

urls = ("/(.*)", "hello")
app = web.application(urls, globals())
application = app.wsgifunc()
