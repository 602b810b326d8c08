"""The code that a new PC shows, and the words by which its user recognises the PC.

A PC without a password asks the gateway for a code (`messages.Pair`). The user types the code into
the console. The console shows name and words of the PC that got this code; the PC shows the words
of its own key. The same words on both mean that the password is sealed for this PC and no other.
"""

from __future__ import annotations

import hashlib
from base64 import b64decode
from typing import NamedTuple

from protocol.messages import CODE_CHARS, MIN_ITERATIONS
from protocol.names import normalise_name

CODE_LENGTH = 8
CODE_SECONDS = 600
"""How long a code is valid."""
WORDS = 4


class Word(NamedTuple):
    """A word in the languages of both programs, which may differ on PC and smartphone."""

    en: str
    ja: str


def parse_code(typed: str) -> str | None:
    """Return the code that a person has typed, in any case, width and grouping, or None."""
    text = normalise_name(typed).replace("ー", "-")  # what a Japanese keyboard types for a hyphen
    code = "".join(char for char in text.upper() if char.isalnum())
    is_code = len(code) == CODE_LENGTH and set(code) <= set(CODE_CHARS)
    return code if is_code and len(text) <= 2 * CODE_LENGTH else None


def format_code(code: str) -> str:
    """Return the code as it is shown: two groups of four."""
    return f"{code[:4]}-{code[4:]}"


def words(code: str, public_key: str) -> list[Word]:
    """Return the 4 words of a code and a public key in base64. Takes as long as a login's proof.

    So an attacker who wants another key with the same words has no time to look for it: 16 million
    tries of 0.2 s each within the 10 minutes of a code, and none before it is known.
    """
    key = b64decode(public_key)
    digest = hashlib.pbkdf2_hmac("sha256", key, code.encode(), MIN_ITERATIONS, WORDS)
    return [_WORDS[byte % len(_WORDS)] for byte in digest]


_LIST = """
apple りんご, bear くま, bell すず, bird とり, boat ボート, book 本, bread パン, bridge 橋,
bus バス, butterfly ちょう, cake ケーキ, camel らくだ, candle ろうそく, car 車, castle 城,
cat ねこ, chair いす, cherry さくらんぼ, clock 時計, cloud 雲, cow 牛, crab かに, crown 王冠,
deer しか, dog 犬, door ドア, drum 太鼓, elephant ぞう, fish 魚, flower 花, fox きつね,
frog かえる, gate 門, ghost おばけ, giraffe きりん, glass コップ, grape ぶどう, guitar ギター,
hat 帽子, horse 馬, house 家, island 島, key かぎ, leaf 葉, lemon レモン, lion ライオン,
moon 月, mountain 山, mouse ねずみ, octopus たこ, owl ふくろう, panda パンダ, pencil 鉛筆,
pig ぶた, pumpkin かぼちゃ, rabbit うさぎ, rain 雨, ring 指輪, river 川, rose バラ, ship 船,
snow 雪, star 星, sun 太陽
"""
_WORDS = [Word(*each.split()) for each in _LIST.split(",")]
