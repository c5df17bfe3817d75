"""The token, as it travels in a request's header."""


def header_token(token: str | None) -> str:
    """The token without the white space around it, such as the line end of a file; empty: none.

    `clipcore.link` has the same rule for trainers. It is not asked here: the command line would wait for torch.

    Raises:
        ValueError: no header can carry it; the error does not show it.
    """
    stripped = (token or "").strip()
    if not (stripped.isascii() and stripped.isprintable()):
        raise ValueError("token must be printable ASCII, since it travels in a header (this one is not shown)")
    return stripped
