"""The ZIP of an OpenDocument file, opened with its password where it has one.

Protection as in OpenDocument 1.2, part 3, chapter 3.8: each part is deflated, then encrypted with AES-256 in CBC mode; the key
is derived by PBKDF2 from the hash of the password.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from lxml import etree

from docutalk_ingest.adapters.parsers.office_xml import descendants, local, parse_xml, value
from docutalk_ingest.adapters.parsers.zip_limits import MAX_UNPACKED, blocks, open_zip, read_entry
from docutalk_ingest.domain import ParseFailed

_MANIFEST = "META-INF/manifest.xml"
_HASHES = {"sha256": "sha256", "sha1": "sha1", "": "sha1"}
_CIPHER = "aes256-cbc"
_KEY_BYTES = 32
_MAX_ITERATIONS = 10_000_000
"""Programs of today write 100,000; the file says how many, and each costs a microsecond."""


@dataclass(frozen=True)
class _Protection:
    """How one part is encrypted. `size` is that of the part in the end."""

    size: int
    vector: bytes
    salt: bytes
    iterations: int
    hash: str


class OdfPackage:
    """An open OpenDocument file. `damaged`, `encrypted`, `wrong_password`, `too_large_unpacked`."""

    def __init__(self, path: Path, what: str, password: str | None = None) -> None:
        self.what = what
        self._archive = open_zip(path, what)
        self._names = set(self._archive.namelist())
        self._password = password
        self._encrypted: dict[str, etree._Element] = {}
        if _MANIFEST in self._names:
            for entry in descendants(parse_xml(read_entry(self._archive, _MANIFEST), _MANIFEST, what), "file-entry"):
                if next(descendants(entry, "encryption-data"), None) is not None:
                    self._encrypted[value(entry, "full-path")] = entry
        if self._encrypted and password is None:
            raise ParseFailed("encrypted", f"The {what} is protected by a password. Retry the document with its password.")

    def has(self, name: str) -> bool:
        """Is there such a part?"""
        return name in self._names

    def xml(self, name: str) -> etree._Element:
        """The root of a part."""
        return parse_xml(b"".join(self.blocks(name)), name, self.what)

    def blocks(self, name: str) -> Iterable[bytes]:
        """The bytes of a part, in pieces."""
        if not self._encrypted:
            return blocks(self._archive, name)
        if name in self._encrypted:
            return [self._decrypted(name)]
        if "encrypted-package" in self._encrypted:
            raise self._unknown()
        return blocks(self._archive, name)

    def _decrypted(self, name: str) -> bytes:
        protection = self._protection(self._encrypted[name])
        start = hashlib.new(protection.hash, (self._password or "").encode()).digest()
        key = hashlib.pbkdf2_hmac("sha1", start, protection.salt, protection.iterations, _KEY_BYTES)
        packed = read_entry(self._archive, name)
        cipher = Cipher(algorithms.AES(key), modes.CBC(protection.vector)).decryptor()
        inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            plain = inflate.decompress(cipher.update(packed) + cipher.finalize(), protection.size + 1)
        except (zlib.error, ValueError):
            plain = b""
        if len(plain) != protection.size:
            raise ParseFailed(
                "wrong_password", f"The password does not open the {self.what}. Retry the document with the right one."
            )
        return plain

    def _protection(self, entry: etree._Element) -> _Protection:
        said = {
            f"{local(part)}/{str(key).rpartition('}')[2]}": str(text)
            for part in entry.iter()
            for key, text in part.attrib.items()
        }
        start = said.get("start-key-generation/start-key-generation-name", "").rpartition("#")[2].lower()
        if (
            not said.get("algorithm/algorithm-name", "").endswith(_CIPHER)
            or not said.get("key-derivation/key-derivation-name", "").lower().endswith("pbkdf2")
            or start not in _HASHES
        ):
            raise self._unknown()
        try:
            protection = _Protection(
                size=int(said["file-entry/size"]),
                vector=base64.b64decode(said["algorithm/initialisation-vector"]),
                salt=base64.b64decode(said["key-derivation/salt"]),
                iterations=int(said["key-derivation/iteration-count"]),
                hash=_HASHES[start],
            )
        except (KeyError, ValueError, binascii.Error) as error:
            raise self._unknown() from error
        sane = 0 <= protection.size <= MAX_UNPACKED and 0 < protection.iterations <= _MAX_ITERATIONS
        if not sane or len(protection.vector) != 16:
            raise self._unknown()
        return protection

    def _unknown(self) -> ParseFailed:
        return ParseFailed(
            "encrypted",
            f"The {self.what} is protected in a way that cannot be opened here. Save it without a password and upload that.",
        )
