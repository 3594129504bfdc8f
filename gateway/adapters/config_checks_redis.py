"""The URL of the shared cache: what a slip in it would turn into trouble with every connection.

Nothing of what is told repeats a user, a password, or what may be a part of one.
"""

from __future__ import annotations

import pathlib
import re
import ssl
from collections.abc import Callable, Iterator
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from gateway.adapters.config_findings import Finding, Rule
from gateway.adapters.config_mistakes import similar
from gateway.config import Settings

Slip = tuple[str, str]
"""Message and remedy."""
_FORMS = {
    "": "redis://host:port/database",
    "sentinel": "redis+sentinel://host:port,host:port/service/database",
    "cluster": "redis+cluster://host:port,host:port",
}
_MOST_DATABASE = (1 << 31) - 1
_BOOLEANS = frozenset({"true", "false", "yes", "no", "1", "0"})
_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_LIMITS = frozenset(
    {"timeout", "socket_timeout", "socket_connect_timeout", "socket_keepalive", "max_connections",
     "socket_read_size", "health_check_interval", "retry_on_timeout", "retry_on_error"}
)  # fmt: skip
_FORMATS = frozenset(
    {"decode_responses", "encoding", "encoding_errors", "protocol", "legacy_responses"}
)


def _is_anything(value: str) -> bool:
    return bool(value)


def _is_database(value: str) -> bool:
    return value.isascii() and value.isdigit() and int(value) <= _MOST_DATABASE


def _are_flags(value: str) -> bool:
    return all(hasattr(ssl.VerifyFlags, flag.strip()) for flag in value.strip("[]").split(","))


_Check = Callable[[str], bool]
_TLS: dict[str, _Check] = {
    **dict.fromkeys((*_FILES, "ssl_ca_data", "ssl_ciphers"), _is_anything),
    "ssl_cert_reqs": frozenset({"none", "optional", "required"}).__contains__,
    "ssl_check_hostname": lambda value: value.lower() in _BOOLEANS,
    "ssl_min_version": frozenset({"771", "772"}).__contains__,
    "ssl_include_verify_flags": _are_flags,
    "ssl_exclude_verify_flags": _are_flags,
}
_TLS_BUT_OF_CLUSTERS: dict[str, _Check] = dict.fromkeys(
    ("ssl_ca_path", "ssl_password"), _is_anything
)
_OF_KIND: dict[str, dict[str, _Check]] = {
    "": {
        "db": _is_database,
        **dict.fromkeys(("username", "password", "client_name"), _is_anything),
    },
    "sentinel": dict.fromkeys(("sentinel_username", "sentinel_password"), _is_anything),
    "cluster": {},
}
_EXPECTED = {
    "db": "It is a number from 0 on.",
    "ssl_cert_reqs": "It is none, optional or required.",
    "ssl_check_hostname": "It is true or false.",
    "ssl_min_version": "It is 771 (TLS 1.2) or 772 (TLS 1.3).",
}


def slips(url: str) -> Iterator[Slip]:
    """What is wrong in a URL whose scheme is one of those that the cache speaks."""
    parts = urlsplit(url)
    if parts.fragment or "@" in f"{parts.path}?{parts.query}":
        yield (
            "a # of the URL, or an @ after its host, is not percent-encoded",
            "Write %23 for #, %40 for @, %2F for / and %3F for ? in user, password and values.",
        )
        return
    kind = parts.scheme.partition("+")[2]
    yield from _in_hosts(parts, kind)
    yield from _in_path(parts, kind)
    yield from _in_query(parts, kind)


def _in_hosts(parts: SplitResult, kind: str) -> Iterator[Slip]:
    listed = parts.netloc.rpartition("@")[2]
    for item in listed.split(",") if kind else [listed]:
        try:
            one = urlsplit(f"//{item}")
            is_good = one.port is None or one.port > 0
        except ValueError:
            is_good = False
        if not is_good:
            yield "a port is no number from 1 to 65535", f"It is {_FORMS[kind]}."
        elif not one.hostname:
            yield "the host is missing", f"It is {_FORMS[kind]}."


