"""Configs, config.json, --set and sheets as nobody should write them:
a Mistake of one line, and never anything else."""

import datetime
import json
import os
import time

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from simulacra.core import config, run
from simulacra.core.errors import Mistake
from simulacra.studies import sheet

KEYS = [
    "name",
    "preset",
    "room",
    "data",
    "hyper",
    "seed",
    "batch",
    "steps",
    "keep",
    "data.name",
    "data.pad",
    "hyper.rate_G",
]
WORDS = [
    *(
        "9" * 5000,
        "0x" + "F" * 5000,
        "-" + "1" * 400,
        "1e999",
        "inf",
        "nan",
        "-0.0",
        "true",
        "5e-324",
        "1_0",
        "0b1",
        "+1",
    ),
    *(
        str(2**63),
        str(2**64),
        str(-(2**63) - 1),
        '"' + "a" * 5000 + '"',
        '"\\u0000"',
        '"\ud800"',
        "{}",
        "{a={b={c=1}}}",
    ),
    *(
        "[]",
        "[" * 3000 + "]" * 3000,
        "{a=" * 500 + "1" + "}" * 500,
        "1979-05-27",
        "07:32:00",
        "1\nsteps = 2",
        "'../x'",
    ),
    *("[1, 'a', {}]", "[[0, 1.0]]", '"\U0001f600"', "[bold]", "%s", "{0}", "", "'", '"""'),
]


def nested(depth: int) -> dict:
    """Tables in tables."""
    table: dict = {}
    for _ in range(depth):
        table = {"a": table}
    return table


