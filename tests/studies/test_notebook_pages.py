"""The notebook's pages in a real browser: from disk and served, by pointer and by keys, light and
dark, on a desk and on a phone."""

import io
import json
import re
import shutil
import threading

import pytest
from axe_core_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import expect
from tiny import needed, of_model

from simulacra.core import config, run
from simulacra.studies.notebook import notebook
from simulacra.studies.serve import serve

STEPS = 10, 20, 30
KINDS = "samples", "reconstructed_real"


def tell(place, margin, seed, last=30, rows=40, done=True):
    """Make of a folder a run that has pictures, each of its own grey, a log, a measured value."""
    told = json.loads((place / "config.json").read_text())
    told["hyper"]["margin"], told["seed"], told["steps"] = margin, seed, last
    (place / "config.json").write_text(json.dumps(told))
    for step in STEPS:
        folder = place / "pictures" / f"{step:08d}"
        folder.mkdir(parents=True, exist_ok=True)
        for name in KINDS:
            Image.new("L", (24, 24), int(step * 4 + 8 * margin + seed)).save(folder / f"{name}.png")
    grow(place, rows)
    row = {"metric": "coverage", "value": margin / 10 + seed / 100, "step": last}
    run.write_text(place / "metrics.jsonl", json.dumps(row) + "\n")
    if done:
        run.write_text(place / "done", "{}")


def grow(place, rows):
    """A log of so many rows; loss_D of a run falls, its first half above 2."""
    log = [{"step": k, "images": 8 * k, "loss_D": 3 - 2 * k / rows} for k in range(1, rows + 1)]
    clock = [{"step": k, "images": 8 * k, "seconds": 0.5 * k} for k in range(1, rows + 1)]
    for name, some in (("log.jsonl", log), ("clock.jsonl", clock)):
        run.write_text(place / name, "".join(json.dumps(row) + "\n" for row in some))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Runs of two margins and seeds, one with a state and a film, one that trains, one broken, and
    a name that would be a script."""
    place = tmp_path_factory.mktemp("lives") / "runs"
    for i, (margin, seed) in enumerate([(1.0, 0), (1.0, 1), (10.0, 0), (10.0, 1)]):
        folder = place / f"margin={margin:g},seed={seed}"
        folder.mkdir(parents=True)
        plain = needed(of_model("ebgan"), "ebgan").config()
        (folder / "config.json").write_text(json.dumps(config.plain(plain)))
        tell(folder, margin, seed, done=i < 3)
    shutil.rmtree(place / "margin=1,seed=1" / "pictures" / "00000020")
    (place / "margin=1,seed=0" / "remarks.md").write_text("The best so far.\nTags: paper, good\n")
    states = [{"name": "collapse", "began": 12, "ended": None, "says": "samples repeat each other"}]
    (place / "margin=10,seed=0" / "health.json").write_text(json.dumps({"states": states}))
    frames = [Image.new("L", (24, 24), 60 * i) for i in range(4)]
    film = place / "margin=10,seed=0" / "pictures" / "00000030" / "moving.gif"
    frames[0].save(film, save_all=True, append_images=frames[1:], duration=80, loop=0)
    (place / "broken").mkdir()
    for name in "config.json", "log.jsonl":
        (place / "broken" / name).write_text("{")
    script = place / "<img src=x onerror=alert(1)>"
    shutil.copytree(place / "margin=1,seed=1", script)
    return place


@pytest.fixture(scope="module")
def site(runs, tmp_path_factory):
    """The notebook of them."""
    out = tmp_path_factory.mktemp("lives") / "site"
    notebook([runs], out)
    return out


@pytest.fixture
def show(tab, site):
    """Open a page from disk, and say what must hold of every page in the end."""

    def open_page(name, hash=""):
        tab.goto("about:blank")
        tab.goto((site / name).as_uri() + hash)
        tab.wait_for_selector("body.ready")
        return tab

    yield open_page
    assert not tab.errors, tab.errors
    assert not [url for url in tab.asked if not url.startswith(("file:", "about:"))]


def address(tab):
    """Where the page says it is, its state included."""
    return tab.evaluate("location.href")


def names(tab):
    """The runs of the table, in their order."""
    return tab.locator("#table tbody tr[data-run] td.name a").all_inner_texts()


def steps(tab):
    """The step under each picture, by run."""
    tiles = tab.locator("#wall .tile")
    return {
        tile.locator("figcaption a").inner_text(): tile.locator(".at").inner_text()
        for tile in tiles.all()
    }


def page_of(site, margin, seed):
    """The name of a run's page."""
    (found,) = site.glob(f"run-*margin-{margin}-seed-{seed}-*.html")
    return found.name


