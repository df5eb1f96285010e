"""The options of an HTTP source as fields: one paged interface, its columns line by line, its paging and its authentication, and how the
query gateway asks it: for one key, and whether it is well."""

from collections.abc import Mapping
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

HTTP_FIELDS = [
    "h-table", "h-path", "h-rows", "h-fields", "h-key", "h-query", "h-paging", "h-parameter", "h-first", "h-size",
    "h-size_parameter", "h-next", "h-total", "h-auth", "h-auth_name", "h-timeout_s", "h-retries", "h-ca",
    "h-lookup", "h-lookup_method", "h-lookup_in", "h-lookup_missing", "h-health_path", "h-health_interval_s",
    "h-health_timeout_s",
]  # fmt: skip
_PAGINGS = [
    ("none", _("不分页")),
    ("page", _("页码")),
    ("offset", _("偏移量")),
    ("cursor", _("游标")),
    ("link", _("下一页地址")),
]
_AUTHS = [
    ("none", _("不认证")),
    ("bearer", _("Bearer令牌")),
    ("basic", _("账号口令（basic）")),
    ("header", _("请求头里的密钥")),
    ("query", _("查询参数里的密钥")),
]
_METHODS = [("GET", "GET"), ("POST", "POST")]
_PLACES = [("query", _("查询参数")), ("json", _("请求体（JSON）")), ("path", _("路径里的{参数}"))]


def _text(label: Any, hint: Any = "", *, required: bool = False) -> forms.CharField:
    widget = forms.TextInput(attrs={"class": "is-mid code"})
    return forms.CharField(label=label, help_text=hint, required=required, max_length=300, widget=widget)


def _lines(label: Any, hint: Any, *, required: bool = False) -> forms.CharField:
    widget = forms.Textarea(attrs={"rows": 5, "class": "code"})
    return forms.CharField(label=label, help_text=hint, required=required, widget=widget)


def _number(label: Any, hint: Any = "", *, most: int, least: int = 0) -> forms.IntegerField:
    widget = forms.NumberInput(attrs={"class": "is-short"})
    return forms.IntegerField(
        label=label, help_text=hint, required=False, min_value=least, max_value=most, widget=widget
    )


def http_fields() -> dict[str, forms.Field]:
    return {
        "h-table": _text(_("表名"), _("平台里怎样叫它，例如marriages"), required=True),
        "h-path": _text(_("接口路径"), _("接在根地址之后，以/开头"), required=True),
        "h-rows": _text(_("行所在的位置"), _("JSON指针，例如/data/list；空着表示答复本身就是数组")),
        "h-fields": _lines(
            _("列"),
            _("每行一列：列名 类型 [在行里的位置] [optional]，例如amount decimal(12,2) /money/amount"),
            required=True,
        ),
        "h-key": _text(_("主键列"), _("多列用逗号分开")),
        "h-query": _lines(_("固定查询参数"), _("每行一个：名称=值；不写密钥")),
        "h-paging": forms.ChoiceField(label=_("分页"), choices=_PAGINGS, initial="none"),
        "h-parameter": _text(_("分页参数名"), _("页码、偏移量或游标放在哪个查询参数里")),
        "h-first": _number(_("第一页的页码"), _("空着从1起"), most=1_000_000),
        "h-size": _number(_("每页行数"), most=1_000_000),
        "h-size_parameter": _text(_("每页行数的参数名")),
        "h-next": _text(_("下一游标或地址的位置"), _("JSON指针；写header表示在Link响应头里")),
        "h-total": _text(_("总行数的位置"), _("JSON指针；有它就核对读到的行数")),
        "h-auth": forms.ChoiceField(label=_("认证"), choices=_AUTHS, initial="none"),
        "h-auth_name": _text(_("请求头或参数名"), _("认证用请求头或查询参数时写")),
        "h-timeout_s": _number(_("每次请求超时（秒）"), _("空着30秒"), most=600, least=1),
        "h-retries": _number(_("每页重试次数"), _("空着4次"), most=20),
        "h-ca": _text(_("受信根证书文件"), _("自签证书的接口要它；填节点机器上的路径")),
        "h-lookup": _lines(_("查询条件列"), _("每行一个：列名=参数名；空着表示不供查询网关按条件查询")),
        "h-lookup_method": forms.ChoiceField(label=_("查询方法"), choices=_METHODS, initial="GET", required=False),
        "h-lookup_in": forms.ChoiceField(label=_("参数放在"), choices=_PLACES, initial="query", required=False),
        "h-lookup_missing": _text(_("表示没有的状态码"), _("例如404；多个用逗号分开")),
        "h-health_path": _text(_("健康探测路径"), _("接在根地址之后，以/开头，答复2xx为正常；空着不探测")),
        "h-health_interval_s": _number(_("探测间隔（秒）"), _("空着15秒"), most=3600, least=1),
        "h-health_timeout_s": _number(_("探测超时（秒）"), _("空着3秒"), most=30, least=1),
    }


def _columns(text: str) -> dict[str, Any]:
    """Raises ValidationError where a line has not the form."""
    found: dict[str, Any] = {}
    for line in filter(None, (line.strip() for line in text.splitlines())):
        name, *rest = line.split()
        if not rest:
            raise forms.ValidationError({"h-fields": _("写出类型：%(line)s") % {"line": line[:60]}})
        column: dict[str, Any] = {"type": rest[0]}
        for word in rest[1:]:
            if word == "optional":
                column["optional"] = True
            else:
                column["at"] = word
        found[name] = column if len(column) > 1 else rest[0]
    return found


