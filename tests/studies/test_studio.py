"""The studio in a real browser, on a small clip of a ball whose true masks are known: painted by
pointer, followed by work that takes a moment, corrected, exported. Then what is refused."""

import json
import os
import shutil
import signal
import sys
import threading
import time
from contextlib import contextmanager, suppress
from inspect import signature
from pathlib import Path
from types import SimpleNamespace

import fast_studio
import numpy as np
import pytest
from asking import ask, post
from axe_core_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import expect

from simulacra.core.errors import Mistake
from simulacra.studies import _studio_work as works
from simulacra.studies._studio_folder import read_labels
from simulacra.studies._studio_labels import from_runs, to_runs
from simulacra.studies.studio import studio
from simulacra.tasks import decompose
from simulacra.video.propose import propose

T, H, W, RADIUS = 10, 64, 96, 10
FAST = Path(fast_studio.__file__)
expect.set_options(timeout=30_000)  # the machine may be busy
WIDE = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


def centre(t):
    """Where the ball is."""
    return 18 + 6 * t, 32


@pytest.fixture(scope="module")
def truth():
    """Where the ball is, (T, H, W) bool."""
    y, x = np.mgrid[:H, :W] + 0.5
    return np.stack([np.hypot(x - centre(t)[0], y - centre(t)[1]) < RADIUS for t in range(T)])


@pytest.fixture(scope="module")
def clip(truth, tmp_path_factory):
    """A folder of frames of a ball that rolls along a wall."""
    place = tmp_path_factory.mktemp("studio") / "ball"
    place.mkdir()
    wall = np.random.default_rng(0).integers(90, 160, (8, 12, 3)).astype(np.uint8)
    wall = np.asarray(Image.fromarray(wall).resize((W, H), Image.Resampling.BICUBIC))
    for t in range(T):
        frame = np.where(truth[t, ..., None], [230, 60, 40], wall).astype(np.uint8)
        Image.fromarray(frame).save(place / f"{t:03}.png")
    return place


@contextmanager
def running(clip, place, pause=0.0, child=None):
    """A studio and its server, which answers."""
    command = child or (sys.executable, str(FAST), str(pause))
    server, made = studio(clip, place, 0, child=command)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield SimpleNamespace(server=server, made=made, place=place)
    finally:
        server.stop()
        thread.join(30)
        made.end()
        made.folder.lock.close()


@pytest.fixture
def at(clip, tmp_path):
    """A studio with nothing painted."""
    with running(clip, tmp_path / "work") as found:
        yield found


def enter(tab, at):
    """Open its page, and say where a pixel of the clip is on the screen."""
    tab.goto(at.server.address)
    tab.wait_for_selector("body.ready")
    over = tab.locator("#over")

    def where(x, y):
        box = over.bounding_box()
        return box["x"] + x * box["width"] / W, box["y"] + y * box["height"] / H

    return where


def draw(tab, where, *points):
    """Draw a line from point to point, in pixels of the clip."""
    tab.mouse.move(*where(*points[0]))
    tab.mouse.down()
    for point in points[1:]:
        tab.mouse.move(*where(*point), steps=3)
    tab.mouse.up()


def paint_ball(tab, where, t):
    """Cover the ball of frame t with a brush as wide as it, a little beside its middle."""
    tab.keyboard.press("b")
    tab.locator("#size").fill("16")
    (x, y), around = centre(t), 2.5
    turns = np.linspace(0, 2 * np.pi, 9)
    draw(tab, where, *[(x + around * np.cos(a), y + around * np.sin(a)) for a in turns])
    saved(tab)


def saved(tab):
    """Wait until what was painted is on the disk."""
    expect(tab.locator("#saved")).to_have_text("saved")


def overlap(one, two):
    """J of two masks."""
    return (one & two).sum() / (one | two).sum()


def labels(at, t):
    """What the folder holds of a frame, painted or found."""
    paths = [at.place / kind / f"{t:05d}.png" for kind in ("masks", "found")]
    (path, *_) = [path for path in paths if path.exists()]
    return read_labels(path, H, W)


def mean_overlap(at, truth):
    """Mean J over all frames."""
    return np.mean([overlap(labels(at, t) > 0, truth[t]) for t in range(T)])


