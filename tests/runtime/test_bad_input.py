"""Whatever a file is, it is read right or refused in one sentence with exit code 2; nothing is left half-written."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runtime.__main__ import main
from runtime.bundle.manifest import Bundle
from runtime.errors import run_command
from runtime.page.load import MAX_PIXELS
from runtime.page.preparation import load_pages
from runtime.reading.reader import Reader

DATA = Path(__file__).parent.parent / "data"
DEMO = DATA / "demo.png"
Write = Callable[[Path], None]


def demo() -> Image.Image:
    return Image.open(DEMO)


def _bytes(content: bytes) -> Write:
    def write(path: Path) -> None:
        path.write_bytes(content)

    return write


def _huge(path: Path) -> None:
    Image.new("1", (20_000, 20_000), 1).save(path)


def _small(size: tuple[int, int]) -> Write:
    return lambda path: Image.new("L", size, 255).save(path)


def _truncated(path: Path) -> None:
    path.write_bytes(DEMO.read_bytes()[:9000])


def _truncated_jpeg(path: Path) -> None:
    path.write_bytes((DATA / "demo_photo.jpg").read_bytes()[:60_000])


def _bad_chunk(path: Path) -> None:
    content = bytearray(DEMO.read_bytes())
    content[200:1200] = bytes(1000)
    path.write_bytes(content)


def _no_pages(path: Path) -> None:
    path.write_bytes(pdf_of(b"<< /Type /Pages /Kids [] /Count 0 >>"))


def _locked(path: Path) -> None:
    """Encryption by the standard handler (PDF 1.4, revision 2) with keys that no password opens."""
    entry = b"<< /Filter /Standard /V 1 /R 2 /P -4 /O <" + b"31" * 32 + b"> /U <" + b"32" * 32 + b"> >>"
    pages = b"<< /Type /Pages /Kids [] /Count 0 >>"
    path.write_bytes(pdf_of(pages, entry))


def pdf_of(pages: bytes, encryption: bytes = b"") -> bytes:
    """A small PDF: catalogue, page tree, and an encryption entry if given."""
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>", pages, *([encryption] if encryption else [])]
    out = bytearray(b"%PDF-1.4\n")
    places = []
    for number, content in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    extra = b" /Encrypt 3 0 R /ID [<%s> <%s>]" % (b"41" * 16, b"41" * 16) if encryption else b""
    out += b"trailer\n<< /Size %d /Root 1 0 R%s >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, extra, start)
    return bytes(out)


REFUSED: dict[str, tuple[Write, str]] = {
    "text.png": (_bytes(b"X:1\nK:C\nCDEF|\n"), "is not a picture that can be read; expected PNG"),
    "empty.png": (_bytes(b""), "is empty (0 bytes)"),
    "binary.jpg": (_bytes(bytes(range(256)) * 40), "is not a picture"),
    "dot.png": (_small((1, 1)), "no staff of five lines found in a picture of 1 x 1 px"),
    "line.png": (_small((900, 1)), "no staff of five lines found"),
    "blank.png": (_small((900, 700)), "no staff of five lines found"),
    "huge.png": (_huge, "pixels"),
    "truncated.png": (_truncated, "is damaged or cut short"),
    "truncated.jpg": (_truncated_jpeg, "is damaged or cut short"),
    "chunk.png": (_bad_chunk, "is damaged or cut short"),
    "empty.pdf": (_bytes(b""), "is empty (0 bytes)"),
    "header.pdf": (_bytes(b"%PDF-1.4\n%%EOF\n"), "is damaged or has no pages"),
    "text.pdf": (_bytes(b"hello"), "is damaged or has no pages"),
    "no_pages.pdf": (_no_pages, "is damaged or has no pages"),
    "locked.pdf": (_locked, "is protected by a password"),
    "half.pdf": (_bytes((DATA / "demo.pdf").read_bytes()[:3000]), "half.pdf"),
    "missing.png": (lambda path: None, "there is no file"),
    "folder.png": (lambda path: path.mkdir(), "holds no picture or PDF"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_one_sentence_and_leaves_nothing(
    name: str, bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write, message = REFUSED[name]
    path = tmp_path / name
    write(path)
    before = sorted(tmp_path.iterdir())
    targets = [tmp_path / f"out.{kind}" for kind in ("abc", "musicxml", "mid")]
    options = [part for target in targets for part in ("-o", str(target))]
    options += ["-o", f"{tmp_path}/all/", "--overlay", str(tmp_path / "o.png"), "--bundle", str(bundle.folder)]
    assert run_command(lambda: main([str(path), *options])) == 2
    out, err = capsys.readouterr()
    errors = [line for line in err.splitlines() if line.startswith("error:")]
    assert out == "" and len(errors) == 1, err
    assert message in errors[0] and name in errors[0] and "Traceback" not in err
    assert sorted(tmp_path.iterdir()) == before


@dataclass(frozen=True)
class Same:
    """The demo page in another form, and how far a pixel may be off on average, in grey levels."""

    write: Write
    tolerance: float


def _turned(path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6  # the camera lay on its side: turn clockwise to see it upright
    demo().transpose(Image.Transpose.ROTATE_90).save(path, exif=exif, quality=95)


def _deep(path: Path) -> None:
    Image.fromarray(np.asarray(demo()).astype(np.uint16) * 257).save(path)


def _with_alpha(path: Path) -> None:
    picture = Image.new("RGBA", demo().size, (0, 0, 0, 0))
    picture.putalpha(Image.fromarray(255 - np.asarray(demo())))
    picture.save(path)


SAME_PAGE = {
    "cmyk.jpg": Same(lambda path: demo().convert("CMYK").save(path, quality=95), 2),
    "cmyk.tiff": Same(lambda path: demo().convert("CMYK").save(path), 2),
    "deep.png": Same(_deep, 0),
    "turned.jpg": Same(_turned, 2),
    "alpha.png": Same(_with_alpha, 1),
    "palette.gif": Same(lambda path: demo().save(path), 1),
    "picture_called.pdf.png": Same(lambda path: demo().save(path), 0),
}


@pytest.mark.parametrize("name", SAME_PAGE)
def test_unusual_pictures_read_like_the_plain_one(
    name: str, bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / name
    SAME_PAGE[name].write(path)
    [plain], [page] = load_pages(DEMO), load_pages(path)
    assert page.shape == plain.shape
    assert np.abs(page.astype(int) - plain).mean() <= SAME_PAGE[name].tolerance
    assert run_command(lambda: main([str(path), "--json", "--bundle", str(bundle.folder)])) == 0
    boxes = [system.box for system in Reader(bundle.folder).read_page(plain).systems]
    printed = capsys.readouterr().out
    for left, top, right, bottom in boxes:  # the same systems, to a pixel or two
        assert any(
            f'"box": [{x}, {y}, {u}, {v}]' in printed
            for x in range(left - 2, left + 3)
            for y in range(top - 2, top + 3)
            for u in range(right - 2, right + 3)
            for v in range(bottom - 2, bottom + 3)
        )


def test_a_large_page_below_the_limit_is_read(bundle: Bundle, tmp_path: Path) -> None:
    """A poster-sized scan costs memory, not correctness."""
    picture = demo()
    factor = 6
    large = picture.resize((picture.width * factor, picture.height * factor))
    assert 40_000_000 < large.width * large.height < MAX_PIXELS
    large.save(tmp_path / "large.png")
    [page] = load_pages(tmp_path / "large.png")
    assert len(Reader(bundle.folder).read_page(page).systems) == 4


@pytest.mark.parametrize("name", ["manifest.json", "encoder.onnx", "tokenizer.json", "checksums.json"])
def test_a_tampered_bundle_is_refused_before_it_is_used(
    name: str, bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = bytearray((bundle.folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (bundle.folder / name).write_bytes(content)
    target = tmp_path / "out.abc"
    assert run_command(lambda: main([str(DEMO), "-o", str(target), "--bundle", str(bundle.folder)])) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("error: ") and str(bundle.folder) in err
    assert not target.exists()


def test_a_missing_bundle_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(lambda: main([str(DEMO), "--bundle", str(tmp_path / "none")])) == 2
    err = capsys.readouterr().err
    assert "is no folder; expected a bundle" in err and err.count("\n") == 1


def test_the_size_is_checked_before_the_pixels_are_unpacked(tmp_path: Path) -> None:
    """A bomb: 50 KB that would unpack to 400 MB."""
    _huge(tmp_path / "bomb.png")
    content = (tmp_path / "bomb.png").read_bytes()
    assert len(content) < 200_000
    stream = io.BytesIO(content[:2000])  # its pixels are gone: reaching them would be another complaint
    (tmp_path / "bomb.png").write_bytes(stream.getvalue())
    with pytest.raises(Exception, match="pixels"):
        load_pages(tmp_path / "bomb.png")


def test_a_pdf_is_not_blamed_for_the_one_before(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """PDFium keeps the last error of an earlier file."""
    _locked(tmp_path / "a.pdf")
    _no_pages(tmp_path / "b.pdf")
    assert run_command(lambda: main([str(tmp_path), "--bundle", str(bundle.folder)])) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert "a.pdf is protected by a password" in errors[0]
    assert "b.pdf is damaged or has no pages" in errors[1]


def test_a_command_names_the_extra_that_brings_a_missing_package(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> int:
        raise ModuleNotFoundError("No module named 'torch'", name="torch.nn")

    assert run_command(main, extra="train") == 2
    assert capsys.readouterr().err == "error: this command needs the package 'torch': pip install -e '.[train]'\n"
    with pytest.raises(ModuleNotFoundError):
        run_command(main)
