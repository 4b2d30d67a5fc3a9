"""Files restored: which becomes which, what is kept, and that a failure costs its own file."""

import numpy as np
import pytest
import tifffile
from bench.data import decoder
from bench.data.datasets import get, read
from bench.data.degrade import awgn
from bench.data.photo import read_photo
from bench.data.saving import Kept, save
from PIL import Image

import bench
from bench.errors import BenchError
from bench.protocol import get_protocol
from bench.restoring import arrays
from bench.restoring.photos import errands
from bench.tasks import Setting
from tests.conftest import PLUGINS, picture
from tests.plugins.simple import box
from tests.runner.here import Here
from tests.test_cli import bench as command
from tests.test_cli import refused

SIMPLE = PLUGINS / "simple.py"
BOX = f"{SIMPLE}:Box"


@pytest.fixture
def here(monkeypatch):
    monkeypatch.setattr(arrays, "RestorerProcess", Here)


def colours(seed=0, height=24, width=32):
    return np.random.default_rng(seed).random((height, width, 3), dtype=np.float32)


def restore(*words, methods=BOX, sigma="25"):
    return command("restore", *words, "--methods", methods, *(("--sigma", sigma) if sigma else ()))


@pytest.mark.usefixtures("here")
class TestOneFile:
    def test_it_is_restored_to_the_file_that_was_named(self, tmp_path, photos):
        result = restore(photos / "1.png", "-o", tmp_path / "out.png")
        assert (result.returncode, result.stdout) == (0, "")
        assert f"{photos / '1.png'} -> {tmp_path / 'out.png'} (" in result.stderr
        x_hat = box(np.float32(picture(24, 32, 1)[..., None]) / 255)
        assert np.array_equal(np.asarray(Image.open(tmp_path / "out.png")), np.rint(255 * x_hat[..., 0]))

    def test_it_is_not_written_over_unless_asked_for(self, tmp_path, photos):
        (tmp_path / "out.png").write_bytes(b"before")
        result = restore(photos / "1.png", "-o", tmp_path / "out.png")
        assert result.returncode == 1
        assert "out.png is there already (--force writes over it)." in result.stderr
        assert (tmp_path / "out.png").read_bytes() == b"before"
        assert restore(photos / "1.png", "-o", tmp_path / "out.png", "--force").returncode == 0
        assert read_photo(tmp_path / "out.png").image.shape == (24, 32, 1)

    def test_bits_profile_rotation_and_alpha_are_kept(self, tmp_path):
        planes = np.random.default_rng(0).integers(0, 65536, (24, 32, 4)).astype(np.float32) / np.float32(65535)
        save(planes[..., :3], tmp_path / "a.png", Kept(planes[..., 3:], 16, b"profile", 5))
        result = restore(tmp_path / "a.png", "-o", tmp_path / "b.png")
        assert "the alpha channel was passed on, not restored" in result.stderr
        photo = read_photo(tmp_path / "b.png")
        assert (photo.bits, photo.icc, photo.orientation) == (16, b"profile", 5)
        assert np.array_equal(photo.alpha, planes[..., 3:])
        assert np.array_equal(photo.image, np.rint(65535 * box(planes[..., :3])) / np.float32(65535))

    def test_a_jpeg_tells_its_quality(self, tmp_path):
        Image.fromarray(picture(24, 32)).save(tmp_path / "a.jpg", quality=30)
        result = restore(
            tmp_path / "a.jpg", "--task", "deblock", "-o", tmp_path / "b.png", methods=f"{SIMPLE}:Told", sigma=None
        )
        assert "  JPEG of quality 30, by its tables" in result.stderr
        assert np.asarray(Image.open(tmp_path / "b.png"))[0, 0] == 30

    def test_alpha_and_colours_are_enlarged_with_the_picture(self, tmp_path):
        save(colours(), tmp_path / "a.png", Kept(np.ones((24, 32, 1), np.float32)))
        options = ("--task", "superres", "--scale", "3", "-o", tmp_path / "b.tif")
        assert restore(tmp_path / "a.png", *options, sigma=None).returncode == 0
        photo = read_photo(tmp_path / "b.tif")
        assert photo.image.shape == (72, 96, 3)
        assert (photo.alpha == 1).all()


GRAY, COLOURS = picture(24, 32), np.rint(255 * colours()).astype(np.uint8)
TURNED = Image.Exif()
TURNED[274] = 6


def gray_png(path):
    Image.fromarray(GRAY).save(path)


