"""`POST /privacy/erase`: a person's data goes from everything that is stored."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from aiohttp import web
from pydantic import AfterValidator, BaseModel, StringConstraints

from gateway import log
from gateway.api.doc import Doc
from gateway.api.paging import Data, refuse
from gateway.api.route import Call, Route, data
from gateway.api.text import Body
from gateway.erasure import Erasure
from gateway.person import Person, read_document, read_email

ABOUT = """\
Events, deliveries that came in and the record of tries are searched for the e-mail address or the
document in any spelling, and for what else is about the same orders. Orders keep their ids, amounts
and times; what came in and what receivers answered goes whole. It is done when it is answered; what
is sent at that moment still arrives, and receivers keep what they have.
"""
Email = Annotated[str, StringConstraints(max_length=254), AfterValidator(read_email)]
Number = Annotated[str, StringConstraints(max_length=40), AfterValidator(read_document)]


class Subject(Body):
    """Whom to forget; at least one of the two. `document`: a CPF, a CNPJ or another number, with or
    without punctuation.
    """

    email: Email | None = None
    document: Number | None = None


class ErasedData(BaseModel):
    """How many of each lost what they told of the person."""

    events: int
    inbounds: int
    attempts: int
    deliveries_canceled: int


async def erase_person(call: Call) -> web.Response:
    """Search and erase, within the key's instance."""
    wish = await call.model(Subject)
    if wish.email is None and wish.document is None:
        raise refuse("email", "give an e-mail address, a document, or both")
    principal = call.principal
    person = Person(wish.email or "", wish.document or "")
    database = call.services.store.database
    done = await Erasure(database, principal.tenant, person, principal.instances).run()
    log.get().info("privacy.erased", tenant=principal.tenant, key_id=principal.key_id)
    return data(ErasedData(**asdict(done)))


ROUTES: tuple[Route, ...] = (
    Route(
        method="POST",
        path="/privacy/erase",
        handler=erase_person,
        permission="KEYS_MANAGE",
        summary="Erase a person, by e-mail address or document",
        tag="operations",
        body=Subject,
        answer=Data[ErasedData],
        doc=Doc(about=ABOUT, examples={"by e-mail address": {"email": "ana@example.com"}}),
    ),
)
