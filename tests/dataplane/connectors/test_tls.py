"""Encrypted connections to a source: with the right authority they work, everything else is refused as what it is."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from jinqiao.dataplane.connectors import open_source, open_target
from jinqiao.dataplane.errors import TlsFailed
from jinqiao.kernel.contracts.tables import Column, Engine, LogicalType
from tests import servers
from tests.certificates import Authority
from tests.dataplane.exchanges import read_table

pytestmark = pytest.mark.servers
COLUMNS = (Column(name="id", type=LogicalType.INTEGER),)


@dataclass(frozen=True)
class Secure:
    """A server whose certificate names `localhost`, and nothing else."""

    server: servers.Server
    authority: Authority
    stranger: Authority

    def options(self, authority: Authority | Path | None, *, verify: bool = True) -> dict[str, Any]:
        file = authority.file if isinstance(authority, Authority) else authority
        if self.server.engine is Engine.POSTGRESQL:
            return {"sslmode": "verify-full" if verify else "require"} | ({"sslrootcert": str(file)} if file else {})
        return {"tls": True} | ({"ca": str(file)} if file else {})

    def refusal(self, host: str, options: dict[str, Any]) -> TlsFailed:
        connection = self.server.connection(host=host, options=options)
        with pytest.raises(TlsFailed) as caught, open_source(connection, self.server.password) as source:
            source.test()
        with pytest.raises(TlsFailed), open_target(connection, self.server.password) as target:
            target.test()
        assert self.server.password not in f"{caught.value} {caught.value.details}"
        return caught.value


@pytest.fixture(scope="module", params=["postgresql", "mysql"])
def secure(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    folder = tmp_path_factory.mktemp("tls")
    authority = Authority.make(folder)
    start = servers.postgresql if request.param == "postgresql" else servers.mariadb
    with start(certificate=authority.issue(folder, "localhost")) as server:
        server.execute("CREATE TABLE people (id INTEGER)", "INSERT INTO people VALUES (1), (2)")
        yield Secure(server, authority, Authority.make(folder, "stranger"))


def test_with_the_right_authority_rows_come_by_an_encrypted_connection(secure: Secure) -> None:
    connection = secure.server.connection(host="localhost", options=secure.options(secure.authority))

    with open_source(connection, secure.server.password) as source:
        assert read_table(source, "people", COLUMNS).num_rows == 2  # the server takes no other connections
    with open_target(connection, secure.server.password) as target:
        assert target.test()


def test_an_unknown_authority_is_refused(secure: Secure) -> None:
    assert not secure.refusal("localhost", secure.options(secure.stranger)).retryable


def test_another_name_than_the_certificates_is_refused(secure: Secure) -> None:
    secure.refusal("127.0.0.1", secure.options(secure.authority))


def test_a_file_of_authorities_that_is_not_there_is_refused(secure: Secure, tmp_path: Path) -> None:
    secure.refusal("localhost", secure.options(tmp_path / "no.pem"))


def test_encryption_alone_is_possible_where_no_authority_is_given(secure: Secure) -> None:
    connection = secure.server.connection(host="127.0.0.1", options=secure.options(None, verify=False))

    with open_source(connection, secure.server.password) as source:
        assert source.test()


def test_a_plain_connection_is_refused_by_a_server_that_takes_none(secure: Secure) -> None:
    if secure.server.engine is Engine.POSTGRESQL:
        secure.refusal("localhost", {"sslmode": "disable"})
    else:
        found = secure.server.fetch("SHOW STATUS LIKE 'Ssl_cipher'")
        assert found[0][1]  # the driver encrypts by itself where the server can
