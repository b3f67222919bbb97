"""How every test runs: in virtual time unless it says otherwise, and with the same hypothesis examples each time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import hypothesis
import pytest

from mesh.clock import VirtualLoop

hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis.settings.load_profile("repeatable")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--renew", action="store_true", help="rewrite the stored transcripts")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "real_loop: run on asyncio's own loop and the real clock")


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """One factory, so that the test keeps its plain name."""
    if item.get_closest_marker("real_loop") is not None:
        return {"real": asyncio.new_event_loop}
    return {"virtual": VirtualLoop}


@pytest.fixture
def renew(request: pytest.FixtureRequest) -> bool:
    """Whether stored files are to be rewritten instead of compared."""
    return bool(request.config.getoption("--renew"))
