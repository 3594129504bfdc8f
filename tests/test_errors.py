from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from gateway import errors
from gateway.errors import GatewayError


def every_error(root: type[GatewayError] = GatewayError) -> Iterator[type[GatewayError]]:
    for child in root.__subclasses__():
        if child.__module__ == errors.__name__:
            yield child
        yield from every_error(child)


ERRORS = {error.__name__: error for error in every_error()}


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
def test_tree_in_the_docstring_names_status_and_code(error: type[GatewayError]) -> None:
    tree = errors.__doc__ or ""
    line = re.search(rf"^.*\b{error.__name__} .*$", tree, re.MULTILINE)
    assert line is not None
    assert f"{error.__name__} {error.status} {error.code}" in line[0]


def test_archive_errors_name_the_archive_and_nothing_else_of_it() -> None:
    error = errors.ArchiveTimeout("no answer in time", archive="north")
    assert str(error) == "archive north: no answer in time"
    assert error.archive == "north"
