"""All addresses of the control plane."""

from django.urls import include, path

urlpatterns = [
    path("", include("jinqiao.web.urls")),
    path("api/", include("jinqiao.api.urls")),
]
