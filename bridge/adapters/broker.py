"""The broker: where it is, how TLS with it is set up, and why it could not be reached."""

import ssl
from typing import NamedTuple


class Broker(NamedTuple):
    """How to reach and talk to the broker."""

    host: str
    port: int
    client_id: str
    version5: bool = True
    username: str | None = None
    password: str | None = None
    keepalive: int = 60
    tls: ssl.SSLContext | None = None


def connect_problem(error: Exception, where: str) -> str:
    """Return why the broker at ``where`` could not be connected to, for a person."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"TLS with the broker at {where} failed: {error.verify_message} ({error.reason})"
    if isinstance(error, ssl.SSLError):
        return f"TLS with the broker at {where} failed: {error.reason or error}"
    reason = getattr(error, "strerror", None) or str(error)
    return f"no broker at {where}: {reason}"


def tls_context(ca: str | None, cert: str | None, key: str | None) -> ssl.SSLContext:
    """Return a context that trusts ``ca`` (the system's roots where None) and shows ``cert`` if there is one.

    Raises OSError or ssl.SSLError for files that do not serve.
    """
    context = ssl.create_default_context(cafile=ca)
    # Python 3.13 began to refuse authorities without some extensions, which those made at home lack.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if cert:
        context.load_cert_chain(cert, key)
    return context
