"""Made-up people of the demo city: the same every time, with valid check digits, none of them real.

A person's number uses a division of the city, a birth date and a sequence; the sequence 9xx that registries leave for
temporary use is not touched, the check digit is computed (GB 11643).
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

SEED = 620300
SURNAMES = "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕苏卢蒋蔡贾丁魏薛叶阎余潘杜戴夏钟汪田任姜范方石姚谭廖邹熊金陆郝孔白崔康毛邱秦江史顾侯邵孟龙万段雷钱汤尹黎易常武乔贺赖龚文"
GIVEN = "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超秀霞平刚桂英华玉兰文辉建国红梅志远海燕春生永福德顺金凤雪莲晓东思源佳怡梓涵宇轩嘉琪浩然一鸣子墨雨桐泽楷"
NATIONALITIES = ("01",) * 46 + ("03", "03", "04", "11")  # GB/T 3304: 汉, 回, 藏, 满
ROADS = (
    "新华路",
    "北京路",
    "延安路",
    "长春路",
    "广州路",
    "上海路",
    "天津路",
    "金川路",
    "昌荣路",
    "河西堡镇",
    "城关镇东街",
    "龙首路",
)
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)


@dataclass(frozen=True, slots=True)
class Resident:
    number: str
    name: str
    sex: str  # GB/T 2261.1: 1 male, 2 female
    born: date
    nationality: str
    address: str


def with_check_digit(body: str) -> str:
    """The seventeen digits and their check character (GB 11643, ISO 7064 MOD 11-2)."""
    return body + "10X98765432"[sum(int(digit) * weight for digit, weight in zip(body, _WEIGHTS, strict=True)) % 11]


def residents(count: int, *, seed: int = SEED) -> Iterator[Resident]:
    """`count` different people, born 1930–2015."""
    chance = random.Random(seed)
    first = date(1930, 1, 1)
    seen: set[str] = set()
    while len(seen) < count:
        division = chance.choice(("620302", "620302", "620321", "620300"))
        born = first + timedelta(days=chance.randrange(86 * 365))
        if born < date(1984, 10, 1) and division == "620300":
            division = "620302"
        sex = chance.choice("12")
        sequence = chance.randrange(0, 450) * 2 + (1 if sex == "1" else 0)
        number = with_check_digit(f"{division}{born:%Y%m%d}{sequence:03d}")
        name = chance.choice(SURNAMES) + "".join(chance.choice(GIVEN) for _ in range(chance.choice((1, 2, 2, 2))))
        address = f"甘肃省金昌市{chance.choice(ROADS)}{chance.randrange(1, 300)}号{chance.randrange(1, 30)}栋{chance.randrange(1, 30)}室"
        nationality = chance.choice(NATIONALITIES)
        if number not in seen:
            seen.add(number)
            yield Resident(number, name, sex, born, nationality, address)
