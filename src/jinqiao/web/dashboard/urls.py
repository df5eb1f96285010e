from django.urls import path

from jinqiao.web.dashboard import row_views, views

urlpatterns = [
    path("dashboard", views.dashboard, name="dashboard"),
    path("dashboard/<slug:figure>", row_views.dashboard_rows, name="dashboard_rows"),
]
