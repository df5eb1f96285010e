from django.urls import path

from jinqiao.web.catalogue.views import classification, drafting, entries, imports, reviews, search

app_name = "catalogue"

urlpatterns = [
    path("", search.search, name="search"),
    path("export", search.export, name="export"),
    path("entries/<int:pk>", entries.entry, name="entry"),
    path("entries/<int:pk>/workbook", entries.entry_workbook, name="entry_workbook"),
    path("entries/<int:pk>/revise", drafting.revise, name="entry_revise"),
    path("entries/<int:pk>/withdraw", entries.withdraw, name="entry_withdraw"),
    path("mine", entries.mine, name="mine"),
    path("new", drafting.new, name="new"),
    path("versions/<int:pk>/edit", drafting.edit, name="edit"),
    path("versions/<int:pk>/submit", drafting.submit, name="edit_submit"),
    path("versions/<int:pk>/discard", drafting.discard, name="edit_discard"),
    path("versions/<int:pk>", reviews.review, name="review"),
    path("awaiting", reviews.awaiting, name="review_list"),
    path("import", imports.hand_in, name="import"),
    path("import/form", imports.empty_form, name="template"),
    path("import/<int:pk>", imports.result, name="import_result"),
    path("import/<int:pk>/annotated", imports.annotated, name="import_annotated"),
    path("classification", classification.classification, name="classification"),
]
