"""The broker: where it is, how TLS with it is set up, and why it could not be reached."""

import ssl
from typing import Any, NamedTuple, Self

from bridge.errors import ConfigError


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
    if isinstance(error, _TlsFilesError):
        return f"TLS with the broker at {where} is not begun: {error}"
    reason = getattr(error, "strerror", None) or str(error)
    return f"no broker at {where}: {reason}"


class _TlsFilesError(OSError):
    """The files of `mqtt.tls` do not serve now; a renewal may be writing them."""


class _FilesContext(ssl.SSLContext):
    """A context that reads its files for each connection: certificates are renewed in place."""

    def __new__(cls, *_files: str | None) -> Self:
        """The protocol is the one of `ssl.create_default_context`."""
        return super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT)

    def __init__(self, *files: str | None) -> None:
        self._files = files

    def wrap_socket(self, *arguments: Any, **options: Any) -> ssl.SSLSocket:
        """Wrap with what the files hold now; raises OSError where they do not serve."""
        try:
            context = _load(*self._files)
        except ConfigError as exc:
            raise _TlsFilesError(str(exc)) from exc
        return context.wrap_socket(*arguments, **options)


def tls_context(ca: str | None, cert: str | None, key: str | None) -> ssl.SSLContext:
    """Return a context that trusts ``ca`` (the system's roots where None) and shows ``cert`` if there is one.

    The files are read now, and again for each connection. Raises `ConfigError`, which names the key, for
    files that do not serve.
    """
    _load(ca, cert, key)
    return _FilesContext(ca, cert, key)


def _load(ca: str | None, cert: str | None, key: str | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca)
    except OSError as exc:
        raise ConfigError(
            f'mqtt.tls.ca: "{ca}" is not allowed ({_why(exc)}); allowed is a file of certificates in PEM form'
        ) from exc
    # Python 3.13 began to refuse authorities without some extensions, which those made at home lack.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if cert:
        try:
            context.load_cert_chain(cert, key, _no_passphrase)
        except OSError as exc:
            raise ConfigError(
                f'mqtt.tls.key: "{key}" is not allowed with cert "{cert}" ({_why(exc)}); '
                "allowed are a certificate and the key that belongs to it, not encrypted, both in PEM form"
            ) from exc
    return context


def _no_passphrase() -> str:
    """Refuse a key that is encrypted: OpenSSL would ask at the terminal, and a daemon has none."""
    raise OSError(0, "the key is encrypted")


def _why(error: OSError) -> str:
    """Return the reason alone, such as ``key values mismatch``; OpenSSL has none for what is not PEM."""
    if isinstance(error, ssl.SSLError):
        return error.reason.lower().replace("_", " ") if error.reason else "not in PEM form"
    return error.strerror or str(error)
