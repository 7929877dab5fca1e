import cv2
import numpy as np
import pytest
from PIL import Image
from raising import refused

from oiv5_d2.inference.sources import (
    find_pictures,
    is_video,
    name_source,
    open_source,
    open_video,
    read_picture,
)
from oiv5_d2.problems import Kind


def names(source):
    return [one.name for one in find_pictures(str(source))]


def test_a_folder_is_searched_to_the_bottom(images_dir):
    assert names(images_dir) == ["a", "b", "c", "d", "more/a"]


def test_a_file_and_a_pattern_do_as_well(images_dir):
    assert names(images_dir / "b.png") == ["b"]
    assert names(f"{images_dir}/*.j*g") == ["a", "d"]
    assert names(f"{images_dir}/**/a.jpg") == ["a", "more/a"]


def test_a_file_with_brackets_in_its_name_is_that_file(images_dir):
    (images_dir / "a.jpg").rename(images_dir / "a[1].jpg")
    assert names(images_dir / "a[1].jpg") == ["a[1]"]


def test_nothing_to_look_at_is_told(tmp_path, images_dir):
    with refused(Kind.ABSENT, key="input"):
        find_pictures(str(tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    with refused(Kind.EMPTY, key="input"):
        find_pictures(str(tmp_path / "empty"))
    (images_dir / "a.png").write_bytes((images_dir / "b.png").read_bytes())
    with refused(Kind.MISMATCH, key="input", about="a.png"):
        find_pictures(str(images_dir))


def test_a_picture_is_read_as_a_person_sees_it(tmp_path):
    image = Image.new("RGB", (4, 2), (200, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    image.save(tmp_path / "turned.png", exif=exif)
    assert read_picture(tmp_path / "turned.png").shape == (4, 2, 3)
    assert read_picture(tmp_path / "turned.png")[0, 0].tolist() == [200, 0, 0]
    Image.new("L", (3, 3), 7).save(tmp_path / "grey.png")
    assert (read_picture(tmp_path / "grey.png") == 7).all()


@pytest.mark.parametrize("content", [b"", b"no image", b"\xff\xd8\xff\xe0 cut"])
def test_a_damaged_picture_is_named(tmp_path, content):
    (tmp_path / "a.jpg").write_bytes(content)
    with refused(Kind.DAMAGED, key="input", about="a.jpg"):
        read_picture(tmp_path / "a.jpg")


def test_a_video_says_how_long_fast_and_large_it_is(tmp_path):
    path = tmp_path / "street.avi"
    target = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (64, 48))
    for value in (0, 100, 200):
        target.write(np.full((48, 64, 3), (value, 0, 0), np.uint8))
    target.release()
    with open_video(str(path)) as video:
        assert (video.num_frames, video.rate, video.size) == (3, 10.0, (48, 64))
        frames = list(video.frames)
    assert [frame.shape for frame in frames] == [(48, 64, 3)] * 3
    assert abs(int(frames[2][5, 5, 2]) - 200) < 8  # blue is last: RGB


def test_what_cannot_be_played_is_told(tmp_path):
    assert is_video("street.MP4") and is_video("0") and not is_video("photos")
    (tmp_path / "a.mp4").write_bytes(b"no video")
    for name, kind in (("a.mp4", Kind.DAMAGED), ("b.mp4", Kind.ABSENT)):
        with refused(kind, key="input"), open_video(str(tmp_path / name)):
            pass


def test_a_camera_that_is_not_there_is_told_in_one_line(capfd):
    with refused(Kind.ABSENT, key="input", about="camera 99"), open_source("99"):
        pass
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("{}", "photos"),
        ("{}/a.jpg", "a"),
        ("{}/b.*", "b"),
        ("{}/*.j*g", "photos_j_g"),
        ("street.mp4", "street"),
        ("0", "camera_0"),
    ],
)
def test_what_is_found_has_the_name_of_where(images_dir, source, name):
    source = source.format(images_dir)
    pictures = [] if is_video(source) else find_pictures(source)
    assert name_source(source, pictures) == name
