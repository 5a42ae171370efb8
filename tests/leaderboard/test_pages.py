"""The Markdown and HTML pages, read back by parsers that this package knows nothing of."""

import csv
import io
import json
import math
import subprocess
import sys
import unicodedata
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.console import Console
from synthetic_results import ATTACKS, failure, metrics, missing, results

import leaderboard
from leaderboard import Failure, MetricInfo, Missing, Results, Row

TOP1 = {("accuracy", "top1"): MetricInfo("accuracy", "%", "higher", 1, headline=True)}
nasty = st.text(
    st.one_of(
        st.characters(codec="utf-8"),
        st.sampled_from("|<>&`*_[]()#~$\\\"'-+=.!:/\n\r\t 1😀\u202e\u2028"),
    ),
    min_size=1,
    max_size=30,
).map(lambda text: f"x{text}" if not text.strip() else text)
quick = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


pytestmark = pytest.mark.usefixtures("drawn_once")


def plain(name: str) -> str:
    """What a reader should see of a name: one line, nothing invisible."""
    visible = (
        " " if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") and c != "\u200d" else c
        for c in name
    )
    return " ".join("".join(visible).split())


def hostile(name: str) -> Results:
    rows = [
        Row(name, name, variant, 0, "accuracy", "top1", value, "%")
        for variant, value in ((name, 90.0), (f"{name}2", 80.0))
    ]
    return Results(
        title=name,
        rows=tuple(rows),
        metrics={("accuracy", "top1"): MetricInfo(name, name, "higher", 1, headline=True)},
        failures=(Failure(name, name, name, name, 0, name, name),),
        missing=(Missing(name, name, name, name, 0, name),),
        provenance={name: name, "suite": f"a: b\n{name}\n{name}"},
        notes=(name,),
    )


class Reader(HTMLParser):
    """Collects tags, and the text of cells by line of a table."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.lines: list[list[str]] = []
        self.open: list[str] = []
        self.scripts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.lines.append([])
        elif tag in ("td", "th"):
            self.lines[-1].append("")
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)
        if "td" in self.open or "th" in self.open:
            self.lines[-1][-1] += data


def read_markdown(page: str) -> Reader:
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    for token in parser.parse(page):
        for part in (token, *(token.children or ())):
            assert not part.type.startswith("html"), part.content
    return Reader(parser.render(page))


def test_golden_page(tmp_path: Path) -> None:
    """The whole of a small page; a change here is a change that every user's diff will show."""
    names = [("bu", 0, 90.0), ("bu", 1, 91.0), ("td", 0, 92.5)]
    data = Results(
        title="small",
        rows=tuple(Row("mini", "net_a", v, s, "accuracy", "top1", x, "%") for v, s, x in names),
        metrics=TOP1,
        failures=(Failure("mini/net_a/td/seed1/accuracy", "mini", "net_a", "td", 1, "accuracy",
                          "Error: no | luck"),),
        provenance={"command": "bench run small", "hardware": "2 cores"},
    )  # fmt: skip
    page = leaderboard.render_markdown(data, tmp_path)
    assert page == tmp_path / "leaderboard.md"
    golden = Path(__file__).with_name("golden_leaderboard.md")
    assert page.read_text("utf-8").replace("\u00a0", " ") == golden.read_text("utf-8")


@pytest.mark.usefixtures("drawn_anew")
def test_same_results_give_the_same_bytes(tmp_path: Path) -> None:
    def tree(folder: Path) -> dict[str, bytes]:
        leaderboard.render_markdown(results(images=40), folder)
        leaderboard.render_html(results(images=40), folder / "page.html")
        files = (path for path in folder.rglob("*") if path.is_file())
        return {str(path.relative_to(folder)): path.read_bytes() for path in files}

    first = tree(tmp_path / "a")
    assert sorted(first) == [
        "figures/accuracy-against-cost.png", "figures/accuracy.png",
        "figures/fashion-mnist-mini.png", "leaderboard.md", "page.html",
    ]  # fmt: skip
    assert tree(tmp_path / "a") == tree(tmp_path / "b") == first


