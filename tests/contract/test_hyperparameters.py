"""Every hyperparameter of every model changes something, or is refused: in every variant that the
configs ship, made small.

A model's `idle` says which do nothing beside the others. It is held to what is computed, both ways:
what it names changes no weight, no scalar, no sample and nothing else that the model shows, and is
refused; what it does not name changes some of them, or is refused for another reason."""

import itertools
import json
import typing
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
import torch
from commands import Said
from msgspec import Struct
from tiny import Tiny, assert_same
from torch import Tensor, nn

from simulacra.core import config, idle, optim, run
from simulacra.core.contract import Batch
from simulacra.core.errors import Mistake
from simulacra.core.load import reopen
from simulacra.core.parts import parts
from simulacra.core.random import reseed
from simulacra.core.schedules import Schedule

STEPS = 3
TRIED = 4  # other values
RUNS = {"begin", "memory", "eye"}  # that name run folders; tests of their models have some

# the most of each size, of each of its numbers if it has several
SMALL: dict[str, dict[str, Any]] = {
    "ebgan": {"widths_G": 4, "widths_D": 4, "code_size": 3, "z_size": 3, "penalty_every": 2},
    "gan": {"widths": 4, "hidden": 4, "z_size": 3, "group": 2, "penalty_every": 2},
    "projected_gan": {"widths": 4, "width_D": 4, "z_size": 3, "side": 20},
    "rgan": {
        "penalty_every": 2,
        "widths": 4,
        "units": 2,
        "hidden": 4,
        "z_size": 3,
        "scan_G": 2,
        "scan_D": 2,
    },
    "rgan_series": {"units": 3, "z_size": 2, "penalty_every": 2},
    "vae": {"width": 2, "z_size": 3, "tolerance": 0.02},
    "vaegan": {"width": 2, "width_D": 2, "z_size": 3},
    "visual_dynamics": {
        "z_size": 3,
        "motion": 4,
        "widths": 4,
        "kernel": 5,
        "finish": 2,
        "image": 2,
        "maps": 2,
        "hidden": 4,
    },
    "foregan": {"width": 2, "blocks": 1, "widths_D": 4, "tail_D": 4, "patches": 3},
    "world_memory": {"units": 4, "mixtures": 2, "context": 3},
    "world_controller": {"units": 4, "population": 4, "context": 3, "steps": 4},
}
# what no config has by itself, laid on the first of its variants
ALSO: dict[str, list[dict[str, Any]]] = {
    "ebgan": [
        {"margin": 0.0},
        {"nets": "mlp", "widths_D": [4, 4], "code_size": 0, "dropout": 0.3},
        {"widths_D": [4]},
        {
            "rule": "pairs",
            "margin": 0.65,
            "rebuild": 0.1,
            "penalty": 0.5,
            "penalty_every": 2,
            "start_D": "he",
            "dense_Dec": 5,
        },
    ],
    "gan": [
        {"nets": "infogan", "norm_D": "batch", "widths": [128, 64, 32], "patch": 1, "group": 16}
    ],
    "projected_gan": [{"judge": "energy", "loss": "hinge"}, {"loss": "relativistic"}],
    "rgan": [
        {"multi_scale": True, "blocks": 1, "head": "attention", "scan_G": 1, "scan_D": 1},
        {"loss": "non_saturating", "scan": "none", "classes": 3},
        {"widths": [4], "scan": "raster", "scan_G": 1, "scan_D": 1, "gamma": 0.0},
    ],
    "rgan_series": [
        {
            "optimizer_D": "sgd",
            "loss": "non_saturating",
            "classes": 3,
            "stabilise": {"real_target": 0.9},
        }
    ],
    "vae": [{"likelihood": "calibrated"}, {"tolerance": 0.0}, {"beta": 0.0}],
    "vaegan": [{"normal": 0.1}, {"gate": 0.0, "mover": "rmsprop"}],
    "visual_dynamics": [
        {"weigh": "target", "finish": 0},
        {
            "weigh": "doubling",
            "every": 2,
            "target": 10.0,
            "log_variance": "doubled",
            "prior": "learned",
            "clip": 1.0,
        },
    ],
    "foregan": [
        {
            "lambda_Dm": 1.0,
            "lambda_Dm_gp": 1.0,
            "lambda_Gm": 1.0,
            "mask_head": "foreground",
            "previous_mask": True,
        }
    ],
    "world_memory": [
        {"mixture": "joint", "reward": "sign"},
        {"reward": "value", "weight_reward": 1.0},
    ],
    "world_controller": [{"arm": "z_only", "luck": "own", "act_on": "mean"}],
}
# so that what comes late in a training comes in the first steps
AT_FIRST: dict[str, dict[str, Any]] = {
    "magan_mnist": {"epoch": 1, "warm": 1},
    "projected_gan": {"levels": [0, 2]},
    "visual_dynamics": {"memory": 24, "components": 1},
    "foregan": {"critic_steps": 2},
}
LATER = {  # what not every variant's first steps feel
    "ebgan": {"hinge", "margin_unit", "pull_away_form"},
    "projected_gan": {"margin"},
    "vae": {"floor"},
    "vaegan": {"gate"},
    "visual_dynamics": {"components"},
}
# of pictures; needs a simulator; refuses what belongs to its other value, of which there are
# variants, too
ELSEWHERE = {
    "rgan_series": {"stabilise.augment"},
    "world_controller": {"world"},
    "visual_dynamics": {"paint"},
}
CHOSEN: dict[str, list[Any]] = {  # values to try, where not any will do
    "classes": [3],
    "levels": [[2]],
    "augment": [["translate"], []],
    "side": [24],
    "widths": [[4], [4, 4, 4], [6, 4]],
    "widths_G": [[4, 4, 4], [6, 4]],
    "widths_D": [[4, 4, 4], [6, 4], [6]],
    "motion": [[6, 4], [4, 4, 4, 6]],
    "strides": [[1, 2], [1, 1, 2, 2]],
    "scales": [[1.0], [1.0, 0.25]],
    "image": [[3, 2, 2]],
    "tail_D": [[4, 6]],
    "patch": [2, 1, [0.5, 0.6]],
    "stride": [[1.0, 1.0], [0.4, 0.4]],
    "shares": [[1.0, 1.0, 0.5]],
    "stabilise.augment": [["translate"], ["cutout", "colour"]],
    "z_maps": [True, False],
    "components": [2],
    "bound": [0.0, 0.01],
    "most": [0.01],
    "detach": [1],
    "gate": ["grey", "black", 0.0, 0.01],
    "centre": [0.0],
    "epoch": [2, 3],
    "defects.epoch": [3],
    "defects.prior_batch": [2],
    "population": [5],
    "patches": [1],
}


