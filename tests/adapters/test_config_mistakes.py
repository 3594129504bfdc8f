"""How mistakes are worded."""

from __future__ import annotations

from pathlib import Path

from tests.adapters.test_config_file import SMALL, mistakes, the_mistake


def test_no_message_shows_a_secret(tmp_path: Path) -> None:
    text = (
        "archives:\n"
        "  a: {type: dicomweb, qido_rs: 'http://u:hunter2@pacs/rs'}\n"
        "  b: {type: dicomweb, qido_rs: '${URL}', auth: {type: bearer, token: [hunter2]}}\n"
        "  c: {type: dicomweb, qido_rs: http://c, auth: {type: bearer, token: hunter2, x: 1}}\n"
        "cache: {redis_url: 'http://:hunter2@r'}\n"
        "auth: {link_secret: {hunter2: 1}, api_keys: {k: {key: 5, polcy: hunter}}}\n"
    )
    found = mistakes(text, tmp_path, {"URL": "ftp://hunter2"})
    assert len(found) >= 6
    assert "hunter2" not in str([(m.message, m.remedy) for m in found])


def test_unknown_key_is_told_with_what_would_be_known(tmp_path: Path) -> None:
    mistake = the_mistake(SMALL + "cache: {fresh: 1}\n", tmp_path)
    assert (mistake.path, mistake.line, mistake.column) == ("cache.fresh", 3, 9)
    assert "unknown key" in mistake.message
    assert "`cache` knows: absent_seconds, fresh_seconds" in mistake.remedy


def test_wrong_value_is_told_with_what_the_setting_is_for(tmp_path: Path) -> None:
    mistake = the_mistake(SMALL + "server: {port: 70000}\n", tmp_path)
    assert mistake.message.startswith('"70000": ')
    assert mistake.remedy == "TCP port to bind; 0 takes a free one."


def test_every_remedy_is_one_line(tmp_path: Path) -> None:
    text = "archives: {a: {type: dicomweb, qido_rs: 'ftp://pacs'}}\n"
    remedy = the_mistake(text, tmp_path).remedy
    assert remedy.startswith("Base of its QIDO-RS service")
    assert "\n" not in remedy


def test_number_where_text_is_expected_is_told_to_be_quoted(tmp_path: Path) -> None:
    text = SMALL.replace("}", ", auth: {type: basic, username: 5, password: x}}")
    assert the_mistake(text, tmp_path).remedy == "Put it in quotes."
