"""Ways to pay: the words providers use for them, and the parts of a payment most of them send."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from drivers.people import plain
from drivers.read import digits, text
from schemas.order import Boleto, Card, PaymentMethod, Pix

# Letters and digits of a word, lower case, without accents.
_WORDS: Mapping[PaymentMethod, str] = {
    "credit_card": "creditcard credit cartaodecredito cartaocredito cartao card hotcard",
    "debit_card": "debitcard debit cartaodedebito cartaodebito",
    "pix": "pix",
    "boleto": "boleto billet bankslip boletobancario financedbillet",
    "transfer": "transfer banktransfer wiretransfer directbanktransfer directdebit manualtransfer "
    "transferencia transferenciabancaria bankdebit",
    "wallet": "wallet paypal paypalinternacional picpay googlepay applepay samsungpay mercadopago "
    "balance saldo",
    "cash": "cash cashpayment dinheiro",
    "manual": "manual",
}
_METHOD = {word: method for method, words in _WORDS.items() for word in words.split()}
# FEBRABAN: digits of the bar code, and of the line people type (48 for utilities).
_BARCODE, _LINE = 44, 48


def method_of(word: Any, vendor: Mapping[str, PaymentMethod] | None = None) -> PaymentMethod | None:
    """The method a word names in any spelling (`creditCard`, `CREDIT_CARD`, `Cartão de crédito`).

    `vendor`: words of one provider alone, in lower case. None for no word, `other` for an unknown.
    """
    told = plain(text(word) or "")
    if not told:
        return None
    return (vendor or {}).get(told) or _METHOD.get(re.sub(r"[^a-z0-9]", "", told), "other")


def bank_slip(*codes: Any, url: Any = None, due_at: datetime | None = None) -> Boleto | None:
    """A boleto from the numbers a provider sends under any name; None without number and address.

    The address of a picture is no number.
    """
    numbers = [digits(c) or "" for c in codes if "://" not in (text(c) or "")]
    line = next((n for n in numbers if _BARCODE < len(n) <= _LINE), None)
    barcode = next((n for n in numbers if len(n) == _BARCODE), None)
    if line is None and barcode is None and text(url) is None:
        return None
    return Boleto(line=line, barcode=barcode, url=text(url), due_at=due_at)


def pix(code: Any, url: Any = None, expires_at: datetime | None = None) -> Pix | None:
    """A Pix charge; None when there is nothing to pay with."""
    if text(code) is None and text(url) is None:
        return None
    return Pix(code=text(code), url=text(url), expires_at=expires_at)


def card(brand: Any, last4: Any) -> Card | None:
    """What is known of a card, the brand in lower case; None for nothing."""
    name = (text(brand) or "").lower() or None
    tail = digits(last4)
    return Card(brand=name, last4=tail[-4:] if tail else None) if name or tail else None