def drawn(model_name: str, k: int) -> Batch:
    """The k-th batch of a model: noise, of the smallest shapes."""
    g = torch.Generator().manual_seed(k)

    def noise(*shape: int) -> Tensor:
        return torch.rand(4, *shape, generator=g) * 2 - 1

    label = torch.randint(3, (4,), generator=g)
    if model_name == "rgan_series":
        return {"series": noise(6, 2), "label": label}
    if model_name == "foregan":
        mask = torch.zeros(2, 1, 16, 20)
        mask[:, :, 4:9, 5:11] = 1
        forward, backward = (4 * noise(2, 2, 16, 20)[:2] for _ in range(2))
        return {
            "video": noise(3, 3, 16, 20)[:2],
            "mask": mask,
            "forward": forward,
            "backward": backward,
        }
    if model_name.startswith("world"):
        told = {
            "mean": noise(8, 3),
            "log_variance": noise(8, 3),
            "action": noise(8, 3),
            "reward": 3 * noise(8),
        }
        return told | {
            "done": (noise(8) > 0.5).float(),
            "eye": torch.ones(4, 16, dtype=torch.uint8),
        }
    return {"image": noise(3, 16, 16), "next": noise(3, 16, 16), "label": label}


def small(name: str, model_name: str, raw: dict[str, Any]) -> dict[str, Any]:
    """The hyperparameters with no size above the smallest."""
    most = SMALL[model_name]
    for key, value in raw.items():
        if key in most:
            raw[key] = (
                [min(one, most[key]) for one in value]
                if isinstance(value, (list, tuple))
                else min(value, most[key])
            )
    return raw | AT_FIRST.get(name, {}) | AT_FIRST.get(model_name, {})


