"""The four departments' own databases, as SQLite files: tables, comments and columns as such systems have them.

`SIZES` gives rows per table; the largest has 100,000. A tenth of the dead still draw a pension in 人社局's table: what the
story of the demo finds.
"""

import random
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from jinqiao.demo.population import Resident, residents

SIZES = {"population": 100_000, "marriages": 100_000, "deaths": 12_000, "companies": 20_000, "pensions": 40_000}
TODAY = date(2026, 3, 18)

TABLES = {
    "minzheng.db": (
        """CREATE TABLE hydjxx (
             djbh TEXT PRIMARY KEY NOT NULL, nfxm TEXT NOT NULL, nfsfzh TEXT NOT NULL, vfxm TEXT NOT NULL, vfsfzh TEXT NOT NULL,
             djlx TEXT NOT NULL, djrq DATE NOT NULL, djjg TEXT NOT NULL, lxdh TEXT, gxsj TIMESTAMP NOT NULL)""",
        """CREATE TABLE swdjxx (
             djbh TEXT PRIMARY KEY NOT NULL, xm TEXT NOT NULL, sfzh TEXT NOT NULL, swrq DATE NOT NULL, swyy TEXT,
             hhrq DATE, bzdd TEXT, gxsj TIMESTAMP NOT NULL)""",
        "CREATE UNIQUE INDEX swdjxx_sfzh ON swdjxx (sfzh)",
        "CREATE INDEX hydjxx_nf ON hydjxx (nfsfzh)",
        "CREATE INDEX hydjxx_vf ON hydjxx (vfsfzh)",
    ),
    "gongan.db": (
        """CREATE TABLE rkjbxx (
             gmsfhm TEXT PRIMARY KEY NOT NULL, xm TEXT NOT NULL, xb TEXT NOT NULL, mz TEXT NOT NULL, csrq DATE NOT NULL,
             hjdz TEXT, ryzt TEXT NOT NULL, gxsj TIMESTAMP NOT NULL)""",
    ),
    "gongshang.db": (
        """CREATE TABLE scztxx (
             tyshxydm TEXT PRIMARY KEY NOT NULL, mc TEXT NOT NULL, lx TEXT NOT NULL, fddbr TEXT NOT NULL, zczb DECIMAL(18,2),
             clrq DATE NOT NULL, djzt TEXT NOT NULL, jydz TEXT, gxsj TIMESTAMP NOT NULL)""",
    ),
    "renshe.db": (
        """CREATE TABLE yldyxx (
             grbh TEXT PRIMARY KEY NOT NULL, xm TEXT NOT NULL, sfzh TEXT NOT NULL, dylb TEXT NOT NULL, ffje DECIMAL(10,2) NOT NULL,
             ffzt TEXT NOT NULL, qsny TEXT NOT NULL, gxsj TIMESTAMP NOT NULL)""",
    ),
}


def _fill(connection: sqlite3.Connection, table: str, rows: Iterable[Sequence[Any]]) -> None:
    first: Sequence[Any] | None = None
    iterator = iter(rows)
    first = next(iterator, None)
    if first is None:
        return
    marks = ", ".join("?" * len(first))
    connection.execute(f"INSERT INTO {table} VALUES ({marks})", first)  # noqa: S608 -- table names stand in this file
    connection.executemany(f"INSERT INTO {table} VALUES ({marks})", iterator)  # noqa: S608


def _moment(chance: random.Random, back_days: int) -> str:
    at = datetime(2026, 3, 17, 8, 0) - timedelta(days=chance.randrange(back_days), seconds=chance.randrange(36_000))  # noqa: DTZ001 -- wall clock of a department's system
    return at.isoformat(sep=" ")


def _phone(chance: random.Random) -> str:
    return f"1{chance.choice('3578')}{chance.randrange(10**9):09d}"


