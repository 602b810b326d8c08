"""The group policy templates have exactly the client's settings, in both languages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from agent.paths import find_paths
from agent.settings import POLICY_KEY, POLICY_NAMES, Registry, load
from installer.build import POLICIES

SPACE = "{http://schemas.microsoft.com/GroupPolicy/2006/07/PolicyDefinitions}"
TEMPLATE = ET.parse(POLICIES / "coconowork-client.admx").getroot()  # noqa: S314 - our own file
RULES = {rule.attrib["name"]: rule for rule in TEMPLATE.iter(f"{SPACE}policy")}


def registry_with(name: str, value: object) -> Registry:
    """Return a registry with one policy."""

    def read(key: str) -> Iterator[tuple[str, Mapping[str, object]]]:
        if key == POLICY_KEY:
            yield key, {name: value}

    return read


def test_offers_every_setting_and_no_other() -> None:
    """The templates have every setting of the client, and no other."""
    assert set(RULES) == set(POLICY_NAMES.values())
    assert {rule.attrib["key"] for rule in RULES.values()} == {POLICY_KEY}
    for name, rule in RULES.items():
        values = [rule.attrib.get("valueName"), *(e.get("valueName") for e in rule.iter())]
        assert {value for value in values if value} == {name}


@pytest.mark.parametrize("name", sorted(RULES))
def test_writes_what_the_client_understands(name: str, tmp_path: Path) -> None:
    """The client takes each value that a template can write."""
    home = {"COCONOWORK_HOME": str(tmp_path)}
    setting = next(setting for setting, value in POLICY_NAMES.items() if value == name)
    rule = RULES[name]
    written: list[object] = [int(d.attrib["value"]) for d in rule.iter(f"{SPACE}decimal")]
    written += [text.text for text in rule.iter(f"{SPACE}string")]
    examples = {"Server": "gw.example.com", "User": "taro", "Proxy": "system"}
    written += [examples.get(name, "https://console.example.com")] if not written else []
    assert written
    for value in written:
        settings = load(find_paths(home), environ={}, registry=registry_with(name, value))
        assert settings.enforced == {setting}


@pytest.mark.parametrize("language", ["ja-JP", "en-US"])
def test_every_text_is_there(language: str) -> None:
    """Each text and field that a policy template names exists."""
    texts = ET.parse(POLICIES / language / "coconowork-client.adml").getroot()  # noqa: S314
    there = {e.attrib["id"] for e in texts.iter() if "id" in e.attrib}
    refs = {e.attrib["refId"] for e in texts.iter() if "refId" in e.attrib}
    wanted = set()
    for element in TEMPLATE.iter():
        for value in element.attrib.values():
            if value.startswith(("$(string.", "$(presentation.")):
                wanted.add(value[2:-1].partition(".")[2])
    assert wanted == there
    assert refs == {e.attrib["id"] for e in TEMPLATE.iter() if "id" in e.attrib}