def colours(tab):
    """The colours of the pixels that are painted over the frame."""
    found = tab.evaluate(
        """() => { const over = document.getElementById("over");
        const data = over.getContext("2d").getImageData(0, 0, over.width, over.height).data;
        const seen = new Set();
        for (let i = 0; i < data.length; i += 4)
          if (data[i + 3] === 255) seen.add(`${data[i]},${data[i + 1]},${data[i + 2]}`);
        return [...seen]; }"""
    )
    return set(found)


def finish(tab):
    """Start, and wait until the layers are there."""
    tab.locator("#start").click()
    expect(tab.locator("#told")).to_have_text("The layers are those of these masks.")


def test_draw_run_correct_run_again_and_export(tab, at, truth):
    where = enter(tab, at)
    expect(tab.locator("#told")).to_contain_text("Paint the object in any one frame")
    assert tab.locator("#export").is_disabled() and not colours(tab)
    paint_ball(tab, where, 0)
    assert overlap(labels(at, 0) > 0, truth[0]) > 0.85 and colours(tab) == {"255,79,163"}
    expect(tab.locator("#strip rect")).to_have_count(1)
    finish(tab)
    expect(tab.locator("#strip rect")).to_have_count(T)
    before = mean_overlap(at, truth)
    assert before < 0.3, "the ball rolls on, the mask stays"
    tab.keyboard.press("a")
    expect(tab.locator("#about")).to_have_text("Frame 7: found, expected overlap 0.20")
    assert tab.locator("#time").input_value() == "7"
    tab.keyboard.press("Delete")
    expect(tab.locator("#about")).to_have_text("Frame 7: painted")
    paint_ball(tab, where, 7)
    expect(tab.locator("#told")).to_contain_text("have changed since")
    finish(tab)
    after = mean_overlap(at, truth)
    assert after > before + 0.15, (before, after)
    given = json.loads((at.place / "last_run.json").read_text())
    assert set(given) == {"0", "7"}
    tab.locator("#export").click()
    expect(tab.locator("#exported")).to_contain_text(
        f"deliver {at.place / 'exports' / '1'}/layers -o"
    )
    out = at.place / "exports" / "1"
    assert len(list((out / "layers" / "foreground").glob("*.png"))) == T
    assert {one.name for one in (out / "masks").glob("*")} == {"00000.png", "00007.png"}
    assert not tab.errors, tab.errors
    assert {url.split("/")[2] for url in tab.asked} == {f"127.0.0.1:{at.server.port}"}


def test_a_box_a_lasso_and_several_objects(tab, at, truth):
    where = enter(tab, at)
    tab.keyboard.press("g")
    x, y = centre(0)
    draw(tab, where, (x - 13, y - 13), (x + 13, y + 13))
    saved(tab)
    ball = labels(at, 0)
    assert overlap(ball == 1, truth[0]) > 0.9, "GrabCut finds the ball in the box"
    tab.keyboard.press("n")
    tab.keyboard.press("l")
    draw(tab, where, (60, 10), (80, 10), (80, 30), (60, 30))
    expect(tab.locator("#undo")).to_be_enabled()
    saved(tab)
    square = np.zeros((H, W), bool)
    square[10:30, 60:80] = True
    assert overlap(labels(at, 0) == 2, square) > 0.9 and (labels(at, 0) == 1).sum() == ball.sum()
    assert colours(tab) == {"255,79,163", "61,155,255"}
    tab.keyboard.press("Control+z")
    expect(tab.locator("#redo")).to_be_enabled()
    saved(tab)
    assert (labels(at, 0) == ball).all()
    tab.keyboard.press("Control+z")
    expect(tab.locator("#about")).to_have_text("Frame 0: no mask yet")
    saved(tab)
    assert not list((at.place / "masks").glob("*.png")), "no mask of nothing is left"
    tab.keyboard.press("ArrowRight")
    tab.keyboard.press("Control+y")
    expect(tab.locator("#about")).to_have_text("Frame 0: painted")
    tab.keyboard.press("Control+Shift+Z")
    saved(tab)
    assert (labels(at, 0) == 2).any()
    tab.keyboard.press("1")
    tab.on("dialog", lambda dialog: dialog.accept())
    tab.locator("#remove").click()
    expect(tab.locator("#objects [data-object]")).to_have_count(1)
    assert overlap(labels(at, 0) == 1, square) > 0.9, "the second object is the first now"
    draw(tab, where, (2, 2), (3, 3))  # a lasso around nothing
    tab.keyboard.press("g")
    draw(tab, where, (2, 2), (3, 3))
    expect(tab.locator("#error")).to_contain_text("at least 3 pixels wide and high")
    assert [one for one in tab.errors if "400" not in one] == []


