"""What the health monitor tells a person at the end of training, in sentences."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from simulacra.metrics.health.equilibrium import centre, distances, number
from simulacra.metrics.health.health import COLLAPSES, Rows, Settings, Spell, states
from simulacra.metrics.images.modes import collapse

EARLY = 500  # steps before which nothing that is seen says much
STORIES = {
    "d_won": ("collapsed", "recovered", "not recovered"),
    "mode_loss": ("mode loss", "over", "not over"),
    "collapse": ("collapsed", "over", "not over"),
    "flat_energy": ("energy went flat", "sloped again", "still flat"),
    "identity_ae": ("auto-encoder became the identity", "left it", "has not left it"),
    "overfit_d": ("discriminator overfitted", "no longer did", "still does"),
    "diverged": ("diverged", "settled", "not settled"),
    "nan": ("lost its numbers", "had them back", "not had them back"),
}
READINGS = {
    "hinge_active": [
        (0.05, "fakes are hardly pushed up; the margin is low or the discriminator strong"),
        (0.99, "the margin is at work"),
        (math.inf, "the margin is out of reach and acts as if there were none"),
    ],
    "diversity": [
        (0.3, "samples are nearly alike"),
        (0.7, "samples vary less than the data"),
        (1.3, "samples vary as the data do"),
        (math.inf, "samples vary more than the data, as noise would"),
    ],
    "k": [
        (0.01, "the discriminator ignores fakes"),
        (0.99, "the two players are kept in balance"),
        (math.inf, "k is at its end and balances no more"),
    ],
}


def summary(
    rows: Rows,
    equilibrium: Mapping[str, float],
    settings: Settings = Settings(),  # noqa: B008 (frozen)
) -> list[str]:
    """Sentences for a person at the end of training: what happened, then how the run stands."""
    looks, rows = (
        [row for row in rows if "distinct" in row],
        [row for row in rows if "distinct" not in row],
    )
    if not rows:
        return ["nothing was logged"]
    found = states(
        sorted([*rows, *looks], key=lambda row: row["step"]),
        replace(settings, equilibrium=equilibrium),
    )
    told = [story(spell, int(rows[-1]["step"])) for spell in found]
    game = bool(equilibrium or looks or any("loss_D" in row for row in rows))
    if game and not any(spell.name in COLLAPSES for spell in found):
        told.insert(0, verdict(rows, looks))
    recent = [row for row in rows if row["step"] > rows[-1]["step"] - 1000]
    span = min(1000, int(rows[-1]["step"] - rows[0]["step"]))
    when = f"over the last {span:,} steps" if span else "at the only logged step"
    return [
        *told,
        *balance(recent, equilibrium, when),
        *readings(recent, when),
        *slopes(recent, when),
    ]


def verdict(rows: Rows, looks: Rows) -> str:
    """What to say of a game in which no collapse could be dated."""
    latest = looks[-1] if looks else None
    if latest and (why := collapse(latest)):  # from the beginning on, and not for long
        return f"collapsed, or not begun yet: at step {latest['step']:,}, {why}"
    kinds = [number(row["diversity"]) for row in rows[len(rows) // 2 :] if "diversity" in row]
    # from too early on to be dated
    alike = len(kinds) > 1 and max(kinds) < READINGS["diversity"][0][0]
    seen = (
        "collapsed: samples were nearly alike in all of the second half"
        if alike
        else "no collapse seen in"
    )
    looked = (
        f", nor in samples of {len(looks)} checkpoint{'s' * (len(looks) > 1)}"
        if looks and not alike
        else ""
    )
    last = int(rows[-1]["step"])
    early = f"; step {last:,} is early: look at the pictures" if last < EARLY and not alike else ""
    return f"{seen} {'of ' * alike}{len(rows):,} logged step{'s' * (len(rows) > 1)}{looked}{early}"


def story(spell: Spell, last: int) -> str:
    """One state from beginning to end in one sentence."""
    began, ended, lasting = STORIES[spell.name]
    ending = f"{lasting} by {last:,}" if spell.ended is None else f"{ended} at {spell.ended:,}"
    return f"{began} at step {spell.began:,}, {ending} ({spell.says})"


def balance(rows: Rows, equilibrium: Mapping[str, float], when: str) -> Iterator[str]:
    """How far each loss is from its equilibrium and who is ahead."""
    for name, goal in centre(rows[-1], equilibrium).items():
        off = average([distances(row, equilibrium).get(f"{name}_from_equilibrium") for row in rows])
        value = average([row.get(name) for row in rows])
        if math.isnan(off):
            continue
        player = {"loss_D": "the discriminator", "loss_G": "the generator"}.get(name, "its player")
        close = abs(off) <= 0.1 * max(abs(goal), 0.5)
        reading = "as if in balance" if close else f"{player} is {'ahead' if off < 0 else 'behind'}"
        side = f"{abs(off):.3f} {'below' if off < 0 else 'above'} its equilibrium {goal:.3f}"
        yield f"{name} {value:.3f} {when}, {side}: {reading}"


def readings(rows: Rows, when: str) -> Iterator[str]:
    """What hinge, diversity and BEGAN's k mean, where they are logged."""
    texts = {"diversity": "diversity {:.2f} of the data's", "k": "k {:.3g}"}
    if "margin" in rows[-1]:
        texts = {"hinge_active": "hinge active on {:.0%} of fakes", **texts}
    for name, text in texts.items():
        value = average([row.get(name) for row in rows])
        if not math.isnan(value):
            meaning = next(words for line, words in READINGS[name] if value < line)
            yield f"{text.format(value).replace('%', ' %')} {when}: {meaning}"


def slopes(rows: Rows, when: str) -> Iterator[str]:
    """What the slopes of D at reals and fakes mean, where they are logged."""
    real, fake = (average([row.get(name) for row in rows]) for name in ("grad_real", "grad_fake"))
    if math.isnan(real + fake):
        return
    steeper, ratio = (
        "fakes" if fake > real else "reals",
        max(real, fake) / max(min(real, fake), 1e-12),
    )
    reading = "similar at both, as it should be"
    if fake < 1e-3:
        reading = "next to nothing reaches the generator"
    elif ratio > 5:
        reading = f"much steeper at {steeper}, as when the discriminator overfits"
    elif ratio > 1.5:
        reading = f"{ratio:.1f} times as steep at {steeper}"
    slopes = f"{real:.3g} at reals and {fake:.3g} at fakes"
    yield f"slope of the discriminator {slopes} {when}: {reading}"


def average(values: Sequence[object]) -> float:
    """The mean of those values that are finite numbers, nan if none is."""
    finite = [x for x in map(number, values) if math.isfinite(x)]
    return sum(finite) / len(finite) if finite else math.nan
