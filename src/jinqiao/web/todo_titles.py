"""To-dos are kept in Chinese, whoever caused them; here a title is told in the reader's language.

A title that fits none of the forms is shown as it is kept.
"""

import re
from functools import cache

from django.utils.translation import gettext, gettext_noop

from jinqiao.web.formats import is_english

FORMS = (
    gettext_noop("审核目录：%(name)s"),
    gettext_noop("签发目录：%(name)s"),
    gettext_noop("审核发布目录：%(name)s"),
    gettext_noop("修改退回的目录：%(name)s"),
    gettext_noop("审批共享申请 %(number)s：%(name)s"),
    gettext_noop("修改退回的共享申请 %(number)s：%(name)s"),
    gettext_noop("答复共享申请 %(number)s：%(name)s"),
    gettext_noop("补正共享申请材料 %(number)s：%(name)s"),
    gettext_noop("审批共享答复 %(number)s：%(name)s"),
    gettext_noop("重拟共享答复 %(number)s：%(name)s"),
    gettext_noop("审批延期答复 %(number)s：%(name)s"),
    gettext_noop("答复期限已延长 %(number)s：%(name)s"),
    gettext_noop("答复已逾期 %(number)s：%(name)s"),
    gettext_noop("督办逾期答复 %(number)s：%(name)s"),
    gettext_noop("供给数据 %(number)s：%(name)s"),
    gettext_noop("供给数据已逾期 %(number)s：%(name)s"),
    gettext_noop("审批授权变更 %(number)s：%(name)s"),
    gettext_noop("暂停授权备案 %(number)s：%(name)s"),
    gettext_noop("撤销授权备案 %(number)s：%(name)s"),
    gettext_noop("授权即将到期 %(number)s：%(name)s"),
    gettext_noop("为查询服务挂上应用：%(name)s"),
    gettext_noop("为交换任务选定交付目标：%(name)s"),
    gettext_noop("节点“%(name)s”失去联系"),
    gettext_noop("节点“%(name)s”已登记，待核对密钥指纹"),
    gettext_noop("运行%(number)s失败，需要处理"),
    gettext_noop("任务%(number)s无法启动运行，需要处理"),
    gettext_noop("任务%(number)s逾时没有成功运行"),
    gettext_noop("任务%(number)s连续多次没有数据变化"),
    gettext_noop("任务%(number)s的数据量与往常不同"),
    gettext_noop("运行%(number)s的回执缺接收方签名"),
    gettext_noop("节点“%(name)s”的时钟不准"),
    gettext_noop("节点“%(name)s”的暂存空间不足"),
    gettext_noop("任务%(number)s的复制槽滞留日志过多"),
    gettext_noop("任务%(number)s两侧内容不一致，需要核对"),
    gettext_noop("审批清空重载 %(number)s：%(name)s"),
    gettext_noop("网关“%(name)s”上送的存证不成立"),
    gettext_noop("见证节点不认网关“%(name)s”的存证锚"),
    gettext_noop("网关“%(name)s”的存证久未经其他部门节点副署"),
    gettext_noop("网关“%(name)s”在线，却久未上送调用记录"),
    gettext_noop("应用%(application)s与网关的调用记录不一致"),
    gettext_noop("核实非工作时段的查询：%(name)s"),
    gettext_noop("核实异常的查询量：%(name)s"),
    gettext_noop("核实疑似遍历的查询：%(name)s"),
    gettext_noop("核实对同一人的多方查询：%(name)s"),
    gettext_noop("核实一名经办人的大量查询：%(name)s"),
    gettext_noop("核实同一业务编号的大量查询：%(name)s"),
    gettext_noop("说明抽查的调用 %(number)s：%(name)s"),
    gettext_noop("审核抽查调用的说明 %(number)s：%(name)s"),
    gettext_noop("抽查调用的说明不成立 %(number)s：%(name)s"),
    gettext_noop("授权因逾期未说明而暂停 %(number)s：%(name)s"),
    gettext_noop("核对30天未用的授权 %(number)s：%(name)s"),
)


def title_in_words(title: str) -> str:
    """签发目录：婚姻登记信息 → Sign entry: 婚姻登记信息."""
    if not is_english():
        return title
    for form, pattern in _patterns():
        if found := pattern.fullmatch(title):
            return gettext(form) % found.groupdict()
    return title


@cache
def _patterns() -> tuple[tuple[str, re.Pattern[str]], ...]:
    return tuple((form, _pattern(form)) for form in FORMS)


def _pattern(form: str) -> re.Pattern[str]:
    """Numbers hold neither space nor colon; names hold anything."""
    text = re.escape(form).replace(r"%\(number\)s", r"(?P<number>[^\s：]+)").replace(r"%\(name\)s", r"(?P<name>.+)")
    return re.compile(text, re.DOTALL)
