"""Key pairs for the vectors of senders/*.toml. They are for tests only: anyone can read the private keys here.

`python3 keys.py` prints the public ones, as sender files' vectors have them.
"""
import base64, hashlib, json
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils
from cryptography.x509 import load_pem_x509_certificate

KID = "hookmill-test"
SEED = hashlib.sha256(b"hookmill test key").digest()
ED25519 = ed25519.Ed25519PrivateKey.from_private_bytes(SEED)
P256 = ec.derive_private_key(int.from_bytes(SEED, "big"), ec.SECP256R1())
# RSA keys cannot be derived from a seed with `cryptography`, so this one is in a file.
RSA = serialization.load_pem_private_key((Path(__file__).parent / "rsa-test-key.pem").read_bytes(), None)
HASHES = {"sha1": hashes.SHA1(), "sha256": hashes.SHA256(), "sha512": hashes.SHA512()}


def load(kind, public):
    """A public key: raw, DER, PEM, or a PEM certificate."""
    public = public.encode() if isinstance(public, str) else public
    if public.startswith(b"-----BEGIN CERTIFICATE"):
        return load_pem_x509_certificate(public).public_key()
    if public.startswith(b"-----BEGIN"):
        return serialization.load_pem_public_key(public)
    if kind == "ed25519" and len(public) == 32:
        return ed25519.Ed25519PublicKey.from_public_bytes(public)
    if kind == "ecdsa-p256" and len(public) == 65:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public)
    return serialization.load_der_public_key(public)


def verify(kind, public, text, signature, hash, format):
    try:
        key = load(kind, public)
        if kind == "ed25519":
            key.verify(signature, text)
        elif kind == "rsa":
            key.verify(signature, text, padding.PKCS1v15(), HASHES[hash])
        else:
            if format == "raw":
                signature = utils.encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
            key.verify(signature, text, ec.ECDSA(HASHES[hash]))
        return True
    except (InvalidSignature, ValueError):
        return False


def sign(kind, text, hash, format):
    if kind == "ed25519":
        return ED25519.sign(text)
    if kind == "rsa":
        return RSA.sign(text, padding.PKCS1v15(), HASHES[hash])
    der = P256.sign(text, ec.ECDSA(HASHES[hash], deterministic_signing=True))
    if format == "der":
        return der
    r, s = utils.decode_dss_signature(der)
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def sign_jwt(alg, text):
    return sign("rsa", text, "sha256", "der") if alg == "RS256" else sign("ecdsa-p256", text, "sha256", "raw")


def number(text):
    return int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), "big")


def verify_jwt(alg, text, kid, signed, signature):
    """Checks with a JWK, or with the key of a JWKS that has this id."""
    document = json.loads(text)
    jwk = next((it for it in document.get("keys", [document]) if it.get("kid") in (kid, None)), None)
    if jwk is None:
        return False
    try:
        if alg == "RS256":
            key = rsa.RSAPublicNumbers(number(jwk["e"]), number(jwk["n"])).public_key()
            key.verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
        else:
            key = ec.EllipticCurvePublicNumbers(number(jwk["x"]), number(jwk["y"]), ec.SECP256R1()).public_key()
            der = utils.encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
            key.verify(der, signed, ec.ECDSA(hashes.SHA256()))
        return True
    except InvalidSignature:
        return False


def jwk(key):
    text = lambda it: base64.urlsafe_b64encode(it.to_bytes((it.bit_length() + 7) // 8, "big")).rstrip(b"=").decode()
    numbers = key.public_key().public_numbers()
    if isinstance(key, rsa.RSAPrivateKey):
        return {"kty": "RSA", "kid": KID, "alg": "RS256", "use": "sig", "n": text(numbers.n), "e": text(numbers.e)}
    return {"kty": "EC", "kid": KID, "alg": "ES256", "use": "sig", "crv": "P-256", "x": text(numbers.x), "y": text(numbers.y)}


def main():
    raw, point = serialization.Encoding.Raw, serialization.Encoding.X962
    public = ED25519.public_key().public_bytes(raw, serialization.PublicFormat.Raw)
    der = P256.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    print("ed25519, base64:", base64.b64encode(public).decode())
    print("ed25519, hex:", public.hex())
    print("P-256, DER in base64:", base64.b64encode(der).decode())
    print("P-256, JWK:", json.dumps(jwk(P256), separators=(",", ":")))
    print("RSA, JWKS:", json.dumps({"keys": [jwk(RSA)]}, separators=(",", ":")))
    pem = RSA.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    print("RSA, PEM:", pem.decode())


if __name__ == "__main__":
    main()
