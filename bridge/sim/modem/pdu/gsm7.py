"""The GSM 7-bit default alphabet and its packing [3GPP TS 23.038, sections 6.1.2.1, 6.2.1 and 6.2.1.1]."""

from typing import Final

_TABLE: Final = (
    "@£$¥èéùìòÇ\nØø\rÅå"
    "Δ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ"
    " !\"#¤%&'()*+,-./"
    "0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNO"
    "PQRSTUVWXYZÄÖÑÜ§"
    "¿abcdefghijklmno"
    "pqrstuvwxyzäöñüà"
)
_EXTENSION: Final = {
    "\f": 0x0A,
    "^": 0x14,
    "{": 0x28,
    "}": 0x29,
    "\\": 0x2F,
    "[": 0x3C,
    "~": 0x3D,
    "]": 0x3E,
    "|": 0x40,
    "€": 0x65,
}
_ESCAPE: Final = 0x1B
_CODES: Final = {sign: (code,) for code, sign in enumerate(_TABLE) if code != _ESCAPE} | {
    sign: (_ESCAPE, code) for sign, code in _EXTENSION.items()
}
_EXTENDED: Final = {code: sign for sign, code in _EXTENSION.items()}


def septets(text: str) -> list[tuple[int, ...]] | None:
    """Return the septets of each character, one or two; None where one is not in the alphabet."""
    found = [_CODES.get(sign) for sign in text]
    return None if None in found else [codes for codes in found if codes is not None]


def text_of(codes: list[int]) -> str:
    """Return the text of septets; an unknown extension reads as the character of the main table."""
    text = ""
    escaped = False
    for code in codes:
        if escaped:
            text += _EXTENDED.get(code, _TABLE[code])
            escaped = False
        elif code == _ESCAPE:
            escaped = True
        else:
            text += _TABLE[code]
    return text


def pack(codes: list[int], fill: int = 0) -> bytes:
    """Pack septets into octets after ``fill`` zero bits."""
    bits = 0
    for index, code in enumerate(codes):
        bits |= code << (fill + 7 * index)
    return bits.to_bytes((fill + 7 * len(codes) + 7) // 8, "little")


def unpack(data: bytes, count: int, fill: int = 0) -> list[int]:
    """Return ``count`` septets from ``data`` after ``fill`` bits."""
    bits = int.from_bytes(data, "little") >> fill
    return [bits >> (7 * index) & 0x7F for index in range(count)]
