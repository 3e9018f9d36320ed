"""The fixtures of `tests.services`, and `--fast`, which leaves out the tests that need them."""

import os
from collections.abc import AsyncIterator, Iterator
from typing import TypeVar

import pytest

from tests.services import Nats, Postgres, RabbitMQ, Server, Sqs, fresh_database

S = TypeVar("S", bound=Server)


class Services:
    """The servers of this pytest process, each started when it is first asked for."""

    def __init__(self) -> None:
        self._own: dict[type[Server], Server] = {}

    def url(self, kind: type[Server]) -> str:
        return os.environ.get(kind.variable) or self.own(kind).url

    def own(self, kind: type[S]) -> S:
        """The private server of this kind, running."""
        server = self._own.get(kind)
        if not isinstance(server, kind):
            server = self._own[kind] = kind()
        server.start()
        return server

    def close(self) -> None:
        for server in self._own.values():
            server.close()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fast", action="store_true", help="leave out tests that need a server")


@pytest.fixture(scope="session")
def services(request: pytest.FixtureRequest) -> Iterator[Services]:
    if request.config.getoption("--fast"):
        pytest.skip("needs a server; `make test` runs it")
    services = Services()
    yield services
    services.close()


@pytest.fixture
def postgres_url(services: Services) -> str:
    """A PostgreSQL server; its own database is not for tables: see `postgres_db`."""
    return services.url(Postgres)


@pytest.fixture
async def postgres_db(services: Services) -> AsyncIterator[str]:
    """A database of the test's own, empty."""
    async with fresh_database(services.url(Postgres)) as url:
        yield url
        services.url(Postgres)  # the test may have stopped it


@pytest.fixture
def rabbitmq_url(services: Services) -> str:
    return services.url(RabbitMQ)


@pytest.fixture
def nats_url(services: Services) -> str:
    return services.url(Nats)


@pytest.fixture
def sqs_endpoint(services: Services) -> str:
    return services.url(Sqs)


@pytest.fixture
def postgres(services: Services) -> Iterator[Postgres]:
    """A PostgreSQL to break."""
    yield services.own(Postgres)
    services.own(Postgres)


@pytest.fixture
def rabbitmq(services: Services) -> Iterator[RabbitMQ]:
    """A RabbitMQ to break."""
    yield services.own(RabbitMQ)
    services.own(RabbitMQ)


@pytest.fixture
def nats(services: Services) -> Iterator[Nats]:
    """A NATS to break."""
    yield services.own(Nats)
    services.own(Nats)


@pytest.fixture
def sqs(services: Services) -> Iterator[Sqs]:
    """An SQS to break."""
    yield services.own(Sqs)
    services.own(Sqs)
