"""Which view answers which path."""

from django.conf import settings
from django.conf.urls.static import static
from django.urls import path
from orders import views

urlpatterns = [
    path("", views.index, name="index"),
    path("healthz", views.healthz),
    path("whoami", views.whoami),
    path("echo", views.echo),
    path("slow", views.slow),
    *static(settings.MEDIA_URL, document_root=settings.MEDIA_ROOT),  # with DEBUG only; else nginx serves it
]
