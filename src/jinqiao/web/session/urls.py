from django.urls import path

from jinqiao.web.session import views

urlpatterns = [
    path("login", views.login, name="login"),
    path("logout", views.logout, name="logout"),
    path("password", views.password_change, name="password_change"),
    path("post", views.switch_post, name="switch_post"),
    path("language", views.choose_language, name="language"),
]
