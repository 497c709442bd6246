"""The broker: its address, the TLS context for it, and why a connection to it failed."""

import ssl
from typing import Any, NamedTuple, Self

from bridge.errors import ConfigError


class Broker(NamedTuple):
    """The broker's address, the client's identity and the protocol options."""

    host: str
    port: int
    client_id: str
    version5: bool = True
    username: str | None = None
    password: str | None = None
    keepalive: int = 60
    tls: ssl.SSLContext | None = None
    persistent: bool = True
    """Whether the broker keeps the session while we are away."""


def connect_problem(error: Exception, where: str) -> str:
    """Return why no connection to the broker at ``where`` was made, for a person."""
    if problem := tls_problem(error):
        return f"TLS with the broker at {where} {problem}"
    reason = getattr(error, "strerror", None) or str(error)
    return f"no broker at {where}: {reason}"


def tls_problem(error: Exception) -> str | None:
    """Return what became of TLS, as the end of a sentence; None where the error is not of TLS."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"failed: {error.verify_message} ({error.reason})"
    if isinstance(error, ssl.SSLError):
        return f"failed: {error.reason or error}"
    if isinstance(error, _TlsFilesError):
        return f"is not begun: {error}"
    return None


class _TlsFilesError(OSError):
    """The files are unusable at the moment; a renewal may be writing them."""


class _FilesContext(ssl.SSLContext):
    """A context that reads its files for each connection, because certificates are renewed in place."""

    def __new__(cls, *_files: str | None) -> Self:
        """Create the context with the protocol of `ssl.create_default_context`."""
        return super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT)

    def __init__(self, ca: str | None, cert: str | None, key: str | None, section: str) -> None:
        self._files = ca, cert, key, section

    def wrap_socket(self, *arguments: Any, **options: Any) -> ssl.SSLSocket:
        """Wrap with the files' present contents; raises OSError where they are unusable."""
        return self._loaded().wrap_socket(*arguments, **options)

    def wrap_bio(self, *arguments: Any, **options: Any) -> ssl.SSLObject:
        """Wrap for asyncio, as `wrap_socket` does."""
        return self._loaded().wrap_bio(*arguments, **options)

    def _loaded(self) -> ssl.SSLContext:
        try:
            return _load(*self._files)
        except ConfigError as exc:
            raise _TlsFilesError(str(exc)) from exc


def tls_context(
    ca: str | None, cert: str | None, key: str | None, *, section: str = "mqtt.tls"
) -> ssl.SSLContext:
    """Return a context that trusts ``ca`` (None: the system's roots) and presents ``cert`` if it is given.

    The files are read now, and again for each connection. Raises `ConfigError`, which names the
    configuration key in ``section``, for unusable files.
    """
    _load(ca, cert, key, section)
    return _FilesContext(ca, cert, key, section)


def _load(ca: str | None, cert: str | None, key: str | None, section: str) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca)
    except OSError as exc:
        raise ConfigError(
            f'{section}.ca: "{ca}" is not allowed ({_why(exc)}); '
            "allowed is a file of certificates in PEM form"
        ) from exc
    # Python 3.13 began to refuse authorities without some extensions. Home-made authorities lack them.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if cert:
        try:
            context.load_cert_chain(cert, key, _no_passphrase)
        except OSError as exc:
            raise ConfigError(
                f'{section}.key: "{key}" is not allowed with cert "{cert}" ({_why(exc)}); '
                "allowed are a certificate and the key that belongs to it, not encrypted, both in PEM form"
            ) from exc
    return context


def _no_passphrase() -> str:
    """Refuse an encrypted key: OpenSSL would ask at the terminal, and a daemon has none."""
    raise OSError(0, "the key is encrypted")


def _why(error: OSError) -> str:
    """Return the reason, such as ``key values mismatch``; OpenSSL gives none for files that are not PEM."""
    if isinstance(error, ssl.SSLError):
        return error.reason.lower().replace("_", " ") if error.reason else "not in PEM form"
    return error.strerror or str(error)
