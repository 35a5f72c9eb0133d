"""Configs: every one resolves, and whatever is wrong
in one is told in a line that says what exists."""

import json
import math

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulacra.core import config, data_sets
from simulacra.core.config import PRESETS, plain, resolve
from simulacra.core.errors import Mistake
from simulacra.core.run import differences

A_CONFIG = config.configs()[0]


def refusal(source, *changes, preset=None) -> str:
    """What the Mistake says that this config leads to."""
    with pytest.raises(Mistake) as caught:
        resolve(str(source), preset, list(changes))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def written(path, text: str):
    """The path of a new file."""
    path.write_text(text)
    return path


# What is there


@pytest.mark.parametrize("preset", PRESETS)
def test_every_config_resolves(name, preset):
    """Those of games of one's own have no paper that says at what scale."""
    if preset == "paper" and name.endswith("_game"):
        with pytest.raises(Mistake, match="unknown preset 'paper'; there is: tiny, laptop"):
            resolve(name, preset)
        return
    checked = resolve(name, preset)
    assert (checked.name, checked.preset) == (name, preset)
    assert set(config.read(config.find(name)).get("preset", {})) <= set(PRESETS)
    assert checked.steps >= checked.save_every or preset != "tiny"


def test_every_config_says_what_it_does(name):
    first, second, *_ = config.find(name).read_text().splitlines()
    assert first.startswith("# ") and config.headline(name) == first[2:]
    assert second.startswith(f"# simulacra train {name}")


def test_every_model_has_a_config_and_a_contract(model_name):
    assert model_name in {config.resolve(name).model for name in config.configs()}
    module = config.model(model_name)
    assert all(hasattr(module.Model, method) for method in ("__init__", "step", "sample"))
    assert (
        module.Hyper.__struct_config__.frozen
        and module.Hyper.__struct_config__.forbid_unknown_fields
    )


def test_the_default_preset_is_laptop(name):
    assert resolve(name) == resolve(name, "laptop")


# What is not there


def test_unknown_names_list_what_exists(tmp_path):
    assert refusal("ebgan_minst").startswith(
        "unknown config 'ebgan_minst' (did you mean ebgan_mnist"
    )
    assert A_CONFIG in refusal("ebgan_minst")
    assert "unknown preset 'huge'; there is: tiny, laptop, paper" in refusal(
        A_CONFIG, preset="huge"
    )
    assert f"(did you mean mnist?); there is: {', '.join(data_sets.names())}" in refusal(
        A_CONFIG, "data.name=minst"
    )
    assert f"'gann' (did you mean gan or rgan?); there is: {', '.join(config.models())}" in refusal(
        A_CONFIG, "model=gann"
    )
    assert "no config file" in refusal(tmp_path / "none.toml")
    assert "unknown config" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("stepz=3", "unknown key stepz (did you mean steps?); there is: name, preset, model, "),
        ("hyper.marginn=3", "unknown key hyper.marginn (did you mean hyper.margin"),
        ("data.sise=3", "unknown key data.sise"),
        ("steps=many", "steps = 'many': expected `int`"),
        ("steps=0", "steps = 0: expected `int` >= 1"),
        ("steps=2.5", "steps = 2.5: expected `int`"),
        ("steps=1e3", "steps = 1000.0: expected `int`"),
        ("batch=-3", "batch = -3: expected `int` >= 1"),
        ("seed=-1", "seed = -1: expected `int` >= 0"),
        ("preset=huge", "preset = 'huge': expected one of: tiny, laptop, paper"),
        ("hyper=3", "hyper = 3: expected keys; there is: hyper."),
        ("data=3", "data.name is missing; there is: codes, davis, digits"),
        ("steps.more=3", "--set steps.more: steps is no table"),
        ("steps", "--set takes key=value, found 'steps'"),
        ("=3", "--set takes key=value, found '=3'"),
        ("seed=99999999999999999999", "seed = 99999999999999999999"),
    ],
)
def test_wrong_values(change, says):
    assert says in refusal(A_CONFIG, change)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("hyper.stabilise.noise=-1", "hyper.stabilise.noise = -1: expected `float` >= 0.0"),
        (
            "hyper.stabilise.nois=1",
            "unknown key hyper.stabilise.nois (did you mean hyper.stabilise.noise?); there is: "
            "hyper.stabilise.real_target, ",
        ),
        (
            "hyper.stabilise.augment=['flip']",
            "augment = ['flip']: expected any of: translate, cutout, colour",
        ),
        ("hyper.stabilise.noise=inf", "hyper.stabilise.noise = inf: expected finite numbers"),
        ("hyper.stabilise.noise=[[5, 1.0], [2, 0.0]]", "the steps of a schedule must not fall"),
    ],
)
def test_wrong_values_in_a_table_of_hyperparameters(change, says):
    assert says in refusal("rgan_mnist", change)


def fields_of(model_name, kind) -> list[str]:
    """The names of the model's hyperparameters of a kind."""
    found = msgspec.inspect.type_info(config.model(model_name).Hyper).fields
    return [field.name for field in found if isinstance(field.type, kind)]


