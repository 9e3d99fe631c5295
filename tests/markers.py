"""Marker secrets, and the search that finds them wherever they turn up, in every spelling.

The markers are a private key, an API secret and a passphrase like no others. They are put together from
parts, so that no source or compiled file holds one whole; wherever one is found, our code has put it there.
"""

from __future__ import annotations

from base64 import b64encode, urlsafe_b64decode
from pathlib import Path
from urllib.parse import quote

import numpy as np

PRIVATE_KEY = "".join(("6b1f", "d04e", "93a7", "c258", "0e7d", "b6f1", "4ca9", "385d") * 2)[:60] + "a7" * 2
API_SECRET = (
    "".join(("q7Xw", "Zk2n", "-Rb9", "Vd5j", "_Hm3", "Yt8c", "Lg4f", "Ws6p", "Jx1u", "Na0v", "Te4")) + "="
)
PASSPHRASE = "".join(("c81a", "5d6f", "e07b", "9243", "7fd2", "1b8e", "a3c6", "50f9") * 2)
API_KEY = "5bd9a3e0-0f6c-4e1c-9a52-7d1f4f0c2b11"
"""Not a secret: it is in every request and may be shown."""

ENVIRONMENT = {
    "POLYMARKET_PRIVATE_KEY": "0x" + PRIVATE_KEY,
    "CLOB_API_KEY": API_KEY,
    "CLOB_SECRET": API_SECRET,
    "CLOB_PASS_PHRASE": PASSPHRASE,
}
"""A process that is given these must show none of them."""

PIECE = 12
"""Bytes of the shortest piece of a spelling that counts; so a shortened secret is found too."""
CHUNK = 1 << 20


class SecretFinder:
    """Searches bytes for the markers.

    A marker is known as text and as the bytes that it stands for; either may appear as it is, as hex in both
    cases, as base64 at any alignment, percent-encoded, escaped as Python or JSON shows bytes, or as a decimal
    number. Each spelling is searched in pieces, so that most of what a shortened one leaves is found.
    """

    def __init__(self) -> None:
        self._pieces: dict[bytes, str] = {}
        for name, text, content in (
            ("private key", PRIVATE_KEY, bytes.fromhex(PRIVATE_KEY)),
            ("API secret", API_SECRET, urlsafe_b64decode(API_SECRET)),
            ("API passphrase", PASSPHRASE, bytes.fromhex(PASSPHRASE)),
        ):
            self._add(f"{name} as text", text.encode())
            self._add(f"{name} as percent-encoded text", quote(text, safe="").encode())
            for raw, form in ((content, "bytes"), (text.encode(), "text")):
                self._add(f"{name}: its {form} in hex", raw.hex().encode())
                self._add(f"{name}: its {form} in capital hex", raw.hex().upper().encode())
                for shift in range(3):
                    # What follows three-byte groups that are filled by `shift` unknown bytes in front.
                    coded = b64encode(bytes(shift) + raw)[4 if shift else 0 : -4]
                    self._add(f"{name}: its {form} in base64", coded)
                    self._add(f"{name}: its {form} in base64", coded.translate(bytes.maketrans(b"+/", b"-_")))
            self._add(f"{name} in bytes", content)
            self._add(f"{name} in bytes backwards", content[::-1])
            self._add(f"{name} as Python shows bytes", repr(content)[2:-1].encode())
            self._add(f"{name} as numbers", ", ".join(map(str, content)).encode())
            self._add(f"{name} as one number", str(int.from_bytes(content, "big")).encode())

        self._first, self._second = np.zeros(65_536, bool), np.zeros(65_536, bool)
        for piece in self._pieces:
            self._first[piece[0] << 8 | piece[1]] = True
            self._second[piece[2] << 8 | piece[3]] = True

    def _add(self, what: str, spelling: bytes) -> None:
        for start in range(0, len(spelling) - PIECE + 1, PIECE):
            self._pieces.setdefault(spelling[start : start + PIECE], what)

    def find(self, content: bytes | str | None) -> list[str]:
        """What was found, in words that hold nothing of it."""
        if not content:
            return []
        data = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
        found = set()
        for start in range(0, len(data), CHUNK):
            chunk = data[start : start + CHUNK + PIECE - 1]
            # Where two bytes begin a piece, then of those where four do: a few places are left to compare.
            near = np.frombuffer(chunk, np.uint8).astype(np.uint16)
            pairs = near[:-1] << 8 | near[1:]
            places = np.flatnonzero(self._first[pairs])
            places = places[places + 3 < len(pairs)]
            for place in places[self._second[pairs[places + 2]]].tolist():
                piece = chunk[place : place + PIECE]
                if piece in self._pieces:
                    found.add(self._pieces[piece])
        return sorted(found)

    def find_in_folder(self, folder: Path, written_since: float = 0.0) -> list[str]:
        """Every file below a folder that holds a marker or is named by one, and what it holds."""
        found = []
        for path in sorted(folder.rglob("*")):
            names = self.find(str(path))
            try:
                if path.is_file() and not path.is_symlink() and path.stat().st_mtime >= written_since:
                    names += self.find(path.read_bytes())
            except OSError:  # gone, or not ours to read
                continue
            found += [f"{path}: {', '.join(names)}"] if names else []
        return found
