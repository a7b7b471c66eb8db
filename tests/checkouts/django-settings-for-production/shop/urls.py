from django.conf.urls.i18n import i18n_patterns
from django.urls import include, path, re_path

from shop import views

urlpatterns = [
    path("api/", include(("shop.api.urls", "api"))),
    re_path(r"^ping/$", views.ping),
]
urlpatterns += i18n_patterns(path("health/", views.health))