def test_one_slider_moves_all_pictures(show, site):
    tab = show("pictures.html")
    known = {"margin=1,seed=0", "margin=1,seed=1", "margin=10,seed=0", "margin=10,seed=1"}
    assert known < set(steps(tab)) and set(steps(tab).values()) == {"step 30"}
    tab.keyboard.press("ArrowLeft")
    found = steps(tab)
    assert found["margin=1,seed=0"] == "step 20" and found["margin=1,seed=1"] == "step 10"
    assert tab.locator("#stepper output").inner_text() == "step 20" and "step=20" in address(tab)
    tab.keyboard.press("Home")
    assert set(steps(tab).values()) == {"step 10"}
    tab.get_by_role("button", name="Play").click()
    expect(tab.locator("#stepper output")).to_have_text("step 30")
    tab.locator("#step").fill("1")
    assert steps(tab)["margin=10,seed=1"] == "step 20"
    source = tab.locator("#wall .tile", has_text="margin=10,seed=1").locator("img")
    source = source.get_attribute("src")
    assert source.endswith("-20-samples.png") and (site / source).is_file()
    tab.locator("#kind").select_option("reconstructed_real.png")
    tab.wait_for_selector("#wall img[src$='reconstructed_real.png']")
    tab.locator("#group").select_option("hyper.margin")
    assert tab.locator("#wall h2").all_inner_texts() == ["hyper.margin = 1", "hyper.margin = 10"]
    tab.locator("#wall .enlarge").first.click()
    tab.keyboard.press("ArrowLeft")
    assert "step 10" in tab.locator("dialog p").first.inner_text(), "it follows the slider"


def test_pictures_load_when_they_come_in_sight(show):
    tab = show("pictures.html", "#size=large")
    tab.set_viewport_size({"width": 390, "height": 300})
    tab.reload()
    tab.wait_for_selector("#wall img")
    assert 0 < tab.locator("#wall img").count() < tab.locator("#wall .tile").count()


def test_a_table_is_sorted_filtered_and_keeps_its_state(show):
    tab = show("index.html")
    assert len(names(tab)) == 5
    head = tab.locator("#table th button", has_text="coverage")
    head.click()
    assert names(tab)[0] == "margin=10,seed=1" and "descending" in head.locator("..").get_attribute(
        "aria-sort"
    )
    head.press("Enter")
    assert names(tab)[-1] == "margin=10,seed=1"
    field = tab.locator("#filter")
    for query, expected in {
        "margin=10": 2,
        "hyper.margin=10 seed=1": 1,
        "margin!=10 seed<1": 1,
        "coverage>0.5": 2,
        "tag:good": 1,
        "BEST": 1,
        "-best model=ebgan": 4,
        'status="not done"': 1,
        "step>=41": 0,
    }.items():
        field.fill(query)
        assert len(names(tab)) == expected, query
    field.fill("marjin=10")
    assert "no run has the key marjin" in tab.locator("#bar output").inner_text()
    field.fill("margin=10")
    before = address(tab)
    tab.reload()
    tab.wait_for_selector("body.ready")
    assert address(tab) == before and len(names(tab)) == 2 and field.input_value() == "margin=10"
    tab.locator("nav a", has_text="Pictures").click()
    tab.wait_for_selector("body.ready")
    assert set(steps(tab)) == {"margin=10,seed=0", "margin=10,seed=1"}, "pages share the filter"