def build(folder: Path, sizes: dict[str, int] | None = None) -> None:
    """Makes the four files in `folder`; files that stand are left alone."""
    sizes = SIZES | (sizes or {})
    folder.mkdir(parents=True, exist_ok=True)
    if all((folder / name).exists() for name in TABLES):
        return
    people = list(residents(sizes["population"]))
    chance = random.Random(1)
    old = [person for person in people if person.born < date(1966, 1, 1)]
    dead = chance.sample(old, min(sizes["deaths"], len(old) // 2))
    dead_numbers = {person.number for person in dead}
    rows = {
        "hydjxx": _marriages(people, sizes["marriages"], chance),
        "swdjxx": _deaths(dead, chance),
        "rkjbxx": (
            (
                p.number,
                p.name,
                p.sex,
                p.nationality,
                p.born.isoformat(),
                p.address,
                "2" if p.number in dead_numbers else "1",
                _moment(chance, 4000),
            )
            for p in people
        ),
        "scztxx": _companies(people, sizes["companies"], chance),
        "yldyxx": _pensions(old, dead_numbers, sizes["pensions"], chance),
    }
    for name, statements in TABLES.items():
        partial = folder / f"{name}.partial"
        partial.unlink(missing_ok=True)
        with closing(sqlite3.connect(partial)) as connection, connection:
            for statement in statements:
                connection.execute(statement)
                if statement.startswith("CREATE TABLE"):
                    table = statement.split()[2]
                    _fill(connection, table, rows[table])
        partial.replace(folder / name)


def _marriages(people: list[Resident], count: int, chance: random.Random) -> Iterable[Sequence[Any]]:
    men = [person for person in people if person.sex == "1" and person.born < date(2003, 1, 1)]
    women = [person for person in people if person.sex == "2" and person.born < date(2005, 1, 1)]
    for number in range(1, count + 1):
        man, woman = chance.choice(men), chance.choice(women)
        earliest = max(
            man.born.replace(year=man.born.year + 22, day=1), woman.born.replace(year=woman.born.year + 20, day=1)
        )
        on = earliest + timedelta(days=chance.randrange(max(1, min((TODAY - earliest).days, 9000))))
        kind = "结婚登记" if chance.random() < 0.8 else "离婚登记"
        where = chance.choice(("金川区民政局婚姻登记处", "永昌县民政局婚姻登记处"))
        yield (
            f"J6203{number:09d}",
            man.name,
            man.number,
            woman.name,
            woman.number,
            kind,
            on.isoformat(),
            where,
            _phone(chance),
            _moment(chance, 4000),
        )


def _deaths(dead: list[Resident], chance: random.Random) -> Iterable[Sequence[Any]]:
    for number, person in enumerate(dead, start=1):
        on = TODAY - timedelta(days=chance.randrange(20, 3000))
        yield (
            f"S6203{number:09d}",
            person.name,
            person.number,
            on.isoformat(),
            chance.choice(("疾病", "疾病", "疾病", "意外", None)),
            (on + timedelta(days=3)).isoformat(),
            chance.choice(("金昌市殡仪馆", "永昌县殡仪馆")),
            f"{on + timedelta(days=10)} 16:30:00",
        )


def _companies(people: list[Resident], count: int, chance: random.Random) -> Iterable[Sequence[Any]]:
    from jinqiao.demo.profile import credit_code

    words = ("镍都", "昌盛", "龙首", "祁连", "金川", "紫金", "骊靬", "西坡", "宏泰", "瑞丰", "众诚", "德润")
    trades = ("商贸", "建筑安装", "农业科技", "物流", "餐饮服务", "新材料", "机械设备", "信息技术")
    for number in range(1, count + 1):
        founded = TODAY - timedelta(days=chance.randrange(30, 9000))
        yield (
            credit_code(f"9162030{chance.choice('02')}", f"MA{number:06d}"),
            f"金昌{chance.choice(words)}{chance.choice(trades)}有限公司{number:05d}",
            chance.choice(("有限责任公司", "有限责任公司", "个人独资企业", "农民专业合作社")),
            chance.choice(people).name,
            f"{chance.randrange(10, 5000) * 10000}.00",
            founded.isoformat(),
            chance.choice(("存续", "存续", "存续", "存续", "注销", "吊销")),
            f"甘肃省金昌市{chance.choice(('新华路', '北京路', '金川路'))}{chance.randrange(1, 300)}号",
            _moment(chance, 2000),
        )


def _pensions(old: list[Resident], dead: set[str], count: int, chance: random.Random) -> Iterable[Sequence[Any]]:
    for number, person in enumerate(old[:count], start=1):
        stopped = person.number in dead and chance.random() < 0.9
        yield (
            f"6203{number:010d}",
            person.name,
            person.number,
            chance.choice(("城乡居民养老保险", "城镇职工养老保险", "机关事业养老保险")),
            f"{chance.randrange(18_000, 680_000) / 100:.2f}",
            "停发" if stopped else "正常发放",
            f"{min(2026, person.born.year + 60)}{chance.randrange(1, 13):02d}",
            _moment(chance, 800),
        )
