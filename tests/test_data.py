"""The embedded digits, their augmentation, batches, and pictures from outside."""

import threading
from importlib.resources import files

import numpy as np
import pytest
from PIL import Image, ImageDraw

from fastconv.data import DATASETS, Affine, digits, enlarge, prefetch, training_batches, warp
from fastconv.data.picture import read_picture


@pytest.fixture(scope="module")
def data():
    return digits()


# ---- digits


def test_digits_are_the_1797_of_the_archive(data):
    assert data.train_images.shape == (1438, 1, 28, 28) and data.test_images.shape == (359, 1, 28, 28)
    assert data.train_images.dtype == data.test_images.dtype == np.float32
    assert data.train_labels.shape == (1438,) and data.train_labels.dtype == np.int64
    labels = np.concatenate([data.train_labels, data.test_labels])
    assert np.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert data.class_names == tuple("0123456789") and data.input_shape == (1, 28, 28)


def test_digits_are_split_in_proportion(data):
    train, test = np.bincount(data.train_labels), np.bincount(data.test_labels)
    assert np.abs(test - 0.2 * (train + test)).max() <= 0.5


def test_no_image_is_in_both_parts(data):
    train = {image.tobytes() for image in data.train_images}
    assert not train & {image.tobytes() for image in data.test_images}


def test_digits_are_normalised_with_the_figures_given(data):
    assert abs(data.train_images.mean()) < 1e-5 and abs(data.train_images.std() - 1) < 1e-5
    pixels = data.test_images * data.std[0] + data.mean[0]
    assert pixels.min() > -1e-6 and pixels.max() < 1 + 1e-6
    assert np.isclose(data.background, -data.mean[0] / data.std[0])


def test_digits_in_their_own_size_are_the_recorded_counts():
    small = digits(8)
    counts = (small.test_images * small.std[0] + small.mean[0]) * 16
    assert np.abs(counts - counts.round()).max() < 1e-4 and counts.round().max() == 16


@pytest.mark.parametrize(("size", "error"), [(0, ValueError), (-1, ValueError), (28.0, TypeError), ("28", TypeError)])
def test_digits_refuse_a_wrong_size(size, error):
    with pytest.raises(error, match="digits: size must be"):
        digits(size)


def test_licence_lies_beside_the_digits():
    folder = files("fastconv.data")
    text = (folder / "digits.txt").read_text()
    assert all(words in text for words in ("CC BY 4.0", "Alpaydin", "Kaynak", "10.24432/C50P49"))
    assert len((folder / "digits.npz").read_bytes()) < 60_000


def test_every_data_set_fits_the_size_asked_for():
    for load in DATASETS.values():
        assert load(32).input_shape[1:] == (32, 32)


# ---- resampling


def test_enlarging_keeps_constants_and_interpolates_lines():
    assert np.allclose(enlarge(np.full((2, 3, 5), 7, np.float32), (9, 11)), 7)
    line = enlarge(np.arange(4, dtype=np.float32)[None], (1, 8))
    assert np.allclose(line, [[0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3]])


def identity(count):
    return np.tile(np.eye(2, 3, dtype=np.float32), (count, 1, 1))


def test_warp_by_the_identity_changes_nothing(data):
    images = data.train_images[:5]
    assert np.array_equal(warp(images, identity(5), data.background), images)


def test_warp_by_whole_pixels_shifts_and_fills():
    rng = np.random.default_rng(0)
    images = rng.random((2, 3, 8, 4), np.float32)
    maps = identity(2)
    maps[:, :, 2] = 2 / 8, -1 / 4  # output (i, j) shows input (i + 2, j - 1)
    y = warp(images, maps, fill=np.array([5, 6, 7]))
    assert np.allclose(y[:, :, :-2, 1:], images[:, :, 2:, :-1], atol=1e-6)
    assert np.allclose(y[:, :, :, 0], [[5], [6], [7]]) and np.allclose(y[:, :, -2:], [[[5]], [[6]], [[7]]])


def test_warp_by_a_quarter_turn_is_rot90():
    image = np.random.default_rng(1).random((1, 1, 7, 7), np.float32)
    turn = np.array([[[0, 1, 0], [-1, 0, 0]]], np.float32)
    assert np.allclose(warp(image, turn)[0, 0], np.rot90(image[0, 0]), atol=1e-6)