def variants(model_name: str) -> list[tuple[str, Any]]:
    """The different hyperparameters that a model's configs ship, in all presets and experiments,
    made small and without what is idle."""
    module, found = config.model(model_name), {}
    for name in config.configs():
        raw = config.based(config.find(name))
        if raw["room"] != model_name:
            continue
        experiments = ["", *raw.get("experiment", {})] + ["1,fixed"] * (model_name == "foregan")
        for preset, experiment in itertools.product(raw["preset"], experiments):
            checked = config.resolve(name, preset, [f"experiment={experiment}"] * bool(experiment))
            plain = small(name, model_name, msgspec.to_builtins(checked.hyper))
            if model_name == "world_controller":
                plain["world"] = "dream"
            if plain.get("z_maps"):
                plain |= {"motion": [4, 4], "strides": [2, 2], "z_size": 50}
            hyper = settled(model_name, msgspec.convert(plain, module.Hyper))
            found.setdefault(essence(model_name, hyper), (f"{name} {preset} {experiment}", hyper))
    first = msgspec.to_builtins(next(iter(found.values()))[1])
    for more in ALSO[model_name]:
        hyper = settled(model_name, msgspec.convert(config.merge(first, more), module.Hyper))
        found.setdefault(essence(model_name, hyper), (f"also {more}", hyper))
    return list(found.values())


def essence(model_name: str, hyper: Any) -> Any:
    """What tells variants apart: choices, switches, and what is idle; not how large a number is. Of
    models whose steps are long what is idle alone, and which nets they have."""
    named = tuple(config.model(model_name).idle(hyper))
    if model_name in ("foregan", "rgan"):
        return named, getattr(hyper, "version", None)

    def choices(value: Any) -> Any:
        if isinstance(value, dict):
            return tuple((key, choices(one)) for key, one in value.items())
        return value if isinstance(value, (str, bool)) else None

    return choices(msgspec.to_builtins(hyper)), named


def settled(model_name: str, hyper: Any) -> Any:
    """The hyperparameters with what is idle at its default."""
    return idle.settled(hyper, config.model(model_name).idle(hyper))


def computed(model_name: str, hyper: Any, batches: list[Batch]) -> Iterator[str]:
    """Digests of what a model comes to: its first weights, each step's scalars and weights,
    and all that it shows in the end."""
    reseed(0)
    model, scalars = config.model(model_name).Model(hyper, batches[0]), {}
    yield digest(weights(model))
    for k, batch in enumerate(batches):
        reseed(k + 1)
        optim.set_rates(model, k)
        scalars = dict(model.step(batch, k))
        yield digest({"told": scalars, "weights": weights(model)})
    reseed(99)
    shown = {"sample": model.sample(batches[-1])}
    if hasattr(model, "health"):
        shown |= {"health": model.health(batches[0], scalars, batches[-1])}
    if model_name == "visual_dynamics":
        shown |= {
            prior: model.imagine(batches[0]["image"], 2, prior)
            for prior in ("empirical", "mixture")
        }
    yield digest(shown)


def weights(model: Any) -> dict[str, Any]:
    """All weights, averages too, and what a search has come to."""
    modules = {name: getattr(part, "module", part) for name, part in parts(model).items()}
    found = {
        name: dict(part.named_parameters())
        for name, part in modules.items()
        if isinstance(part, nn.Module)
    }
    return found | (
        {"mean": model.search.mean, "sigma": torch.tensor(model.search.sigma)}
        if hasattr(model, "search")
        else {}
    )


def digest(value: Any) -> str:
    """A digest of all tensors of nested tables."""
    return run.digest({name: one.detach().clone().contiguous() for name, one in flat(value)})


def flat(value: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """All tensors of nested tables."""
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, dict):
        for key, one in value.items():
            yield from flat(one, f"{name}/{key}")


