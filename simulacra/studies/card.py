"""Card: a run or an experiment in one file, Markdown or one page of HTML, in the form of a
laboratory's notes (tasks/_card.py).

The page of HTML holds its pictures and asks for nothing else. It shows the words of the card in
Markdown that lies in the folder, and keeps what was written into the page itself between the
comments `keep` and `end keep`.
"""

import base64
import json
import mimetypes
import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from simulacra.core import run, zoo
from simulacra.core.errors import Mistake, meant, shown
from simulacra.core.load import reopen
from simulacra.studies import sheet as sheets
from simulacra.studies import table as tables
from simulacra.tasks import _card
from simulacra.tasks._card import Card, Marks, Picture, Table, Words

PAGES = Path(__file__).parent / "pages"
TABLE = "table.json"


def card(what: Path | str, out: Path | None = None, *, html: bool = False) -> Path:
    """The path of the card of a run folder, of zoo/NAME, of the folder of an experiment's runs, or
    of a sheet whose runs are in runs/SHEET. `out` is the file, None card.md or card.html in that
    folder; a name that ends in .html makes a page too. A Mistake if there is neither a run nor an
    experiment, if one of its files is damaged, or if something else than its card is at `out`."""
    folder = found(str(what))
    html = html or (out is not None and out.suffix.lower() in (".html", ".htm"))
    if html and out is not None and out.suffix.lower() in (".md", ".markdown"):
        raise Mistake(f"--html writes no {out.name}; allowed: a name that ends in .html")
    place = folder if (folder / TABLE).is_file() else zoo.results(folder)[0]
    path = out or place / ("card.html" if html else "card.md")
    title = folder.resolve().name
    before = _card.older(path, title)
    told = of_sheet(folder, title) if (folder / TABLE).is_file() else of_run(folder, title)
    if not html:
        return _card.save(path, _card.markdown(told, path.parent, before))
    beside = place / "card.md"
    own = _card.words(_card.older(beside, title)) if beside.is_file() else {}
    return _card.save(path, page(told, own, _card.KEPT.findall(before)))


def found(what: str) -> Path:
    """The folder of a run or of an experiment that a person means."""
    folder = zoo.place_of(what)
    if (folder / TABLE).is_file() or (folder / "config.json").is_file():
        return folder
    if folder.is_dir():
        raise Mistake(
            f"{folder} holds no run and no experiment: it has neither config.json nor {TABLE}, "
            "which simulacra train and simulacra table write"
        )
    if folder.suffix != ".toml" and what not in sheets.sheets():
        raise Mistake(
            f"no run folder and no sheet {what}{meant(what, [*zoo.names(), *sheets.sheets()])}"
        )
    folder = Path("runs") / sheets.find(what).stem
    if not (folder / TABLE).is_file():
        raise Mistake(f"{folder / TABLE} is not there; simulacra table {what} writes it")
    return folder


def of_run(folder: Path, title: str) -> Card:
    """What the card of a run says. Its model is asked for the equilibrium of its game, if it can be
    opened; if there are weights that cannot, it is said why."""
    model, broken = None, ""
    try:
        model = reopen(folder, None).model
    except Mistake as mistake:  # as where nothing is saved yet
        broken = str(mistake) if run.checkpoints(folder) else ""
    made = _card.of_run(folder, title, model=model, place=zoo.results(folder)[0])
    made.add("Results", *([Marks([(_card.BAD, broken)])] if broken else []))
    return made


def of_sheet(folder: Path, title: str) -> Card:
    """What the card of an experiment says; nothing is computed that is not in its table."""
    path = folder / TABLE
    try:
        told = json.loads(path.read_text("utf-8"))
        return _of_table(folder, title, told)
    except KeyError as error:
        raise Mistake(f"{path} is no table of an experiment: it has no {error}") from None
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise Mistake(f"{path} is no table of an experiment: {shown(str(error))}") from None


