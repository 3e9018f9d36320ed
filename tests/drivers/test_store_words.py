"""What the words of Appmax, FindMyPack, Irroba and Troquecommerce mean, one by one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from drivers import appmax, bling, findmypack, irroba, troquecommerce
from drivers.base import Driver, Receipt, receive
from schemas import codec
from schemas.errors import MalformedError
from schemas.request import Grant, Inbound, Reply

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
JSON = {"content-type": ("application/json",)}


def told(driver: Driver, body: Any, settings: dict[str, Any] | None = None) -> Receipt:
    inbound = Inbound("POST", JSON, {}, codec.dumps(body), NOW)
    return receive(driver, inbound, Grant(settings=settings or {}))


def names(receipt: Receipt) -> list[str]:
    return [event.name for event in receipt.events]


APPMAX = {
    "order.pending": "OrderAuthorized OrderAuthorizedWithDelay payment_authorized_with_delay "
    "OrderBilletCreated OrderPixCreated PixGenerated order_billet_created order_pix_created",
    "order.paid": "OrderApproved OrderPaid OrderPaidByPix OrderIntegrated OrderUpSold split_orders "
    "order_approved order_paid order_paid_by_pix order_integrated order_up_sold",
    "order.expired": "OrderBilletOverdue OrderPixExpired PixExpired order_billet_overdue",
    "order.failed": "PaymentNotAuthorized PaymentNotAuthorizedWithDelay payment_not_authorized",
    "order.refunded": "OrderRefund order_refund",
    "order.partially_refunded": "OrderPartialRefund order_partial_refund",
    "order.chargeback": "OrderChargeBackInTreatment order_charge_back_in_treatment",
    "subscription.created": "CreatedSubscription created_subscription",
    "subscription.renewed": "ChargeSuccess subscription_charge_success",
    "subscription.past_due": "ChargeFailed SubscriptionDelayedEvent subscription_delayed",
    "subscription.canceled": "CanceledSubscription SubscriptionCancellationEvent "
    "subscription_cancelation",
    "checkout.abandoned": "CustomerInterested customer_interested",
    "": "CustomerCreated CustomerContacted OrderPendingIntegration OrderChargeBackGain "
    "order_pending_integration customer_created",
}


@pytest.mark.parametrize(
    ("word", "name"), [(word, name) for name, words in APPMAX.items() for word in words.split()]
)
def test_every_event_of_appmax_in_both_spellings(word: str, name: str) -> None:
    data = {"id": 1, "customer_id": 2, "customer": {"id": 2}, "subscription": {"id": 3}}
    receipt = told(appmax.DRIVER, {"event": word, "event_type": "", "data": data})
    assert names(receipt) == ([name] if name else []), receipt.reason
    assert all(event.drift == () for event in receipt.events)


def test_appmax_tells_a_payment_once_and_an_upsell_again() -> None:
    def fact(event: str, **more: Any) -> str:
        data = {"id": 1, "customer_id": 2, "total": 10, **more}
        return told(appmax.DRIVER, {"event": event, "data": data}).events[0].dedupe_key

    paid = fact("OrderPaid", status="autorizado", paid_at=None)
    assert paid == fact("OrderPaid", status="aprovado", paid_at="2026-05-02 09:17:41")
    assert paid == fact("order_integrated") != fact("OrderUpSold", total=20)
    assert fact("OrderAuthorized") == fact("OrderAuthorizedWithDelay") != fact("OrderPixCreated")
    first, second = (fact("OrderPartialRefund", total_refunded=n) for n in (3, 5))
    assert first != second


def test_appmax_money_is_not_believed_against_the_api() -> None:
    answers = {"order.paid": {}, "order.refunded": {"status": "aprovado", "total_refunded": 0}}
    for name, answer in answers.items():
        with pytest.raises(MalformedError, match="unconfirmed"):
            appmax._confirm(name, answer)
    appmax._confirm("order.partially_refunded", {"status": "aprovado", "total_refunded": "1.00"})
    appmax._confirm("order.pending", {})


def test_appmaxs_health_check_always_gets_the_same_uuid() -> None:
    def check(app: Any, key: Any) -> Reply | None:
        body = codec.dumps({"app_id": app, "external_key": key, "client_secret": "s"})
        return appmax.handshake(Inbound("POST", JSON, {}, body, NOW), Grant())

    one, again, other = check("7", "loja"), check(7, "loja"), check("7", "loja-2")
    assert one == again != other
    assert one
    assert codec.loads(one.body)["external_id"].count("-") == 4
    assert check(None, "loja") is check("7", "") is None


# From what carriers write; accents and case as they come.
OCCURRENCES = {
    "shipment.created": "Objeto postado|OBJETO POSTADO APÓS O HORÁRIO LIMITE|Coletado",
    "shipment.in_transit": "Objeto em trânsito - por favor aguarde|Encaminhado para o destino|"
    "Em análise no destino|Fiscalização concluída|Liberado pela alfândega",
    "shipment.out_for_delivery": "Objeto saiu para entrega ao destinatário",
    "shipment.updated": "Saiu para entrega ao remetente|Objeto será devolvido ao remetente|"
    "Aguardando retirada|Disponível para retirada|Liberado para retirada|Retido|"
    "Encaminhado para fiscalização|Entrega cancelada|Objeto será entregue amanhã|Sinistro|1",
    "shipment.delivered": "Objeto entregue ao destinatário|Entregue com atraso|ENTREGUE",
    "shipment.delivery_failed": "Objeto não entregue - destinatário ausente|Nao Entregue|"
    "Não foi possível realizar a entrega|Entrega recusada|Tentativa de entrega|Não foi entregue|"
    "Objeto não entregue, será devolvido ao remetente",
    "shipment.returned": "Devolvido ao remetente|Entregue ao remetente|Objeto devolvido",
    "shipment.delayed": "Objeto atrasado|Atraso na entrega",
    "shipment.lost": "Objeto extraviado|Extravio|Objeto destruído",
}


@pytest.mark.parametrize(
    ("words", "name"), [(w, name) for name, texts in OCCURRENCES.items() for w in texts.split("|")]
)
def test_an_occurrence_is_known_by_its_words(words: str, name: str) -> None:
    receipt = told(findmypack.DRIVER, {"localizador": "AA1BR", "descricao": words})
    assert names(receipt) == [name]


@pytest.mark.parametrize("state", findmypack.STATES)
def test_every_published_state_can_be_sent_or_mapped(state: str) -> None:
    name, status = findmypack.STATES[state]
    sent = told(findmypack.DRIVER, {"txt_localizador": "AA1BR", "txt_status": state})
    mapped = told(
        findmypack.DRIVER,
        {"codigo": "AA1BR", "codigo_status": 5, "ocorrencia": "Objeto entregue"},
        {"status_map": {"5": state}},
    )
    for receipt in (sent, mapped):
        assert names(receipt) == [name]
        assert receipt.events[0].data["shipments"][0].status == status
        assert receipt.events[0].drift == ()


STATUSES = {
    "order.pending": "Aguardando pagamento|Pendente",
    "order.paid": "Pagamento Aprovado|Pago|Pagamento aprovado - aguardando envio",
    "order.failed": "Pagamento não aprovado|Não autorizado|Recusado|Negado",
    "order.canceled": "Cancelado|Pedido CANCELADO",
    "order.refunded": "Estornado|Reembolsado|Devolvido",
    "order.chargeback": "Chargeback|Contestado",
    "order.expired": "Expirado|Boleto vencido",
    "order.invoiced": "Faturado",
    "order.shipped": "Enviado|Despachado",
    "order.delivered": "Entregue",
    "": "Não pago|Não entregue|Em separação|Aguardando envio|Aguardando retirada",
}


@pytest.mark.parametrize(
    ("word", "name"), [(w, name) for name, words in STATUSES.items() for w in words.split("|")]
)
def test_an_unmapped_status_of_irroba_is_known_by_its_name(word: str, name: str) -> None:
    order = {"order_id": 1, "order_status_id": 300, "order_status": word}
    assert names(told(irroba.DRIVER, order)) == ([name] if name else [])


@pytest.mark.parametrize("code", [*map(str, range(17)), "x"])
def test_a_bare_status_of_irroba_is_guessed_as_opencart_ships_it(code: str) -> None:
    receipt = told(irroba.DRIVER, {"order_id": 1, "order_status_id": code})
    assert names(receipt) == ([irroba.STATUS[code]] if code in irroba.STATUS else [])


def troque(code: str, **body: Any) -> Receipt:
    headers = {**JSON, "event": (code,)}
    inbound = Inbound("POST", headers, {}, codec.dumps({"id": "r-1", **body}), NOW)
    return receive(troquecommerce.DRIVER, inbound, Grant())


@pytest.mark.parametrize("code", troquecommerce.CODES)
def test_every_code_of_troquecommerce_decides_alone(code: str) -> None:
    receipt = troque(code, status="Cancelado")
    assert names(receipt) == [troquecommerce.CODES[code]]
    assert receipt.events[0].drift == ()


@pytest.mark.parametrize("label", troquecommerce.STATUS)
def test_a_changed_status_is_known_by_its_label(label: str) -> None:
    for spelled in (label, label.upper(), label.replace(" ", "_")):
        receipt = troque("14", status=spelled)
        assert names(receipt) == [troquecommerce.STATUS[label]]
        assert receipt.events[0].drift == ()


def test_two_events_with_one_body_are_two_deliveries() -> None:
    for body in ({"updated_at": "2026-02-20T16:03:41Z"}, {}):
        refunded, finished = troque("10", **body), troque("5", **body)
        assert refunded.delivery_key != finished.delivery_key
        assert refunded.delivery_key == troque("10", **body).delivery_key


def test_a_reopened_return_is_approved_again() -> None:
    first, second = (troque("3", tracking={"code": c}).events[0] for c in ("A1", "B2"))
    assert first.dedupe_key != second.dedupe_key


@pytest.mark.parametrize("situation", [c for c in bling.SITUATIONS if c.isdigit()])
def test_every_seeded_situation_of_bling(situation: str) -> None:
    body = {"event": bling.POLLED, "data": {"id": 1, "situacao": {"id": int(situation)}}}
    inbound = Inbound("GET", JSON, {"k": ("s",)}, codec.dumps(body), NOW)
    receipt = receive(bling.DRIVER, inbound, Grant(secrets=("s",)))
    name = bling.SITUATIONS[situation]
    assert names(receipt) == ([name] if name else [])
