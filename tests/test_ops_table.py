"""The table of operations is complete and up to date."""

import ops_table
import pytest


@pytest.mark.parametrize("row", ops_table.rows(), ids=lambda row: row.base)
def test_no_operation_lacks_a_part(row):
    assert not row.missing


def test_the_page_is_up_to_date():
    """``python tests/ops_table.py`` writes it anew."""
    assert ops_table.PAGE.read_text() == ops_table.page()


def test_exceptions_are_needed():
    """What has a part is no exception any more."""
    for row in ops_table.rows():
        assert not (row.layers and row.base in ops_table.WITHOUT_LAYER)
        assert not (row.benchmarks and row.base in ops_table.WITHOUT_BENCHMARK)


def test_a_missing_part_is_found():
    name = "_".join(("no", "such", "pool"))  # else this file would be a test of it
    assert ops_table.Row(name, [f"{name}2d"]).missing == [
        "forward", "backward", "reference", "reference of the gradient", "layer", "tests", "benchmark"
    ]  # fmt: skip