def test_all_but_painting_goes_by_keys(tab, at):
    where = enter(tab, at)
    paint_ball(tab, where, 0)
    tab.keyboard.press("r")
    expect(tab.locator("#told")).to_have_text("The layers are those of these masks.")
    tab.keyboard.press("End")
    assert tab.locator("#time").input_value() == str(T - 1)
    tab.keyboard.press("Shift+ArrowLeft")
    assert tab.locator("#time").input_value() == "0"
    tab.keyboard.press(" ")
    expect(tab.locator("#play")).to_have_attribute("aria-label", "Pause")
    expect(tab.locator("#time")).to_have_value(str(T - 1))
    expect(tab.locator("#play")).to_have_attribute("aria-label", "Play")
    for key, tool in {"e": "eraser", "l": "lasso", "g": "box", "b": "brush"}.items():
        tab.keyboard.press(key)
        assert (
            tab.locator("button[data-tool][aria-pressed=true]").get_attribute("data-tool") == tool
        )
    size = int(tab.locator("#size").input_value())
    tab.keyboard.press("]")
    assert int(tab.locator("#size").input_value()) > size
    tab.keyboard.press("+")
    assert (
        tab.locator("#stage").bounding_box()["width"] > tab.locator("#view").bounding_box()["width"]
    )
    tab.keyboard.press("-")
    tab.keyboard.press("v")
    assert tab.locator("#over").evaluate("one => getComputedStyle(one).opacity") == "0"
    tab.keyboard.press("v")
    tab.keyboard.press("Home")
    tab.keyboard.press("d")
    expect(tab.locator("#about")).to_have_text("Frame 0: found, expected overlap 1.00")
    tab.keyboard.press("Control+z")
    expect(tab.locator("#about")).to_have_text("Frame 0: painted")
    tab.keyboard.press("c")
    assert tab.locator("#left").input_value() == "frame"
    assert tab.locator("#right").input_value() == "background"
    expect(tab.locator("#other")).to_be_visible()
    box = tab.locator("#stage").bounding_box()
    edge = tab.locator("#stage .edge")
    tab.keyboard.press(",")
    left = edge.bounding_box()["x"] - box["x"]
    assert abs(left / box["width"] - 0.45) < 0.01
    tab.keyboard.press("?")
    assert tab.get_by_role("dialog").is_visible()
    tab.keyboard.press("c")
    tab.keyboard.press("Escape")
    assert tab.locator("#other").is_visible(), "keys wait while the list is open"
    tab.keyboard.press("x")
    expect(tab.locator("#exported")).to_contain_text("Copied to")
    for _ in range(40):  # whatever there is can be reached
        tab.keyboard.press("Tab")
        if tab.evaluate("document.activeElement.id") == "wiper":
            break
    tab.keyboard.press("End")
    assert tab.locator("#wiper").input_value() == "100"


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1280, "light")])
def test_the_page_fits_is_legible_and_sound(chromium, at, truth, width, scheme):
    """On a phone it is painted by touch."""
    context = chromium.new_context(
        viewport={"width": width, "height": 844}, color_scheme=scheme, has_touch=width < 400
    )
    tab = context.new_page()
    try:
        where = enter(tab, at)
        x, y = centre(0)
        if width < 400:
            tab.locator("#size").fill("16")
            tab.touchscreen.tap(*where(x, y))
            saved(tab)
            assert overlap(labels(at, 0) > 0, truth[0]) > 0.5
        else:
            paint_ball(tab, where, 0)
        finish(tab)
        for mode in "paint", "compare":
            tab.locator(f"button[data-mode={mode}]").click()
            tab.keyboard.press("+")  # what scrolls can be reached by keys
            assert tab.evaluate(WIDE) <= 0, mode
            found = Axe().run(tab, options={"resultTypes": ["violations"]})["violations"]
            grave = [one for one in found if one["impact"] in ("serious", "critical")]
            assert not grave, [(one["id"], [n["html"] for n in one["nodes"]]) for one in grave]
    finally:
        context.close()


