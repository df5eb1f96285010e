from django.urls import path, re_path

from jinqiao.web.accounts.views import applications, calendar, keys, organisations, people

app_name = "accounts"

urlpatterns = [
    path("organisations", organisations.organisations, name="organisations"),
    path("organisations/new", organisations.organisation_new, name="organisation_new"),
    path("organisations/<int:pk>", organisations.organisation, name="organisation"),
    path("organisations/<int:pk>/edit", organisations.organisation_edit, name="organisation_edit"),
    path("organisations/<int:pk>/close", organisations.organisation_close, name="organisation_close"),
    path("organisations/<int:pk>/reopen", organisations.organisation_reopen, name="organisation_reopen"),
    path("organisations/<int:pk>/sections", organisations.section_add, name="section_add"),
    path("regions/new", organisations.region_new, name="region_new"),
    path("people", people.people, name="people"),
    path("people/new", people.person_new, name="person_new"),
    path("people/<int:pk>", people.person, name="person"),
    path("people/<int:pk>/edit", people.person_edit, name="person_edit"),
    path("people/<int:pk>/password", people.person_password, name="person_password"),
    path("people/<int:pk>/close", people.person_close, name="person_close"),
    path("people/<int:pk>/reopen", people.person_reopen, name="person_reopen"),
    path("people/<int:pk>/unlock", people.person_unlock, name="person_unlock"),
    path("people/<int:pk>/appoint", people.post_new, name="post_new"),
    path("posts/<int:pk>/end", people.post_end, name="post_end"),
    path("applications", applications.applications, name="applications"),
    path("applications/new", applications.application_new, name="application_new"),
    path("applications/client.whl", applications.client_package, name="client_package"),
    path("applications/<int:pk>", applications.application, name="application"),
    re_path(
        r"^applications/(?P<pk>\d{1,18})/(?P<state>resume|suspend|retire)$",
        applications.application_state,
        name="application_state",
    ),
    path("applications/<int:pk>/access", applications.application_access, name="application_access"),
    path("applications/<int:pk>/openapi.json", applications.application_openapi, name="application_openapi"),
    path("applications/<int:pk>/keys/new", keys.key_new, name="key_new"),
    path("applications/<int:pk>/keys/register", keys.key_register, name="key_register"),
    path("keys/<int:pk>/revoke", keys.key_revoke, name="key_revoke"),
    path("calendar", calendar.calendar, name="calendar"),
    path("calendar/new", calendar.calendar_new, name="calendar_new"),
    path("calendar/<int:year>", calendar.calendar_year, name="calendar_year"),
]
