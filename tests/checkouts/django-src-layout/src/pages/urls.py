from django.http import HttpResponse
from django.urls import path


def livez(request):
    return HttpResponse("ok")


urlpatterns = [
    path("livez", livez),
]