def schedules(model_name) -> list[str]:
    """The model's hyperparameters that may be schedules."""
    found = msgspec.inspect.type_info(config.model(model_name).Hyper).fields
    return [field.name for field in found if isinstance(field.type, msgspec.inspect.UnionType)]


def config_of(model_name) -> str:
    """The model's first config."""
    return next(name for name in config.configs() if resolve(name).model == model_name)


def test_wrong_choice_of_any_hyperparameter(model_name):
    for name in fields_of(model_name, msgspec.inspect.LiteralType):
        assert f"hyper.{name} = 'x': expected one of: " in refusal(
            config_of(model_name), f"hyper.{name}=x"
        )


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("[]", "length >= 1"),
        ("[[5, 1.0], [4, 1.0]]", "the steps of a schedule must not fall"),
        ("[[0, 1.0, 2.0]]", "expected"),
        ("[[0.5, 1.0]]", "expected `int`"),
        ("[[-1, 1.0]]", "expected `int` >= 0"),
        ("[[0, -1.0]]", "expected `float` >= 0"),
        ("[[0, nan]]", "expected"),
        ("[[0, inf]]", "expected finite numbers"),
        ("-1.0", "expected `float` >= 0"),
        ("nan", "expected"),
        ("inf", "expected finite numbers"),
        ("true", "expected"),
        ("fast", "expected"),
    ],
)
def test_wrong_schedules(model_name, value, says):
    for name in schedules(model_name):
        text = refusal(config_of(model_name), f"hyper.{name}={value}")
        assert f"hyper.{name} = " in text and says in text


def test_good_schedules(model_name):
    for name in schedules(model_name):
        hyper = resolve(
            config_of(model_name), None, [f"hyper.{name}=[[0, 1], [5, 0.5], [5, 2]]"]
        ).hyper
        assert getattr(hyper, name) == ((0, 1), (5, 0.5), (5, 2))


# --set, base, files


def test_values_are_toml_or_words():
    folder = ["data.name=folder", "data.path=in/here", "data.size=32", "data.flip=true"]
    options = resolve(A_CONFIG, "tiny", folder).data
    assert (options.path, options.size, options.flip) == ("in/here", 32, True)
    assert resolve(A_CONFIG, None, ["steps=3", "steps=4"]).steps == 4
    assert resolve(A_CONFIG, None, ['data={name="digits", pad=2}']).data.pad == 2


def test_another_data_set_forgets_the_options_of_the_old():
    assert (
        resolve(A_CONFIG, None, ["data.name=folder", "data.size=32", "data.name=digits"]).data.pad
        == 0
    )


def test_base(tmp_path):
    """One level: tables are laid on tables,
    a data set of another name replaces the old one whole."""
    under = (
        'model = "gan"\nbatch = 8\n[data]\nname = "folder"\nsize = 32\n'
        "[hyper]\nz_size = 5\n[preset.tiny]\nsteps = 3\n"
    )
    written(tmp_path / "under.toml", under)
    over = 'base = "under"\nhyper.beta1 = 0.5\npreset.tiny.batch = 4\npreset.laptop.steps = 9\n'
    path = written(tmp_path / "over.toml", over)
    checked = resolve(str(path), "tiny")
    assert (checked.name, checked.batch, checked.steps, checked.data.size) == ("over", 4, 3, 32)
    assert (checked.hyper.z_size, checked.hyper.beta1) == (5, 0.5)
    assert resolve(str(path)).steps == 9
    assert (
        resolve(
            str(written(tmp_path / "other.toml", over + 'data.name = "digits"')), "tiny"
        ).data.pad
        == 0
    )
    text = refusal(written(tmp_path / "third.toml", 'base = "over"'))
    assert "base over has a base itself; one is the limit" in text
    assert "unknown config 'gone'" in refusal(written(tmp_path / "fourth.toml", 'base = "gone"'))
    assert "base = 5: expected the name of a config" in refusal(
        written(tmp_path / "fifth.toml", "base = 5")
    )


