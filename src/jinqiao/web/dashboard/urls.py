from django.urls import path

from jinqiao.web.dashboard import views

urlpatterns = [path("dashboard", views.dashboard, name="dashboard")]
