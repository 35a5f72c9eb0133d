"""Pages to play with, in a real browser: what they compute is what torch computes; hands, files and
films work from disk, without a request."""

import io
import json
import re
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from axe_core_python.sync_playwright import Axe
from PIL import Image
from tiny import needed, of_model
from torch import nn
from torch.nn import functional as F

from simulacra.core.errors import Mistake
from simulacra.core.load import reopen
from simulacra.envs.carracing import keys
from simulacra.envs.controls import controls, of_game, unnamed
from simulacra.envs.view import Actions
from simulacra.models.world.agent import agent_of
from simulacra.models.world.dreaming import Agents
from simulacra.models.world.memory_nets import State, sample_mixture, valued
from simulacra.nn import blocks
from simulacra.studies._play_graph import FLOAT, HALF, Blob, graph
from simulacra.studies.play import ENGINE, MOST, PAGES, page, play

ZOO = Path(__file__).parents[2] / "zoo"
OVER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
STEPS = 100


@pytest.fixture(scope="module")
def racing():
    """The agent of zoo/racing, opened."""
    return reopen(ZOO / "racing", None)


@pytest.fixture(scope="module")
def made(racing, tmp_path_factory):
    """The page of a world, of an eye, and of tiny runs of visual_dynamics and ebgan."""
    place = tmp_path_factory.mktemp("played")
    runs = {"world": racing, "walk": reopen(ZOO / "racing" / "eye", None)}
    for model_name in "visual_dynamics", "ebgan":
        folder = place / model_name
        tiny = needed(of_model(model_name), f"model {model_name}")
        tiny.train(folder, "steps=2", "save_every=2")
        runs[model_name] = reopen(folder, None)
    for name, opened in runs.items():
        play(opened, place / f"{name}.html")
    return place, runs


