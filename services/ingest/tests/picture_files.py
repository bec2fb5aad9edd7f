"""Files whose text lies in pictures, or behind a password, made here."""

from __future__ import annotations

import hashlib
import io

from PIL import Image, ImageDraw

from .world import assemble


def picture(*lines: str, size: tuple[int, int] = (640, 200), rotate: int = 0) -> Image.Image:
    """Black lines on white, 32 pixels high and 48 apart. `rotate` turns the whole, counterclockwise."""
    image = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(image)
    for number, line in enumerate(lines):
        draw.text((24, 24 + 48 * number), line, fill="black", font_size=32)
    return image.rotate(rotate, expand=True)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """The bytes of an image file."""
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def pdf_of(*pages: str | Image.Image, rotate: int = 0, extra: str = "", catalog: str = "") -> bytes:
    """A PDF whose pages (of 612 by 792 points) are lines of Helvetica or one picture over the whole page.

    `rotate` is every page's /Rotate, `catalog` goes into the catalog, `extra` is a further object: number 4 and 5 after two for
    each page.
    """
    kids = " ".join(f"{4 + 3 * i} 0 R" for i in range(len(pages)))
    objects = [
        f"<< /Type /Catalog /Pages 2 0 R {catalog} >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for i, page in enumerate(pages):
        if isinstance(page, str):
            lines = "".join(f"({line}) Tj 0 -14 Td " for line in page.split("\n"))
            stream, image = f"BT /F1 11 Tf 50 740 Td {lines}ET", "null"
        else:
            data = encoded(page, "JPEG", quality=90)
            stream = "q 612 0 0 792 0 0 cm /I Do Q"
            image = (
                f"<< /Type /XObject /Subtype /Image /Width {page.width} /Height {page.height} /ColorSpace /DeviceRGB"
                f" /BitsPerComponent 8 /Filter /DCTDecode /Length {len(data)} >>\nstream\n{data.decode('latin-1')}\nendstream"
            )
        objects += [
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Rotate {rotate} /Contents {5 + 3 * i} 0 R"
            f" /Resources << /Font << /F1 3 0 R >> /XObject << /I {6 + 3 * i} 0 R >> >> >>",
            f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream",
            image,
        ]
    return assemble([*objects, extra] if extra else objects)


_PADDING = bytes.fromhex("28BF4E5E4E758A4164004E56FFFA01082E2E00B6D0683E802F0CA9FE6453697A")


def locked_pdf(text: str, password: str) -> bytes:
    """A PDF of one page of text, encrypted by the standard's first method: RC4 with 40 bits (ISO 32000-1, 7.6.3)."""
    padded = (password.encode("latin-1") + _PADDING)[:32]
    owner = _rc4(hashlib.md5(padded).digest()[:5], padded)
    id_ = bytes(range(16))
    permissions = (-44).to_bytes(4, "little", signed=True)
    key = hashlib.md5(padded + owner + permissions + id_).digest()[:5]
    user = _rc4(key, _PADDING)

    def encrypted(number: int, data: bytes) -> bytes:
        return _rc4(hashlib.md5(key + number.to_bytes(3, "little") + bytes(2)).digest()[:10], data)

    stream = encrypted(5, f"BT /F1 11 Tf 50 740 Td ({text}) Tj ET".encode()).decode("latin-1")
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [4 0 R] /Count 1 >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 5 0 R /Resources << /Font << /F1 3 0 R >> >> >>",
        f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream",
    ]
    encryption = f"<< /Filter /Standard /V 1 /R 2 /P -44 /O <{owner.hex()}> /U <{user.hex()}> >>"
    return assemble(objects, trailer=f"/ID [<{id_.hex()}> <{id_.hex()}>] /Encrypt {encryption}")


def _rc4(key: bytes, data: bytes) -> bytes:
    state = list(range(256))
    j = 0
    for i in range(256):
        j = (j + state[i] + key[i % len(key)]) % 256
        state[i], state[j] = state[j], state[i]
    out = bytearray()
    i = j = 0
    for byte in data:
        i = (i + 1) % 256
        j = (j + state[i]) % 256
        state[i], state[j] = state[j], state[i]
        out.append(byte ^ state[(state[i] + state[j]) % 256])
    return bytes(out)
