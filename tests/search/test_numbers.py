"""The keys that compare numbers."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fhirstore.search.numbers import number_key

numbers = st.one_of(
    st.decimals(allow_nan=False, allow_infinity=False),
    st.integers(-(10**40), 10**40).map(Decimal),
    st.builds(lambda n, e: Decimal(n).scaleb(e), st.integers(-999, 999), st.integers(-120, 120)),
)


@given(numbers, numbers)
@example(Decimal("-1E+5"), Decimal("-1E-5"))
@example(Decimal("98.6"), Decimal("98.60001"))
@example(Decimal("-98"), Decimal("-98.6"))
@example(Decimal("9"), Decimal("10"))
@example(Decimal("0.09"), Decimal("0.1"))
@example(Decimal("1e-10"), Decimal("1e-9"))
@example(Decimal("0"), Decimal("-0.0"))
def test_number_keys_sort_as_the_numbers_do(a: Decimal, b: Decimal) -> None:
    assert (number_key(a) < number_key(b)) == (a < b)
    assert (number_key(a) == number_key(b)) == (a == b)


@pytest.mark.parametrize("text", ["1.0", "1.00", "1e0", "0.1e1", "10e-1"])
def test_equal_numbers_have_one_key_however_they_are_written(text: str) -> None:
    assert number_key(Decimal(text)) == number_key(Decimal(1))


def test_what_is_not_finite_has_no_key() -> None:
    with pytest.raises(ValueError, match="NaN"):
        number_key(Decimal("NaN"))
