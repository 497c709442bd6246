"""Text from outside, made safe for a terminal and for a log line."""


def visible(text: str) -> str:
    r"""Return ``text`` on one line, with what a terminal acts on written as ``\x1b`` or ``\u202e``.

    Everything but printable characters and the space is escaped [Unicode categories Cc, Cf, Cs, Co, Cn, Zl,
    Zp, Zs]: control characters, line ends, bidirectional controls, zero-width characters, lone surrogates.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
