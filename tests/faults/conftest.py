"""What the fault tests share: a program or several, a provider, a receiver, and the table."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.e2e.program import Program, program
from tests.faults.ledger import Audit, Ledger, audit
from tests.faults.provider import Provider, providing
from tests.faults.table import Row, markdown
from tests.faults.witness import Witness, witnessing
from tests.sinks.receiver import until

T = TypeVar("T")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="every fault in full, not in short")
    parser.addoption("--long", action="store_true", help="a thousand random faults, too")
    parser.addoption("--minutes", type=float, default=20, help="at most, for each half of them")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "fault(number): the fault, of the 25 listed, it is about")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    rows = [
        Row(**value)
        for reports in terminalreporter.stats.values()
        for report in reports
        if isinstance(report, pytest.TestReport) and report.when == "call"
        for name, value in report.user_properties
        if name == "fault" and isinstance(value, dict)
    ]
    if rows:
        terminalreporter.section("faults")
        terminalreporter.write_line(markdown(rows))


class Scene:
    """A shop, its provider, its receiver, and the ledger that judges between them."""

    def __init__(self, request: pytest.FixtureRequest, witness: Witness) -> None:
        self._request, self.witness, self.ledger = request, witness, Ledger()
        self.full = bool(request.config.getoption("--full", default=False))
        self.stack = AsyncExitStack()

    def pick(self, short: T, full: T) -> T:
        """The one or the other, as the run is in short or in full."""
        return full if self.full else short

    def of_three(self, short: T, full: T, long: T) -> T:
        """The last in the long form of a full run."""
        return (
            long
            if self._request.config.getoption("--long", default=False)
            else self.pick(short, full)
        )

    @property
    def minutes(self) -> float:
        """What random faults may take."""
        return float(self._request.config.getoption("--minutes", default=20))

    async def provider(self, *programs: Program, url: str = "", **sink: Any) -> Provider:
        """The provider of a shop whose events the witness gets (by way of `url`)."""
        context = providing(programs, url or self.witness.url, self.ledger, **sink)
        return await self.stack.enter_async_context(context)

    async def all_arrived(self, patience: float = 60.0) -> None:
        """Wait until the witness has everything that was acknowledged."""
        missing = set(self.ledger.acknowledged.values())

        def none_is_missing() -> bool:
            missing.difference_update(self.witness.ids)
            return not missing

        await until(none_is_missing, patience)

    async def audit(self, program: Program) -> Audit:
        """What the ledger says, with what this gateway says still waits."""
        return await audit(program, self.ledger, self.witness.arrivals)

    def must_be_within(self, seconds: float, limit: float) -> None:
        """Judge a time, in a full run only: in short, nobody knows what else the machine does."""
        assert seconds < limit or not self.full, f"took {seconds:.1f} s, not {limit:.0f} s"

    def report(
        self,
        fault: str,
        found: Audit,
        *,
        tries: int = 1,
        recovery: float | None = None,
        note: str = "",
    ) -> None:
        """Put a row into the table. The ledger must be clean. `recovery`: seconds."""
        mark = self._request.node.get_closest_marker("fault")
        number = mark.args[0] if mark else 0
        row = Row.of(number, fault, found.hold(), tries=tries, recovery=recovery, note=note)
        self._request.node.user_properties.append(("fault", row.plain()))


@pytest.fixture
async def scene(request: pytest.FixtureRequest) -> AsyncIterator[Scene]:
    async with witnessing() as witness:
        made = Scene(request, witness)
        async with made.stack:
            yield made


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Program]:
    """A gateway on SQLite, not started yet."""
    async with program(tmp_path) as made:
        yield made


Nodes = Callable[..., Awaitable[list[Program]]]


@pytest.fixture
async def nodes(tmp_path: Path) -> AsyncIterator[Nodes]:
    """Makes gateways that share a PostgreSQL store, and starts them."""
    async with AsyncExitStack() as stack:

        async def make(store: str, count: int, *, first: int = 0, **environ: str) -> list[Program]:
            made = []
            for number in range(first, first + count):
                folder = tmp_path / f"node-{number}"
                folder.mkdir(exist_ok=True)
                one = await stack.enter_async_context(program(folder, STORE=store, **environ))
                await one.start()
                made.append(one)
            return made

        yield make
