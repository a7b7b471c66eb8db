"""On the process target, an instance that hangs, is killed or goes bad later costs little, is named and comes back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import unwell
from sick import Sick, brought_up

TIMEOUT_SECONDS = 2


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sick]:
    folder = tmp_path_factory.mktemp("unwell") / "two"
    with brought_up("process", folder, instances=2, timeout=TIMEOUT_SECONDS) as stack:
        yield stack


def test_a_stopped_instance_costs_a_request_its_timeout_at_most_and_is_named(stack: Sick) -> None:
    unwell.a_stopped_instance_costs_a_request_its_timeout_at_most_and_is_named(stack, TIMEOUT_SECONDS)


def test_without_an_instance_nginx_says_so_on_a_page_of_its_own(stack: Sick) -> None:
    unwell.without_an_instance_nginx_says_so_on_a_page_of_its_own(stack)


def test_a_killed_instance_is_back_and_no_get_is_lost(stack: Sick) -> None:
    unwell.a_killed_instance_is_back_and_no_get_is_lost(stack)


def test_a_killed_worker_of_nginx_is_replaced(stack: Sick) -> None:
    unwell.a_killed_worker_of_nginx_is_replaced(stack)


def test_nginx_serves_on_after_its_master_was_killed(stack: Sick) -> None:
    unwell.nginx_serves_on_after_its_master_was_killed(stack)


@pytest.mark.parametrize("way", unwell.LATER)
def test_a_release_that_goes_bad_after_its_switch_is_taken_back(stack: Sick, way: str) -> None:
    unwell.is_taken_back(stack, unwell.LATER[way])