def test_warp_between_pixels_is_bilinear():
    """Against the definition, at random positions, in float64."""
    rng = np.random.default_rng(2)
    image, maps = rng.random((1, 1, 6, 5), np.float32), Affine(rotation=60, shift=0.5).draw(1, 0, 0)
    y = warp(image, maps, fill=0.5)[0, 0]
    padded = np.pad(image[0, 0].astype(float), 9, constant_values=0.5)
    matrix, shift = maps[0, :, :2].astype(float), maps[0, :, 2] * (6, 5)
    for i, j in np.ndindex(6, 5):
        u, v = matrix @ (i - 2.5, j - 2.0) + shift + (2.5 + 9, 2.0 + 9)
        a, b = int(u), int(v)
        corners = padded[a : a + 2, b : b + 2]
        expected = np.array([1 - u + a, u - a]) @ corners @ np.array([1 - v + b, v - b])
        assert abs(y[i, j] - expected) < 1e-5


# ---- augmentation and batches


def test_maps_stay_within_their_limits():
    maps = Affine(rotation=0, scale=0.1, shear=0, shift=0.05).draw(1000, 0, 0)
    assert np.abs(maps[:, [0, 1], [0, 1]] - 1).max() <= 0.1 + 1e-6
    assert np.abs(maps[:, [0, 1], [1, 0]]).max() == 0
    assert 0.04 < np.abs(maps[:, :, 2]).max() <= 0.05
    turns = Affine(rotation=20, scale=0, shear=0, shift=0).draw(1000, 0, 0)
    assert np.allclose(np.linalg.det(turns[:, :, :2]), 1, atol=1e-6)
    assert 19 < np.rad2deg(np.arcsin(np.abs(turns[:, 0, 1]))).max() <= 20.001


def test_a_map_depends_on_seed_epoch_and_sample_alone():
    draw = Affine().draw
    assert np.array_equal(draw(10, 3, 7), draw(1438, 3, 7)[:10])
    several = [draw(4, 3, 7), draw(4, 4, 7), draw(4, 3, 8)]
    assert len({array.tobytes() for array in several}) == 3


def epoch_by_label(data, batch_size, **settings):
    """All training images of an epoch, each under the bytes of its own original."""
    order = [x for x, _ in training_batches(data, batch_size, augment=None, **settings)]
    changed = [x for x, _ in training_batches(data, batch_size, augment=Affine(), **settings)]
    originals, images = np.concatenate(order), np.concatenate(changed)
    return {original.tobytes(): image for original, image in zip(originals, images, strict=True)}


def test_augmentation_does_not_depend_on_the_batches(data):
    few, many = (epoch_by_label(data, batch_size, seed=1, epoch=2) for batch_size in (64, 300))
    assert few.keys() == many.keys()
    assert all(np.array_equal(few[key], many[key]) for key in few)


def test_an_epoch_shows_every_image_once_with_its_label(data):
    batches = list(training_batches(data, 100, seed=0, epoch=1))
    assert [len(x) for x, _ in batches] == [100] * 14 + [38]

    def pairs(images, labels):
        return [(image.tobytes(), int(label)) for image, label in zip(images, labels, strict=True)]

    assert sorted(sum((pairs(*batch) for batch in batches), [])) == sorted(pairs(data.train_images, data.train_labels))


def test_the_order_follows_seed_and_epoch(data):
    def labels(seed, epoch):
        return next(training_batches(data, 200, seed=seed, epoch=epoch))[1].tolist()

    assert labels(0, 1) == labels(0, 1)
    assert labels(0, 1) != labels(0, 2) and labels(0, 1) != labels(1, 1)


# ---- prefetching


def workers():
    return [thread for thread in threading.enumerate() if thread.name.startswith("fastconv-prefetch")]


def test_prefetch_hands_on_all_items_in_order():
    assert list(prefetch(range(100))) == list(range(100))
    assert list(prefetch([])) == []
    assert not workers()


def test_prefetch_works_ahead_in_a_thread():
    made = []

    def items():
        for i in range(3):
            made.append(threading.current_thread())
            yield i

    coming = prefetch(items())
    assert next(coming) == 0
    coming.close()
    assert len(made) == 2 and threading.main_thread() not in made
    assert not workers()


def test_prefetch_raises_where_the_items_do():
    def items():
        yield 1
        raise LookupError("no second item")

    coming = prefetch(items())
    assert next(coming) == 1
    with pytest.raises(LookupError, match="no second item"):
        next(coming)
    assert not workers()


