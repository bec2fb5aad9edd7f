"""A process that reads the text in pictures of pages, one after the other, with the models loaded once.

The models take 0.6 GB and a second to load, so this process outlives the documents it reads for. It is kept apart as the parser
is: no network, no secrets of the service, limits, and it dies with the service. Whatever a page makes it do costs that page.

Speaks JSON lines with `OcrReader`: a request `{path, number}` on standard input, an answer on standard output:
`{lines: [[text, x, y, …]], width, height, peak_bytes}`, with the corners of each line in pixels of a picture of that size, or
`{problem, peak_bytes}`.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from docutalk_ingest.adapters.page_pictures import picture_of
from docutalk_ingest.adapters.parser_host import die_with_parent, forbid, leave_network
from docutalk_ingest.domain import ParseFailed

LONG_SIDE = 2000
"""Pixels of a page's longer side: 170 dots an inch of A4. The recogniser shrinks what is larger."""
_LONG = 2.5
"""Times as high as wide: no page, but a picture of a screen that was scrolled. Read in strips `_STRIP` times as high as wide."""
_STRIP = 1.4
_SURE = 0.85
_AS_SURE = 0.02
_DAMAGED = "the picture is damaged"
_DETECTION_SIDE = 960
_DETECTOR = "PP-OCRv6_det_small.onnx"
_RECOGNISER = "PP-OCRv6_rec_small.onnx"


Read = Callable[[Path, int], dict[str, Any]]


def main() -> None:
    """Serves until standard input ends. Environment: `OCR_PARENT` (pid), `OCR_LIMITS` (JSON: `memory_bytes`, `cpu_seconds`)."""
    serve(_Recogniser)


