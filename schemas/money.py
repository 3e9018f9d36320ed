"""Money as integer minor units; the exponent of a currency is ISO 4217's."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal

# ISO 4217 table A.1: currencies whose minor unit is not two digits.
# https://www.six-group.com/en/products-services/financial-information/data-standards.html
EXPONENTS: dict[str, int] = dict.fromkeys(
    "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF".split(), 0
) | dict.fromkeys("BHD IQD JOD KWD LYD OMR TND".split(), 3)
LARGEST_MAGNITUDE = 18  # 10^18 minor units: beyond any price, within 64 bits


def exponent(currency: str | None) -> int:
    """Digits after the decimal point of `currency` (ISO 4217 code, upper case); 2 when unknown."""
    return EXPONENTS.get(currency or "", 2)


def minor_units(amount: Decimal, currency: str | None) -> int:
    """`amount` of major units as minor units, rounded half to even.

    Raises ValueError for what cannot be a price: NaN, infinity, more than 10^18 minor units.
    """
    if not amount.is_finite() or amount.adjusted() > LARGEST_MAGNITUDE - 4:
        raise ValueError(f"not an amount of money: {str(amount)[:32]}")
    return int(amount.scaleb(exponent(currency)).to_integral_value(ROUND_HALF_EVEN))
