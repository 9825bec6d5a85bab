"""From a picture file to the array that a model reads."""

from os import PathLike, fspath

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from fastconv.data.resample import enlarge

CONTRAST = 0.1  # of the range from black to white: a picture with less is blank
FAINT = 0.25  # of the strongest ink: what is fainter does not widen the frame


def read_picture(
    path: str | PathLike, input_shape: tuple[int, int, int], ink_frame: int | None = None
) -> tuple[np.ndarray, bool]:
    """Read a picture as pixels between 0 and 1, before normalisation.

    With `ink_frame`, the picture shows something written, and is treated as the digits were: what differs from the
    border is ink, whether darker or lighter; the picture is trimmed to the ink, fitted to a square frame of `ink_frame`
    pixels by averaging, and enlarged to the input's size. Otherwise it is resized as it is.

    Parameters
    ----------
    path : str or path
        Any file that Pillow opens. Transparency becomes white.
    input_shape : (C, H, W)
        1 channel is grey, 3 are red, green and blue.
    ink_frame : int, optional

    Returns
    -------
    pixels : (1, C, H, W) float32 ndarray
    inverted : bool
        Whether the ink was dark, so that the picture was inverted.

    Raises
    ------
    OSError
        The file cannot be read.
    ValueError
        It is no picture, or a blank one where ink is looked for; or the model reads neither 1 nor 3 channels.
    """
    channels, height, width = input_shape
    if channels not in (1, 3):
        raise ValueError(f"a picture has 1 or 3 channels, the model reads {channels}")
    picture = _open(path).convert("L" if channels == 1 else "RGB")
    if ink_frame and channels == 1:
        grey = np.asarray(picture, np.float32) / 255
        if np.ptp(grey) < CONTRAST:
            raise ValueError(f"{fspath(path)}: the picture is blank")
        ink, inverted = _ink(grey)
        return enlarge(_framed(ink, ink_frame), (height, width))[None, None], inverted
    pixels = np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR), np.float32) / 255
    return pixels.reshape(height, width, channels).transpose(2, 0, 1)[None], False


def _open(path: str | PathLike) -> Image.Image:
    """Open a picture as 8-bit colours, upright, on white paper where it is transparent."""
    with open(path, "rb") as file:  # a missing file or a directory is an OSError here, with its name
        try:
            picture = ImageOps.exif_transpose(Image.open(file))
        except UnidentifiedImageError:
            raise ValueError(f"{fspath(path)}: not a picture") from None
        # Damage shows in many ways: the PNG reader raises SyntaxError, the check against huge sizes its own class.
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise ValueError(f"{fspath(path)}: a damaged picture ({error})") from None
    if picture.mode[0] in "IF":  # more than 8 bits a pixel: Pillow would clip them
        values = np.asarray(picture, np.float32)
        picture = Image.fromarray(np.uint8(255 * (values - values.min()) / max(np.ptp(values), 1e-9)))
    picture = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)


def _ink(grey: np.ndarray) -> tuple[np.ndarray, bool]:
    """Ink between 0 and 1, and whether it is darker than the paper, which is what the border shows."""
    paper = np.median(np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]]))
    dark = bool(paper - grey.min() > grey.max() - paper)
    ink = paper - grey if dark else grey - paper
    return (ink / ink.max()).clip(0, 1), dark


def _framed(ink: np.ndarray, side: int) -> np.ndarray:
    """Trim to the ink and fit it into a square frame, centred: (`side`, `side`) float32."""
    rows, columns = (np.flatnonzero((ink > FAINT).any(axis)) for axis in (1, 0))
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    longest = max(ink.shape)
    square = np.zeros((longest, longest), np.float32)
    top, left = ((longest - length) // 2 for length in ink.shape)
    square[top : top + ink.shape[0], left : left + ink.shape[1]] = ink
    return np.asarray(Image.fromarray(square).resize((side, side), Image.Resampling.BOX))
