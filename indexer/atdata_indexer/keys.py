"""Signing keys of accounts (https://atproto.com/specs/cryptography). Pure.

A key comes as the `publicKeyMultibase` of a DID document's `#atproto` method: base58btc of a
multicodec prefix and a compressed point. Signatures are 64 bytes, r and s, with s in the lower half
of the group's order; the other half would be a second valid signature and is refused.
"""

from dataclasses import dataclass
from functools import lru_cache

import libipld
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

_ORDERS = {
    "secp256k1": 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141,
    "secp256r1": 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
}
_CODECS: dict[bytes, ec.EllipticCurve] = {
    b"\xe7\x01": ec.SECP256K1(),
    b"\x80\x24": ec.SECP256R1(),
}
_HASH = ec.ECDSA(SHA256())


@dataclass(frozen=True, slots=True)
class SigningKey:
    """The public half of an account's signing key."""

    point: ec.EllipticCurvePublicKey

    def signed(self, signature: bytes, data: bytes) -> bool:
        """Whether `signature` is this key's over the SHA-256 of `data`."""
        order = _ORDERS[self.point.curve.name]
        r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
        if len(signature) != 64 or not 0 < r < order or not 0 < s <= order // 2:
            return False
        try:
            self.point.verify(encode_dss_signature(r, s), data, _HASH)
        except InvalidSignature:
            return False
        return True


@lru_cache(maxsize=50_000)
def parse_key(multibase: str) -> SigningKey:
    """The key behind a `publicKeyMultibase`. Raises ValueError for any other text."""
    raw = libipld.decode_multibase(multibase)[1]
    curve = _CODECS.get(raw[:2])
    if curve is None:
        raise ValueError("a signing key is secp256k1 or P-256")
    return SigningKey(ec.EllipticCurvePublicKey.from_encoded_point(curve, raw[2:]))