@pytest.mark.usefixtures("drawn_anew")
def test_figures_that_the_page_names_exist(tmp_path: Path) -> None:
    data = results(datasets=("a/b", "A b", "../../x"), images=20, attacks=ATTACKS[:1])
    page = read_markdown(leaderboard.render_markdown(data, tmp_path).read_text("utf-8"))
    sources = [attributes["src"] for tag, attributes in page.tags if tag == "img"]
    assert sources[:2] == ["figures/accuracy.png", "figures/accuracy-against-cost.png"]
    assert sources[2:] == [
        "figures/a-b.png", "figures/a-b-2.png", "figures/x.png",
        "figures/attacks-on-all-data-sets.png",
    ]  # fmt: skip
    assert all((tmp_path / str(source)).stat().st_size > 5000 for source in sources)


@quick
@given(nasty)
def test_any_name_survives_markdown_and_keeps_the_table(
    tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    folder = tmp_path_factory.mktemp("page")
    text = leaderboard.render_markdown(hostile(name), folder).read_text("utf-8")
    page = read_markdown(text)
    seen = plain(name)
    assert [len(line) for line in page.lines] == [7, 7, 7, 5, 5, 5]
    assert page.lines[1][:3] == [seen, seen, seen]
    assert page.lines[4][:2] == [seen, seen]
    assert page.lines[5][:2] == [seen, plain(f"{name}2")]
    tables = {"table", "thead", "tbody", "tr", "th", "td"}
    assert {tag for tag, _ in page.tags} <= tables | {
        "h1", "h2", "p", "ul", "li", "strong", "pre", "code", "img", "em", "a",
    }  # fmt: skip
    assert [tag for tag, _ in page.tags].count("h2") == 4


@quick
@given(nasty)
def test_any_name_survives_html(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    path = tmp_path_factory.mktemp("page") / "page.html"
    page = Reader(leaderboard.render_html(hostile(name), path).read_text("utf-8"))
    assert page.open == []
    assert page.lines[1][:2] == [plain(name)] * 2
    assert not {"iframe", "x"} & {tag for tag, _ in page.tags}
    # What the page itself has: two scripts and their data, and links within the page.
    assert [tag for tag, _ in page.tags].count("script") == 3
    assert {str(attributes["href"])[0] for tag, attributes in page.tags if tag == "a"} == {"#"}
    assert not [key for _, attributes in page.tags for key in attributes if key.startswith("on")]
    data = json.loads(page.scripts[-1])
    assert data["dataset"] == plain(name)
    assert data["columns"][3]["unit"] == plain(name)


@quick
@given(nasty)
def test_any_name_survives_csv_json_and_terminal(
    tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    folder = tmp_path_factory.mktemp("tables")
    with leaderboard.render_csv(hostile(name), folder / "t.csv").open(
        newline="", encoding="utf-8"
    ) as f:
        assert next(row["backbone"] for row in csv.DictReader(f)) == name
    text = leaderboard.render_json(hostile(name), folder / "t.json").read_text("utf-8")
    assert json.loads(text)["rows"][0]["backbone"] == name
    console = Console(width=200, record=True, file=(folder / "t.txt").open("w", encoding="utf-8"))
    console.print(leaderboard.terminal_table(hostile(name)))


def test_backticks_in_notes_and_errors_are_code(tmp_path: Path) -> None:
    hint = "give it `stages: <FILE>`"
    data = replace(
        results(attacks=()),
        notes=("the next `bench run` does it again", "a lone ` stays"),
        failures=(failure(results(), "train", hint),),
    )
    text = leaderboard.render_html(data, tmp_path / "x.html").read_text("utf-8")
    assert "<li>the next <code>bench run</code> does it again</li>" in text
    assert "<li>a lone ` stays</li>" in text
    assert "give it <code>stages: &lt;FILE&gt;</code></li>" in text
    page = leaderboard.render_markdown(data, tmp_path).read_text("utf-8")
    assert "- the next `bench run` does it again\n- a lone \\` stays\n" in page
    assert "give it `stages: <FILE>`\n" in page
    text = MarkdownIt("commonmark").render(page)
    assert "<li>the next <code>bench run</code> does it again</li>" in text
    assert "give it <code>stages: &lt;FILE&gt;</code></li>" in text


def test_html_is_one_file_that_asks_for_nothing(tmp_path: Path) -> None:
    text = leaderboard.render_html(results(images=40), tmp_path / "x.html").read_text("utf-8")
    page = Reader(text)
    for tag, attributes in page.tags:
        assert tag not in ("link", "iframe", "object")
        for key in ("src", "href", "srcset"):
            assert (attributes.get(key) or "data:").startswith(("data:", "#"))
    # The name of SVG's elements is an address that nobody visits.
    plain_text = text.replace("'http://www.w3.org/2000/svg'", "")
    assert "http:" not in plain_text
    assert "https:" not in plain_text
    assert "url(" not in text
    assert "color-scheme: light dark" in text
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert str(images[0]["src"]).startswith("data:image/png;base64,iVBOR")
    assert images[0]["alt"]
    assert [attributes.get("scope") for tag, attributes in page.tags if tag == "th"].count(
        None
    ) == 0


def test_pages_agree(tmp_path: Path) -> None:
    data = results(attacks=ATTACKS, images=30)
    html = Reader(leaderboard.render_html(data, tmp_path / "x.html").read_text("utf-8"))
    text = leaderboard.render_markdown(data, tmp_path).read_text("utf-8").replace("\u00a0", " ")
    lines = read_markdown(text).lines
    # Markdown has the costs and the attacks (in two parts) apart, the HTML page in one table.
    nets = 1 + 2
    start = next(place for place, line in enumerate(lines) if line[0] == "Backbone")
    over, boards = lines[:start], lines[start:]
    costs, some, more = (boards[part * nets :][:nets] for part in range(3))
    assert html.lines[:nets] == [
        [*cost[:4], *one[3:], *other[3:], *cost[4:]]
        for cost, one, other in zip(costs, some, more, strict=True)
    ]
    assert html.lines[nets:] == over + boards[3 * nets :]


def test_failures_are_explained_and_long_lists_cut(tmp_path: Path) -> None:
    base = results(images=20)
    data = replace(
        base,
        failures=(failure(base, "accuracy", "OSError: <disk> `full`\n" + "x" * 1000),),
        missing=tuple(missing("accuracy", n, variant="td") for n in range(90)),
    )
    text = leaderboard.render_markdown(data, tmp_path).read_text("utf-8")
    assert "OSError: &lt;disk&gt; `full` xxx" in text
    assert "x" * 400 not in text
    assert "… and 70 more" in text
    assert "seed19/" in text
    assert "seed20/" not in text


def test_empty_results_make_a_page_all_the_same(tmp_path: Path) -> None:
    empty = Results("nothing", (), {})
    assert "No results yet." in leaderboard.render_markdown(empty, tmp_path).read_text("utf-8")
    assert "No results yet." in leaderboard.render_html(empty, tmp_path / "x").read_text("utf-8")
    assert not (tmp_path / "figures").exists()


def test_csv_is_tidy_and_exact(tmp_path: Path) -> None:
    data = replace(
        results(), rows=(*results().rows[:4], Row("d", "b", "v", 3, "m", "x", math.inf, ""))
    )
    lines = leaderboard.render_csv(data, tmp_path / "t.csv").read_text("utf-8").split("\n")
    assert lines[0] == "dataset,backbone,variant,seed,measure,metric,value,unit"
    assert lines[-2] == "d,b,v,3,m,x,inf,"
    read = [Row(*f[:3], int(f[3]), *f[4:6], float(f[6]), f[7]) for f in csv.reader(lines[1:-1])]
    assert tuple(read) == data.rows


def test_json_is_strict_and_complete(tmp_path: Path) -> None:
    base = results()
    data = replace(
        base, failures=(failure(base, "accuracy", "boom"),), missing=(missing("accuracy", 7),)
    )
    data = replace(data, rows=(Row("d", "b", "v", 3, "m", "x", math.inf, ""), *data.rows))

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    text = leaderboard.render_json(data, tmp_path / "t.json").read_text("utf-8")
    document = json.loads(text, parse_constant=refuse)
    assert document["rows"][0]["value"] == "inf"
    assert len(document["rows"]) == len(data.rows)
    assert document["failures"][0]["error"] == "boom"
    assert document["missing"][0]["cell"].endswith("seed7/accuracy")
    assert document["provenance"] == data.provenance
    assert {(m["measure"], m["metric"]) for m in document["metrics"]} == set(metrics())


@pytest.mark.parametrize("width", [80, 120, 200])
def test_terminal_never_wraps_a_number(width: int, tmp_path: Path) -> None:
    data = replace(results(attacks=ATTACKS, images=20), missing=(missing("accuracy", 7),))
    with (tmp_path / "out").open("w+", encoding="utf-8") as stream:
        Console(width=width, file=stream).print(leaderboard.terminal_table(data))
        stream.seek(0)
        text = stream.read()
    assert text.count("12.3 MiB") == 2
    assert text.count("7.7 k") == 1
    assert text.count(" ± ") == 2 * (1 + 9 + 1)  # accuracy, all attacks but one, speed
    assert "never reached: 1 cell\n" in text
    assert max(map(len, text.splitlines())) <= width


def test_terminal_shows_what_was_measured_and_says_how_much_was_not(tmp_path: Path) -> None:
    whole = results(attacks=ATTACKS, images=20)
    rows = tuple(row for row in whole.rows if (row.variant, row.measure) == ("bu", "accuracy"))
    gone = [missing("accuracy", variant="td")]
    gone += [missing(f"robustness/{attack}", seed) for attack in ATTACKS for seed in range(3)]
    data = replace(whole, rows=rows, missing=tuple(gone))
    page = leaderboard.render_markdown(data, tmp_path).read_text("utf-8")
    assert "| Contrast reduction" in page, "the page has all that is planned"
    with (tmp_path / "out").open("w+", encoding="utf-8") as stream:
        Console(width=70, file=stream).print(leaderboard.terminal_table(data))
        stream.seek(0)
        text = stream.read()
    assert [line.split()[:2] for line in text.splitlines() if "lenet_fc" in line] == [
        ["lenet_fc", "bu"]
    ]
    assert "never reached: 31 cells\n" in text
    assert not any(name in text for name in ("continued", "reduction", "–")), text


def test_importing_costs_nothing() -> None:
    code = (
        "import sys, leaderboard, leaderboard.results; leaderboard.Results;"
        "heavy = {'numpy', 'pandas', 'matplotlib', 'rich', 'scipy', 'torch', 'bench', 'arches'};"
        "sys.exit(', '.join(heavy & set(sys.modules)) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_public_name_is_there() -> None:
    assert set(leaderboard.__all__) <= set(dir(leaderboard))
    assert all(getattr(leaderboard, name) for name in leaderboard.__all__)
    with pytest.raises(AttributeError, match="render_pdf"):
        leaderboard.render_pdf  # noqa: B018


@pytest.mark.parametrize("width", range(50, 130, 7))
def test_terminal_never_cuts_a_number(width: int) -> None:
    """With headings longer than their numbers, as the quickstart has them."""
    infos = {
        ("robustness/gaussian_blur", "median_l2"): MetricInfo(
            "median L2", "", "higher", headline=True
        ),
        ("efficiency", "flops"): MetricInfo(
            "FLOPs", "per image", "lower", headline=True, scale="si"
        ),
        ("efficiency", "memory"): MetricInfo("memory", "", "lower", headline=True, scale="bytes"),
        ("efficiency", "speed"): MetricInfo("images/s", "", "higher", headline=True, scale="si"),
    }
    values = {"median_l2": 4.5, "flops": 1.7e6, "memory": 14 * 2**20, "speed": 21_300.0}
    rows = [
        Row("fashion-mnist-mini", "lenet_fc", variant, seed, measure, metric,
            values[metric] * (1 + 0.2 * seed), "")
        for variant in ("bu", "td")
        for seed in (0, 1)
        for measure, metric in infos
    ]  # fmt: skip
    stream = io.StringIO()
    results = Results("t", tuple(rows), infos)
    Console(width=width, file=stream).print(leaderboard.terminal_table(results))
    printed = stream.getvalue()
    for text in ("4.95 ± 0.64", "1.9 ± 0.2 M", "15.4 ± 2.0 MiB", "23.4 ± 3.0 k"):
        assert printed.count(text + "  ") == 2, printed
