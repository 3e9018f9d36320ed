"""The real servers that the tests talk to.

A test asks for a fixture (`postgres_url`, `postgres_db`, `rabbitmq_url`, `nats_url`,
`sqs_endpoint`) and gets the server that the environment names, else a private one that is started
on first use: one set for each pytest process, so that parallel workers cannot disturb each other.
A test that stops, kills or freezes a server asks for `postgres`, `rabbitmq`, `nats` or `sqs`:
always a private one, and running again when the test is over.
"""

from tests.services.brokers import Nats, RabbitMQ, Sqs
from tests.services.postgres import Postgres, fresh_database
from tests.services.server import Server, ServerError, eventually, free_port

__all__ = [
    "Nats",
    "Postgres",
    "RabbitMQ",
    "Server",
    "ServerError",
    "Sqs",
    "eventually",
    "free_port",
    "fresh_database",
]
