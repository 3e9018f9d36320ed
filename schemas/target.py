"""Which addresses an outbound request may reach: pure rules, applied before DNS and at each dial.

The lists are our own: `ipaddress.is_global` calls 6to4, NAT64, multicast and v4-compatible
addresses global. https://www.iana.org/assignments/iana-ipv4-special-registry
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from urllib.parse import SplitResult, quote, urlsplit

from schemas.errors import ComportaError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

MAX_URL, MAX_HOST = 2048, 253
WEB_PORTS = {"http": 80, "https": 443}

_V4_DENIED = tuple(
    map(
        IPv4Network,
        "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24"
        " 192.0.2.0/24 192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24"
        " 224.0.0.0/4 240.0.0.0/4".split(),
    )
)
_V6_GLOBAL = IPv6Network("2000::/3")
_V6_DENIED = tuple(map(IPv6Network, "2001::/23 2001:db8::/32 2002::/16 3fff::/20".split()))
# What no operator can allow: link-local, and where clouds hand out credentials (AWS, Google, Azure,
# Alibaba, Oracle).
_NEVER: tuple[Network, ...] = (
    *map(
        IPv4Network,
        "169.254.0.0/16 100.100.100.200/32 168.63.129.16/32 192.0.0.192/32".split(),
    ),
    *map(IPv6Network, "fe80::/10 fd00:ec2::254/128 fd20:ce::254/128".split()),
)
_NEVER_NAMES = frozenset({"metadata.google.internal", "metadata.goog", "metadata", "instance-data"})
# Line protocols above 1024 that would read a request's body as commands: Redis, memcached.
_DENIED_PORTS = frozenset({6379, 11211})
_NAT64 = IPv6Network("64:ff9b::/96")
_SIX_TO_FOUR = IPv6Network("2002::/16")
_COMPATIBLE = IPv6Network("::/96")

_FORBIDDEN = re.compile(
    r"[\x00-\x20\\\x7f-\xa0\u1680\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff]"
)
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_DOTS = re.compile("[\u3002\uff0e\uff61]")
# IDNA 2003 and 2008 read these four differently, so that a name could mean two hosts.
_DEVIATIONS = re.compile("[\u00df\u03c2\u200c\u200d]")


class InvalidTargetError(ComportaError):
    """This address cannot be reached from here."""

    def __init__(self, message: str, *, code: str = "invalid_url") -> None:
        super().__init__(message)
        self.code = code


def _blocked(message: str) -> InvalidTargetError:
    return InvalidTargetError(message, code="ssrf_blocked")


@dataclass(frozen=True, slots=True)
class AllowList:
    """Private places the operator allows: networks, and host names whatever they resolve to."""

    networks: tuple[Network, ...] = ()
    hosts: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, entries: Iterable[str]) -> AllowList:
        """From CIDRs, addresses and host names. Raises ValueError naming the entry."""
        networks: list[Network] = []
        hosts: set[str] = set()
        for entry in entries:
            try:
                networks.append(ip_network(entry.strip().strip("[]"), strict=False))
            except ValueError:
                try:
                    hosts.add(_name(entry.strip()))
                except InvalidTargetError as error:
                    raise ValueError(f"{entry!r} is neither a CIDR nor a host name") from error
        return cls(tuple(networks), frozenset(hosts))

    def covers(self, address: Address) -> bool:
        """Whether an allowed network holds this address."""
        return any(address.version == net.version and address in net for net in self.networks)


NOTHING_ALLOWED = AllowList()


@dataclass(frozen=True, slots=True)
class Target:
    """A checked URL. `host`: ASCII lower case, no final dot, no brackets. `path`, `query`: encoded.

    `literal`: the host is an address. `listed`: the operator named this host.
    """

    scheme: str
    host: str
    port: int
    path: str = "/"
    query: str = ""
    literal: bool = False
    listed: bool = field(default=False, compare=False)

    @property
    def origin(self) -> str:
        """Scheme, host and, unless it is the scheme's own, port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if WEB_PORTS.get(self.scheme) == self.port else f":{self.port}"
        return f"{self.scheme}://{host}{port}"

    @property
    def url(self) -> str:
        """The URL to request, in one unambiguous spelling, without fragment."""
        return f"{self.origin}{self.path}" + (f"?{self.query}" if self.query else "")


def is_never(ip: str) -> bool:
    """Whether this address stays refused whatever is allowed; True for what is no address."""
    address = _address(ip)
    if address is None:
        return True
    inner = _embedded(address)
    return any(a.version == n.version and a in n for a in (address, *inner) for n in _NEVER)


def is_blocked(ip: str, allow: AllowList = NOTHING_ALLOWED) -> bool:
    """Whether nothing may connect to this address (with or without `%scope`); total."""
    address = _address(ip)
    if address is None or is_never(ip):
        return True
    if allow.covers(address):
        return False
    if isinstance(address, IPv4Address):
        return any(address in net for net in _V4_DENIED)
    return address not in _V6_GLOBAL or any(address in net for net in _V6_DENIED)


