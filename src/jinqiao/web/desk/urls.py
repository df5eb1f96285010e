from django.urls import path

from jinqiao.web.desk import views

urlpatterns = [
    path("", views.home, name="home"),
    path("desk", views.desk, name="desk"),
    path("desk/done", views.desk_done, name="desk_done"),
]