def test_work_is_watched_and_stopped_and_a_killed_studio_goes_on(tab, clip, tmp_path):
    with running(clip, tmp_path / "work", pause=0.5) as at:
        where = enter(tab, at)
        paint_ball(tab, where, 0)
        tab.locator("#start").click()
        expect(tab.locator("#strip rect.found, #strip rect.low")).not_to_have_count(0)
        assert tab.locator("#share").is_visible()
        process = at.made.process
        tab.keyboard.press("r")
        expect(tab.locator("#told")).to_have_text("Stopped. What was finished is kept.")
        assert process.poll() is not None
        count = tab.locator("#strip rect").count()
        assert 1 < count < T and tab.locator("#export").is_disabled()
        tab.locator("#start").click()
        expect(tab.locator("#running")).to_be_visible()
        process = at.made.process
        process.stdin.close()  # which is all that the child sees of a studio that was killed
        assert process.wait(30) == 1
        expect(tab.locator("#error")).to_contain_text("the work ended early, with status 1")
    with running(clip, tmp_path / "work") as again:
        enter(tab, again)
        expect(tab.locator("#about")).to_have_text("Frame 0: painted")
        there = len({0, *again.made.sure})
        assert there >= count
        expect(tab.locator("#strip rect")).to_have_count(there)
        assert sorted(again.made.sure) == list(range(len(again.made.sure)))
        tab.route("**/start", lambda route: route.abort())
        tab.locator("#start").click()
        expect(tab.locator("#error")).to_contain_text("the studio has ended")


def test_what_goes_wrong_with_the_work_is_one_line(tab, clip, tmp_path):
    with running(clip, tmp_path / "a") as at:
        where = enter(tab, at)
        tab.locator("#start").click()
        expect(tab.locator("#error")).to_have_text(
            "nothing is painted yet; paint the object in one frame"
        )
        for _ in range(2):
            tab.keyboard.press("n")
        paint_ball(tab, where, 0)
        tab.locator("#start").click()
        expect(tab.locator("#error")).to_have_text(
            "object 3 of mask 0 is nowhere; needed: where it is"
        )
    at.made.child = sys.executable, "-c", "raise SystemExit('no luck')"
    at.made.start()
    for _ in range(300):
        time.sleep(0.1)
        if not at.made.process:
            break
    assert at.made.state()["error"] == "the work ended early, with status 1: no luck"


def test_a_disk_that_fills_ends_the_work_with_a_line(at, monkeypatch):
    at.made.folder.save(0, np.ones((H, W), np.uint8))

    def full(found, sure):
        raise Mistake("cannot write found/00000.png: No space left on device")

    monkeypatch.setattr(at.made.folder, "keep", full)
    at.made.start()
    process = at.made.process
    for _ in range(300):
        time.sleep(0.1)
        if not at.made.process:
            break
    assert at.made.state()["error"] == "cannot write found/00000.png: No space left on device"
    assert process.poll() is not None


def test_what_others_send_is_refused(at):
    assert ask(at.server, "/")[0].status == 403
    assert ask(at.server, "/mask/0.json")[0].status == 403
    assert post(at.server, "/start", b"{}", Cookie=None)[0].status == 403
    assert post(at.server, "/start", b"{}", host="evil.example")[0].status == 421
    assert post(at.server, "/start", b"{}", Origin="http://evil.example")[0].status == 403
    assert post(at.server, "/mask", bytes(2**23 + 1))[0].status == 413
    assert post(at.server, "/else", b"{}")[0].status == 404
    assert not at.made.process and not at.made.folder.masks


