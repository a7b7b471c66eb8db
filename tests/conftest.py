"""What all tests share: the option that rewrites expected texts."""

from __future__ import annotations

import os

import pytest

LONG = (
    "kill/test_first_up_process.py",
    "kill/test_up_process.py",
    "runtimes/test_eject_docker.py",
    "test_engine_by_hand.py",
    "test_engine_dies.py",
    "test_engine_faults.py",
    "test_killed_back_docker.py",
    "test_killed_first_docker.py",
    "test_killed_up_docker.py",
)
"""What takes minutes each: run by `make long`."""

collect_ignore = [] if os.environ.get("DEPLOYKIT_LONG") else list(LONG)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write what is produced now as what is expected")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--update-golden") and os.environ.get("CI"):
        raise pytest.UsageError("--update-golden is for a person who reads the diff; CI is set")


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    """Whether expected texts are written, not compared."""
    return bool(request.config.getoption("--update-golden"))
