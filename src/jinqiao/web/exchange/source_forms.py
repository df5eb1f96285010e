"""Forms of data sources: one for each engine, made from the options that it knows."""

import json
from collections.abc import Mapping
from typing import Any, cast

from django import forms
from django.utils.translation import gettext_lazy as _

from jinqiao.accounts.models import Post
from jinqiao.exchange.connections import DEFAULT_PORTS, NOT_WRITABLE, OPTIONS, SERVERS, WITH_ACCOUNT, Option
from jinqiao.exchange.enums import NodeKind, NodeState
from jinqiao.exchange.models import ENGINES, DataSource, ExchangeTask, Node
from jinqiao.exchange.queries.moving import changed_connection, tasks_to_ask_of
from jinqiao.kernel.contracts.tables import Engine
from jinqiao.web.exchange.alert_view import hosts_hint
from jinqiao.web.exchange.http_form import HTTP_FIELDS, http_fields, http_initial, http_options

_PLACES: Mapping[Engine, tuple[Any, Any]] = {
    Engine.POSTGRESQL: (_("数据库"), _("库名")),
    Engine.MYSQL: (_("数据库"), _("库名")),
    Engine.SQLITE: (_("文件路径"), _("以节点所在机器为准")),
    Engine.ODBC: (
        _("连接串"),
        _("例如Driver={DM8 ODBC DRIVER};Server=10.1.2.3;TCP_PORT=5236；账号口令不写在这里"),
    ),
    Engine.CSV: (_("文件夹路径"), _("以节点所在机器为准；每个文件是一张表")),
    Engine.EXCEL: (_("工作簿或文件夹路径"), _("以节点所在机器为准；每张工作表是一张表")),
    Engine.JSONL: (_("文件夹路径"), _("以节点所在机器为准；每个文件是一张表")),
    Engine.PARQUET: (_("文件夹路径"), _("以节点所在机器为准；每个文件是一张表")),
    Engine.FOLDER: (_("文件夹路径"), _("以节点所在机器为准；每份文件连同摘要是一行")),
    Engine.HTTP: (_("接口根地址"), _("只可填许可名单内的主机；不含口令和查询参数")),
}
_HINTS: Mapping[str, Any] = {
    "sslmode": _("verify-full核对证书和主机名，最严；空着由节点按能加密就加密处理"),
    "sslrootcert": _("verify-ca、verify-full要它；填节点机器上的文件路径"),
    "tls": _("是：不能加密就不连接"),
    "dialect": _("决定怎样取列、加限定和读大字段；没有列出的选generic"),
    "max_text_bytes": _("超长的文本不截断，运行停下并说明"),
    "text_encoding": _("驱动返回乱码时改它"),
    "types": _(
        "每行一列：表名.列名 类型，例如*.金额 decimal(12,2)；星号是所有表。类型：integer、decimal(12,2)、double、boolean、date、datetime、text"
    ),
    "publication": _("变更日志方式要它；由数据库管理员先建立"),
    "header_row": _("从1数起"),
    "digits": _("数字单元格读成文本时保留的位数"),
    "bom": _("给WPS、Excel直接打开的文件选是"),
}
_YES_NO = [("", _("按惯例")), ("yes", _("是")), ("no", _("否"))]


class PasswordForm(forms.Form):
    password = forms.CharField(
        label=_("口令"),
        max_length=4000,
        strip=False,
        help_text=_("提交后立即密封给节点和网关，平台不保存，也读不出"),
        widget=forms.PasswordInput(attrs={"class": "is-mid", "autocomplete": "new-password"}),
    )


class EngineForm(forms.Form):
    """Which kind of source; a GET form, so that it works without script."""

    engine = forms.ChoiceField(label=_("类型"), choices=ENGINES)


def _option_field(option: Option) -> forms.Field:
    common: dict[str, Any] = {"label": option.label, "required": False, "help_text": _HINTS.get(option.name, "")}
    if option.kind == "integer":
        return forms.IntegerField(
            **common,
            min_value=option.least,
            max_value=option.most,
            widget=forms.NumberInput(attrs={"class": "is-short"}),
        )
    if option.kind == "boolean":
        return forms.ChoiceField(**common, choices=_YES_NO)
    if option.kind == "choice":
        return forms.ChoiceField(**common, choices=[("", _("按惯例")), *((value, value) for value in option.choices)])
    if option.name == "types":
        return forms.CharField(**common, widget=forms.Textarea(attrs={"rows": 4, "class": "code"}))
    if option.kind in ("mapping", "list"):
        return forms.JSONField(**common, widget=forms.Textarea(attrs={"rows": 6, "class": "code"}))
    return forms.CharField(**common, max_length=1000, widget=forms.TextInput(attrs={"class": "is-mid code"}))


