from django.urls import path

from . import views

app_name = "api"
urlpatterns = [path("v1/readyz", views.ready), path("<int:number>/health", views.one)]
