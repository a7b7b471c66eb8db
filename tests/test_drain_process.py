"""What is open when a release is switched, and its files, on the process target."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import drain
import pytest
from streams import Streams, brought_up

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Streams]:
    with brought_up("process", tmp_path_factory.mktemp("drain") / "streams") as running:
        yield running


@pytest.mark.parametrize("promise", drain.check, ids=lambda promise: promise.__name__)
def test_it_holds_that(stack: Streams, promise: Callable[[Streams], None]) -> None:
    promise(stack)