def _types_of(text: str) -> dict[str, dict[str, str]]:
    """Raises ValidationError where a line has not the form."""
    types: dict[str, dict[str, str]] = {}
    for line in text.splitlines():
        if not line.strip():
            continue
        place, _gap, type_ = line.strip().rpartition(" ")
        table, _dot, column = place.strip().rpartition(".")
        if not table or not column:
            raise forms.ValidationError(_("每行写“表名.列名 类型”：%(line)s") % {"line": line.strip()[:60]})
        types.setdefault(table, {})[column] = type_
    return types


def _types_text(types: Mapping[str, Mapping[str, str]]) -> str:
    return "\n".join(f"{table}.{column} {kind}" for table, columns in types.items() for column, kind in columns.items())


class SourceForm(PasswordForm):
    """A source as the node reaches it: the fields that its engine needs, and its options as `o-<name>`."""

    node = forms.ModelChoiceField(label=_("经由节点"), queryset=Node.objects.none(), empty_label=_("选择节点"))
    engine = forms.ChoiceField(choices=ENGINES, widget=forms.HiddenInput)
    name = forms.CharField(label=_("名称"), max_length=100, help_text=_("业务上的叫法，例如社保业务库"))
    host = forms.CharField(label=_("主机"), max_length=200, help_text=_("数据库服务器地址"))
    port = forms.IntegerField(
        label=_("端口"),
        required=False,
        min_value=1,
        max_value=65535,
        widget=forms.NumberInput(attrs={"class": "is-short"}),
    )
    database = forms.CharField(max_length=300)
    user = forms.CharField(label=_("账号"), max_length=100, help_text=_("来源库用只读账号"))
    is_writable = forms.BooleanField(
        label=_("可作为交付目标"), required=False, help_text=_("本部门接收数据时，允许写入这里")
    )

    def __init__(self, post: Post, kind: Engine, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.kind = kind
        own = Node.objects.filter(
            organisation_id=post.organisation_id, kind=NodeKind.FRONT_END, state=NodeState.ACTIVE
        ).order_by("number")
        cast("forms.ModelChoiceField[Node]", self.fields["node"]).queryset = own
        self.fields["node"].initial = own.first()
        self.fields["engine"].initial = kind.value
        self._fit()
        base = ["node", "engine", "name", "host", "port", "database", "user", "password"]
        self.order_fields([*base, *self.option_names, "is_writable"])

    def _fit(self) -> None:
        """Only what this engine has."""
        kind = self.kind
        label, hint = _PLACES[kind]
        self.fields["database"].label, self.fields["database"].help_text = label, hint
        if kind is Engine.HTTP:
            self.fields["database"].help_text = f"{hint}{_('；')}{hosts_hint()}"
        if kind in SERVERS:
            self.fields["port"].help_text = _("空着用%(port)s") % {"port": DEFAULT_PORTS[kind]}
        else:
            del self.fields["host"], self.fields["port"]
        if kind not in WITH_ACCOUNT:
            del self.fields["user"], self.fields["password"]
        else:
            self.fields["user"].required = kind in SERVERS
            self.fields["password"].required = False
        if kind is Engine.HTTP:
            self.fields["user"].help_text = _("basic认证的账号；其他认证不填")
            self.fields["password"].label = _("口令或令牌")
        if kind in NOT_WRITABLE:
            del self.fields["is_writable"]
        if kind is Engine.HTTP:
            self.fields.update(http_fields())
        else:
            self.fields.update({f"o-{option.name}": _option_field(option) for option in OPTIONS[kind]})

    @property
    def option_names(self) -> list[str]:
        """Fields of options, in their order."""
        names = HTTP_FIELDS if self.kind is Engine.HTTP else [f"o-{option.name}" for option in OPTIONS[self.kind]]
        return [name for name in names if name in self.fields]

    @property
    def base_fields_shown(self) -> str:
        """For `form_fields`: all but the options."""
        return ",".join(name for name in self.fields if name not in (*self.option_names, "engine"))

    @property
    def option_fields(self) -> str:
        return ",".join(self.option_names)

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or {}
        if self.errors:
            return values
        if self.kind is Engine.HTTP:
            try:
                values["options"] = http_options(values)
            except forms.ValidationError as error:
                self.add_error(None, error)
            return values
        options: dict[str, Any] = {}
        for option in OPTIONS[self.kind]:
            value = values.get(f"o-{option.name}")
            if value in (None, ""):
                continue
            if option.kind == "boolean":
                value = value == "yes"
            if option.name == "types":
                try:
                    value = _types_of(str(value))
                except forms.ValidationError as error:
                    self.add_error("o-types", error)
            options[option.name] = value
        values["options"] = options
        return values

    def wanted(self) -> dict[str, Any]:
        """What `add_data_source` and `change_data_source` take."""
        names = ("node", "engine", "name", "host", "port", "database", "user", "password", "is_writable", "options")
        return {name: self.cleaned_data[name] for name in names if name in self.cleaned_data}


ANEW, SAME_DATA = "anew", "same"
_NUMBERS_SHOWN = 10


_MOVES = [
    (ANEW, _("数据不同，或者拿不准：任务下次运行从头读取，合并到已有数据")),
    (SAME_DATA, _("数据库整体迁移，数据未变：增量任务从原进度继续（变更日志方式仍从头读取）")),
]


class SourceChangeForm(SourceForm):
    """What of a source may change; engine, node and password have their own ways. Where the source is to lead to another place, and
    tasks know how far they came at the earlier one, the form comes back once to ask how these go on."""

    def __init__(self, source: DataSource, post: Post, *arguments: Any, **keywords: Any) -> None:
        super().__init__(post, Engine(source.engine), *arguments, **keywords)
        self._source = source
        for name in ("node", "engine", "password"):
            self.fields.pop(name, None)
        self._question = forms.ChoiceField(
            label=_("换到别处以后，任务怎样继续"), choices=_MOVES, widget=forms.RadioSelect, required=False
        )
        if self.data.get("moved"):
            self.fields["moved"] = self._question

    def clean(self) -> dict[str, Any]:
        values = super().clean()
        if self.errors:
            return values
        tasks = self._tasks_to_ask_of(values)
        if not tasks:
            self.fields.pop("moved", None)
            return values
        self.fields["moved"], self._question.required = self._question, True
        self._question.help_text = _("涉及%(count)s项任务：%(numbers)s%(more)s。拿不准就选从头读取。") % {
            "count": len(tasks),
            "numbers": "、".join(task.number for task in tasks[:_NUMBERS_SHOWN]),
            "more": "…" if len(tasks) > _NUMBERS_SHOWN else "",
        }
        if not values.get("moved"):
            self.add_error("moved", _("数据源换到了别处，还没有保存。选定一项后再保存。"))
        return values

    def _tasks_to_ask_of(self, values: Mapping[str, Any]) -> list[ExchangeTask]:
        names = ("database", "host", "port", "user", "options")
        way = changed_connection(self._source, **{name: values[name] for name in names if name in values})
        return tasks_to_ask_of(self._source, way)

    def wanted(self) -> dict[str, Any]:
        return {**super().wanted(), "is_same_data": self.cleaned_data.get("moved") == SAME_DATA}

    @property
    def begins_anew(self) -> bool:
        """Of a valid form: whether somebody chose that tasks begin anew."""
        return "moved" in self.fields and self.cleaned_data.get("moved") == ANEW

    @staticmethod
    def values_of(source: DataSource) -> dict[str, Any]:
        names = ("name", "host", "port", "database", "user", "is_writable")
        values = {name: getattr(source, name) for name in names}
        if source.engine == Engine.HTTP:
            return values | http_initial(source.options)
        for name, value in source.options.items():
            shown = value
            if isinstance(value, bool):
                shown = "yes" if value else "no"
            elif name == "types":
                shown = _types_text(value)
            elif isinstance(value, dict | list):
                shown = json.dumps(value, ensure_ascii=False)
            values[f"o-{name}"] = shown
        return values
