from django import forms
from django.utils.translation import gettext_lazy as _


class DoneFilter(forms.Form):
    q = forms.CharField(label=_("标题"), required=False, widget=forms.TextInput(attrs={"type": "search"}))