def _in_path(parts: SplitResult, kind: str) -> Iterator[Slip]:
    words = unquote(parts.path).strip("/")
    if kind == "sentinel":
        service, _, words = words.partition("/")
        if not service:
            yield "the service's name is missing", f"It is {_FORMS[kind]}."
    if kind == "cluster" and words not in {"", "0"}:
        yield "a cluster has no databases to choose from", "Leave out what follows the hosts."
    elif words and not _is_database(words):
        yield "the database is no number", f"It is {_FORMS[kind]}."


def _in_query(parts: SplitResult, kind: str) -> Iterator[Slip]:
    known = dict(_OF_KIND[kind])
    if parts.scheme.startswith("rediss"):
        known |= _TLS if kind == "cluster" else _TLS | _TLS_BUT_OF_CLUSTERS
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    values = dict(pairs)
    for name, value in values.items():
        if name not in known:
            yield _unknown(name, known)
        elif not known[name](value):
            remedy = _EXPECTED.get(name, "Give it one, or leave it out.")
            yield f"`{name}` has no value that can be used", remedy
    if len(values) < len(pairs):
        yield "a parameter is written twice", "Leave one of them out."
    elif not values.keys() - known.keys():
        yield from _in_files(values)


def _unknown(name: str, known: dict[str, _Check]) -> Slip:
    """What is said of a parameter that makes no sense in this URL."""
    if name in _LIMITS:
        return f"`{name}` is not for a cache that gives up at once", "Leave it out."
    if name in _FORMATS:
        return f"`{name}` changes how Redis answers", "Leave it out."
    if name in _TLS or name in _TLS_BUT_OF_CLUSTERS:
        return f"`{name}` makes no sense here", "Only rediss://… and rediss+…://… speak TLS."
    if name in _OF_KIND["sentinel"]:
        return f"`{name}` makes no sense here", f"It is for {_FORMS['sentinel']}."
    if name in _OF_KIND[""]:
        return f"`{name}` makes no sense here", "It stands before the host, or in the path."
    shown = f"`{name}`" if re.fullmatch("[a-z_]{1,40}", name) else "a parameter"
    remedy = f"Known here: {', '.join(sorted(known))}." if known else "Leave it out."
    return f"{shown} is unknown{similar(name, list(known))}", remedy


def _in_files(values: dict[str, str]) -> Iterator[Slip]:
    files = {name: pathlib.Path(values[name]) for name in _FILES if values.get(name)}
    remedy = "Name a file in PEM that the gateway can read."
    unread = [name for name, path in files.items() if not _is_readable(path)]
    for name in unread:
        yield f"the file of `{name}` cannot be read", remedy
    if unread:
        return
    authority, certificate = files.get("ssl_ca_certs"), files.get("ssl_certfile")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if authority is not None:
            context.load_verify_locations(authority)
    except (OSError, ValueError):
        yield "the file of `ssl_ca_certs` is of no use", remedy
    if certificate is None:
        if "ssl_keyfile" in files:
            yield "`ssl_keyfile` is a key without its certificate", "Name ssl_certfile as well."
        return
    try:
        context.load_cert_chain(
            certificate, files.get("ssl_keyfile"), lambda: values.get("ssl_password", "")
        )
    except (OSError, ValueError):
        words = "certificate and key of `ssl_certfile` and `ssl_keyfile` do not belong together"
        yield f"{words}, or are of no use", remedy


def _is_readable(path: pathlib.Path) -> bool:
    try:
        path.open("rb").close()
    except (OSError, ValueError):
        return False
    return True


def _redis_url(settings: Settings) -> Iterator[Finding]:
    url = settings.cache.redis_url
    for message, remedy in () if url is None else slips(url.get_secret_value()):
        yield ("cache", "redis_url"), message, remedy


RULES = (Rule(_redis_url),)