@pytest.fixture(scope="module")
def shared(chromium):
    """One window for all tests of this file that do not mind what another left there."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, has_touch=True)
    tab = context.new_page()
    tab.errors, tab.asked = [], []
    tab.on("console", lambda said: said.type == "error" and tab.errors.append(said.text))
    tab.on("pageerror", lambda error: tab.errors.append(str(error)))
    tab.on("request", lambda request: tab.asked.append(request.url))
    yield tab
    context.close()


@pytest.fixture
def show(shared, made):
    """A page from disk, which has asked for nothing else and complained of nothing."""

    def opened(name):
        shared.goto((made[0] / f"{name}.html").as_uri())
        until(shared, "window.play")
        return shared

    shared.errors.clear()
    shared.asked.clear()
    yield opened
    assert not shared.errors
    assert all(re.match(r"(file|blob):", url) for url in shared.asked)


def until(tab, true, seconds=60):
    """Wait until an expression is true; the page's own policy forbids playwright's way."""
    ends = time.monotonic() + seconds
    while not tab.evaluate(f"Boolean({true})"):
        assert time.monotonic() < ends, true
        time.sleep(0.02)


# --- what is computed -----------------------------------------------------------------------------


class Everything(nn.Module):
    """Each layer that pages know, and what only moves numbers."""

    def __init__(self):
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.BatchNorm2d(6), nn.LeakyReLU(0.2))
        self.mixed = nn.Conv2d(6, 6, 3, padding=1, groups=2, bias=False)
        self.line = nn.Sequential(nn.Conv1d(6, 5, 3, 1, 1), nn.BatchNorm1d(5))
        self.norm, self.late = nn.GroupNorm(3, 6), nn.BatchNorm2d(6)
        self.up = nn.Sequential(nn.ConvTranspose2d(6, 4, 5, 2, 2, 1), nn.BatchNorm2d(4))
        self.read = nn.LSTM(4, 3, batch_first=True, bidirectional=True)
        self.dense = nn.Linear(6, 7)
        self.spread = nn.PixelShuffle(2)
        self.learnt = nn.Parameter(torch.randn(6, 1, 1))

    def forward(self, x, z):
        x = F.pad(x, (1, 0, 0, 2), value=-1.0)
        y = self.late(F.relu(self.norm(self.mixed(self.down(x)))) * self.learnt)
        flat = self.line(y.flatten(2))
        small = F.interpolate(y, (3, 4), mode="bilinear", antialias=True)
        large = F.interpolate(small, y.shape[2:], mode="bilinear", align_corners=False)
        y = F.interpolate(y + F.avg_pool2d(large, 3, 1, 1), scale_factor=2.0, mode="nearest")
        y = self.up(y)
        kernels = z.view(1, 4, 3, 3).softmax(-1)
        moved = F.conv2d(y, kernels.view(4, 1, 3, 3), padding=1, groups=4)
        shares = torch.cat([moved.sigmoid(), 1 - moved.exp().clamp(max=2) / 2], 1).flip(3)
        rows = moved.permute(0, 2, 3, 1).reshape(-1, moved.shape[3], 4)
        heard = F.softplus(self.dense(self.read(rows)[0])).tanh()
        pooled = F.adaptive_avg_pool2d(self.spread(shares), 5)
        parts = torch.stack(pooled.split(1, 1)).prod(0), pooled.mean((2, 3)), pooled.sum(1) / 3
        return heard, flat - 0.5, torch.cat([part.flatten(1) for part in parts], 1)[:, ::2]


def test_layers_are_torchs_with_vectors_and_without(shared):
    torch.manual_seed(0)
    net = Everything().eval()
    for layer in net.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.5, 2)
            layer.weight.data.uniform_(0.5, 2)
    given, blob = {"x": torch.randn(1, 3, 14, 11), "z": torch.randn(1, 36)}, Blob()
    told = graph(net, given, ["heard", "flat", "pooled"], blob, FLOAT)
    assert sum(one["op"] == "affine" for one in told["layers"]) == 1, "others became part of layers"
    script = "\n".join((PAGES / f"{name}.js").read_text() for name in ENGINE[:3])
    shared.set_content(
        f"<script>(() => {{{script}; window.parts = {{Machine, Graph, unpacked}}}})()</script>"
    )
    run = """([text, told, given, plain]) => {
        const machine = new parts.Machine(parts.unpacked(text));
        const net = new parts.Graph(machine, told), other = {};
        if (!machine.fast) throw new Error("no vectors");
        machine.plain = plain;
        for (const name in given) other[name] = given[name].map(() => 9);
        net.run(other);
        net.run({ x: given.x });
        return Object.values(net.run({ z: given.z })).map((x) => [...x]);
    }"""  # fmt: skip
    numbers = {name: x.flatten().tolist() for name, x in given.items()}
    with torch.no_grad():
        wanted = net(*given.values())
    for plain in False, True:
        found = shared.evaluate(run, [blob.text(), told, numbers, plain])
        for one, other in zip(found, wanted, strict=True):
            torch.testing.assert_close(torch.tensor(one), other.flatten(), atol=1e-5, rtol=1e-4)


def test_codes_are_torchs_after_100_steps_of_the_same_noise(show, racing):
    """The agent drives, in float32; what is seen at the end has weights in half precision."""
    agent = agent_of(racing)
    memory, dice = agent.memory, torch.Generator().manual_seed(3)
    batch = racing.examples(2)
    z, a = batch["mean"][1:], batch["action"][1:]
    u = torch.rand(STEPS, 2, generator=dice)
    noise = torch.randn(STEPS, 32, generator=dice)
    with torch.no_grad():
        state = memory.remember(z[:, :48], a[:, :48], memory.start(z))[1]
        z, earned = z[:, 48], 0.0
        agents = Agents(agent.centre[None], memory, State(*state), "paper")
        for t in range(STEPS):
            agents.act(z)
            follows = memory.predict(agents.state.h)
            earned += float(valued(memory.form.reward, follows.reward))
            z = sample_mixture(follows.code, 0.8, u[t, 1:], noise[t])
        rounded = racing_decoder(agent)
        picture = rounded(z).clamp(-1, 1)
    tab = show("world")
    run = """([u, noise, plain]) => {
        const { dream, machine } = play;
        machine.plain = plain;
        dream.reset(1);
        dream.tau = 0.8;
        u.forEach((some, t) => {
            const a = dream.agent.act(dream.now.z, dream.now.h);
            dream.step(a, { u: some, noise: noise[t] });
        });
        return { z: [...dream.now.z], earned: dream.earned, x: [...dream.picture(dream.now.z)] };
    }"""  # fmt: skip
    for plain in False, True:
        found = tab.evaluate(run, [u.tolist(), noise.tolist(), plain])
        assert (torch.tensor(found["z"]) - z[0]).abs().max() < 1e-4
        assert abs(found["earned"] - earned) < 1e-2
        assert (torch.tensor(found["x"]) - picture.flatten()).abs().max() < 1e-4


def racing_decoder(agent):
    """The eye's decoder with weights as the page has them."""
    decoder = agent.senses.eye.model.average.module.Dec
    rounded = [*decoder]
    for i, layer in enumerate(rounded):
        if hasattr(layer, "weight"):
            copy = type(layer)(*shape(layer))
            copy.weight.data = layer.weight.data.half().float()
            copy.bias.data = layer.bias.data.clone()
            rounded[i] = copy
    return nn.Sequential(*rounded)