def _address(ip: str) -> Address | None:
    """The address meant: v4-mapped IPv6 is the IPv4 address it maps."""
    try:
        address = ip_address(ip.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _embedded(address: Address) -> tuple[IPv4Address, ...]:
    """IPv4 addresses that a translator on the way would make of an IPv6 one."""
    if isinstance(address, IPv4Address):
        return ()
    if address in _NAT64 or address in _COMPATIBLE:
        return (IPv4Address(int(address) & 0xFFFFFFFF),)
    if address in _SIX_TO_FOUR:
        return (IPv4Address(int(address) >> 80 & 0xFFFFFFFF),)
    return ()


def check_host(host: str, allow: AllowList = NOTHING_ALLOWED) -> tuple[str, bool]:
    """The one spelling of a host, and whether it is an address. Raises InvalidTargetError.

    Names are judged by what they say; what they resolve to is judged at each dial.
    """
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if ":" in bare:
        return _literal(bare, allow), True
    name = _name(host)
    try:
        return _literal(str(IPv4Address(name)), allow), True
    except ValueError:
        pass
    if _NUMBER.fullmatch(name.rpartition(".")[2]):
        raise _blocked(f"{host!r} is not an address in its usual spelling")
    if name in _NEVER_NAMES:
        raise _blocked(f"{name} is a cloud's metadata service")
    if name not in allow.hosts and (name == "localhost" or name.endswith(".localhost")):
        raise _blocked(f"{name} is this machine (COMPORTA_ALLOW_TARGETS can list it)")
    return name, False


def _literal(ip: str, allow: AllowList) -> str:
    if "%" in ip or _address(ip) is None:
        raise InvalidTargetError(f"{ip!r} is not an address")
    if is_blocked(ip, allow):
        raise _blocked(f"{ip} is not a public address (COMPORTA_ALLOW_TARGETS can list it)")
    return str(ip_address(ip))


def _name(host: str) -> str:
    """A host name as DNS takes it: lower case ASCII without the final dot."""
    name = host
    if not host.isascii():
        if _DEVIATIONS.search(host):
            raise InvalidTargetError(f"{host!r} is ambiguous: write it in its xn-- form")
        try:
            name = _DOTS.sub(".", unicodedata.normalize("NFKC", host)).encode("idna").decode()
        except UnicodeError:
            raise InvalidTargetError(f"{host!r} is not a host name") from None
    name = name.lower().removesuffix(".")
    if len(name) > MAX_HOST or not all(map(_LABEL.fullmatch, name.split("."))):
        raise InvalidTargetError(f"{host[:80]!r} is not a host name")
    return name


def check_port(port: int) -> int:
    """The port, when something that speaks our protocols may listen there."""
    if port in WEB_PORTS.values() or (1024 <= port <= 65535 and port not in _DENIED_PORTS):
        return port
    raise _blocked(f"port {port} is not allowed (80, 443, or from 1024 on)")


def _split(url: str) -> SplitResult:
    """Split what a standard parser and every other one read alike."""
    if len(url) > MAX_URL:
        raise InvalidTargetError(f"the URL is longer than {MAX_URL} characters")
    if _FORBIDDEN.search(url):
        raise InvalidTargetError("the URL has a space, a backslash or a control character")
    try:
        parts = urlsplit(url)
        url.encode()
    except ValueError:
        raise InvalidTargetError("this is not a URL") from None
    return parts


def _port(parts: SplitResult, default: int) -> int:
    try:
        port = parts.port
    except ValueError:
        raise InvalidTargetError("the port is not a number from 1 to 65535") from None
    return check_port(default if port is None else port)


def _host(parts: SplitResult) -> str:
    host = parts.netloc.rpartition("@")[2]
    if not host.startswith("["):
        return host.partition(":")[0]
    inner, _, rest = host.partition("]")
    if rest and not rest.startswith(":"):
        raise InvalidTargetError("this is not a URL")
    return inner + "]"


def check_url(
    url: str,
    allow: AllowList = NOTHING_ALLOWED,
    *,
    require_https: bool = True,
    own: str = "",
) -> Target:
    """What a URL addresses, judged without DNS. `own`: our public URL, which would be a loop.

    Raises InvalidTargetError, whose message never repeats a path or query.
    """
    parts = _split(url)
    if parts.scheme not in WEB_PORTS or not parts.netloc:
        raise InvalidTargetError("a URL starts with https:// (or http://) and a host")
    if "@" in parts.netloc:
        raise InvalidTargetError("credentials do not belong into the URL: use headers")
    host, literal = check_host(_host(parts), allow)
    target = Target(
        scheme=parts.scheme,
        host=host,
        port=_port(parts, WEB_PORTS[parts.scheme]),
        path=quote(parts.path or "/", safe=_SAFE),
        query=quote(parts.query, safe=_SAFE),
        literal=literal,
        listed=_listed(host, allow, literal=literal),
    )
    if require_https and target.scheme == "http" and not target.listed:
        raise InvalidTargetError("the URL must use https (COMPORTA_REQUIRE_HTTPS)")
    if own and _is_own(target, own):
        raise _blocked("the URL is this gateway's own: events would go round in a loop")
    return target


_SAFE = "!\"#$%&'()*+,/:;<=>?@[]^`{|}~"  # quote() touches what is not ASCII, and nothing else


def _listed(host: str, allow: AllowList, *, literal: bool) -> bool:
    return allow.covers(ip_address(host)) if literal else host in allow.hosts


def _is_own(target: Target, own: str) -> bool:
    parts = urlsplit(own)
    port = parts.port or WEB_PORTS.get(parts.scheme, 0)
    base = parts.path.rstrip("/")
    return (
        target.host == (parts.hostname or "").lower()
        and target.port == port
        and (target.path == base or target.path.startswith(base + "/"))
    )


def check_broker(
    url: str, schemes: Iterable[str], allow: AllowList = NOTHING_ALLOWED, *, port: int
) -> tuple[str, int]:
    """Host and port of a broker's URL, which may carry credentials. `port`: the usual one.

    Raises InvalidTargetError, whose message never repeats the URL.
    """
    parts = _split(url)
    names = tuple(schemes)
    if parts.scheme not in names or not parts.netloc:
        raise InvalidTargetError(f"the URL starts with {' or '.join(f'{n}://' for n in names)}")
    return check_host(_host(parts), allow)[0], _port(parts, port)
