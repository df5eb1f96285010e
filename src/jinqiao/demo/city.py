"""The demo city's bodies, people, classification, nodes and data sources, made by the same actions as the pages use."""

import json
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.files.base import ContentFile

from jinqiao.accounts import actions as accounts
from jinqiao.accounts.enums import Role
from jinqiao.accounts.models import Organisation, Post, Region
from jinqiao.catalogue import actions as catalogue
from jinqiao.dataplane.gateway.home import prepare as prepare_gateway
from jinqiao.dataplane.node.home import prepare as prepare_node
from jinqiao.demo import databases
from jinqiao.demo.profile import credit_code, profile
from jinqiao.exchange import actions as exchange
from jinqiao.exchange.actions.platform import platform_identity
from jinqiao.exchange.enums import NetworkZone, NodeKind
from jinqiao.exchange.models import DataSource, Node
from jinqiao.kernel.contracts.exchange import NodeRegistration
from jinqiao.kernel.contracts.tables import Engine

GATEWAY = "chaxun-wangguan"
_WORDS = ("jinchuan", "longshou", "qilian", "zijin", "lijian", "niedu", "huoshan", "yongchang", "gufeng", "shuanghe")


@dataclass
class City:
    """Handles on what was made, by the keys of the profile."""

    password: str
    organisations: dict[str, Organisation] = field(default_factory=dict)
    posts: dict[str, list[Post]] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)
    sources: dict[str, DataSource] = field(default_factory=dict)

    def post(self, username: str, role: Role | None = None) -> Post:
        return next(post for post in self.posts[username] if role is None or post.role == role)

    @classmethod
    def load(cls, home: Path) -> "City":
        """The city as it stands in the database."""
        data = profile()
        codes = {key: credit_code("11" + body["region"], body["number"]) for key, body in data["organisations"].items()}
        found = {organisation.credit_code: organisation for organisation in Organisation.objects.all()}
        city = cls(json.loads((home / "demo" / "cast.json").read_text(encoding="utf-8"))["password"])
        city.organisations = {key: found[code] for key, code in codes.items()}
        for post in Post.objects.select_related("person", "organisation", "section"):
            city.posts.setdefault(post.person.username, []).append(post)
        city.nodes = {key: Node.objects.get(number=f"{key}-qianzhi") for key in data["nodes"]}
        city.nodes["gateway"] = Node.objects.get(number=GATEWAY)
        city.sources = {key: DataSource.objects.get(number=key) for key in data["sources"]}
        return city


def new_password() -> str:
    """One for the whole cast of this installation: easy to type, and no installation shares it with another."""
    return f"{secrets.choice(_WORDS)}-{secrets.choice(_WORDS)}-{secrets.randbelow(9000) + 1000}"


def found(password: str | None = None) -> City:
    """Regions, organisations, people with their posts, and the classification tree."""
    city = City(password or new_password())
    data = profile()
    regions: dict[str, Region] = {}
    for region in data["regions"]:
        regions[region["code"]] = accounts.add_region(
            by=None,
            code=region["code"],
            name=region["name"],
            level=region["level"],
            parent=regions.get(region.get("parent", "")),
        )
    for position, (key, body) in enumerate(data["organisations"].items(), start=1):
        organisation = accounts.add_organisation(
            by=None,
            credit_code=credit_code("11" + body["region"], body["number"]),
            name=body["name"],
            short_name=body["short"],
            kind=body["kind"],
            region=regions[body["region"]],
            parent=city.organisations.get(body.get("parent", "")),
            is_authority=body.get("authority", False),
            position=position,
        )
        city.organisations[key] = organisation
        for section in body.get("sections", ()):
            accounts.add_section(by=None, organisation=organisation, name=section)
    for person in data["people"]:
        _appoint(city, person)
    lines = [
        "code,name,parent_code",
        *(f"{node['code']},{node['name']},{node.get('parent', '')}" for node in data["classification"]),
    ]
    catalogue.import_classification(ContentFile("\n".join(lines).encode(), name="fenlei.csv"), by=city.post("jinhai"))
    return city


def _appoint(city: City, data: dict[str, Any]) -> None:
    person = accounts.add_person(
        by=None,
        username=data["username"],
        name=data["name"],
        password=city.password,
        employer=data.get("employer", ""),
        valid_until=data.get("valid_until"),
        must_change_password=False,
    )
    city.posts[data["username"]] = []
    for key, role, *section in data["posts"]:
        organisation = city.organisations[key]
        post = accounts.appoint(
            by=None,
            person=person,
            organisation=organisation,
            role=role,
            section=organisation.sections.get(name=section[0]) if section else None,
        )
        city.posts[data["username"]].append(post)


def write_cast(city: City, home: Path) -> None:
    """Names and password of the cast, readable by the installation's owner only; `jinqiao up` prints it."""
    people = [
        {
            "username": data["username"],
            "name": data["name"],
            "post": "、".join(
                f"{post.organisation.short_name}{post.get_role_display()}" for post in city.posts[data["username"]]
            ),
            "in_english": data["in_english"],
        }
        for data in profile()["people"]
    ]
    file = home / "demo" / "cast.json"
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    file.touch(mode=0o600)
    file.write_text(
        json.dumps({"password": city.password, "people": people}, ensure_ascii=False, indent=1), encoding="utf-8"
    )


def connect(city: City, home: Path, sizes: dict[str, int] | None = None) -> None:
    """Nodes and gateway, each with an identity of its own made in its own folder; the departments' databases; the sources."""
    bureau = city.post("jinhai")
    platform = platform_identity().public
    for key, data in profile()["nodes"].items():
        organisation = city.organisations[data["organisation"]]
        node, code = exchange.expect_node(
            by=bureau,
            number=f"{key}-qianzhi",
            name=data["name"],
            kind=NodeKind.FRONT_END,
            organisation=organisation,
            zone=NetworkZone.EXTRANET,
        )
        public = prepare_node(home / "nodes" / key, settings.PUBLIC_URL, node.number, platform, settings.CRYPTO_SUITE)
        _register(bureau, node, code, public.to_json())
        city.nodes[key] = Node.objects.get(pk=node.pk)
    gateway, code = exchange.expect_node(
        by=bureau,
        number=GATEWAY,
        name="市政务数据查询网关",
        kind=NodeKind.GATEWAY,
        organisation=city.organisations["xxb"],
        zone=NetworkZone.EXTRANET,
    )
    public = prepare_gateway(home / "gateway", settings.PUBLIC_URL, gateway.number, platform, settings.CRYPTO_SUITE)
    _register(bureau, gateway, code, public.to_json())
    city.nodes["gateway"] = Node.objects.get(pk=gateway.pk)
    databases.build(home / "sources", sizes)
    administrators = {"mzj": "mingang", "gaj": "gongzhi", "gsj": "shangli", "rsj": "renqi"}
    for key, data in profile()["sources"].items():
        owner = profile()["nodes"][data["node"]]["organisation"]
        city.sources[key] = exchange.add_data_source(
            by=city.post(administrators[owner], Role.DEPARTMENT_ADMINISTRATOR),
            node=city.nodes[data["node"]],
            name=data["name"],
            engine=Engine.SQLITE,
            database=str(home / "sources" / data["file"]),
            is_writable=data.get("writable", False),
            number=key,
        )


def _register(bureau: Post, node: Node, code: str, identity: dict[str, Any]) -> None:
    from jinqiao import __version__

    exchange.register_node(NodeRegistration(code=code, identity=identity, name=node.name, version=__version__))
    exchange.approve_node(node, by=bureau, key_id=identity["key_id"])
