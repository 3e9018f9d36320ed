"""What is done in the portal is on record, and who guesses keys there is held off as well."""

from dataclasses import replace

from gateway.sources import Attempts
from tests.api.rig import Api
from tests.portal.visitor import Visitor


async def test_what_a_form_changed_is_in_the_audit_log(api: Api, visitor: Visitor) -> None:
    token = await visitor.token()
    page = await visitor.see("/settings/keys")
    assert page.status == 200
    done = await visitor.post(
        "/settings/keys", token, name="of the portal", permissions="EVENTS_READ"
    )
    assert done.status < 400, done.text

    entries = (await api.get("/audit")).data
    assert [(e["action"], e["key"]["name"], e["source"]) for e in entries] == [
        ("POST /api-keys", "admin", "127.0.0.1")
    ]
    assert "name" in entries[0]["fields"]
    assert "csrf" not in entries[0]["fields"]


async def test_who_guesses_keys_is_held_off(api: Api) -> None:
    callers = api.services.callers
    api.services.callers = replace(callers, attempts=Attempts(callers.attempts._monotonic, 3))
    async with Visitor.of(api) as stranger:
        statuses = [(await stranger.sign_in(f"guess-{n}")).status for n in range(8)]

    assert statuses[:3] == [401, 401, 401]
    assert statuses[-1] == 429
