"""What is said of a schema on its way to be registered."""

import pytest

from catalogue.registration import advice


@pytest.mark.parametrize(
    ("type_", "successor"),
    [
        ("order.created", "order.created.v2"),
        ("order.created.v2", "order.created.v3"),
        ("order.created.v9", "order.created.v10"),
        ("order.v", "order.v.v2"),
        ("v2", "v2.v2"),
    ],
)
def test_an_incompatible_change_is_a_type_of_the_next_name(type_: str, successor: str) -> None:
    assert advice(type_) == f"An incompatible change is a new type: {successor}"