def test_what_is_broken_is_a_row_and_names_are_text(show):
    tab = show("index.html")
    row = tab.locator("#table tr.broken")
    assert "broken" in row.inner_text() and "config.json" in row.inner_text()
    assert "<img src=x onerror=alert(1)>" in names(tab) and not tab.locator("img[src=x]").count()


def test_a_policy_refuses_other_scripts(tab, site, tmp_path):
    """Even if somebody's words became a script, it would not run."""
    book = shutil.copytree(site, tmp_path / "book")
    page = book / "index.html"
    page.write_text(page.read_text().replace("</main>", "<script>document.title = 'ran'</script>"))
    tab.goto(page.as_uri())
    tab.wait_for_selector("body.ready")
    assert tab.title() != "ran" and any("Content Security Policy" in one for one in tab.errors)


def ends(tab):
    """The first and the last number of the first chart's horizontal axis."""
    found = tab.locator("svg.chart").first.locator("text[text-anchor=middle]")
    found = found.all_text_contents()
    return float(found[0]), float(found[-1])


def test_curves_are_zoomed_by_pointer_keys_and_buttons(show):
    tab = show("curves.html")
    chart = tab.locator("svg.chart").first
    assert chart.locator("path.line").count() == 5 and ends(tab) == (10, 40)
    box = chart.bounding_box()
    tab.mouse.move(box["x"] + 150, box["y"] + 80)
    tab.mouse.down()
    tab.mouse.move(box["x"] + 250, box["y"] + 90, steps=3)
    tab.mouse.up()
    assert "zoom=" in address(tab) and ends(tab)[1] < 40
    zoomed = address(tab)
    tab.reload()
    tab.wait_for_selector("path.line")
    assert address(tab) == zoomed and ends(tab)[1] < 40, "the zoom is in the address"
    chart.focus()
    tab.keyboard.press("0")
    assert ends(tab) == (10, 40) and "zoom" not in address(tab)
    tab.keyboard.press("+")
    assert ends(tab)[1] < 40
    moved = address(tab)
    tab.keyboard.press("ArrowRight")
    assert address(tab) != moved
    tab.get_by_role("button", name="Show all of the curves").click()
    assert ends(tab) == (10, 40)


def test_curves_smooth_take_logs_and_other_axes(show):
    tab = show("curves.html", "#q=margin%3D10")
    line = tab.locator("svg.chart path.line").first
    raw = line.get_attribute("d")
    tab.locator("#smooth").fill("0.9")
    assert line.get_attribute("d") != raw and tab.locator("path.raw").count() == 2
    tab.locator("#unit").select_option("seconds")
    assert ends(tab)[1] == 20
    tab.locator("#unit").select_option("images")
    assert ends(tab)[1] == 300
    tab.locator("[data-key=ly]").check()
    tab.locator("[data-key=lx]").check()
    assert tab.locator("svg.chart text").count() and "lx=1" in address(tab)
    assert "collapsed at step 12, to the end: samples repeat" in told(tab), told(tab)
    assert tab.locator("svg.chart path.event").count() == 1
    tab.locator(".legend button").first.click()
    assert tab.locator("path.line").count() == 1, "a run is hidden by its name"


def told(tab):
    """What is said to have happened."""
    return tab.locator(".events").inner_text()


def test_two_runs_with_a_wipe_and_their_difference(show, site):
    tab = show("index.html")
    for name in "margin=1,seed=0", "margin=10,seed=0":
        tab.get_by_label(f"Pick {name}").check()
    tab.get_by_role("link", name="the first two side by side").click()
    tab.wait_for_selector("body.ready")
    noise = tab.get_by_text("Their seeds differ")
    assert noise.is_hidden()
    cells = tab.locator("#configs td").all_inner_texts()
    assert cells == ["1", "10"] and "hyper.margin" in tab.locator("#configs").inner_text()
    first = tab.locator("#wipe img").first
    assert re.search(r"seed-0-\w+-30-samples", first.get_attribute("src"))

    def shown():
        """The share of the place in which the second picture, the lighter one, is seen."""
        shot = Image.open(io.BytesIO(tab.locator(".stack").screenshot())).convert("L")
        row = [shot.getpixel((x, shot.height - 9)) for x in range(4, shot.width - 4)]
        return sum(one > 180 for one in row) / len(row)

    expect(tab.locator("#wipe img").last).to_have_js_property("complete", True)
    assert 0.4 < shown() < 0.6
    tab.locator("#wiper").focus()
    tab.keyboard.press("Home")
    assert shown() > 0.9, "all of the second"
    tab.locator("#wiper").fill("80")
    assert 0.1 < shown() < 0.3
    tab.locator("#way").select_option("difference")
    assert shown() == 0, "two greys of which neither is light differ by little"
    tab.locator("#b").select_option(label="margin=10,seed=1")
    assert noise.is_visible() and "seed" in tab.locator("#configs").inner_text()


