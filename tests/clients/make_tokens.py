"""Makes a key and a token of every algorithm with PyJWT, and prints them as JSON.

    make_tokens.py EXPIRY          seconds since 1970
"""

import json
import sys

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


def signing_key(algorithm, rsa_key):
    if algorithm.startswith("HS"):
        return "s" * (int(algorithm[2:]) // 8)
    if algorithm.startswith(("RS", "PS")):
        return rsa_key
    if algorithm == "ES256":
        return ec.generate_private_key(ec.SECP256R1())
    if algorithm == "ES384":
        return ec.generate_private_key(ec.SECP384R1())
    return ed25519.Ed25519PrivateKey.generate()


def made(algorithm, key, expiry):
    claims = {"sub": "ann", "exp": expiry}
    token = jwt.encode(claims, key, algorithm=algorithm, headers={"kid": algorithm})
    own = {"alg": algorithm, "token": token}
    if isinstance(key, str):
        return own | {"secret": key}
    public = key.public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    jwk = jwt.get_algorithm_by_name(algorithm).to_jwk(public, as_dict=True)
    return own | {"pem": pem, "jwk": jwk | {"kid": algorithm}}


def main():
    algorithms = "HS256 HS384 HS512 RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 EdDSA".split()
    rsa_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    expiry = int(sys.argv[1])
    print(json.dumps([made(own, signing_key(own, rsa_key), expiry) for own in algorithms]))


main()