def shape(layer):
    """What builds a layer like it."""
    if isinstance(layer, nn.Linear):
        return layer.in_features, layer.out_features
    return layer.in_channels, layer.out_channels, 4, 2, 1


# --- a world --------------------------------------------------------------------------------------


def test_a_person_drives_with_keys_and_lends_the_wheel(show):
    tab = show("world")
    assert tab.locator("#veil").is_visible()
    before = tab.locator("#stage").screenshot()
    tab.keyboard.down("ArrowLeft")
    tab.keyboard.down("w")
    until(tab, "play.dream.steps > 8")
    steer, gas, brake = tab.evaluate("[...play.shown.action]")
    assert steer < -0.9 and gas > 0.9 and brake == 0
    tab.keyboard.up("ArrowLeft")
    tab.keyboard.up("w")
    until(tab, "Math.abs(play.shown.action[0]) < 0.1")
    tab.keyboard.press("m")
    assert tab.get_by_label("The agent").is_checked()
    until(tab, "play.dream.steps > 20")
    agent = "play.dream.agent.act(play.dream.now.z, play.dream.now.h)"
    tab.keyboard.press("p")
    assert tab.get_by_role("button", name="Go on").is_visible()
    assert tab.locator("#stage").screenshot() != before
    wheel = tab.evaluate(f"[...{agent}]")
    tab.keyboard.press("r")
    until(tab, "play.dream.steps === 0")
    assert tab.evaluate(f"[...{agent}]") != wheel
    tab.locator("#tau").fill("0.5")
    assert tab.evaluate("play.dream.tau") == 0.5 and tab.locator("#tautold").inner_text() == "0.5"


def test_fingers_gamepads_and_choices(show):
    tab = show("world")
    left = tab.get_by_role("button", name=re.compile("^left"))
    box = left.bounding_box()
    tab.mouse.move(box["x"] + 9, box["y"] + 9)
    tab.mouse.down()
    until(tab, "play.shown.going && play.shown.action[0] < -0.9")
    tab.mouse.up()
    until(tab, "play.shown.action[0] > -0.1")
    tab.evaluate("""() => {
        const buttons = Array.from({ length: 17 }, () => ({ value: 0, pressed: false }));
        buttons[7] = { value: 0.5, pressed: true };
        navigator.getGamepads = () => [{ axes: [0.75, 0], buttons }];
    }""")
    until(
        tab, "Math.abs(play.shown.action[0] - 0.75) + Math.abs(play.shown.action[1] - 0.5) < 1e-5"
    )
    told = {"choices": [{"name": n, "keys": [n]} for n in "xyz"], "rest": 2}
    checked = controls(json.dumps(told), 3)
    choices = [{"name": one.name, "keys": list(one.keys), "pad": None} for one in checked.choices]
    act = """(told) => {
        const hands = new play.hands.constructor(told), at = [[...hands.action()]];
        hands.press("y");
        return [...at, [...hands.action()]];
    }"""  # fmt: skip
    tab.evaluate("navigator.getGamepads = () => []")
    assert tab.evaluate(act, {"axes": [], "choices": choices, "rest": 2}) == [[0, 0, 1], [0, 1, 0]]


