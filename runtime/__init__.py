"""Reads pages of printed music: a picture or PDF goes in, ABC, MusicXML and MIDI come out.

    from runtime import Reader, load_pages
    print(Reader().read_page(load_pages("page.png")[0]).abc)

Each part imports only from those above it:

    errors      what a user is told: one sentence, exit code 2
    registry    folders in which a file is an entry, found by its name
    abc/        canonical ABC: its text, the tune behind it, what it sounds like
    notation/   tunes as MusicXML and MIDI
    page/       a picture in; its staves found, straightened and scaled out
    bundle/     what a bundle is: manifest, inputs and outputs of its graphs, tokenizer
    inference/  the interface of the engines that run a bundle's graphs, and what they share
    engines/    one engine a file: ONNX Runtime, LiteRT, ExecuTorch, Core ML
    reading/    a page or line in, what stands in it out: search, wide lines, `Reader`
    metrics     how well music was read, in percent
    output      readings as files, written whole or not at all
    overlay     the page with what was found drawn on it
    __main__    `omr-transcribe`
"""
from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .page.load import load_pages
    from .reading.reader import Reader

__all__ = ["Reader", "load_pages"]

PLACES = {"Reader": ".reading.reader", "load_pages": ".page.load"}


def __getattr__(name: str) -> object:
    """What applications use is loaded when it is first asked for: numpy, OpenCV and tokenizers come with it."""
    if name not in PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(PLACES[name], __name__), name)
