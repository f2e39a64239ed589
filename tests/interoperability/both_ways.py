"""Certificates for those that are server and client: reports of storage commitment come over an association of the receiver's own."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.peers.dcmtk import Tls
from tests.visits.certificates import Certificates, Pair


def issue(made: Certificates, name: str) -> Tls:
    """A certificate of the same authority under `name`, for localhost, good for servers and for clients."""
    authority = x509.load_pem_x509_certificate(made.ca.read_bytes())
    signer = load_pem_private_key(made.ca.with_suffix(".key").read_bytes(), None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    now, subject = datetime.now(UTC), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder(
        authority.subject, subject, key.public_key(), x509.random_serial_number(), now - timedelta(hours=1), now + timedelta(days=1)
    )
    hosts = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    for extension in (
        x509.BasicConstraints(ca=False, path_length=None),
        x509.SubjectAlternativeName(hosts),
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
        x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()),
        x509.SubjectKeyIdentifier.from_public_key(key.public_key()),
    ):
        builder = builder.add_extension(extension, critical=False)
    pair = Pair(made.ca.with_name(f"{name}.pem"), made.ca.with_name(f"{name}.key"))
    pair.cert.write_bytes(builder.sign(signer, SHA256()).public_bytes(Encoding.PEM))
    pair.key.touch(0o600)
    pair.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return Tls(pair, made.ca)
