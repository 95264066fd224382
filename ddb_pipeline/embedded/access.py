"""Which requests the embedded AWS refuses: those of web pages, and those that are not signed.

The server listens on loopback, where every page in a browser of this machine can send requests to
it. Three rules keep pages out, each sufficient against some of them:

- A browser adds ``Origin`` or ``Sec-Fetch-Site`` to what a page sends; no AWS client does.
- A page whose name was resolved anew to 127.0.0.1 (DNS rebinding) sends its own name as ``Host``.
- Every request is signed with credentials that a page cannot read.
"""

from collections.abc import Iterable, Sequence

SAME_SITE = (b"none", b"same-origin")
"""Values of Sec-Fetch-Site of requests that no page of another site has caused."""

CORS_PREFIX = b"access-control-"

Headers = Sequence[tuple[bytes, bytes]]
"""The headers of an ASGI message, in which names are in lower case."""


def refusal(headers: Headers, port: int) -> str | None:
    """Return why the server refuses a request by its headers; None if it does not.

    Args:
        headers: the request's headers.
        port: the port on which the server listens.
    """
    if _values(headers, b"origin"):
        return "Requests of web pages are refused (Origin)."
    if any(value.strip().lower() not in SAME_SITE for value in _values(headers, b"sec-fetch-site")):
        return "Requests of web pages are refused (Sec-Fetch-Site)."
    hosts = [value.strip().lower() for value in _values(headers, b"host")]
    if len(hosts) != 1 or hosts[0] not in served_hosts(port):
        return f"Requests for another host than 127.0.0.1:{port} are refused."
    return None


def served_hosts(port: int) -> tuple[bytes, ...]:
    """Return the values of ``Host`` that name a server on this port of the loopback interface."""
    return (f"127.0.0.1:{port}".encode(), f"localhost:{port}".encode())


def without_cors(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return a response's headers without those that permit a page to read it."""
    return [(n, value) for n, value in headers if not bytes(n).lower().startswith(CORS_PREFIX)]


def _values(headers: Headers, name: bytes) -> list[bytes]:
    return [value for header, value in headers if header.lower() == name]
