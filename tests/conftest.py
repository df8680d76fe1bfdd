"""What several test files share. Files of helpers beside this one say what they are for."""

import os
import sys
from collections.abc import Iterator

import pytest
import structlog

from atdata_api.server import AppView
from atdata_client import ATProtoClient
from atdata_indexer.playback import recorded
from tests import real_pds
from tests.appview import serving
from tests.logged_in import logged_in
from tests.real_pds import RealPds

# Servers that run in this process log there, not between the lines a test reads from stdout.
structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.__stderr__))


def require(condition: object, reason: str) -> None:
    """Skip the test unless `condition` holds; fail it instead under `REQUIRE_ALL=1`."""
    if condition:
        return
    if os.environ.get("REQUIRE_ALL") == "1":
        pytest.fail(f"REQUIRE_ALL=1, but {reason}", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def pds() -> Iterator[RealPds]:
    """The real PDS, one for all tests of a run: make accounts of your own."""
    reason = real_pds.missing()
    require(reason is None, str(reason))
    with real_pds.running() as running:
        yield running


@pytest.fixture
def author(pds: RealPds) -> Iterator[ATProtoClient]:
    """A client logged in to a new account on the real PDS."""
    # By the tokens of its making: checking a password takes the PDS a third of a second.
    with logged_in(pds) as client:
        yield client


@pytest.fixture
def reader(pds: RealPds) -> Iterator[ATProtoClient]:
    """A client that is not logged in."""
    with ATProtoClient(plc_url=pds.plc) as client:
        yield client


@pytest.fixture(scope="session")
def recorded_appview(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppView]:
    """The recorded network, indexed and served over HTTP. Tests only read it."""
    with serving(recorded(), tmp_path_factory.mktemp("recorded")) as view:
        yield view
