"""A stream sealed with one key: nobody else reads it, and nobody changes, swaps or cuts off a part of it unnoticed.

The format: a magic, a salt and a check of the key; then pieces of a megabyte, each encrypted and authenticated by
AES-256-GCM under a key that is made for this one file (HKDF). Each piece's nonce is its number and whether it is the
last one, so that a missing, moved or added piece does not open (the STREAM construction).
"""

import base64
import binascii
import hmac
import secrets
from collections.abc import AsyncIterator

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

MAGIC = b"neurocards backup 1\n"
SALT_BYTES = 16
CHECK_BYTES = 16
KEY_BYTES = 32
PIECE_BYTES = 1024 * 1024
TAG_BYTES = 16


class CannotOpen(Exception):
    """The stream does not open; the message says whether it is the key or the stream."""


class WrongKey(CannotOpen):
    """It was sealed with another key."""


def read_key(text: str) -> bytes:
    """The key behind the text, which is base64 of either alphabet; raises ValueError when it is none."""
    try:
        key = base64.b64decode(text.translate(str.maketrans("-_", "+/")), validate=True)
    except binascii.Error:
        key = b""
    if len(key) != KEY_BYTES:
        raise ValueError(f"is no key of {KEY_BYTES} bytes in base64: head -c {KEY_BYTES} /dev/urandom | base64")
    return key


async def sealed(content: AsyncIterator[bytes], key: bytes) -> AsyncIterator[bytes]:
    """The content, sealed: a head and then a piece at a time. Nothing larger than a few pieces is held."""
    salt = secrets.token_bytes(SALT_BYTES)
    cipher, check = _for_this_file(key, salt)
    yield MAGIC + salt + check
    number, held = 0, bytearray()
    async for part in content:
        held += part
        # The last piece says that it is the last, so one is held back until more has come.
        while len(held) > PIECE_BYTES:
            yield cipher.encrypt(_nonce(number, last=False), bytes(held[:PIECE_BYTES]), None)
            del held[:PIECE_BYTES]
            number += 1
    yield cipher.encrypt(_nonce(number, last=True), bytes(held), None)


async def opened(stream: AsyncIterator[bytes], key: bytes) -> AsyncIterator[bytes]:
    """What was sealed, a piece at a time; raises CannotOpen, possibly after pieces that were right."""
    held = bytearray()
    head_bytes = len(MAGIC) + SALT_BYTES + CHECK_BYTES
    cipher: AESGCM | None = None
    number = 0
    async for part in stream:
        held += part
        if cipher is None:
            if len(held) < head_bytes:
                continue
            cipher = _cipher_of(bytes(held[:head_bytes]), key)
            del held[:head_bytes]
        while len(held) > PIECE_BYTES + TAG_BYTES:
            yield _piece(cipher, held[: PIECE_BYTES + TAG_BYTES], number, last=False)
            del held[: PIECE_BYTES + TAG_BYTES]
            number += 1
    if cipher is None:
        raise CannotOpen("it is no backup of neurocards: it is too short")
    yield _piece(cipher, held, number, last=True)


def _cipher_of(head: bytes, key: bytes) -> AESGCM:
    if not head.startswith(MAGIC):
        raise CannotOpen("it is no backup of neurocards, or its head is damaged")
    salt = head[len(MAGIC) : len(MAGIC) + SALT_BYTES]
    cipher, check = _for_this_file(key, salt)
    if not hmac.compare_digest(check, head[-CHECK_BYTES:]):
        raise WrongKey("it was made with another BACKUP_KEY than the one that is set")
    return cipher


def _for_this_file(key: bytes, salt: bytes) -> tuple[AESGCM, bytes]:
    """The cipher of the file with this salt, and what tells that the key is the right one."""
    made = HKDF(SHA256(), KEY_BYTES + CHECK_BYTES, salt, MAGIC).derive(key)
    return AESGCM(made[:KEY_BYTES]), made[KEY_BYTES:]


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([last])


def _piece(cipher: AESGCM, content: bytearray, number: int, *, last: bool) -> bytes:
    try:
        return cipher.decrypt(_nonce(number, last=last), bytes(content), None)
    except InvalidTag:
        raise CannotOpen(f"it is damaged or cut off: piece {number + 1} is not what was written") from None