def png_with_alpha(path):
    Image.fromarray(np.dstack([COLOURS, GRAY])).save(path, icc_profile=b"profile")


def tiff_of_16_bits(path):
    tifffile.imwrite(path, 257 * COLOURS.astype(np.uint16), photometric="rgb", iccprofile=b"profile")


def turned_jpeg(path):
    Image.fromarray(COLOURS).save(path, quality=30, exif=TURNED, icc_profile=b"profile")


def mosaic(path):
    Image.fromarray(GRAY).save(path)


def small(path):
    Image.fromarray(COLOURS).save(path)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("make", "name", "words", "shape", "kept"),
    [
        (gray_png, "a.png", ("--sigma", "25"), (24, 32, 1), (8, b"", 1)),
        (png_with_alpha, "a.png", ("--sigma", "25"), (24, 32, 3), (8, b"profile", 1)),
        (tiff_of_16_bits, "a.tif", ("--sigma", "25"), (24, 32, 3), (16, b"profile", 1)),
        (turned_jpeg, "a.jpg", ("--task", "deblock"), (24, 32, 3), (8, b"profile", 6)),
        (mosaic, "a.png", ("--task", "demosaick", "--pattern", "GBRG"), (24, 32, 3), (8, b"", 1)),
        (small, "a.png", ("--task", "superres", "--scale", "2"), (48, 64, 3), (8, b"", 1)),
    ],
    ids=["gray", "alpha", "16 bits", "turned jpeg", "mosaic", "small"],
)
def test_six_kinds_of_file(tmp_path, make, name, words, shape, kept):
    make(tmp_path / name)
    target = tmp_path / f"restored{'.tif' if name.endswith('.tif') else '.png'}"
    result = restore(tmp_path / name, "-o", target, *words, sigma=None)
    assert result.returncode == 0, result.stderr
    before, photo = read_photo(tmp_path / name), read_photo(target)
    assert photo.image.shape == shape
    assert (photo.bits, photo.icc, photo.orientation) == kept
    assert (photo.alpha is None) == (before.alpha is None)
    assert photo.alpha is None or np.array_equal(photo.alpha, before.alpha)
    if words == ("--sigma", "25"):
        most = 2**photo.bits - 1
        assert np.array_equal(np.rint(most * photo.image), np.rint(most * box(before.image)))


@pytest.mark.usefixtures("here")
class TestSeveralFiles:
    def test_a_folder_becomes_a_folder_and_a_failure_costs_its_own_file(self, tmp_path, photos):
        (photos / "2.png").write_bytes(b"\x89PNG\r\n\x1a\nnot much more")
        Image.fromarray(picture(24, 32)).save(photos / "4.jpg")
        result = restore(photos, "-o", tmp_path / "out")
        assert result.returncode == 1
        assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["1.png", "3.png", "4.png"]
        assert "2.png cannot be read as an image" in result.stderr
        assert "; 1 of 4, about " in result.stderr

    def test_of_pairs_the_noisy_pictures_are_restored(self, tmp_path):
        for part in ("clean", "noisy"):
            (tmp_path / "mine" / part).mkdir(parents=True)
            Image.fromarray(picture(24, 32)).save(tmp_path / "mine" / part / "1.png")
        [errand] = errands([tmp_path / "mine"], tmp_path / "out")
        assert errand.source == tmp_path / "mine" / "noisy" / "1.png"
        assert errand.target == tmp_path / "out" / "1.png"

    @pytest.mark.parametrize(("file", "output"), [("~nobody-of-ours/1.png", "out"), ("1.png", "~nobody-of-ours/out")])
    def test_a_folder_of_no_user_is_one_line(self, file, output):
        with pytest.raises(BenchError, match=r"^~nobody-of-ours/\S+: there is no user of that name\.$"):
            errands([file], output)

    def test_a_file_that_kills_its_decoder_costs_itself(self, tmp_path, photos, monkeypatch):
        ask = decoder._Process.ask

        def die(process, what, path, most):
            if (what, path.name) == ("photo", "2.png"):
                process._process.kill()
            return ask(process, what, path, most)

        monkeypatch.setattr(decoder._Process, "ask", die)
        result = restore(photos, "-o", tmp_path / "out")
        assert result.returncode == 1
        assert "2.png ended the process that decodes pictures (SIGKILL)" in result.stderr
        assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["1.png", "3.png"]

    def test_a_restorer_that_fails_does_so_for_one_picture(self, tmp_path):
        for name, level in (("a", 200), ("b", 20)):
            Image.new("L", (16, 16), level).save(tmp_path / f"{name}.png")
        files = (tmp_path / "a.png", tmp_path / "b.png")
        result = restore(*files, "-o", tmp_path / "out", methods=f"{SIMPLE}:Failing")
        assert result.returncode == 1
        assert "a.png: failing: MemoryError: no room." in result.stderr
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["b.png"]


