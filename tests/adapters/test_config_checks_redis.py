"""What `check-config` tells of the URL of the shared cache."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import quote

import pytest

from gateway.adapters.config_checks_redis import slips
from tests.adapters.test_config_file import the_mistake
from tests.certificates import Authority

GOOD = (
    "redis://h",
    "redis://h:6379",
    "redis://h:6379/",
    "redis://user:p%40ss%2Fw@h:6379/15",
    "redis://:password@[::1]:6379/0",
    "redis://h?db=3&username=u&password=p&client_name=gateway",
    "rediss://h/0?ssl_cert_reqs=none&ssl_check_hostname=false&ssl_min_version=772",
    "rediss://h?ssl_ciphers=ECDHE-RSA-AES256-GCM-SHA384&ssl_password=p",
    "rediss://h?ssl_include_verify_flags=VERIFY_X509_STRICT,VERIFY_X509_PARTIAL_CHAIN",
    "redis+sentinel://:p@a:26379,b/mymaster",
    "redis+sentinel://a/mymaster/3?sentinel_username=u&sentinel_password=p%26",
    "rediss+sentinel://a/mymaster?ssl_cert_reqs=required&sentinel_password=p",
    "redis+cluster://u:p@a:6379,b,[::1]:7000",
    "redis+cluster://a/0",
    "rediss+cluster://a?ssl_check_hostname=true",
)
WRONG = {
    "rediss://h?ssl_ca_cert=ca.pem": "did you mean `ssl_ca_certs`",
    "redis://h?ssl_ca_certs=ca.pem": "speak TLS",
    "redis+cluster://h?ssl_ca_certs=ca.pem": "speak TLS",
    "rediss+cluster://h?ssl_ca_path=here": "makes no sense",
    "redis://h?sentinel_password=x": "redis+sentinel://",
    "redis://h?foo=bar": "`foo` is unknown",
    "redis+sentinel://h/main?foo=bar": "`foo` is unknown",
    "redis+cluster://h?foo=bar": "Leave it out",
    "redis://h?decode_responses=true": "changes how Redis answers",
    "redis://h?encoding=latin-1": "changes how Redis answers",
    "redis://h?protocol=3": "changes how Redis answers",
    "redis://h?socket_timeout=abc": "gives up at once",
    "redis://h?max_connections=1": "gives up at once",
    "redis://h?db=x": "from 0 on",
    "redis://h?db=": "from 0 on",
    "redis://h?db=1&db=2": "twice",
    "redis+sentinel://h/main?db=1": "in the path",
    "redis://h:99999/0": "1 to 65535",
    "redis://h:0": "1 to 65535",
    "redis://h:port": "1 to 65535",
    "redis://a:1,b:2": "1 to 65535",
    "redis+cluster://a:1,b:99999": "1 to 65535",
    "redis+cluster://a:1,": "host is missing",
    "redis://": "host is missing",
    "redis://:password@": "host is missing",
    "redis://h/abc": "database is no number",
    "redis://h/-1": "database is no number",
    "redis+sentinel://h": "service's name is missing",
    "redis+sentinel://h/main/x": "database is no number",
    "redis+cluster://h/3": "no databases",
    "redis://:s3cret/word@h:1": "percent-encoded",
    "redis://:s3cret#word@h:1": "percent-encoded",
    "redis://:s3cret?word@h:1": "percent-encoded",
    "rediss://h?ssl_cert_reqs=maybe": "none, optional or required",
    "rediss://h?ssl_check_hostname=2": "true or false",
    "rediss://h?ssl_min_version=1.2": "772",
    "rediss://h?ssl_include_verify_flags=NONE": "no value that can be used",
    "rediss://h?ssl_ca_certs=/nowhere/ca.pem": "`ssl_ca_certs` cannot be read",
}


@pytest.mark.parametrize("url", GOOD)
def test_url_that_can_be_used_is_accepted(url: str) -> None:
    assert list(slips(url)) == []


@pytest.mark.parametrize(("url", "words"), WRONG.items())
def test_slip_is_told_with_its_remedy_and_without_a_password(url: str, words: str) -> None:
    ((message, remedy),) = slips(url)
    assert words in f"{message}. {remedy}"
    assert remedy
    assert "s3cret" not in f"{message} {remedy}"


@pytest.mark.parametrize(
    "url", ["redis://h?foo=s3cret", "redis://:s3cret@h:99999", "redis://:s3cret@h\u2100/0"]
)
def test_mistake_is_one_of_the_setting_and_tells_no_secret(url: str, tmp_path: Path) -> None:
    archives = {"north": {"type": "dicomweb", "qido_rs": "https://north.example.org/rs"}}
    mistake = the_mistake(json.dumps({"archives": archives, "cache": {"redis_url": url}}), tmp_path)
    assert mistake.path == "cache.redis_url"
    assert mistake.remedy
    assert "s3cret" not in repr(mistake)


def told(**files: Path) -> list[str]:
    query = "&".join(f"{name}={quote(str(path))}" for name, path in files.items())
    return [message for message, _ in slips(f"rediss://h?{query}")]


def test_files_of_tls_are_looked_into(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    one, other = authority.issue("one"), authority.issue("other")
    good = {"ssl_ca_certs": authority.ca_file, "ssl_certfile": one.cert_file}
    assert told(**good, ssl_keyfile=one.key_file) == []
    assert "do not belong together" in told(**good, ssl_keyfile=other.key_file)[0]
    assert "without its certificate" in told(ssl_keyfile=one.key_file)[0]
    assert "`ssl_ca_certs` is of no use" in told(ssl_ca_certs=one.key_file)[0]
