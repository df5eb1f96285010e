from django.urls import path

from jinqiao.web.audit import views

app_name = "audit"

urlpatterns = [
    path("events", views.events, name="events"),
    path("events/<int:number>", views.event, name="event"),
    path("verify", views.verify, name="verify"),
]