def _of_table(folder: Path, title: str, told: dict[str, Any]) -> Card:
    made = Card(title)
    made.add("Name", told["name"])
    made.add("Location", f"`{_card.nearer(str(folder))}`")
    made.add(
        "Details",
        *([f"Source of what is claimed: {told['source']}"] if told["source"] else []),
        f"Compared: {'; '.join(row['cell'] for row in told['rows'])}; "
        f"seeds {', '.join(map(str, told['seeds']))}.",
        f"Config `{told['base']}`, preset `{told['preset']}`, measured by `{told['measure']}`: "
        f"{told['protocol']}; commits {', '.join(told['commits']) or 'unknown'}.",
        *([f"Not measured yet: {'; '.join(told['missing'])}."] if told["missing"] else []),
    )
    marks = [(tables.MARKS[claim["verdict"]], _said(claim)) for claim in told["claims"]]
    made.add("Results", *([Marks(marks)] if marks else []))
    if any("p_holm" not in claim for claim in told["claims"]):
        made.add(
            "Results",
            "These verdicts were given claim by claim, by an older rule; `simulacra table` gives "
            "those of today's.",
        )
    made.add("Results", Table(*tables.cells(told)), tables.told_of_cells(told))
    for row in told["rows"]:
        step, pictures = next(
            (
                seen
                for name in row["runs"]
                if name == Path(name).name and (seen := _card.newest_pictures(folder / name))[1]
            ),
            (0, []),
        )
        made.add(
            "Results", *(Picture(one, f"{row['cell']}, step {step:,}") for one in pictures[:1])
        )
    for word in tables.MARKS:
        mine = [claim for claim in told["claims"] if claim["verdict"] == word]
        made.add("Conclusions", *([_concluded(word, mine)] if mine else []))
    made.add("Conclusions", *([tables.RULE] if told["claims"] else []))
    remarks = _card.remarks(folder)
    made.add("Conclusions", *([Words(remarks)] if remarks else []))
    return made


def _said(claim: dict[str, Any]) -> str:
    """A claim and the numbers that it stands on."""
    expect = claim["expect"]
    if claim.get("within") is not None:
        expect += f" within {claim['within']:g}"
    words = [f"difference {tables.apart(claim)}" if tables.apart(claim) else "not measured"]
    improvement = tables.spoken(claim, "improvement")
    words += [f"P(first > second) {improvement}"] if improvement else []
    words += [f"Holm's p {claim['p_holm']:.2g}"] if claim.get("p_holm") is not None else []
    words += [f"{claim['n']} seeds"]
    return f"{claim['says']} ({claim['metric']}: {expect}; {', '.join(words)})"


def _concluded(word: str, found: list[dict[str, Any]]) -> str:
    """What became of the claims of one verdict."""
    each = []
    for claim in found:
        more = tables.more_of(claim)
        rest = [claim["why"]] if claim.get("why") else []
        rest += [f"about {more} more seeds would do"] if more else []
        each.append(f"{claim['says']} ({', '.join(rest)})" if rest else claim["says"])
    return f"{word.capitalize()}: {'; '.join(each)}."


# --- in HTML --------------------------------------------------------------------------------------


def page(made: Card, own: dict[str, list[str]], kept: list[str]) -> str:
    """The card as a page that holds all it shows; `own` are the words of the card in Markdown,
    `kept` what stood in the page between its comments."""
    pages = Environment(
        loader=FileSystemLoader(PAGES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters["marked"] = _marked
    kinds = {Table: "table", Marks: "marks", Picture: "picture", Words: "words", str: "text"}
    shown_as = {
        section: [(kinds[type(block)], block) for block in blocks]
        for section, blocks in made.blocks.items()
    }
    text = pages.get_template("card.html").render(
        title=made.title,
        head=Markup(_card.head(made.title)),
        sections=shown_as,
        own=own,
        kept=[Markup(one) for one in kept] or [Markup("\n")],
        keep=(Markup(_card.KEEP), Markup(_card.END_KEEP)),
        embedded=_embedded,
    )
    return text.encode(errors="replace").decode()


def _marked(text: str) -> Markup:
    """A paragraph, in which `code` is code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def _embedded(path: Path) -> str:
    """A picture as a data URI."""
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    with run.reached(path.parent):
        return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