@pytest.mark.parametrize(
    ("name", "told", "says"),
    [
        ("mask", b"[1]", "what was sent is no JSON object"),
        ("mask", b"{", "what was sent is no JSON object"),
        ("mask", {"frame": T, "runs": []}, f"frame {T}; the clip has 0 to {T - 1}"),
        ("mask", {"frame": True, "runs": []}, "frame True; the clip has 0 to 9"),
        ("mask", {"frame": 0, "runs": [0, 5]}, "no mask of 96x64"),
        ("mask", {"frame": 0, "runs": [9, H * W]}, "allowed: 0 to 8"),
        ("mask", {"frame": 0, "runs": [0, H * W + 1, 1, -1]}, "no mask of 96x64"),
        ("mask", {"frame": 0, "runs": "0"}, "no mask of 96x64"),
        ("remove", {"object": 9}, "object 9; allowed: 1 to 8"),
        ("propose", {"frame": 0, "box": [0, 0, W + 1, 9]}, "allowed: inside it"),
        ("propose", {"frame": 0, "box": [0, 0, 9]}, "a box is four whole numbers"),
        ("export", {}, "there are no layers yet"),
        ("start", {}, "nothing is painted yet"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_line(at, name, told, says):
    body = told if isinstance(told, bytes) else json.dumps(told).encode()
    answer, content = post(at.server, f"/{name}", body)
    assert answer.status == 400 and says in content.decode() and content.count(b"\n") == 1


@pytest.mark.parametrize(
    "name",
    ["frame/10.png", "frame/0.json", "mask/0.json", "found/0.json", "matte/0.png", "masks/0.png",
     "objects/1/mask/0.png", "objects/9/matte/0.png", "../work.log", "studio.json"],
)  # fmt: skip
def test_only_what_there_is_is_given(at, name):
    assert at.made.give(name) is None


def test_labels_survive_the_way_to_the_page_and_back():
    random = np.random.default_rng(0)
    for size in (1, 1), (5, 7), (64, 96):
        for most in 1, 2, 9:
            one = random.integers(0, most, size).astype(np.uint8)
            assert (from_runs(to_runs(one), *size) == one).all()
    assert to_runs(np.array([[0, 0, 3], [3, 0, 0]])) == [0, 2, 3, 2, 0, 2]


def test_the_likeliest_object_above_a_half_is_the_label():
    soft = np.array([[[0.6, 0.4, 0.5]], [[0.4, 0.55, 0.5]]])
    assert works.hardened(soft, [2, 5]).tolist() == [[2, 5, 0]]


def test_the_work_asks_decompose_for_what_it_takes(monkeypatch, tmp_path):
    """Held to the signature that there is; masks that arrive are told with the names painted."""
    import torch

    real, told = decompose.decompose, []

    def heard(*words, **options):
        bound = signature(real).bind(*words, **options).arguments
        assert bound["masks"] == {3: Path("m.png")} and bound["longest"] == 96
        bound["notify"]("object", 0.5)
        bound["said"]("a line")
        bound["arrived"](1, torch.tensor([[[0.9, 0.1]]]), torch.tensor([0.75]))
        return {"of": "x"}, []

    monkeypatch.setattr(decompose, "decompose", heard)
    order = {"clip": "c", "out": str(tmp_path), "longest": 96, "frames": 0, "fast": False}
    order |= {"masks": {"3": "m.png"}, "names": [2]}
    assert works.decomposed(order, told.append) == {"of": "x"}
    stage, note, frame = told
    assert stage == {"stage": "object", "share": 0.5} and note == {"note": "a line"}
    assert frame == {"frame": 1, "runs": [2, 1, 0, 1], "sure": [0.75]}


def test_a_box_finds_the_object_and_leaves_the_rest(clip, truth):
    for t in 0, 9:
        frame = np.asarray(Image.open(clip / f"{t:03}.png"))
        x, y = centre(t)
        box = x - 13, y - 13, min(W, x + 13), y + 13
        found = propose(frame, box)
        assert overlap(found, truth[t]) > 0.9
        assert (propose(frame, box) == found).all(), "the same box, the same proposal"
        large = propose(frame.repeat(12, 0).repeat(12, 1), tuple(12 * one for one in box))
        assert overlap(large[6::12, 6::12], truth[t]) > 0.9
    with pytest.raises(Mistake, match="allowed: inside it"):
        propose(frame, (5, 5, 7, 9))


# bad input


def refused(simulacra, *words):
    """The line in which a command line is refused."""
    return simulacra("studio", *words, "--port", 0).refusal()


def test_bad_input_is_one_line(simulacra, clip, at, tmp_path):
    assert "no clip none.mp4" in refused(simulacra, "none.mp4")
    empty, text, file = tmp_path / "empty", tmp_path / "film.mp4", tmp_path / "file"
    empty.mkdir()
    text.write_text("no film")
    file.write_text("")
    assert str(empty) in refused(simulacra, empty) and "film.mp4" in refused(simulacra, text)
    assert f"{file} is a file" in refused(simulacra, clip, "-o", file)
    assert "cannot write" in refused(simulacra, clip, "-o", file / "inside")
    assert "another studio works in" in refused(simulacra, clip, "-o", at.place)
    taken = simulacra("studio", clip, "-o", tmp_path / "x", "--port", at.server.port).refusal()
    assert f"cannot listen at port {at.server.port}" in taken


def test_a_folder_of_something_else_or_broken_is_said(simulacra, clip, tmp_path):
    place = tmp_path / "work"
    with running(clip, place) as at:
        at.made.folder.save(3, np.ones((H, W), np.uint8))
    other = shutil.copytree(clip, tmp_path / "other")
    (other / "009.png").unlink()
    said = refused(simulacra, other, "-o", place)
    assert "another clip" in said and "frames 10, now 9" in said
    assert "at another size" in refused(simulacra, clip, "-o", place, "--longest", 48)
    mask = place / "masks" / "00003.png"
    whole = mask.read_bytes()
    mask.write_bytes(whole[:60])
    assert str(mask) in refused(simulacra, clip, "-o", place)
    Image.new("L", (W, H)).save(mask)
    assert f"{mask} is no mask of this studio" in refused(simulacra, clip, "-o", place)
    mask.write_bytes(whole)
    shutil.copy(mask, mask.with_name("00010.png"))
    assert "00010.png is of no frame" in refused(simulacra, clip, "-o", place)
    (place / "studio.json").write_text("{")
    assert "cannot read" in refused(simulacra, clip, "-o", place)
    (place / "studio.json").unlink()
    assert "it is not known of which clip" in refused(simulacra, clip, "-o", place)


def test_what_was_found_and_is_damaged_is_found_anew(clip, tmp_path):
    with running(clip, tmp_path / "a") as at:
        one = np.ones((H, W), np.uint8)
        at.made.folder.keep({0: one, 1: one}, {0: [0.5], 1: [0.5]})
    (at.place / "found" / "00001.png").write_bytes(b"")
    with running(clip, tmp_path / "a") as at:
        assert list(at.made.sure) == [0] and "00001.png" in at.made.notes[-1]
    (at.place / "found.json").write_text("{")
    with running(clip, tmp_path / "a") as at:
        assert not at.made.sure and "found.json" in at.made.notes[-1]


def test_an_export_that_fails_leaves_nothing(at, monkeypatch):
    def full(source, target, **options):
        Path(target).mkdir(parents=True)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copytree", full)
    with pytest.raises(Mistake, match=r"exports/1: No space left on device"):
        at.made.folder.export(["masks"])
    assert not list((at.place / "exports").iterdir())


def test_the_command_line_ends_with_ctrl_c_and_so_does_its_work(launch, clip, tmp_path):
    child, said, last = launch("studio", clip, "-o", tmp_path / "w", "--port", 0), b"", 60
    last += time.monotonic()
    while said.count(b"\n") < 2 and time.monotonic() < last:
        with suppress(BlockingIOError):
            said += os.read(child.ends[0], 1000)
        time.sleep(0.02)
    port, token = said.decode().splitlines()[0].rpartition(":")[2].split("/?token=")
    server = SimpleNamespace(port=int(port), token=token)
    runs = to_runs(np.ones((H, W), np.uint8) - np.eye(H, W, dtype=np.uint8))
    assert post(server, "/mask", json.dumps({"frame": 0, "runs": runs}).encode())[0].status == 200
    assert json.loads(post(server, "/start", b"{}")[1])["running"]
    works_there = Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split()
    if not works_there:  # started by another thread
        tasks = Path(f"/proc/{child.pid}/task").glob("*/children")
        works_there = [one for path in tasks for one in path.read_text().split()]
    assert works_there
    child.signal(signal.SIGINT)
    ended = child.wait()
    assert ended.code == 130 and "Traceback" not in ended.err and "is kept in" in ended.err
    assert not [one for one in works_there if Path(f"/proc/{one}").exists()]
