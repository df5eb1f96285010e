from django.urls import path

from jinqiao.web.sharing.views import drafting, grants, replies, requests

app_name = "sharing"

urlpatterns = [
    path("requests", requests.request_list, name="requests"),
    path("requests/new/<int:entry_id>", drafting.new, name="new"),
    path("requests/<int:pk>", requests.request_page, name="request"),
    path("requests/<int:pk>/edit", drafting.edit, name="request_edit"),
    path("requests/<int:pk>/submit", drafting.submit, name="request_submit"),
    path("requests/<int:pk>/approve", requests.approve, name="request_approve"),
    path("requests/<int:pk>/withdraw", requests.withdraw, name="request_withdraw"),
    path("requests/<int:pk>/papers", requests.supply_papers, name="request_papers"),
    path("requests/<int:pk>/papers/<int:paper_id>", requests.paper, name="request_paper"),
    path("requests/<int:pk>/decide", replies.decide, name="decide"),
    path("requests/<int:pk>/decide/approve", replies.approve, name="decide_approve"),
    path("requests/<int:pk>/extension", replies.ask_extension, name="request_extension"),
    path("requests/<int:pk>/extension/decide", replies.decide_extension, name="request_extension_decide"),
    path("grants", grants.grant_list, name="grants"),
    path("grants/<int:pk>", grants.grant_page, name="grant"),
    path("grants/<int:pk>/suspend", grants.suspend, name="grant_suspend"),
    path("grants/<int:pk>/resume", grants.resume, name="grant_resume"),
    path("grants/<int:pk>/revoke", grants.revoke, name="grant_revoke"),
    path("grants/<int:pk>/filing", grants.note_filing, name="grant_filing"),
    path("grants/<int:pk>/change", grants.propose_change, name="grant_change"),
    path("grants/<int:pk>/change/approve", grants.approve_change, name="grant_change_approve"),
]
