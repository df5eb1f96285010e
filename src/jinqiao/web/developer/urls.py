from django.urls import path

from jinqiao.web.developer import views

urlpatterns = [path("developer/components", views.components, name="components")]