def serve(load: Callable[[], Read]) -> None:
    """Answers with what the loaded reader makes of a page. Loading may look at files, reading has no way out of this process."""
    die_with_parent(int(os.environ["OCR_PARENT"]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the service decides when this ends
    leave_network()
    answers = os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)  # what a library prints is no answer
    limits = json.loads(os.environ["OCR_LIMITS"])
    for kind, limit in (
        (resource.RLIMIT_AS, limits["memory_bytes"]),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        ceiling = resource.getrlimit(kind)[1]
        bound = limit if ceiling == resource.RLIM_INFINITY else min(limit, ceiling)
        resource.setrlimit(kind, (bound, bound))
    read = load()
    sys.addaudithook(forbid)
    _send(answers, {"ready": True})
    for line in sys.stdin:
        request = json.loads(line)
        _allow(limits["cpu_seconds"])
        _send(answers, _answer(read, Path(request["path"]), request["number"]))


def _allow(seconds: int) -> None:
    """From now on this process may compute for so long; the kernel ends it after that."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    ceiling = resource.getrlimit(resource.RLIMIT_CPU)[1]
    until = int(used.ru_utime + used.ru_stime) + seconds + 1
    resource.setrlimit(resource.RLIMIT_CPU, (until if ceiling == resource.RLIM_INFINITY else min(until, ceiling), ceiling))


def _send(descriptor: int, answer: dict[str, Any]) -> None:
    data = json.dumps(answer).encode() + b"\n"
    while data:
        data = data[os.write(descriptor, data) :]


def _answer(read: Read, path: Path, number: int) -> dict[str, Any]:
    try:
        answer = read(path, number)
    except ParseFailed as error:
        answer = {"problem": "the picture is too large" if error.code == "image_too_large" else _DAMAGED}
    except MemoryError:
        answer = {"problem": "the picture takes too much memory"}
    except Exception as error:
        answer = {"problem": _DAMAGED, "detail": f"{type(error).__name__}: {error}"}
    return {**answer, "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


class _Recogniser:
    """The recogniser with the settings that were measured, and the models of its package: nothing is ever fetched."""

    def __init__(self) -> None:
        import rapidocr  # noqa: PLC0415  a second, and only this process needs it

        models = Path(rapidocr.__file__).parent / "models"
        self._engine = rapidocr.RapidOCR(
            params={
                "Global.log_level": "critical",
                "Global.use_cls": False,
                "Global.max_side_len": LONG_SIDE,
                "Det.model_path": str(models / _DETECTOR),
                "Det.limit_type": "max",
                "Det.limit_side_len": _DETECTION_SIDE,
                "Rec.model_path": str(models / _RECOGNISER),
                "Rec.rec_batch_num": 1,
                "EngineConfig.onnxruntime.intra_op_num_threads": 1,
                "EngineConfig.onnxruntime.inter_op_num_threads": 1,
            }
        )
        import cv2  # noqa: PLC0415
        import numpy  # noqa: PLC0415

        cv2.setNumThreads(1)
        self._array = numpy.asarray
        # The models are loaded with the first picture that shows a word.
        first = Image.new("RGB", (320, 96), "white")
        ImageDraw.Draw(first).text((20, 20), "ready", fill="black", font_size=40)
        self._see(first)

    def __call__(self, path: Path, number: int) -> dict[str, Any]:
        """The lines that are seen on a page: text, and x and y of the corners, from its upper left one round as it is read."""
        picture = picture_of(path, number, long_side=LONG_SIDE)
        seen = self._see(picture)
        turn = seen.turn
        if turn is not None:
            turned = self._see(picture.transpose(turn))
            if turned.certainty > seen.certainty - _AS_SURE:
                seen = _Seen([_turned_back(line, turn, picture) for line in turned.lines], turned.scores)
        return {"lines": seen.lines, "width": picture.width, "height": picture.height}

    def _see(self, picture: Image.Image) -> _Seen:
        """In strips where the picture is long: the recogniser would shrink it until nothing can be read."""
        height = round(picture.width * _STRIP) if picture.height > _LONG * picture.width else picture.height
        overlap = height // 8
        seen = _Seen([], [])
        for top in range(0, max(1, picture.height - overlap), height - overlap):
            strip = picture.crop((0, top, picture.width, min(picture.height, top + height)))
            found: Any = self._engine(self._array(strip)[:, :, ::-1])  # it takes blue first
            if found.boxes is None or found.txts is None:
                continue
            # A line in the overlap belongs to the strip in whose part of it its middle lies.
            first = top + overlap / 2 if top else 0
            last = top + height - overlap / 2 if top + height < picture.height else picture.height
            for text, corners, score in zip(found.txts, found.boxes, found.scores, strict=True):
                corners[:, 1] += top
                if first <= corners[:, 1].mean() < last:
                    seen.lines.append([text, *(round(float(edge), 1) for edge in corners.ravel())])
                    seen.scores.append(float(score))
        return seen


@dataclass(frozen=True)
class _Seen:
    """Lines as `OcrReader.read` answers them, and how sure the recogniser is of each, 0 to 1."""

    lines: list[list[Any]]
    scores: list[float]

    @property
    def certainty(self) -> float:
        """Of the whole page: 0.99 when it is upright, 0.73 when it stands on its head."""
        weights = [len(line[0]) for line in self.lines]
        return sum(w * s for w, s in zip(weights, self.scores, strict=True)) / (sum(weights) or 1)

    @property
    def turn(self) -> Image.Transpose | None:
        """How to turn the page so that its text is upright, as it seems. Of lines that run down or up the page the recogniser
        takes the first for text that runs up, so those of the other kind make no sense to it.
        """
        tall = sum(_is_tall(line) for line in self.lines)
        makes_sense = self.certainty > _SURE
        if 2 * tall > len(self.lines):
            return Image.Transpose.ROTATE_90 if makes_sense else Image.Transpose.ROTATE_270
        return None if makes_sense or not self.lines else Image.Transpose.ROTATE_180


def _is_tall(line: list[Any]) -> bool:
    xs, ys = line[1::2], line[2::2]
    return bool(max(ys) - min(ys) > 1.5 * (max(xs) - min(xs)))


def _turned_back(line: list[Any], turn: Image.Transpose, picture: Image.Image) -> list[Any]:
    """A line of the turned picture with its corners on the picture."""
    back: list[Any] = [line[0]]
    for x, y in zip(line[1::2], line[2::2], strict=True):
        match turn:
            case Image.Transpose.ROTATE_90:
                back += [picture.width - y, x]
            case Image.Transpose.ROTATE_180:
                back += [picture.width - x, picture.height - y]
            case _:
                back += [y, picture.height - x]
    return back


if __name__ == "__main__":
    main()