def test_what_the_memory_expects_and_where_it_ends(show):
    tab = show("world")
    tab.get_by_role("button", name="Let the agent drive").click()
    until(tab, "play.dream.steps > 15")
    assert float(tab.locator("#earned").inner_text()) != 0
    words = tab.locator("#futures figcaption").all_inner_texts()
    assert len(words) == 6 and len(set(words)) > 1 and "" not in words
    again = """() => {
        const luck = play.luck(7), act = (place) => play.dream.agent.act(place.z, place.h);
        return [1, 2].map(() => play.dream.future(act, 9, luck).z[0]);
    }"""
    one, other = tab.evaluate(again)
    assert one != other, "each future has luck of its own"
    acts = """(squash) => {
        const own = play.dream.agent, kind = Object.getPrototypeOf(own);
        const agent = Object.assign(Object.create(kind), own);
        const z = new Float32Array(agent.W.length / 3).fill(0.3), h = new Float32Array(0);
        return [...Object.assign(agent, { squash, state: false }).act(z, h)];
    }"""  # fmt: skip
    numbers, choice = (tab.evaluate(acts, squash) for squash in ("tanh", "argmax"))
    assert choice == [float(x == max(numbers)) for x in numbers] and sum(choice) == 1
    tab.evaluate("""() => {
        const follow = play.dream.follow.bind(play.dream);
        play.dream.follow = (...all) => ({ ...follow(...all), end: 1 });
    }""")
    tab.wait_for_selector("#veil:not([hidden])")
    assert "it ends here, after" in tab.locator("#said").inner_text()
    tab.evaluate("[1, 2, 3, 4, 5, 6].forEach(() => play.expect())")
    assert tab.locator("#futures .ends").count() == 6


def test_a_dream_is_recorded_as_a_gif(show):
    tab = show("world")
    tab.keyboard.press("g")
    tab.get_by_role("button", name="Let the agent drive").click()
    until(tab, "play.dream.steps > 6")
    with tab.expect_download() as waited:
        tab.get_by_role("button", name="Stop and save the GIF").click()
    assert waited.value.suggested_filename == "racing.gif"
    with Image.open(waited.value.path()) as film:
        assert film.size == (192, 192) and film.n_frames >= 3 and film.info["duration"] == 30
        film.seek(film.n_frames - 1)
        last = torch.from_numpy(np.array(film.convert("RGB"))).float().flatten(0, 1)
    tab.keyboard.press("p")
    green = (last[:, 1] > last[:, 0] + 20).float().mean()
    assert 0.2 < green < 1, "a road in a meadow"


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1280, "light")])
def test_pages_fit_are_legible_and_sound(show, shared, width, scheme):
    """Nothing is wider than the screen, and axe finds nothing serious, contrast included."""
    shared.set_viewport_size({"width": width, "height": 900})
    shared.emulate_media(color_scheme=scheme)
    for name in "world", "walk", "visual_dynamics":
        tab = show(name)
        assert tab.evaluate(OVER) <= 0, name
        found = Axe().run(tab, options={"resultTypes": ["violations"]})["violations"]
        grave = [one for one in found if one["impact"] in ("serious", "critical")]
        assert not grave, [(one["id"], [n["html"][:200] for n in one["nodes"]]) for one in grave]
    shared.set_viewport_size({"width": 1280, "height": 900})


# --- generators and futures -----------------------------------------------------------------------


def picture(x):
    """A file of a picture (1, C, H, W) in [-1, 1]."""
    pixels = ((x[0] + 1) * 127.5).round().byte().permute(1, 2, 0)
    held = io.BytesIO()
    image = Image.fromarray(pixels.squeeze(-1).numpy())
    image.save(held, "png")
    seen = pixels.float().permute(2, 0, 1)[None] / 127.5 - 1
    return {"name": "x.png", "mimeType": "image/png", "buffer": held.getvalue()}, seen