VALUES = [
    *(
        10**400,
        2**63,
        2**64,
        -(2**63) - 1,
        1e308,
        float("inf"),
        float("nan"),
        -0.0,
        True,
        None,
        1.0,
        -1,
        0,
        "",
        "a" * 5000,
    ),
    *(
        "\ud800",
        "\0",
        "../../x",
        ".",
        "a/b",
        {},
        [],
        [[[]]],
        {"a": {"b": 1}},
        ["ebgan"],
        [1],
        nested(30),
    ),
]
SETTINGS = settings(
    deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def held(act) -> None:
    """What it gives, or a Mistake that a person can read, within the time that he waits."""
    begun = time.monotonic()
    try:
        found = act()
        if isinstance(found, config.Config):
            json.dumps(config.plain(found), ensure_ascii=False).encode()
    except Mistake as mistake:
        assert 0 < len(str(mistake)) < 4000
    assert time.monotonic() - begun < 30


def damaged(content: bytes, dice) -> bytes:
    """With a few bytes changed, removed, repeated or put in between."""
    found = bytearray(content)
    for _ in range(dice.draw(st.integers(1, 6))):
        at, to = (dice.draw(st.integers(0, len(found))) for _ in range(2))
        insert = dice.draw(
            st.sampled_from(
                [
                    b"\0",
                    b"\xff\xfe",
                    b"\xef\xbb\xbf",
                    b"\r",
                    b"[",
                    b"]",
                    b'"',
                    b"\n[x]\n",
                    b"=",
                    b"'''",
                ]
            )
        )
        what = dice.draw(st.integers(0, 3))
        if what == 0:
            found[at:at] = insert
        elif what == 1:
            del found[at : at + 20]
        elif what == 2:
            found[at:at] = found[to : to + 60]
        else:
            found[at : at + 1] = bytes([dice.draw(st.integers(0, 255))])
    return bytes(found)


@SETTINGS
@given(
    key=st.sampled_from(KEYS) | st.text(max_size=20),
    word=st.sampled_from(WORDS) | st.text(max_size=20),
)
@example(key="hyper." + "a" * 5000, word="1")
@example(key=".".join("a" * 5000), word="1")
@example(key="steps", word="1\nbatch = 2")
def test_changes(key, word):
    held(lambda: config.resolve("ebgan_digits", "tiny", [f"{key}={word}"]))


@SETTINGS
@given(
    key=st.sampled_from([*KEYS, "base", "experiment", "preset.tiny.steps"]),
    word=st.sampled_from(WORDS),
)
@example(key=".".join("a" * 5000), word="1")
@example(key="name", word='{a = "b"}')
def test_lines_of_a_config(key, word, tmp_path):
    lines = config.find("ebgan_digits").read_text().splitlines()
    kept = [line for line in lines if not line.startswith(key.partition(".")[0])]
    path = tmp_path / "asked.toml"
    path.write_bytes("\n".join([f"{key} = {word}", *kept]).encode("utf-8", "surrogatepass"))
    held(lambda: config.resolve(str(path), "tiny"))


@SETTINGS
@given(dice=st.data())
def test_damaged_files(dice, tmp_path):
    name = dice.draw(st.sampled_from(["asked.toml", "config.json", "sheet.toml"]))
    whole = {
        "asked.toml": config.find("ebgan_digits").read_bytes(),
        "config.json": json.dumps(config.plain(config.resolve("ebgan_digits"))).encode(),
        "sheet.toml": sheet.find("ebgan_pull_away").read_bytes(),
    }[name]
    (tmp_path / name).write_bytes(damaged(whole, dice))
    if name == "sheet.toml":
        held(lambda: [str(cell) for cell in sheet.read(tmp_path / name).cells()])
    else:
        held(lambda: config.resolve(str(tmp_path / name)))


@SETTINGS
@given(key=st.sampled_from([*KEYS, "new"]), value=st.sampled_from(VALUES))
@example(key="\ud800", value=1)
@example(key="a" * 5000, value=1)
def test_values_in_the_config_of_a_run(key, value, tmp_path):
    raw = config.plain(config.resolve("ebgan_digits", "tiny"))
    *tables, last = key.split(".")
    table = raw
    for name in tables:
        table = table[name]
    table[last] = value
    (tmp_path / "config.json").write_text(json.dumps(raw))
    held(lambda: config.resolve(str(tmp_path)))
    held(lambda: config.completed(run.config_of(tmp_path)))


@SETTINGS
@given(
    key=st.sampled_from(
        [
            "name",
            "base",
            "preset",
            "seeds",
            "set",
            "grid",
            "measure",
            "columns",
            "claim",
            "grid.x",
            "grid.config",
        ]
    ),
    value=st.sampled_from(
        [
            *VALUES,
            [1, True],
            [[1], [2]],
            [{"a": 1}],
            list(range(20_000)),
            "measure '",
            datetime.date(2020, 1, 1),
        ]
    ),
)
@example(key="grid.steps", value=[datetime.date(2020, 1, 1), datetime.time(1)])
@example(key="measure", value="measure '")
@example(key="grid.a\nb", value=[1])
def test_values_in_a_sheet(key, value, monkeypatch):
    path = sheet.find("ebgan_pull_away")
    raw = config.read(path)
    table, _, last = key.rpartition(".")
    (raw.setdefault(table, {}) if table else raw)[last] = value
    with monkeypatch.context() as patch:
        real = config.read
        patch.setattr(config, "read", lambda asked: raw if asked == path else real(asked))
        held(lambda: [(str(cell), cell.folder(0)) for cell in sheet.read(path).cells()])


def refused(content: bytes, path) -> str:
    """The line in which a file of such a content is refused."""
    path.write_bytes(content)
    with pytest.raises(Mistake) as told:
        config.resolve(str(path))
    return str(told.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "model is missing"),
        ("model = 1".encode("utf-16"), "it is not text in UTF-8"),
        (bytes(range(256)), "it is not text in UTF-8"),
        (b"steps = " + b"9" * 5000, "Exceeds the limit"),
        (b"a = " + b"[" * 100_000 + b"]" * 100_000, "tables in tables, more than 32 deep"),
        (b".".join([b"a"] * 20_000) + b" = 1", "tables in tables, more than 32 deep"),
        (
            b"a.b" * 0 + b"x = " + b"{a=" * 40 + b"1" + b"}" * 40,
            "tables in tables, more than 32 deep",
        ),
        (b'model = "ebgan"\nmodel = "gan"', "cannot read "),
        (b'model = "ebgan"\nroom = "gan"', "its older name; allowed: one of them"),
        (b"#" * (2**24 + 1), "bytes; allowed: 16,777,216"),
    ],
)
def test_files_that_are_no_configs(content, says, tmp_path):
    assert says in refused(content, tmp_path / "asked.toml")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b'{"steps": 1, "steps": 2}', "key 'steps' stands there twice"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "tables in tables, more than 32 deep"),
        (b"[1]", "it holds no table of keys"),
    ],
)
def test_files_that_are_no_config_of_a_run(content, says, tmp_path):
    assert says in refused(content, tmp_path / "config.json")


