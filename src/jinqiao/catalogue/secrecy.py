"""涉密 stops at the door: does a text mark its content as secret?

政务数据 are neither state secrets nor work secrets (政务数据共享条例 第三条). What is looked for is a marking or a statement that
this content is secret: 「机密★10年」「密级：秘密」「【绝密】」「本表涉密」. That something is *not* secret (非涉密, 不涉及国家秘密), that
a risk was assessed (保密风险), trade secrets (商业秘密) and qualities (机密性) are fine. In doubt the text is refused: what is
wrongly refused can be worded again, what was wrongly taken cannot be unseen.
"""

import re
import unicodedata
from collections.abc import Iterable

_LEVEL = r"(?:国家秘密|工作秘密|涉密|秘密|机密|绝密)"
_WHOLE = re.compile(
    rf"(?:本\S{{1,6}}为|密级为?|涉密属性为?|属于?|标注为?)?{_LEVEL}(?:级|件|文件|资料|数据|信息|资源)?(?:\d+年|长期)?"
)
_PERIOD = re.compile(r"(?:秘密|机密|绝密)级?[★☆*]")
_BRACKETED = re.compile(rf"[\[【〔〖(（《〈<「『“\"]{_LEVEL}(?:级|件)?(?:[★☆*].{{0,6}})?[\]】〕〗)）》〉>」』”\"]")
_LABELLED = re.compile(
    rf"(?:密级|定密|涉密属性|涉密性|涉密等级|保密等级|秘密等级|涉密情况|是否涉密|涉密)(?:标志|标识|程度)?(?:[:：=]|为|是)+{_LEVEL}"
    r"|(?:是否涉密|涉密)[:：=]+(?:是|有|Y|y|1)"
)
_LABEL_ONLY = re.compile(
    r"是否涉密|是否涉及(?:国家|工作)?秘密|涉密(?:属性|性|等级|情况|审查|评估|风险|检查|检测|筛查|核查)|[\w一-鿿]*涉密[^，。；、]{0,10}资质"
)
_STATED = re.compile(r"国家秘密|工作秘密|涉密|机密(?![性码钥集度闭封切])|绝密")
_DENIED_BEFORE = re.compile(
    r"(?:非|不(?:会|致|再)?(?:产生|构成|形成|带有|出现|引发|泄露|造成)|不涉及?|不是|不属于?|不含有?|不包含|不包括|不存在|不得|不予|不会?产生|不构成|不形成|不收录|不采集|未涉及?|未发现|未含|未包含|无|没有|剔除|去除|删除|剥离|"
    r"排除|严禁|禁止|防止|避免|除)[^的]{0,14}$|不$"
)
_DENIED_AFTER = re.compile(
    r"^(?:的)?(?:数据|信息|内容|字段|资料|文件|数据项|信息项)?(?:已|均|一律|一概|全部)?(?:除外|以外|不得|不予|不纳入|不收录|剔除|删除|去除|脱密|[:：=](?:否|无|不))"
)
_CLAUSES = re.compile(r"[，,。；;！!？?\n]")
_BREAKING = re.compile(r"[ \t\r\f\v\u00a0\u3000]")


def is_marked(text: str) -> bool:
    """Whether the text marks or states that its content is secret."""
    if "密" not in text:
        return False
    plain = _plain(text)
    if _WHOLE.fullmatch(plain.strip("[]【】()（）《》<>「」『』★☆*:：。.-_ \n\"'“”")):
        return True
    if _PERIOD.search(plain) or _BRACKETED.search(plain) or _LABELLED.search(plain):
        return True
    for clause in _CLAUSES.split(_LABEL_ONLY.sub("", plain)):
        for found in _STATED.finditer(clause):
            if not _DENIED_BEFORE.search(clause[: found.start()]) and not _DENIED_AFTER.match(clause[found.end() :]):
                return True
    return False


def is_marked_file_name(name: str) -> bool:
    """Whether a file name carries a marking; its parts are looked at one by one: 「机密-名单.xlsx」."""
    return is_marked(name) or any(is_marked(part) for part in re.split(r"[-_.\s·—~#]+", name))


def asks_for_level(head: str) -> bool:
    """Whether a column's head asks for the secrecy level, so that 「是」 below it marks the row."""
    return re.search(r"密级|涉密|定密", _plain(head)) is not None


def answers_secret(text: str) -> bool:
    """Whether an answer below such a head marks the row."""
    return _plain(text).casefold() in {"是", "有", "y", "yes", "true", "√", "1"} or is_marked(text)


def first_marked(texts: Iterable[tuple[str, str]]) -> str | None:
    """The place of the first marked text among pairs of place and text."""
    return next((place for place, text in texts if is_marked(text)), None)


def _plain(text: str) -> str:
    """One form for full-width signs, without spaces and invisible signs put between the characters."""
    folded = unicodedata.normalize("NFKC", text)
    folded = "".join(sign for sign in folded if unicodedata.category(sign) not in ("Cf", "Mn"))
    return _BREAKING.sub("", folded)
