"""The code in the pages for app developers: its numbered steps, and what of each step must be the same in all pages.

C++, Kotlin and Swift say one thing in different words. `facts` brings a step to what must agree in all of them: texts,
numbers, comparisons and assignments of shared names, the formula for greys, where slices go.
"""

from __future__ import annotations

import re

from tests.source import ROOT

PAGES = ROOT / "docs" / "platforms"
LANGUAGES = {"cpp.md": "cpp", "android.md": "kotlin", "ios.md": "swift"}
WORDS = r"std::to_string\(\w+\)|kind|kTarget|precision|wide_lines"  # that C++ puts into texts

# What a language writes -> what all are compared by.
SAME = [
    (rf'" \+ (?:{WORDS}) \+ "', "{}"),
    (rf'" \+ (?:{WORDS})(?=[,;)\]])', '{}"'),
    (r"\$\{?\w+(?:\.FIRST)?\}?|\\\(\w+\)", "{}"),
    (r"\bno (?:tflite|coreml) artifact", "no {} artifact"),
    (r"with float(?:32|16) caches", "with {} caches"),
    (r"\[(?:fits - widths\.begin\(\)|widths\.indexOf\(bucket\)|widths\.firstIndex\(of: bucket\)!)\]", "[bucket]"),
    (r"\(int (\w+) = 0; (\w+ < [\w.]+); \w+\+\+\)", r"\2"),
    (r"\(?(?:val )?\b(\w+) in 0(?: until |\.\.<)([\w.]+)\)?", r"\1 < \2"),
    (r"\b(\d+)f\b|\b(\d+e\d+)f\b", r"\1\2"),
    (r"'(.)'", r'"\1"'),
    (r"first: position\)", "position)"),
    (r"\bkind, ", ""),
]
ENDS = [(r"\.(?:back\(\)|last\(\)|last!)", ".LAST"), (r"\.(?:front\(\)|first\(\)|first!)", ".FIRST")]
TEXT = r'"(?:[^"\\\n]|\\.)*"'
NAMES = [
    "layer", "layers", "height", "width", "widths", "channel", "channels", "columns", "margin", "memory", "bucket",
    "held", "widest", "x", "y", "position", "size", "slot", "slots", "token", "begin", "end", "name",
]  # fmt: skip
NAME = rf"(?:{'|'.join(NAMES)})\b"
FACTS = [
    TEXT,
    rf"\b{NAME}(?:\.\w+)? (?:[<>]=?|[!=]=) (?:0\b|{NAME})(?:\.\w+)?(?: [-+] \w+)?",
    rf"\b(?:held|widest|token) = {NAME}(?:\.\w+|\[\w+\])?",
    r"\(\(value.*deviation",
    r"number\(paper\)",
    r"\bcache\((?:widest|size)\)",
    r"\bposition\)",
]
# Numbers that belong to a language: loops and axes, bytes of a number, a byte without its sign.
OWN = {"0", "1", "2", "3", "4", "255"}


def blocks(text: str, language: str) -> list[str]:
    """Code blocks of a language."""
    found = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
    assert found, f"there is no {language}"
    return found


def code(page: str) -> str:
    """All blocks of a page's language, those under a heading `With ..` (another engine) left out."""
    text = (PAGES / page).read_text(encoding="utf-8").partition("\n## With ")[0]
    return "\n".join(blocks(text, LANGUAGES[page]))


def steps(source: str) -> dict[str, str]:
    """Numbered comment -> the code under it, up to the next one, or an empty line, or the end of the function."""
    found = re.split(r"^ *// (\d\. .*(?:\n *//.*)*)$", source, flags=re.MULTILINE)
    parts = zip(found[1::2], found[2::2], strict=True)
    return {re.sub(r"\s*\n *//", "", name): re.split(r"\n\n|\n *return found", body)[0] for name, body in parts}


def same(body: str) -> str:
    """Code in the words that all are compared by, comments left out."""
    body = re.sub(r"(?<![:\"])//.*", "", body)
    for pattern, words in [*ENDS, *SAME]:
        body = re.sub(pattern, words, body)
    return body


def facts(body: str) -> set[str]:
    """What must be the same in all languages."""
    body = same(body)
    numbers = re.findall(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e\d+)?\b", re.sub(TEXT, "", body))
    return ({found for pattern in FACTS for found in re.findall(pattern, body)} | set(numbers)) - OWN


def sentences(source: str) -> set[str]:
    """What a user may be told, its holes left open."""
    return {text for text in re.findall(TEXT, same(source)) if text.count(" ") > 3}


def fields(page: str, source: str) -> set[tuple[str, str]]:
    """What is read from the manifest: (part, field)."""
    parts = ("io", "preparation", "text", "artifact")
    if LANGUAGES[page] == "swift":
        structs = re.findall(r"struct (\w+): Decodable \{\n((?: +let .*\n)+)", source)
        lists = [(part.lower(), names) for part, body in structs for names in re.findall(r"let ([\w, ]+):", body)]
        found = {(part, name) for part, names in lists for name in names.split(", ")}
    else:
        found = set(re.findall(r'\b(\w+)\s*\.(?:string|numbers?|get\w*)\("(\w+)"\)', source))
    return {(part, name) for part, name in found if part in parts and name != "files"}


def taken(source: str) -> set[tuple[str, str]]:
    """Which variable holds which field of a part: ("margin", "margin"), ("deviation", "std")."""
    pattern = r'\b(\w+) = (?:io|preparation|text)\.(?:(?:numbers?|string|get\w+)\("(\w+)"\)|(\w+)\b)'
    return {(variable, one or other) for variable, one, other in re.findall(pattern, source)}


def schema(source: str) -> list[str]:
    """How a page compares the manifest's schema, and with what."""
    return re.findall(r'schema"?\)? ([!=]= \d+)', source)


def check_agreement(sources: dict[str, str]) -> None:
    """Kotlin and Swift do what C++ does.

    Raises:
        AssertionError: they differ, in what is said.
    """
    cpp = sources["cpp.md"]
    for page, source in sources.items():
        found, wanted = steps(source), steps(cpp)
        assert list(found) == list(wanted), page
        for name, body in wanted.items():
            assert facts(found[name]) == facts(body), f"{page}: {name}"
        assert fields(page, source) == fields("cpp.md", cpp), page
        assert taken(source) == taken(cpp), page
        assert [text.split()[1] for text in schema(source)] == [text.split()[1] for text in schema(cpp)], page
        assert sentences(sources["android.md"]) <= sentences(source), page
