"""The 7-bit alphabets, and septets packed into octets [3GPP TS 23.038, sections 6.1.2.1 and 6.2.1, annex A].

Septets are held one in each byte, as 0 to 127.
"""

ESCAPE = 0x1B

_REST = " !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
DEFAULT = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ" + _REST
"""The default alphabet; a character's index is its septet."""

_TURKISH = "@£$¥€éùıòÇ\nĞğ\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bŞşßÉ" + _REST.replace("¡", "İ").replace("¿", "ç")
_PORTUGUESE = (
    "@£$¥êéúíóç\nÔô\rÁáΔ_ªÇÀ∞^\\€Ó|\x1bÂâÊÉ"
    " !\"#º%&'()*+,-./0123456789:;<=>?"
    "ÍABCDEFGHIJKLMNOPQRSTUVWXYZÃÕÚÜ§"
    "~abcdefghijklmnopqrstuvwxyzãõ`üà"
)

EXTENSION = {
    0x0A: "\f", 0x14: "^", 0x28: "{", 0x29: "}", 0x2F: "\\", 0x3C: "[", 0x3D: "~", 0x3E: "]", 0x40: "|",
    0x65: "€",
}  # fmt: skip
"""The characters after an escape in the default extension table."""

_LOCKING = {1: _TURKISH, 3: _PORTUGUESE}
_SINGLE = {
    1: EXTENSION
    | {0x47: "Ğ", 0x49: "İ", 0x53: "Ş", 0x63: "ç", 0x67: "ğ", 0x69: "\u0131", 0x73: "ş"},
    2: EXTENSION
    | {0x09: "ç", 0x41: "Á", 0x49: "Í", 0x4F: "Ó", 0x55: "Ú", 0x61: "á", 0x69: "í", 0x6F: "ó", 0x75: "ú"},
    3: EXTENSION
    | {
        0x05: "ê", 0x09: "ç", 0x0B: "Ô", 0x0C: "ô", 0x0E: "Á", 0x0F: "á", 0x12: "Φ", 0x13: "Γ", 0x15: "Ω",
        0x16: "Π", 0x17: "Ψ", 0x18: "Σ", 0x19: "Θ", 0x1F: "Ê", 0x41: "À", 0x49: "Í", 0x4F: "Ó", 0x55: "Ú",
        0x5B: "Ã", 0x5C: "Õ", 0x61: "Â", 0x69: "í", 0x6F: "ó", 0x75: "ú", 0x7B: "ã", 0x7C: "õ", 0x7F: "â",
    },
}  # fmt: skip

_SEPTETS = {character: bytes((place,)) for place, character in enumerate(DEFAULT) if place != ESCAPE} | {
    character: bytes((ESCAPE, place)) for place, character in EXTENSION.items()
}


def to_septets(text: str) -> list[bytes] | None:
    """Return the one or two septets of each character; None if one is not in the alphabet."""
    try:
        return [_SEPTETS[character] for character in text]
    except KeyError:
        return None


def from_septets(septets: bytes, locking: int = 0, single: int = 0) -> str:
    """Return the text of ``septets``; ``locking`` and ``single`` are national language identifiers.

    An unknown language is read by the default tables, an unknown escaped character by the main table, as the
    standard requires [3GPP TS 23.038, section 6.2.1.1]. An escape at the very end becomes a space.
    """
    table, extension = _LOCKING.get(locking, DEFAULT), _SINGLE.get(single, EXTENSION)
    found: list[str] = []
    escaped = False
    for septet in septets:
        if septet == ESCAPE:
            if escaped:  # reserved for a further table: a space
                found.append(" ")
            escaped = not escaped
            continue
        found.append(extension.get(septet, table[septet]) if escaped else table[septet])
        escaped = False
    if escaped:
        found.append(" ")
    return "".join(found)


def known_language(locking: int, single: int) -> bool:
    """Return whether the tables of these national language identifiers are known."""
    return (locking in _LOCKING or locking in (0, 2)) and (single in _SINGLE or single == 0)


def pack(septets: bytes, fill: int = 0) -> bytes:
    """Return ``septets`` packed into octets, behind ``fill`` zero bits."""
    bits = 0
    for place, septet in enumerate(septets):
        bits |= septet << (7 * place)
    return (bits << fill).to_bytes((7 * len(septets) + fill + 7) // 8, "little")


def unpack(octets: bytes, number: int, fill: int = 0) -> bytes:
    """Return ``number`` septets of ``octets`` after ``fill`` bits; fewer if the octets end."""
    bits = int.from_bytes(octets, "little") >> fill
    number = min(number, max(0, (8 * len(octets) - fill) // 7))
    return bytes((bits >> (7 * place)) & 0x7F for place in range(number))
