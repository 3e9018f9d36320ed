"""Every way to name a place that must not be reached, and the places that may."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.target import (
    NOTHING_ALLOWED,
    AllowList,
    InvalidTargetError,
    check_broker,
    check_host,
    check_url,
    is_blocked,
    is_never,
)

LAB = AllowList.parse(["10.0.0.0/8", "127.0.0.0/8", "::1", "fd00::/8", "hooks.internal"])
EVERYTHING = AllowList.parse(["0.0.0.0/0", "::/0", "metadata.google.internal"])

BLOCKED = """
0.0.0.0 0.1.2.3 10.0.0.1 100.64.0.1 100.127.255.255 127.0.0.1 127.255.255.254 169.254.169.254
172.16.0.1 172.31.255.255 192.0.0.1 192.0.2.1 192.88.99.1 192.168.1.1 198.18.0.1 198.19.255.255
198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255 168.63.129.16
:: ::1 ::127.0.0.1 ::ffff:127.0.0.1 ::ffff:7f00:1 ::ffff:0:7f00:1 64:ff9b::7f00:1 64:ff9b:1::1
100::1 2001::1 2001:20::1 2001:db8::1 2002:7f00:1:: 3fff::1 5f00::1 fc00::1 fd00:ec2::254
fe80::1 fe80::1%eth0 fec0::1 ff02::1 4000::1
""".split()
PUBLIC = """
1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.1 100.63.255.255 100.128.0.1 128.0.0.1 169.253.0.1 172.15.0.1
172.32.0.1 192.0.1.1 192.167.1.1 198.17.0.1 198.20.0.1 223.255.255.255 ::ffff:8.8.8.8
2606:4700:4700::1111 2001:4860:4860::8888 2a00:1450::1 2003::1 3ffe::1
""".split()
METADATA = """
169.254.169.254 169.254.170.2 100.100.100.200 fd00:ec2::254 fd20:ce::254 fe80::1 168.63.129.16
::ffff:169.254.169.254 64:ff9b::a9fe:a9fe 2002:a9fe:a9fe:: ::a9fe:a9fe
""".split()


@pytest.mark.parametrize("ip", BLOCKED)
def test_what_is_not_public_is_blocked(ip: str) -> None:
    assert is_blocked(ip)


@pytest.mark.parametrize("ip", PUBLIC)
def test_what_is_public_passes(ip: str) -> None:
    assert not is_blocked(ip)


@pytest.mark.parametrize("ip", METADATA)
def test_metadata_stays_refused_whatever_is_allowed(ip: str) -> None:
    assert is_never(ip)
    assert is_blocked(ip, EVERYTHING)


def test_allowed_networks_open_private_addresses() -> None:
    assert not is_blocked("10.1.2.3", LAB)
    assert not is_blocked("::ffff:10.1.2.3", LAB)
    assert not is_blocked("::1", LAB)
    assert is_blocked("192.168.0.1", LAB)


@given(st.text())
def test_judging_an_address_is_total(text: str) -> None:
    assert is_blocked(text) in {True, False}


@given(st.text(max_size=60), st.sampled_from(["", "http://", "https://", "https://a.example/"]))
def test_judging_a_url_gives_a_target_or_a_reason(text: str, head: str) -> None:
    try:
        target = check_url(head + text, require_https=False)
    except InvalidTargetError as error:
        reason = error.message
        target = None
    else:
        reason = ""
    assert reason or target is not None
    if target is not None:
        assert target.url.isascii()
        assert check_url(target.url, require_https=False) == target


# reliability: the bad inputs that concern an address
REFUSED = r"""
http://127.0.0.1 http://localhost https://localhost. http://[::1] https://app.localhost/x
http://169.254.169.254/latest/meta-data http://metadata.google.internal https://[fd00:ec2::254]/
https://100.100.100.200 https://metadata.google.internal.
http://2130706433 http://017700000001 http://0x7f.1 http://127.1 http://0 https://0x7f000001/
https://127.0.0.01 https://0177.0.0.1 https://8.8.2056 https://1.2.3.4.5 https://127.0.0.1.
http://[::ffff:7f00:1] http://[::127.0.0.1] http://[64:ff9b::7f00:1] http://[2002:7f00:1::]
http://[fec0::1] https://[fe80::1%25eth0] https://[fe80::1%eth0]
http://①②⑦.⓪.⓪.① http://127。0。0。1 https://ⓛocalhost https://LOCALHOST https://①②⑦.1
file:///etc/passwd gopher://example.com/ ftp://example.com ws://example.com example.com
//example.com https: https:// https:/// https:example.com https:///path javascript:alert(1)
http://user:pw@example.com/ http://good@127.0.0.1 https://@example.com https://a:b@[::1]/
https://example.com\@127.0.0.1/ https://example.com\.evil.com/
https://example.com:0 https://example.com:22 https://example.com:25 https://example.com:6379
https://example.com:65536 https://example.com:-1 https://example.com:x
https://example.com:443:80 https://[127.0.0.1]/ https://[::1]x/ https://[v1.a]/ https://::1/
https://127.0.0.%31/ https://exa%00mple.com https://-a.example https://a..example https://a_b-.x
https://faß.example https://%6c%6fcalhost
""".split()
REFUSED.append("https://example.com:\uff18\uff10")


@pytest.mark.parametrize("url", REFUSED)
def test_a_bad_url_is_refused(url: str) -> None:
    with pytest.raises(InvalidTargetError):
        check_url(url, require_https=False)


@pytest.mark.parametrize("char", "\r\n\t\0 \x7f\x85\xa0\u2028\u3000\u200b")
@pytest.mark.parametrize(
    "shape", ["https://ex{}ample.com/", "https://example.com/a{}b", "{}https://a.b"]
)
def test_control_characters_and_spaces_are_refused_anywhere(shape: str, char: str) -> None:
    with pytest.raises(InvalidTargetError, match="space, a backslash or a control"):
        check_url(shape.format(char))


def test_long_urls_and_hosts_are_refused() -> None:
    assert check_url("https://example.com/".ljust(2048, "a")).host == "example.com"
    with pytest.raises(InvalidTargetError, match="2048"):
        check_url("https://example.com/".ljust(2049, "a"))
    with pytest.raises(InvalidTargetError, match="not a host name"):
        check_url("https://" + "a." * 126 + "example")
    with pytest.raises(InvalidTargetError, match="not a host name"):
        check_url("https://" + "a" * 64 + ".example")


def test_addresses_tell_why_they_are_refused() -> None:
    with pytest.raises(InvalidTargetError) as refused:
        check_url("https://10.0.0.1/secret?token=1")
    assert refused.value.code == "ssrf_blocked"
    assert "secret" not in refused.value.message
    with pytest.raises(InvalidTargetError) as malformed:
        check_url("https://example.com/a b")
    assert malformed.value.code == "invalid_url"


def test_what_is_allowed_may_be_plain_http() -> None:
    for url in (
        "http://10.0.0.1/x",
        "http://hooks.internal/x",
        "http://127.0.0.1:8080",
        "http://[::1]/",
    ):
        assert check_url(url, LAB).listed
    with pytest.raises(InvalidTargetError, match="https"):
        check_url("http://example.com/", LAB)
    with pytest.raises(InvalidTargetError, match="https"):
        check_url("http://8.8.8.8/", LAB)
    assert not check_url("http://example.com/", require_https=False).listed


def test_localhost_needs_to_be_listed_by_its_name() -> None:
    with pytest.raises(InvalidTargetError, match="this machine"):
        check_url("http://localhost:9000/", LAB)
    named = AllowList.parse(["LocalHost."])
    assert check_url("http://localhost:9000/", named).listed


def test_a_metadata_name_cannot_be_listed() -> None:
    with pytest.raises(InvalidTargetError, match="metadata"):
        check_url("http://metadata.google.internal/", EVERYTHING)


@pytest.mark.parametrize(
    ("url", "same"),
    [
        ("HTTPS://Example.COM", "https://example.com/"),
        ("https://example.com.:443/a?b=c#d", "https://example.com/a?b=c"),
        ("https://example.com:8443/a%2Fb", "https://example.com:8443/a%2Fb"),
        ("https://8.8.8.8/", "https://8.8.8.8/"),
        ("https://[2606:4700:4700:0::1111]/", "https://[2606:4700:4700::1111]/"),
        ("https://example.com/olá?x=ç", "https://example.com/ol%C3%A1?x=%C3%A7"),
        ("https://loja.exâmple.com/", "https://loja.xn--exmple-xta.com/"),
        ("https://example.com:/", "https://example.com/"),
        ("https://my_service.example/x", "https://my_service.example/x"),
        ("https://1password.example/", "https://1password.example/"),
    ],
)
def test_a_good_url_has_one_spelling(url: str, same: str) -> None:
    assert check_url(url).url == same


def test_our_own_address_would_be_a_loop() -> None:
    own = "https://gate.example/comporta"
    for url in ("https://gate.example/comporta", "https://GATE.example:443/comporta/hooks/x"):
        with pytest.raises(InvalidTargetError, match="loop"):
            check_url(url, own=own)
    assert check_url("https://gate.example/other", own=own).path == "/other"
    assert check_url("https://gate.example:8443/comporta", own=own).port == 8443
    with pytest.raises(InvalidTargetError, match="loop"):
        check_url("http://127.0.0.1:8080/x", LAB, own="http://127.0.0.1:8080")


@pytest.mark.parametrize("entry", ["10.0.0.0/33", "a b", "http://x", "", "10.0.0.1:80"])
def test_a_mistyped_allowance_is_named(entry: str) -> None:
    with pytest.raises(ValueError, match="neither"):
        AllowList.parse([entry])


def test_broker_urls_may_carry_credentials() -> None:
    assert check_broker("amqps://u:p%40@mq.example/v", ("amqp", "amqps"), port=5671) == (
        "mq.example",
        5671,
    )
    assert check_broker("nats://10.0.0.9:4333", ("nats",), LAB, port=4222) == ("10.0.0.9", 4333)
    for url in (
        "nats://10.0.0.9",
        "http://mq.example",
        "nats://mq.example:25",
        "nats://a b",
        "nats://",
    ):
        with pytest.raises(InvalidTargetError) as refused:
            check_broker(url.replace("//", "//u:hunter2@", 1), ("nats",), port=4222)
        assert "hunter2" not in refused.value.message


def test_a_bare_host_is_judged_too() -> None:
    assert check_host("mq.example") == ("mq.example", False)
    assert check_host("[2606:4700::1]") == ("2606:4700::1", True)
    with pytest.raises(InvalidTargetError):
        check_host("127.0.0.1", NOTHING_ALLOWED)