def test_a_run_has_slider_curves_and_films_with_controls(show, site):
    tab = show(page_of(site, 10, 0))
    tab.wait_for_selector("canvas")
    shown = tab.locator("#through .tile .at")
    assert shown.count() == 3 and shown.first.inner_text() == "step 30"
    tab.keyboard.press("Home")
    assert shown.first.inner_text() == "step 10"
    tab.get_by_role("button", name="Pause").click()
    tab.get_by_label("Frame", exact=True).fill("2")
    assert "3 of 4" in tab.locator(".film").inner_text()
    grey = tab.locator("canvas").screenshot()
    tab.get_by_label("Frame", exact=True).fill("0")
    assert tab.locator("canvas").screenshot() != grey
    assert tab.locator("svg.chart").count() == 1 and "collapsed at step 12" in told(tab)


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1280, "light")])
def test_pages_fit_are_legible_and_sound(show, site, width, scheme):
    """Nothing is wider than the screen, and axe finds nothing serious, contrast included."""
    for name in ("index", "pictures", "curves", "compare", page_of(site, 10, 0)[:-5]):
        tab = show(f"{name}.html")
        tab.set_viewport_size({"width": width, "height": 900})
        tab.emulate_media(color_scheme=scheme)
        over = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert tab.evaluate(over) <= 0, name
        found = Axe().run(tab, options={"resultTypes": ["violations"]})["violations"]
        grave = [one for one in found if one["impact"] in ("serious", "critical")]
        assert not grave, [(one["id"], [n["html"][:200] for n in one["nodes"]]) for one in grave]


def test_served_pages_follow_a_training(tab, runs, tmp_path):
    """New steps, new runs and broken ones appear; slider and filter stay as they were."""
    place = shutil.copytree(runs, tmp_path / "runs")
    server = serve([place], 0)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        tab.goto(server.address)
        tab.wait_for_selector("body.ready")
        assert "token" not in address(tab)
        tab.goto(f"http://127.0.0.1:{server.port}/pictures.html#q=margin%3D10&step=20")
        tab.wait_for_selector("body.ready")
        assert steps(tab) == {"margin=10,seed=0": "step 20", "margin=10,seed=1": "step 20"}
        new = place / "margin=10,seed=1" / "pictures" / "00000040"
        shutil.copytree(place / "margin=10,seed=1" / "pictures" / "00000030", new)
        shutil.copytree(place / "margin=10,seed=0", place / "late")
        expect(tab.locator("#wall .tile")).to_have_count(3)
        assert set(steps(tab).values()) == {"step 20"} and "step=20" in address(tab)
        expect(tab.locator("#step")).to_have_attribute("max", "3")
        tab.locator("nav a", has_text="Runs").click()
        tab.wait_for_selector("body.ready")
        assert len(names(tab)) == 3
        tab.locator("#table a", has_text="margin=10,seed=1").click()
        tab.wait_for_selector("path.line")
        grow(place / "margin=10,seed=1", 80)
        expect(tab.locator("svg.chart text", has_text="80")).to_have_count(1)
        assert "step 80" in tab.locator("#state").inner_text()
    finally:
        server.stop()
        thread.join(30)
    assert not [one for one in tab.errors if "Security" in one], tab.errors
    assert {url.split("/")[2] for url in tab.asked if url.startswith("http")} == {
        f"127.0.0.1:{server.port}"
    }
