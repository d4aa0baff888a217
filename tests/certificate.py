"""A certificate that nobody knows, for servers on the loopback; made by the program `openssl`."""

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Certificate:
    """A key and the certificate for it, which signs itself: `file` is also what a client has to trust."""

    file: Path
    key: Path

    def server(self) -> ssl.SSLContext:
        """Return what a server needs to show it."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.file, self.key)
        return context


def make_certificate(folder: Path, name: str = "IP:127.0.0.1") -> Certificate:
    """Make a certificate for a server of this name, as `IP:…` or `DNS:…`."""
    made = Certificate(folder / "certificate.pem", folder / "key.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-days", "2", "-subj", "/CN=gateway test", "-addext", f"subjectAltName={name}",
         "-keyout", str(made.key), "-out", str(made.file)],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    return made