class TestRequests:
    @pytest.mark.parametrize(
        ("words", "says"),
        [
            (("photos/1.png", "-o", "out.jpg"), "out.jpg: '.jpg' is none of the lossless formats"),
            (("photos/9.png", "-o", "out.png"), "There is no file photos/9.png"),
            (("photos", "-o", "photos"), "1.png is a picture to be restored, and is not written over"),
            (("photos/1.png", "photos/2.png", "-o", "photos/3.png"), "2 pictures need a folder"),
            (("photos/1.png", "-o", "out.png", "--methods", "bm3d,nlm"), "a picture is restored by one restorer"),
        ],
        ids=["jpg", "no file", "onto itself", "a file for two", "two restorers"],
    )
    def test_what_will_not_do_is_one_line_and_nothing_begins(self, tmp_path, photos, monkeypatch, words, says):
        monkeypatch.chdir(tmp_path)
        methods = () if "--methods" in words else ("--methods", BOX)
        assert says in refused(command("restore", *words, *methods, "--sigma", "25"))

    def test_two_files_that_would_become_one_are_named(self, photos):
        Image.fromarray(picture(24, 32)).save(photos / "1.jpg")
        with pytest.raises(BenchError, match=r"1\.jpg and .*1\.png would become out/1\.png"):
            errands([photos], "out")

    def test_names_stay_and_what_loses_becomes_png(self, photos):
        for name in ("4.tif", "5.webp", "6.bmp"):
            Image.fromarray(picture(24, 32)).save(photos / name)
        names = [errand.target.as_posix() for errand in errands([photos], "out")]
        assert names == ["out/1.png", "out/2.png", "out/3.png", "out/4.tif", "out/5.webp", "out/6.png"]


def the_same_as_a_run(method, dataset, tmp_path):
    """That a noisy picture, restored, is to the last bit what a run scores; and its PNG too."""
    frame = bench.run(method, "denoise", dataset, sigma=25, store=tmp_path / "s.sqlite", threads=1).frame()
    [entry, *_] = get(dataset).entries
    clean, protocol = read(get(dataset), entry).pixels, get_protocol("standard-v1")
    setting = Setting("denoise", 25.0, 1)
    seed = protocol.seed(setting, get(dataset).name, entry.name, 0)
    reference, seen = protocol.degrade(clean, setting, seed)
    x_hat = bench.restore(seen.image, method, sigma=25, threads=1)
    save(x_hat, tmp_path / "x.png")
    scored = [protocol.score(one, reference, setting) for one in (x_hat, read_photo(tmp_path / "x.png").image)]
    assert {quality.psnr_db for quality in scored} == {frame["psnr_db"].iloc[0]}
    assert {quality.ssim for quality in scored} == {frame["ssim"].iloc[0]}


def test_what_is_restored_is_what_a_run_scores(tmp_path, photos):
    (photos / "2.png").unlink()
    (photos / "3.png").unlink()
    the_same_as_a_run("nlm", photos, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["bm3d", "dncnn"])
def test_what_others_restore_is_what_a_run_scores(tmp_path, method):
    folder = tmp_path / "one"
    folder.mkdir()
    Image.fromarray(picture(64, 96)).save(folder / "1.png")
    the_same_as_a_run(method, folder, tmp_path)


def test_a_file_with_noise_is_named_by_its_estimate(tmp_path, monkeypatch):
    monkeypatch.setattr(arrays, "RestorerProcess", Here)
    noisy = awgn(np.full((64, 64, 1), 0.5, np.float32), 20.0, np.random.RandomState(0))
    save(noisy, tmp_path / "a.png")
    result = restore(tmp_path / "a.png", "-o", tmp_path / "b.png", methods=f"{SIMPLE}:Told", sigma="auto")
    [estimate] = [line.split()[-1] for line in result.stderr.splitlines() if "estimated" in line]
    assert np.asarray(Image.open(tmp_path / "b.png"))[0, 0] == round(float(estimate))