def fields(kind: type[Struct], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every hyperparameter's dotted name and type, those of tables too."""
    for field in msgspec.structs.fields(kind):
        if isinstance(field.type, type) and issubclass(field.type, Struct):
            yield from fields(field.type, f"{prefix}{field.name}.")
        elif field.name not in RUNS:
            yield prefix + field.name, field.type


def others(hyper: Any, name: str, kind: Any) -> Iterator[Any]:
    """The hyperparameters with other values of one of them."""
    now = idle.value(hyper, name)
    options = typing.get_args(kind) if typing.get_origin(kind) is typing.Literal else ()
    tried: list[Any] = list(options)
    if kind == Schedule or isinstance(now, float):
        tried += [0.0, 0.37, 0.9, 0.01, 2.5] if not isinstance(now, tuple) else [0.37, 0.01]
    elif isinstance(now, bool):
        tried += [not now]
    elif isinstance(now, int):
        tried += [now + 1, now + 2, 1, 0, max(1, now - 1)]
    for value in CHOSEN.get(name, CHOSEN.get(name.rpartition(".")[2], [])) + tried:
        plain = msgspec.to_builtins(hyper)
        *tables, last = name.split(".")
        at = plain
        for table in tables:
            at = at[table]
        if at[last] == value:
            continue
        at[last] = value
        try:
            yield msgspec.convert(plain, type(hyper))
        except msgspec.ValidationError:
            continue


def effect(
    model_name: str,
    hyper: Any,
    name: str,
    kind: Any,
    batches: list[Batch],
    base: list[str],
    most: int = TRIED,
) -> str:
    """ "changes", "refused" or "nothing": what other values of a hyperparameter do,
    of a few that are taken."""
    built = 0
    for other in others(hyper, name, kind):
        try:
            if any(
                found != wanted
                for found, wanted in zip(computed(model_name, other, batches), base, strict=True)
            ):
                return "changes"
            built += 1
        except (ValueError, Mistake):
            continue
        if built == most:
            break
    return "nothing" if built else "refused"


@pytest.mark.parametrize("model_name", list(SMALL))
def test_every_hyperparameter_changes_something_or_is_refused(
    model_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = config.model(model_name)
    faults, effective = [], set()
    for variant, hyper in variants(model_name):
        heavy = model_name == "rgan" and hyper.version != "v6"
        batches = [drawn(model_name, k) for k in range(1 if heavy else STEPS)]
        base = list(computed(model_name, hyper, batches))
        assert base == list(computed(model_name, hyper, batches)), (
            "the same hyperparameters, the same numbers"
        )
        named = module.idle(hyper)
        for name, kind in fields(module.Hyper):
            found = effect(model_name, hyper, name, kind, batches, base)
            if (found == "nothing" and name not in LATER.get(model_name, ())) or (
                name in named and found != "refused"
            ):
                faults.append(
                    f"{variant}: {name} "
                    f"{'is said to be idle' if name in named else 'changes nothing'}: {found}"
                )
            if name in named:
                with monkeypatch.context() as patch:
                    patch.setattr(module, "refuse", lambda *_: None)
                    if effect(model_name, hyper, name, kind, batches, base, 1) == "changes":
                        faults.append(f"{variant}: {name} is refused, and changes something")
            elif found == "changes":
                effective.add(name)
    assert not faults, "\n".join(faults)
    never = (
        {name for name, _ in fields(module.Hyper)} - effective - ELSEWHERE.get(model_name, set())
    )
    assert not never, f"never change anything: {never}"


def test_every_model_is_walked() -> None:
    assert sorted(SMALL) == config.models()


@pytest.mark.parametrize(
    ("source", "given", "says"),
    [
        (
            "gan_digits",
            "hidden=99",
            "hyper.hidden = 99 changes nothing, since it needs nets = conv; allowed: 256",
        ),
        (
            "gan_digits",
            "norm_D=batch",
            "hyper.norm_D = batch changes nothing, since it needs nets = infogan; allowed: none",
        ),
        (
            "ebgan_digits",
            "dropout=0.5",
            "hyper.dropout = 0.5 changes nothing, since it needs nets = mlp; allowed: 0.0",
        ),
        (
            "rgan_digits",
            "dropout=0.5",
            "hyper.dropout = 0.5 changes nothing, since it needs version = v1 to v5; allowed: 0.25",
        ),
        (
            "rgan_sines",
            "stabilise.real_target=0.9",
            "hyper.stabilise.real_target = 0.9 changes nothing, since it needs loss",
        ),
        (
            "foregan_davis",
            "defects.epoch=9",
            "hyper.defects.epoch = 9 changes nothing, since it needs critic_steps above 1; "
            "allowed: 0",
        ),
        (
            "ebgan_digits",
            "energy=batch hyper.margin=5 hyper.hinge=batch",
            "hyper.hinge = batch changes nothing, since it needs an energy of each picture",
        ),
        (
            "ebgan_digits",
            "margin=0 hyper.margin_unit=energy",
            "changes nothing, since it needs margin above 0",
        ),
        (
            "visual_dynamics_shapes",
            "kernel=4",
            "hyper.kernel = 4; allowed: odd numbers, whose middle is no motion",
        ),
    ],
)
def test_who_gives_one_that_does_nothing_is_told(
    source: str, given: str, says: str, simulacra: Callable[..., Said], tmp_path: Any
) -> None:
    more = ("--set", "hyper.critic_steps=1") if source == "foregan_davis" else ()
    told = simulacra(
        "train",
        source,
        "--preset",
        "tiny",
        "--run",
        tmp_path / "run",
        *(word for change in f"hyper.{given}".split() for word in ("--set", change)),
        *more,
    )
    assert says in told.refusal() and not (tmp_path / "run").exists()


def test_dropout_needs_a_layer_behind_it() -> None:
    """The paper's grid has discriminators of one hidden layer."""
    paper = config.resolve("ebgan_mnist", "paper", ["hyper.dropout=0.5"]).hyper
    assert "dropout" in config.model("ebgan").idle(paper) and paper.dropout == 0.5
    deeper = config.resolve(
        "ebgan_mnist", "paper", ["hyper.dropout=0.5", "hyper.widths_D=[512, 256]"]
    ).hyper
    assert "dropout" not in config.model("ebgan").idle(deeper)


def test_one_that_nobody_gave_goes_back_to_its_default(tmp_path: Any) -> None:
    """A preset's sizes are of its own nets: with others they are left out, each in a line. A file
    of one's own gives what is in it, not what is in its base."""
    told: list[str] = []
    found = config.resolve("gan_digits", "tiny", ["hyper.nets=infogan"], told.append).hyper
    assert (found.widths, found.group, found.patch) == ((128, 64, 32), 16, 1)
    assert [line.split(" = ")[0] for line in told] == [
        f"gan_digits: hyper.{name}" for name in ("widths", "patch", "group")
    ]
    (tmp_path / "mine.toml").write_text(
        'base = "gan_mnist"\n[hyper]\nnets = "infogan"\npatch = 2\n'
    )
    mine = config.resolve(str(tmp_path / "mine.toml"), "tiny").hyper
    assert (mine.widths, mine.patch) == ((128, 64, 32), 2)


def test_older_runs_with_one_still_open_and_go_on(tmp_path: Any) -> None:
    """Their numbers are what they were: it did nothing."""
    tiny = Tiny("gan_digits")
    for folder in "old", "new":
        tiny.train(tmp_path / folder, "steps=2", "save_every=1", "log_every=1")
    path = tmp_path / "old" / "config.json"
    raw = json.loads(path.read_text())
    path.write_text(json.dumps(raw | {"hyper": raw["hyper"] | {"hidden": 99, "norm_D": "batch"}}))
    assert reopen(tmp_path / "old", None).step == 2
    tiny.train(
        tmp_path / "old",
        "steps=4",
        "save_every=1",
        "log_every=1",
        "hyper.hidden=99",
        "hyper.norm_D=batch",
        extend=True,
    )
    tiny.train(tmp_path / "new", "steps=4", "save_every=1", "log_every=1", extend=True)
    assert_same(tmp_path / "old", tmp_path / "new")