def http_options(values: Mapping[str, Any]) -> dict[str, Any]:
    """What the node's connector takes. Raises ValidationError by field."""
    table: dict[str, Any] = {
        "path": values["h-path"],
        "rows": values["h-rows"],
        "fields": _columns(values["h-fields"]),
        "key": [part.strip() for part in values["h-key"].replace("，", ",").split(",") if part.strip()],
    }
    query = dict(line.split("=", 1) for line in values["h-query"].splitlines() if "=" in line)
    if query:
        table["query"] = {name.strip(): value.strip() for name, value in query.items()}
    kind = values["h-paging"]
    if kind != "none":
        paging = {"kind": kind}
        for name in ("parameter", "first", "size", "size_parameter", "next", "total"):
            if values[f"h-{name}"] not in (None, ""):
                paging[name] = values[f"h-{name}"]
        if kind in ("page", "offset", "cursor") and not values["h-parameter"]:
            raise forms.ValidationError({"h-parameter": _("这种分页须写参数名。")})
        if kind in ("cursor", "link") and not values["h-next"]:
            raise forms.ValidationError({"h-next": _("这种分页须写下一游标或地址在哪里。")})
        table["paging"] = paging
    options: dict[str, Any] = {"tables": {values["h-table"]: table}}
    if values["h-auth"] != "none":
        options["auth"] = {"kind": values["h-auth"]}
        if values["h-auth"] in ("header", "query"):
            if not values["h-auth_name"]:
                raise forms.ValidationError({"h-auth_name": _("写请求头或参数的名称。")})
            options["auth"]["name"] = values["h-auth_name"]
    for name in ("timeout_s", "retries", "ca"):
        if values[f"h-{name}"] not in (None, ""):
            options[name] = values[f"h-{name}"]
    if lookup := _lookup(values):
        table["lookup"] = lookup
    if values["h-health_path"]:
        if not values["h-health_path"].startswith("/"):
            raise forms.ValidationError({"h-health_path": _("以/开头。")})
        options["health"] = {"path": values["h-health_path"]}
        for name in ("interval_s", "timeout_s"):
            if values[f"h-health_{name}"] is not None:
                options["health"][name] = values[f"h-health_{name}"]
    return options


def _lookup(values: Mapping[str, Any]) -> dict[str, Any]:
    """How the gateway asks for one key. Raises ValidationError by field."""
    lines = [line.strip() for line in values["h-lookup"].splitlines() if line.strip()]
    if not lines:
        return {}
    if any("=" not in line for line in lines):
        raise forms.ValidationError({"h-lookup": _("写成：列名=参数名")})
    codes = [part.strip() for part in values["h-lookup_missing"].replace("，", ",").split(",") if part.strip()]
    if not all(code.isascii() and code.isdigit() and 400 <= int(code) < 500 for code in codes):
        raise forms.ValidationError({"h-lookup_missing": _("写4开头的三位状态码。")})
    keys = (line.split("=", 1) for line in lines)
    lookup: dict[str, Any] = {
        "method": values["h-lookup_method"] or "GET",
        "in": values["h-lookup_in"] or "query",
        "keys": {column.strip(): parameter.strip() for column, parameter in keys},
    }
    if codes:
        lookup["missing"] = [int(code) for code in codes]
    return lookup


def http_initial(options: Mapping[str, Any]) -> dict[str, Any]:
    """The fields as kept options say them."""
    tables = options.get("tables", {})
    if not tables:
        return {}
    name, table = next(iter(tables.items()))
    paging, auth = table.get("paging", {}), options.get("auth", {})
    lookup, health = table.get("lookup", {}), options.get("health", {})
    return {
        "h-table": name,
        "h-path": table.get("path", ""),
        "h-rows": table.get("rows", ""),
        "h-fields": "\n".join(_line(column, given) for column, given in table.get("fields", {}).items()),
        "h-key": ", ".join(table.get("key", ())),
        "h-query": "\n".join(f"{key}={value}" for key, value in table.get("query", {}).items()),
        "h-paging": paging.get("kind", "none"),
        **{
            f"h-{part}": paging.get(part, "")
            for part in ("parameter", "first", "size", "size_parameter", "next", "total")
        },
        "h-auth": auth.get("kind", "none"),
        "h-auth_name": auth.get("name", ""),
        **{f"h-{part}": options.get(part, "") for part in ("timeout_s", "retries", "ca")},
        "h-lookup": "\n".join(f"{column}={name}" for column, name in lookup.get("keys", {}).items()),
        "h-lookup_method": lookup.get("method", "GET"),
        "h-lookup_in": lookup.get("in", "query"),
        "h-lookup_missing": ", ".join(map(str, lookup.get("missing", ()))),
        **{f"h-health_{part}": health.get(part, "") for part in ("path", "interval_s", "timeout_s")},
    }


def _line(column: str, given: Any) -> str:
    if not isinstance(given, Mapping):
        return f"{column} {given}"
    parts = [column, str(given.get("type", "")), str(given.get("at", "")), "optional" if given.get("optional") else ""]
    return " ".join(part for part in parts if part)