# ---- pictures


@pytest.fixture
def save(tmp_path):
    def save(picture, name="picture.png", **options):
        picture.save(tmp_path / name, **options)
        return tmp_path / name

    return save


def stroke(ink, paper, mode="L", size=(90, 60)):
    """A vertical bar, 6 x 40, right of the middle."""
    picture = Image.new(mode, size, paper)
    ImageDraw.Draw(picture).rectangle((50, 10, 55, 49), fill=ink)
    return picture


def frame_of(path, shape=(1, 28, 28)):
    return read_picture(path, shape, ink_frame=8)


def test_dark_and_light_ink_give_the_same(save):
    light, not_inverted = frame_of(save(stroke(255, 0), "light.png"))
    dark, inverted = frame_of(save(stroke(0, 255), "dark.png"))
    pencil, _ = frame_of(save(stroke(90, 200), "pencil.png"))
    assert inverted and not not_inverted
    assert light.shape == (1, 1, 28, 28) and light.dtype == np.float32
    assert np.array_equal(light, dark) and np.allclose(light, pencil)


def test_ink_is_trimmed_centred_and_fitted(save):
    pixels, _ = frame_of(save(stroke(0, 255)))
    columns = pixels[0, 0].max(0)
    assert np.allclose(columns, columns[::-1], atol=1e-6) and columns[14] > 0.5 and columns[0] == 0
    assert pixels[0, 0, :, 14].min() == pixels[0, 0, :, 14].max()  # from top to bottom


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "1", "LA"])
def test_any_kind_of_picture_is_read(save, mode):
    expected, _ = frame_of(save(stroke(0, 255), "grey.png"))
    pixels, inverted = frame_of(save(stroke(0, 255).convert(mode)))
    assert inverted and np.allclose(pixels, expected)


def test_deep_grey_is_not_clipped(save):
    grey = 20000 + 20000 * (np.asarray(stroke(255, 0)) > 0)
    expected, _ = frame_of(save(stroke(255, 0), "grey.png"))
    assert np.allclose(frame_of(save(Image.fromarray(grey.astype(np.uint16))))[0], expected, atol=1e-5)


def test_transparent_paper_is_white(save):
    clear = stroke((0, 0, 0, 255), (0, 0, 0, 0), "RGBA")
    assert frame_of(save(clear))[1]


def test_photographs_are_turned_upright(save):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held at a quarter turn
    pixels, _ = frame_of(save(stroke(0, 255).rotate(90, expand=True), "photo.png", exif=exif))
    assert np.allclose(pixels, frame_of(save(stroke(0, 255)))[0])


def test_pictures_for_colour_models_are_resized_only(save):
    pixels, inverted = read_picture(save(Image.new("RGB", (50, 30), (255, 102, 0))), (3, 16, 24))
    assert pixels.shape == (1, 3, 16, 24) and not inverted
    assert np.allclose(pixels[0, :, 0, 0], [1, 0.4, 0])


def test_digits_on_paper_are_read_like_the_data(data, save):
    """The way back: test images, pasted on paper, give nearly the same images."""
    likeness = []
    for image in data.test_images[:50, 0]:
        pixels = np.uint8((image * data.std[0] + data.mean[0]).clip(0, 1) * 255)
        paper = Image.new("L", (120, 90), 255)
        paper.paste(Image.fromarray(255 - pixels).resize((56, 56)), (40, 20))
        read, inverted = frame_of(save(paper))
        likeness.append(np.corrcoef(read.ravel(), pixels.ravel())[0, 1])
        assert inverted
    assert np.mean(likeness) > 0.93


def test_what_is_no_picture_is_named(tmp_path, save):
    whole = save(stroke(0, 255)).read_bytes()
    (tmp_path / "text.png").write_text("not a picture")
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    for name, message in {"text.png": "text.png: not a picture", "cut.png": "cut.png: a damaged picture"}.items():
        with pytest.raises(ValueError, match=message):
            frame_of(tmp_path / name)
    with pytest.raises(ValueError, match=r"blank.png: the picture is blank"):
        frame_of(save(Image.new("L", (20, 20), 128), "blank.png"))
    with pytest.raises(FileNotFoundError):
        frame_of(tmp_path / "absent.png")
    with pytest.raises(ValueError, match="1 or 3 channels"):
        frame_of(tmp_path / "picture.png", (2, 28, 28))