def test_walking_through_z_and_rebuilding_a_picture(show, made):
    tab, model = show("walk"), made[1]["walk"].model
    tab.get_by_role("button", name="All 0").click()
    found = "() => [...play.look()]"
    still = torch.tensor(tab.evaluate(found))
    assert (still - model.decode(torch.zeros(1, 32)).flatten()).abs().max() < 2e-2
    assert tab.locator("#sliders label:visible").count() == 12
    tab.get_by_role("button", name="All 32").click()
    assert tab.locator("#sliders label:visible").count() == 32
    slider = tab.locator("#sliders input").first
    slider.fill("2")
    at = tab.evaluate("play.state.z.indexOf(2)")
    assert (torch.tensor(tab.evaluate(found)) - still).abs().mean() > 0.01
    last = tab.evaluate("play.state.sliders.at(-1).at")
    changes = [
        (model.decode(2 * torch.eye(32)[k : k + 1]).flatten() - still).abs().mean()
        for k in (at, last)
    ]
    assert changes[0] > changes[1], "those that change most come first"
    torch.manual_seed(0)
    file, seen = picture(model.decode(torch.randn(1, 32)).clamp(-1, 1))
    tab.locator("#file").set_input_files(file)
    until(tab, "document.getElementById('said').textContent")
    mean = model.encode(seen)[0]
    assert (torch.tensor(tab.evaluate("[...play.state.z]")) - mean[0]).abs().max() < 0.05
    error = (model.decode(mean).clamp(-1, 1) - seen).square().mean() / 4
    told = float(tab.locator("#psnr").inner_text().removesuffix(" dB"))
    assert abs(told + 10 * float(error.log10())) < 0.2
    tab.get_by_role("button", name="Walk").click()
    until(tab, "play.state.way > 0.01")


def test_a_discriminator_rebuilds(show, made):
    tab, opened = show("ebgan"), made[1]["ebgan"]
    file, seen = picture(opened.like(1)["image"] + 0.5)
    tab.locator("#file").set_input_files(file)
    until(tab, "document.getElementById('said').textContent")
    with torch.no_grad():
        error = (opened.model.D(seen)[0].clamp(-1, 1) - seen).square().mean() / 4
    told = float(tab.locator("#psnr").inner_text().removesuffix(" dB"))
    assert abs(told + 10 * float(error.log10())) < 0.2


def test_a_drawing_has_six_futures(show, made):
    tab, model = show("visual_dynamics"), made[1]["visual_dynamics"].model
    until(tab, "play.state.films.length === 6 && !play.state.waiting")
    run = "(z) => [...play.painter.run({ x: play.state.now, z: Float32Array.from(z) }).x]"
    z = torch.linspace(-1, 1, model.hyper.z_size)
    now = torch.tensor(tab.evaluate("[...play.state.now]"))
    x = now.view(1, *made[1]["visual_dynamics"].like(1)["image"].shape[1:])
    with torch.no_grad():
        wanted = model.average.module.painter(x, z[None], model.hyper.sharpen)
    found = torch.tensor(tab.evaluate(run, z.tolist()))
    assert (found - wanted.flatten()).abs().max() < 5e-3
    films = [torch.tensor(one) for one in tab.evaluate("play.state.films.map((x) => [...x])")]
    assert not torch.equal(films[0], films[1])
    box = tab.locator("#stage").bounding_box()
    tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    tab.mouse.down()
    tab.mouse.move(box["x"] + box["width"] / 2 + 9, box["y"] + box["height"] / 2)
    tab.mouse.up()
    assert (torch.tensor(tab.evaluate("[...play.state.now]")) - now).abs().max() > 0.1
    until(tab, "!play.state.waiting")
    future = tab.evaluate("[...play.state.films[2]]")
    tab.get_by_role("button", name="Future 3").click()
    assert tab.evaluate("[...play.state.now]") == future


# --- what is refused ------------------------------------------------------------------------------


def test_a_run_that_cannot_be_played_says_what_can(racing, tmp_path):
    config = SimpleNamespace(model="foregan")
    strange = SimpleNamespace(model=object(), config=config, folder=tmp_path, step=1)
    with pytest.raises(Mistake, match=r"run of model foregan; allowed: worlds \(world_controller"):
        page(strange, None, None)
    with pytest.raises(Mistake, match=r"controls are for worlds"):
        page(strange, None, "{}")
    with pytest.raises(Mistake, match=r"a page is a file NAME\.html, found .*/page\.gif"):
        play(racing, tmp_path / "page.gif")


