"""类 and 项 as the guide fixes them (政务信息资源目录编制指南（试行）, 发改高技〔2017〕1272号): what every tree begins with.

The guide fixes order and names; the numbers of 项 are their running numbers, as in 307 for the provinces.
"""

GUIDE_CLASSES: dict[str, str] = {
    "1": "基础信息资源",
    "101": "人口",
    "102": "法人单位",
    "103": "自然资源和空间地理",
    "104": "社会信用",
    "105": "电子证照",
    "2": "主题信息资源",
    "201": "公共服务",
    "202": "健康保障",
    "203": "社会保障",
    "204": "食品药品安全",
    "205": "安全生产",
    "206": "价格监管",
    "207": "能源安全",
    "208": "信用体系",
    "209": "城乡建设",
    "210": "社区治理",
    "211": "生态环保",
    "212": "应急维稳",
    "3": "部门信息资源",
    "301": "党中央",
    "302": "全国人大常委会",
    "303": "国务院",
    "304": "全国政协",
    "305": "最高人民法院",
    "306": "最高人民检察院",
    "307": "省（自治区、直辖市）及其下各级政务部门",
    "308": "计划单列市及其下各级政务部门",
}
"""Code → name of the first two levels."""


def chain_to(code: str) -> list[tuple[str, str]]:
    """Code and name of the guide's classes from the root down to `code`; empty where the guide does not fix it."""
    if code not in GUIDE_CLASSES:
        return []
    return [(upper, GUIDE_CLASSES[upper]) for upper in dict.fromkeys((code[:1], code))]
