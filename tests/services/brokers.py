"""The message brokers: RabbitMQ from Debian, NATS from a wheel, SQS as moto plays it."""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Self

from tests.services.server import Kept, Server, ServerError, converse, free_port


class RabbitMQ(Server):
    """A node of its own, with its own port mapper, that knows nothing of the machine's."""

    variable: ClassVar[str] = "TEST_RABBITMQ_URI"
    accounts: ClassVar[tuple[str, ...]] = ("rabbitmq", "nobody")

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    def prepare(self) -> None:
        # Not the one in /usr/sbin: that insists on the system's user, folders and log.
        self._program = _find("rabbitmq-server", Path("/usr/lib/rabbitmq/bin"))
        self._ports = {"dist": free_port(), "epmd": free_port()}
        self._mapper: Kept | None = None
        self.write("enabled_plugins", "[].\n")
        self.write("environment", "")
        self.write("rabbitmq.conf", f"listeners.tcp.1 = 127.0.0.1:{self.port}\n")

    def environ(self) -> dict[str, str]:
        here = str(self.folder)
        return super().environ() | {
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self._ports["epmd"]),
            "RABBITMQ_NODENAME": f"comporta-{self.port}@localhost",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._ports["dist"]),
            "RABBITMQ_CONF_ENV_FILE": f"{here}/environment",
            "RABBITMQ_CONFIG_FILE": f"{here}/rabbitmq.conf",
            "RABBITMQ_ADVANCED_CONFIG_FILE": f"{here}/advanced.config",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{here}/enabled_plugins",
            "RABBITMQ_FEATURE_FLAGS_FILE": f"{here}/feature_flags",
            "RABBITMQ_GENERATED_CONFIG_DIR": f"{here}/config",
            "RABBITMQ_MNESIA_BASE": f"{here}/data",
            "RABBITMQ_PID_FILE": f"{here}/pid",
            "RABBITMQ_LOG_BASE": here,
            "RABBITMQ_LOGS": "-",
            # Idle schedulers that spin would take the two cores from the tests.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none",
            # Makes the script exec the VM, so that signals reach it.
            "RUNNING_UNDER_SYSTEMD": "true",
        }

    def command(self) -> Sequence[str]:
        return [str(self._program)]

    def start(self) -> Self:
        if not (self._mapper and self._mapper.alive):
            # Erlang would start one for itself that outlives it.
            command = [str(_find("epmd")), "-address", "127.0.0.1", "-port", self._port("epmd")]
            self._mapper = Kept(
                command, folder=self.folder, environ=super().environ(), user=self.user
            )
        return super().start()

    def close(self) -> None:
        super().close()
        if self._mapper:
            self._mapper.end(gently=True)
            self._mapper = None

    def ready(self) -> bool:
        return converse(self.port, b"AMQP\x00\x00\x09\x01", b"RabbitMQ")

    def control(self, *words: str) -> str:
        """Run rabbitmqctl on this node: raise an alarm, close all connections..."""
        return self.run(_find("rabbitmqctl", self._program.parent), *words)

    def _port(self, name: str) -> str:
        return str(self._ports[name])


class Nats(Server):
    """NATS with JetStream on."""

    variable: ClassVar[str] = "TEST_NATS_URL"

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def prepare(self) -> None:
        self._program = _find("nats-server", Path(sys.executable).parent)

    def command(self) -> Sequence[str]:
        listen = ["--addr", "127.0.0.1", "--port", str(self.port)]
        return [str(self._program), *listen, "--jetstream", "--store_dir", str(self.folder)]

    def ready(self) -> bool:
        return converse(self.port, b"PING\r\n", b'"jetstream":true')


class Sqs(Server):
    """SQS as the moto server plays it. Its queues live in memory: a restart forgets them."""

    variable: ClassVar[str] = "TEST_SQS_ENDPOINT"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def prepare(self) -> None:
        """Nothing to lay out."""

    def command(self) -> Sequence[str]:
        return [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]

    def ready(self) -> bool:
        return converse(self.port, b"GET /moto-api/ HTTP/1.0\r\n\r\n", b" 200 ")


def _find(program: str, *folders: Path) -> Path:
    places = [str(folder) for folder in folders]
    found = next((path for place in places if (path := shutil.which(program, path=place))), None)
    found = found or shutil.which(program)
    if not found:
        raise ServerError(f"{program} is missing: run `make setup services`")
    return Path(found)