def test_a_page_has_at_most_5_megabytes(made, tmp_path):
    assert (made[0] / "world.html").stat().st_size < MOST == 5_000_000
    with pytest.raises(Mistake, match=r"allowed: 100,000 \(--most\)"):
        play(made[1]["ebgan"], tmp_path / "page.html", most=100_000)
    assert not list(tmp_path.iterdir())


def test_an_unknown_operation_is_named():
    with pytest.raises(Mistake, match=r"a page cannot compute aten\.cumsum"):
        graph(Cumulative(), {"x": torch.zeros(1, 3)}, ["x"], Blob(), HALF)
    dilated = nn.Conv2d(1, 1, 3, dilation=2)
    with pytest.raises(Mistake, match="dilated"):
        graph(dilated, {"x": torch.zeros(1, 1, 8, 8)}, ["x"], Blob(), HALF)


class Cumulative(nn.Module):
    def forward(self, x):
        return x.cumsum(1)


def test_half_precision_only_where_it_is_finite():
    blob = Blob()
    assert [blob.add(torch.tensor(x), HALF)["kind"] for x in (3e4, 3e5)] == [HALF, FLOAT]


def test_the_command_refuses_in_one_line(simulacra, tmp_path):
    page = tmp_path / "page.html"
    nowhere = simulacra("play", tmp_path / "nothing", "-o", page)
    wrong = tmp_path / "keys.json"
    wrong.write_text(json.dumps({"axes": [keys.CONTROLS["axes"][0]]}))
    of_one = simulacra("play", ZOO / "racing", "-o", page, "--controls", wrong)
    wrong.write_text('{"axes": 3}')
    no_axes = simulacra("play", ZOO / "racing", "-o", page, "--controls", wrong)
    for said, why in [
        (nowhere, "nothing"),
        (of_one, "1 numbers of an action; allowed: 3"),
        (no_axes, "--controls: Expected `array`"),
    ]:
        assert why in said.refusal()
    assert not page.exists()
    blocked = simulacra("play", ZOO / "racing" / "eye", "-o", wrong / "page.html")
    assert "keys.json" in blocked.refusal()


def test_controls_are_checked():
    assert controls(keys.CONTROLS, 3).axes[1].low == 0
    assert [axis.ends[0].keys for axis in unnamed(2).axes] == [("ArrowLeft",), ("ArrowDown",)]
    for told, why in [
        ({}, "0 axes and 0 choices"),
        ({"choices": [{"name": "a", "keys": ["a"]}], "rest": 1}, "rest = 1; allowed: below 1"),
    ]:
        with pytest.raises(Mistake, match=why):
            controls(told, 1)
    with pytest.raises(Mistake, match="nobody named the 9 numbers"):
        unnamed(9)


def test_games_of_ones_own_say_how_they_are_played():
    known = {"fire": "x", "turn -": "q", "turn +": "e"}
    found = of_game(Actions(kind="discrete", size=2, names=("rest", "fire"), keys=known))
    assert [one.keys for one in found.choices] == [("1",), ("x",)] and not found.axes
    found = of_game(Actions(kind="box", size=2, names=("turn", "gas"), keys=known))
    assert [[(e.keys, e.value) for e in one.ends] for one in found.axes] == [
        [(("q",), -1.0), (("e",), 1.0)],
        [],
    ]
    found = of_game(Actions(kind="box", size=2, names=("turn", "gas")))
    assert found == unnamed(2)


def test_blocks_of_the_house_are_known():
    """Norms and flattened maps of house nets."""
    net = nn.Sequential(nn.Linear(4, 8), blocks.Unflatten(2, 2, 2), *blocks.double(2, 3, "batch"))
    told = graph(net, {"z": torch.zeros(1, 4)}, ["x"], Blob())
    assert [one["op"] for one in told["layers"]] == ["linear", "gather", "deconv", "each"]