def test_experiments(tmp_path):
    """Their tables are laid on the preset, one after the other, and --set on them;
    the run is named after them."""
    text = (
        'model = "gan"\ndata.name = "digits"\nbatch = 8\n[hyper]\nz_size = 5\n'
        "[preset.laptop]\nsteps = 9\nhyper.beta1 = 0.5\n"
        "[experiment.1]\nhyper.z_size = 6\nhyper.beta1 = 0.6\n"
        "[experiment.fixed]\nhyper.beta1 = 0.7\n"
    )
    path = written(tmp_path / "mine.toml", text)
    found = {}
    for wish in (
        [],
        ["experiment=1"],
        ["hyper.z_size=8", "experiment=1, fixed"],
        ["experiment=fixed", "experiment=1"],
    ):
        checked = resolve(str(path), None, wish)
        found[checked.name] = checked.hyper.z_size, checked.hyper.beta1
    assert found == {"mine": (5, 0.5), "mine_1": (6, 0.6), "mine_1_fixed": (8, 0.7)}
    assert f"unknown experiment in {path}: '2'; there is: 1, fixed" in refusal(path, "experiment=2")
    assert f"unknown experiment in {path}: ''; there is: 1, fixed" in refusal(path, "experiment=1,")
    assert "unknown experiment in" in refusal(
        A_CONFIG, "experiment=1"
    ) and "there is: none" in refusal(A_CONFIG, "experiment=1")
    assert "experiments are tables, [experiment.NAME]" in refusal(
        written(tmp_path / "bad.toml", "experiment = 1\n" + text[: text.index("[experiment")])
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("model = ", "cannot read "),
        ("[preset.tiny]\nsteps = 3", "model is missing"),
        ('model = "gan"\n[preset.tiny]\nsteps = 3', "data is missing"),
        ('model = "gan"\ndata = {}\nbatch = 4\n[preset.tiny]\nsteps = 3', "data.name is missing"),
        ('model = "gan"\ndata.name = "digits"\n[preset.tiny]\nbatch = 3', "steps is missing"),
        ('model = "gan"\npreset = "tiny"', "presets are tables"),
        ('model = "gan"\npreset.tiny = 3', "presets are tables"),
        ('model = "gan"\npreset.smal.steps = 3', "'smal'; there is: tiny, laptop, paper"),
        ('model = "gan"\npreset.paper.steps = 3', "unknown preset 'tiny'; there is: paper"),
    ],
)
def test_wrong_files(tmp_path, text, says):
    assert says in refusal(written(tmp_path / "mine.toml", text), preset="tiny")


def test_wrong_bytes(tmp_path):
    (tmp_path / "mine.toml").write_bytes(b"\xff\xfe")
    assert "cannot read" in refusal(tmp_path / "mine.toml")
    assert "it holds no table" in refusal(written(tmp_path / "mine.json", "[]"))


def test_a_folder_named_like_a_config_hides_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / A_CONFIG).mkdir()
    assert resolve(A_CONFIG).name == A_CONFIG


# A resolved config is a config


def values(kind: msgspec.inspect.Type) -> st.SearchStrategy:
    """Values that a type allows."""
    ranged = {"min_value": getattr(kind, "ge", None), "max_value": getattr(kind, "le", None)}
    if getattr(kind, "gt", None) is not None:
        ranged["min_value"] = math.nextafter(kind.gt, math.inf)
    if getattr(kind, "lt", None) is not None:
        ranged["max_value"] = math.nextafter(kind.lt, -math.inf)
    match kind:
        case msgspec.inspect.LiteralType():
            return st.sampled_from(kind.values)
        case msgspec.inspect.BoolType():
            return st.booleans()
        case msgspec.inspect.IntType():
            return st.integers(**(ranged | {"max_value": ranged["max_value"] or 2**40}))
        case msgspec.inspect.FloatType():
            return st.floats(**ranged, allow_nan=False, allow_infinity=False)
        case msgspec.inspect.StrType():
            return st.text(
                st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20
            )
        case msgspec.inspect.TupleType():
            return st.tuples(*map(values, kind.item_types))
        case msgspec.inspect.VarTupleType():
            items = st.lists(values(kind.item_type), min_size=kind.min_length or 0, max_size=4)
            rising = isinstance(kind.item_type, msgspec.inspect.TupleType)
            return items.map(
                lambda found: tuple(sorted(found, key=lambda point: point[0]) if rising else found)
            )
        case msgspec.inspect.UnionType():
            return st.one_of(*map(values, kind.types))
        case msgspec.inspect.StructType():
            return st.builds(kind.cls, **{field.name: values(field.type) for field in kind.fields})
    raise AssertionError(f"no values for {kind}")


def instances(kind: type[msgspec.Struct]) -> st.SearchStrategy:
    """Instances of a structure, each field any value it allows."""
    fields = msgspec.inspect.type_info(kind).fields
    return st.builds(kind, **{field.name: values(field.type) for field in fields})


@settings(deadline=None, max_examples=40)
@given(more=st.data())
def test_a_resolved_config_resolves_to_itself(model_name, tmp_path_factory, more):
    hyper = more.draw(instances(config.model(model_name).Hyper))
    options = more.draw(
        st.sampled_from(data_sets.names()).flatmap(
            lambda name: instances(data_sets.module(name).Options)
        )
    )
    counts = {
        key: more.draw(st.integers(1, 2**40))
        for key in ("batch", "steps", "log_every", "save_every")
    }
    checked = config.Config(
        name="x", preset="tiny", model=model_name, data=options, hyper=hyper, **counts
    )
    path = tmp_path_factory.getbasetemp() / f"{model_name}.json"
    path.write_text(json.dumps(plain(checked)))
    again, checked = resolve(str(path)), config.settled(checked)
    assert again == checked and not differences(plain(again), plain(checked))


def test_a_run_is_a_config(trained):
    for source in trained, trained / "config.json":
        checked = resolve(str(source))
        assert plain(checked) == json.loads((trained / "config.json").read_text())
        assert resolve(str(source), None, ["seed=5"]).seed == 5
        assert resolve(str(source), "tiny") == checked
        assert "is resolved already (preset tiny)" in refusal(source, preset="paper")
