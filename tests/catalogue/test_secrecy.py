import pytest

from jinqiao.catalogue import secrecy


@pytest.mark.parametrize(
    "text",
    [
        "涉密", "秘密", "机密", "绝密", "国家秘密", "工作秘密", "机密级", "机密★10年", "秘密★1年", "绝密★长期", "密级：机密", "密级:秘密",
        "【绝密】重点人员名单", "（机密）应急预案", "[秘密]", "机 密", "机\u200b密", "ｘ 涉密", "本表涉密", "本资源属于涉密数据",
        "涉及国家秘密", "含工作秘密的文件", "是否涉密：是", "涉密属性：涉密", "不公开的机密文件", "不含个人信息的机密文件", "涉密人员信息",
        "全市防汛预案，属绝密资料", "机密资料目录",
    ],
)  # fmt: skip
def test_what_marks_its_content_as_secret_is_seen(text: str) -> None:
    assert secrecy.is_marked(text)


@pytest.mark.parametrize(
    "text",
    [
        "", "非涉密", "不涉密", "不涉及国家秘密", "不涉及国家秘密、工作秘密和商业秘密", "保密风险", "经保密风险评估，不涉及国家秘密。",
        "是否涉密", "是否涉密：否", "涉密：否", "涉密属性：非涉密", "【非涉密】", "商业秘密案件信息", "数据的机密性要求", "计算机密码应用",
        "手机密码重置记录", "随机密钥", "已剔除涉密字段", "涉密信息除外", "涉密数据不得上传", "严禁存储、传输涉密信息", "无涉密内容",
        "未发现涉密信息", "密级：公开", "甲级涉密信息系统集成资质单位名录", "保密协议", "泄密事件通报", "本资源不含国家秘密，汇聚后亦不产生国家秘密。", "人口密度", "密集架",
    ],
)  # fmt: skip
def test_what_only_speaks_of_secrecy_passes(text: str) -> None:
    assert not secrecy.is_marked(text)


@pytest.mark.parametrize(
    "name", ["机密-名单.xlsx", "名单（秘密）.xlsx", "2026年 涉密 目录.xlsx", "绝密.xlsx", "名单_机密.xlsx"]
)
def test_a_marked_file_name_is_seen(name: str) -> None:
    assert secrecy.is_marked_file_name(name)


@pytest.mark.parametrize("name", ["非涉密目录.xlsx", "目录填报_0315.xlsx", "保密评估.xlsx"])
def test_an_ordinary_file_name_passes(name: str) -> None:
    assert not secrecy.is_marked_file_name(name)


def test_below_a_head_that_asks_for_the_level_a_plain_yes_marks_the_row() -> None:
    assert secrecy.asks_for_level("是否涉密")
    assert not secrecy.asks_for_level("数据长度")
    assert secrecy.answers_secret("是")
    assert not secrecy.answers_secret("否")