@pytest.mark.parametrize(
    "write", [lambda text: b"\xef\xbb\xbf" + text, lambda text: text.replace(b"\n", b"\r\n")]
)
def test_files_as_other_systems_write_them(write, tmp_path):
    """With a mark of byte order, and with their ends of lines."""
    path = tmp_path / "ebgan_digits.toml"
    path.write_bytes(write(config.find("ebgan_digits").read_bytes()))
    assert config.resolve(str(path)) == config.resolve("ebgan_digits")
    (tmp_path / "config.json").write_bytes(
        write(json.dumps(config.plain(config.resolve("ebgan_digits")), indent=1).encode())
    )
    assert config.resolve(str(tmp_path)) == config.resolve("ebgan_digits")


def test_what_is_no_file(tmp_path):
    """Nobody waits for a pipe that nobody fills."""
    os.mkfifo(tmp_path / "pipe.toml")
    os.mkfifo(tmp_path / "config.json")
    (tmp_path / "folder.toml").mkdir()
    for source in (
        tmp_path / "pipe.toml",
        tmp_path / "folder.toml",
        "a" * 5000 + ".toml",
        "a" * 5000,
        "\udce9.toml",
        "/dev/zero",
    ):
        with pytest.raises(Mistake):
            config.resolve(str(source))
        with pytest.raises(Mistake):
            sheet.read(sheet.find(str(source)))
    with pytest.raises(Mistake, match="is no run folder"):
        run.config_of(tmp_path)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("steps=" + "9" * 5000, "--set steps: Exceeds the limit"),
        ("steps=0x" + "F" * 5000, "steps = int that is too long to show: expected `int`"),
        (f"batch={2**63}", f"batch = {2**63}: expected `int` <= 9007199254740992"),
        ("name=a\x00b", "name = 'a\\x00b': expected words in Unicode, without NUL"),
        ("name=\udce9", "name = '\\udce9': expected words in Unicode"),
        ("name=../../etc", "name = '../../etc': expected a word of at most 200 bytes without /"),
        ("name=" + "a" * 5000, "expected a word of at most 200 bytes without /"),
        ("hyper.margin=-inf", "expected"),
        ("model={a = 1}", "model = {'a': 1}: expected `str`"),
        ("data.name=[1]", "unknown data set '[1]'"),
        ("steps=true", "steps = True: expected `int`"),
        ("steps=-0.0", "steps = -0.0: expected `int`"),
        ("seed=1e0", "seed = 1.0: expected `int`"),
    ],
)
def test_what_a_mistake_says(change, says):
    with pytest.raises(Mistake) as told:
        config.resolve("ebgan_digits", "tiny", [change])
    assert says in str(told.value) and len(str(told.value)) < 2000


def test_a_word_that_is_more_than_a_value(tmp_path):
    """Nothing but the key that was named is changed."""
    with pytest.raises(Mistake, match="steps = "):
        config.resolve("ebgan_digits", "tiny", ["steps=3\nbatch = 2"])


def test_a_sheet_of_more_runs_than_anybody_trains(tmp_path):
    text = sheet.find("ebgan_pull_away").read_text().partition("[grid]")[0]
    path = tmp_path / "asked.toml"
    grid = "\n".join(f'"hyper.g{i}" = [{", ".join(map(str, range(10)))}]' for i in range(30))
    path.write_text(f"{text}\n[grid]\n{grid}\n")
    with pytest.raises(Mistake, match=r"runs; allowed: 10,000"):
        sheet.read(path)
