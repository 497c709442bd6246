"""Text from outside, made safe for a terminal and for a line of the log."""


def visible(text: str) -> str:
    r"""Return ``text`` on one line, with what a terminal acts on written as ``\x1b`` or ``\u202e``.

    That is all but printable characters and the space [Unicode categories Cc, Cf, Cs, Co, Cn, Zl, Zp, Zs]:
    control characters, line ends of all kinds, bidirectional controls, what has no width, lone surrogates.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
