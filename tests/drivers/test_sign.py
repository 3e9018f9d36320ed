"""A contributor's sample is signed as its provider would sign it."""

import json
from pathlib import Path

import pytest

from tests.drivers.samples import FOLDER
from tests.drivers.sign import main, sign


@pytest.mark.parametrize(
    ("name", "part", "key"),
    [
        ("shopify/orders_paid", "headers", "X-Shopify-Hmac-Sha256"),
        ("woocommerce/order_paid_v3", "headers", "X-WC-Webhook-Signature"),
        ("kiwify/order_approved", "query", "signature"),
    ],
)
def test_signing_gives_what_the_provider_gives(
    tmp_path: Path, name: str, part: str, key: str
) -> None:
    original = json.loads((FOLDER / f"{name}.json").read_text("utf-8"))
    unsigned = original | {part: original[part] | {key: "to be signed"}}
    copy = tmp_path / f"{name}.json"
    copy.parent.mkdir()
    copy.write_text(json.dumps(unsigned), "utf-8")

    assert sign(name, tmp_path) == part

    assert json.loads(copy.read_text("utf-8")) == original


def test_what_cannot_be_signed_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["kiwify/no-such-case"]) == 2
    assert "kiwify/no-such-case" in capsys.readouterr().err
