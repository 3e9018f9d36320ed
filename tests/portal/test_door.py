"""Who gets in, and that nobody else does anything in their name."""

import re
from pathlib import Path

from yarl import URL

from gateway.portal.pages import PAGES
from gateway.portal.session import LIFETIME
from tests.api.rig import Api, serving
from tests.api.shop import opened
from tests.portal.visitor import Visitor

OPEN = {"/sign-in", "/sign-out", "/look"}
GUARDED = [page for page in PAGES if page.path not in OPEN]


def asked(path: str) -> str:
    """A path of a page, to things that do not exist."""
    for name in ("id", "instance", "name", "slug"):
        path = path.replace("{" + name + "}", "nobody")
    path = path.replace("{kind}", "webhook")
    return re.sub(r"\{action:(\w+)[^}]*\}", r"\1", path)


async def test_visitors_are_sent_to_sign_in(api: Api) -> None:
    async with Visitor.of(api) as stranger:
        for one in GUARDED:
            place = asked(one.path)
            seen = (
                await stranger.see(place, follow=False)
                if one.method == "GET"
                else await stranger.post(place, "x")
            )
            assert seen.status == 303, place
            assert "sign-in" in seen.headers["Location"], place


async def test_a_wrong_key_is_told_beside_its_field(api: Api) -> None:
    async with Visitor.of(api) as stranger:
        seen = await stranger.sign_in("cmp_wrong")

        assert seen.status == 401
        assert "cut off or mistyped" in seen.text
        assert (await stranger.see("/events", follow=False)).status == 303


async def test_the_session_is_a_sealed_cookie(visitor: Visitor) -> None:
    form = await visitor.see("/sign-in", follow=False)
    assert form.headers["Location"] == "./"
    seen = await visitor.post("/sign-out", await visitor.token())
    assert seen.status == 303
    again = await visitor.sign_in()

    (cookie,) = [c for c in again.headers.getall("Set-Cookie") if "comporta_session" in c]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert f"Max-Age={LIFETIME}" in cookie
    assert "the_admin" not in cookie


async def test_forms_need_the_token_of_their_session(api: Api, visitor: Visitor) -> None:
    async with Visitor.of(api) as other:
        await other.sign_in()
        foreign = await other.token()

    for token in ("", "x", foreign):
        assert (await visitor.post("/sign-out", token)).status == 403
    assert (await visitor.see("/events", follow=False)).status == 200


async def test_a_revoked_key_ends_its_sessions(api: Api) -> None:
    made = (await api.post("/api-keys", {"name": "k", "permissions": ["EVENTS_READ"]})).data
    async with Visitor.of(api) as visitor:
        await visitor.sign_in(made["key"])
        assert (await visitor.see("/events", follow=False)).status == 200

        await api.delete(f"/api-keys/{made['id']}")

        assert (await visitor.see("/events", follow=False)).status == 303


async def test_what_the_key_may_not_is_neither_shown_nor_done(api: Api) -> None:
    shop = await opened(api)
    event_id = await shop.order(1)
    made = (await api.post("/api-keys", {"name": "k", "permissions": ["EVENTS_READ"]})).data
    async with Visitor.of(api) as visitor:
        await visitor.sign_in(made["key"])
        seen = await visitor.see(f"/events/{event_id}")
        replay = await visitor.post(f"/events/{event_id}/replay", seen.token)

    assert seen.status == 200
    assert "Send again" not in seen.text
    assert replay.status == 403
    assert "EVENTS_REPLAY" in replay.text


async def test_every_page_stands_behind_its_permission(api: Api) -> None:
    made = (await api.post("/api-keys", {"name": "k", "permissions": []})).data
    async with Visitor.of(api) as visitor:
        await visitor.sign_in(made["key"])
        token = await visitor.token()
        for one in GUARDED:
            place = asked(one.path)
            seen = await (
                visitor.see(place, follow=False)
                if one.method == "GET"
                else visitor.post(place, token)
            )
            assert (seen.status == 403) is (one.permission is not None), (one, seen.status)
            assert one.permission is None or one.permission in seen.text


async def test_with_auth_off_nobody_signs_in(tmp_path: Path) -> None:
    async with serving(tmp_path, auth=False) as api, Visitor.of(api) as visitor:
        assert (await visitor.see("/events", follow=False)).status == 200


async def test_pages_forbid_what_is_not_theirs(visitor: Visitor) -> None:
    for place in ("", "/events", "/nowhere", "/static/base.css"):
        seen = await visitor.see(place)
        policy = seen.headers["Content-Security-Policy"]
        assert "default-src 'self'" in policy
        assert "unsafe" not in policy
        assert seen.headers["X-Content-Type-Options"] == "nosniff"
        assert " style=" not in seen.text


async def test_what_is_not_there_is_a_page_of_ours(visitor: Visitor) -> None:
    for place in ("/nowhere", "/events/nobody", "/inbounds/nobody", "/deliveries/nobody"):
        seen = await visitor.see(place)
        assert seen.status == 404, place
        assert "There is nothing here" in seen.text


async def test_nobody_is_led_away(visitor: Visitor) -> None:
    token = await visitor.token()
    for back in (
        "https://evil.example/",
        "//evil.example",
        "/portal//evil.example",
        "javascript:1",
    ):
        seen = await visitor.post("/look", token, theme="dark", back=back)
        assert seen.status == 303
        here = URL(f"{visitor.api.url}/portal/look")
        assert here.join(URL(seen.headers["Location"])).origin() == here.origin()


async def test_a_link_from_elsewhere_finds_the_session(visitor: Visitor) -> None:
    async with Visitor.of(visitor.api) as without:
        seen = await without.see("/events?name=x", site="cross-site")

    assert seen.status == 200
    assert 'http-equiv="refresh" content="0;url=events?name=x"' in seen.text


async def test_the_front_door_knows_people_from_programs(visitor: Visitor) -> None:
    api = visitor.api
    async with visitor.session.get(f"{api.url}/", allow_redirects=False) as got:
        assert (got.status, got.headers["Location"]) == (302, "portal")
    told = await api.get("/", headers={"Accept": "application/json"})
    assert told.body["portal"] == "/portal"


async def test_what_is_done_here_is_on_record(visitor: Visitor) -> None:
    await visitor.post("/instances", await visitor.token(), name="loja")

    (entry,) = (await visitor.api.get("/audit")).data
    assert entry["action"] == "POST /instances"
    assert entry["key"]["id"] == "admin"
    assert entry["fields"] == ["name", "skip_superseded"]
    assert "POST /<wbr>instances" in (await visitor.see("/settings/audit")).text
