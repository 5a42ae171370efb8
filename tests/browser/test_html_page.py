"""What the HTML page does in a browser."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pages import DESKTOP, PHONE, column, opened, small, write

from leaderboard import Results

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(small(), tmp_path_factory.mktemp("small"))


def sort(page: Any, heading: str) -> str | None:
    """Press a heading; the order that it then says it has."""
    head = page.locator("#board thead th", has_text=heading).first
    head.get_by_role("button").click()
    return head.get_attribute("aria-sort")


def numbers(texts: list[str]) -> list[float]:
    return [float(text.split()[0]) for text in texts if re.match(r"\d", text)]


def test_sorts_by_value_with_what_has_none_last(browser: Any, path: Path) -> None:
    with opened(browser, path) as page:
        before = column(page, "Top-1")
        assert sort(page, "Top-1") == "descending"
        down = column(page, "Top-1")
        assert numbers(down) == sorted(numbers(before), reverse=True) != numbers(before)
        assert down[-1] == "failed"
        assert sort(page, "Top-1") == "ascending"
        up = column(page, "Top-1")
        assert numbers(up) == sorted(numbers(before))
        assert up[-1] == "failed"
        assert sort(page, "Top-1") is None
        assert column(page, "Top-1") == before
        for _ in range(2):
            sort(page, "Single pixel")
            assert column(page, "Single pixel")[-1].startswith("∞")
        assert sort(page, "Parameters") == "ascending"  # the better end of a cost first
        assert column(page, "Parameters")[:2] == ["7.7 k", "7.7 k"]
        assert column(page, "Parameters")[-1] == "144.5 k"


def test_sorting_keeps_the_order_of_ties(browser: Any, path: Path) -> None:
    with opened(browser, path) as page:
        sort(page, "Backbone")
        assert column(page, "Backbone") == ["lenet_fc"] * 4 + ["resnet"] * 4
        sort(page, "Variant")
        assert column(page, "Variant") == ["bu"] * 4 + ["td"] * 4
        assert column(page, "Data set") == ["mini", "mini", "other", "other"] * 2
        assert column(page, "Backbone") == ["lenet_fc", "resnet"] * 4


def test_sorts_with_the_keyboard(browser: Any, path: Path) -> None:
    with opened(browser, path) as page:
        page.locator("#board thead button").first.focus()
        for _ in range(4):
            page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        head = page.locator("#board thead th", has_text="Top-1").first
        assert head.get_attribute("aria-sort") == "descending"
        page.keyboard.press("Space")
        assert head.get_attribute("aria-sort") == "ascending"
        assert page.locator("#board [aria-sort]").count() == 1


def test_filters_and_says_how_many_are_left(browser: Any, path: Path) -> None:
    with opened(browser, path) as page:
        count = page.get_by_role("status").first
        assert count.text_content() == "All 8 networks are shown."
        search = page.get_by_label("Search names and flags")
        search.fill("RES td")
        assert column(page, "Backbone") == ["resnet"] * 2
        assert column(page, "Variant") == ["td"] * 2
        assert count.text_content() == "2 of 8 networks are shown."
        form = page.get_by_role("search")
        form.get_by_label("Data set").select_option("other")
        assert count.text_content() == "1 of 8 networks is shown."
        search.fill("nothing like that")
        assert count.text_content() == "0 of 8 networks are shown."
        assert column(page, "Backbone") == []
        form.get_by_role("button", name="Show all").click()
        assert len(column(page, "Backbone")) == 8
        form.get_by_label("Columns").select_option("Robustness")
        heads = page.locator("#board thead th:visible").all_text_contents()
        assert not [head for head in heads if head.startswith(("Top-1", "Parameters"))]
        assert [head for head in heads if head.startswith("Single pixel")]


def test_details_by_keyboard(browser: Any, path: Path) -> None:
    with opened(browser, path) as page:
        page.locator("#board thead button").last.focus()
        page.keyboard.press("Tab")  # one stop for the whole table
        details = page.locator("#details")
        for _ in range(4):
            page.keyboard.press("ArrowRight")
        assert "failed: OSError: disk" in details.inner_text()
        page.keyboard.press("ArrowDown")
        text = details.inner_text()
        assert "failed: RuntimeError: <b>no luck</b> & more" in text
        assert re.search(r"Seed 0\s+8\d\.\d{3}\b", text)
        assert re.search(r"Seeds \(n\)\s+1\b", text)
        focused = page.locator(":focus")
        assert focused.get_attribute("aria-describedby") == "details"
        page.keyboard.press("Escape")
        assert details.is_hidden()
        assert focused.get_attribute("aria-describedby") is None
        page.keyboard.press("Enter")
        assert details.is_visible()
        page.keyboard.press("End")
        assert "Direction" in details.inner_text()
        page.keyboard.press("Tab")
        assert details.is_hidden()


def test_details_have_the_statistics_of_the_seeds(browser: Any, path: Path) -> None:
    with opened(browser, path) as page:
        page.locator("#board tbody tr").nth(2).locator("td").nth(1).click()
        text = page.locator("#details").inner_text()
    one, other = (float(found) for found in re.findall(r"Seed \d\s+([\d.]+)", text))
    middle, sd = (one + other) / 2, abs(one - other) / 2**0.5
    half = 12.7062 * sd / 2**0.5  # Student's t with one degree of freedom, from any textbook
    low, high = re.search(r"([\d.-]+) to ([\d.-]+)", text).groups()  # type: ignore[union-attr]
    assert float(low) == pytest.approx(middle - half, abs=0.02)
    assert float(high) == pytest.approx(middle + half, abs=0.02)
    shown = re.search(r"Standard deviation\s+([\d.]+)", text).group(1)  # type: ignore[union-attr]
    assert float(shown) == pytest.approx(sd, abs=0.001)


def test_seeds_that_are_equal_have_no_interval(browser: Any, tmp_path: Path) -> None:
    """Whatever their sum is rounded to: three times 0.1 is not 0.3."""
    data = small()
    rows = [
        replace(row, seed=seed, value=0.1)
        for row in data.rows
        if row.metric == "top1" and row.seed == 0
        for seed in range(3)
    ]
    page_path = write(Results("t", tuple(rows), data.metrics), tmp_path)
    with opened(browser, page_path) as page:
        page.locator("#board tbody tr").first.locator("td").nth(1).click()
        text = page.locator("#details").inner_text()
    assert "Standard deviation" in text
    assert "95 % interval" not in text


def test_details_say_how_many_seeds_are_infinite(browser: Any, tmp_path: Path) -> None:
    found = small()
    rows = [
        replace(row, value=float("inf") if row.seed else 2.0) if row.metric == "median_l2" else row
        for row in found.rows
    ]
    with opened(browser, write(replace(found, rows=tuple(rows)), tmp_path)) as page:
        page.locator("#board tbody td", has_text="∞ for 1 of 2").first.click()
        text = page.locator("#details").inner_text()
    assert re.search(r"Value\s+∞ for 1 of 2 seeds", text)
    assert "Mean" not in text


def test_details_by_hovering_and_touch(browser: Any, path: Path) -> None:
    with opened(browser, path) as page:
        details = page.locator("#details")
        page.locator("#board tbody tr").nth(2).locator("td").nth(1).hover()
        details.wait_for(state="visible")
        details.hover()  # the pointer may go over to it
        page.wait_for_timeout(350)
        assert details.is_visible()
        page.mouse.move(5, 5)
        details.wait_for(state="hidden")
    with opened(browser, path, PHONE, has_touch=True, is_mobile=True) as page:
        details = page.locator("#details")
        page.locator("#board tbody tr").nth(2).locator("td").nth(1).tap()
        assert details.is_visible()
        box = details.bounding_box()
        assert (box["x"], box["width"]) == (0, PHONE[0])
        details.get_by_role("button").tap()
        assert details.is_hidden()


def test_curves_are_switched_by_attack_network_and_data_set(browser: Any, path: Path) -> None:
    with opened(browser, path) as page:
        section = page.locator("section", has=page.locator("h2#curves"))
        lines = section.locator("svg.chart .line")
        assert lines.count() == 4
        assert section.locator("svg.chart .band").count() == 4
        first = lines.first.get_attribute("points")
        section.get_by_label("Attack").select_option("Salt and pepper")
        assert lines.first.get_attribute("points") != first
        assert "Salt and pepper" in section.locator("svg.chart").get_attribute("aria-label")
        section.get_by_label("lenet_fc · td").uncheck()
        assert lines.count() == 3
        rows = section.locator("tbody tr")
        assert rows.count() == 3
        section.get_by_label("Data set").select_option("other")
        assert lines.count() == 4
        section.get_by_role("button", name="None").click()
        assert lines.count() == rows.count() == 0


def test_curves_are_read_off_with_the_keyboard(browser: Any, path: Path) -> None:
    with opened(browser, path) as page:
        section = page.locator("section", has=page.locator("h2#curves"))
        slider = section.get_by_role("slider")
        cells = section.locator("tbody tr").first.locator("td")
        slider.press("Home")
        assert cells.first.text_content() == "0.0"
        losses = []
        for _ in range(5):
            for _ in range(10):
                slider.press("ArrowRight")
            losses.append(float(cells.first.text_content()))
        assert losses == sorted(losses)
        assert losses[-1] > losses[0]
        low, high = cells.nth(1).text_content().split(" to ")
        assert float(low) <= losses[-1] <= float(high)
        assert slider.get_attribute("aria-valuetext").startswith("L2 distance ")


def test_theme_is_switched_and_remembered(browser: Any, path: Path) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    light, dark = "rgb(255, 255, 255)", "rgb(20, 22, 26)"
    with opened(browser, path, scheme="dark") as page:
        assert page.evaluate(background) == dark
    with opened(browser, path) as page:
        assert page.evaluate(background) == light
        page.get_by_label("Colours").select_option("dark")
        assert page.evaluate(background) == dark
        page.reload()
        page.wait_for_selector("html[data-ready]", state="attached")
        assert page.evaluate(background) == dark
        assert page.get_by_label("Colours").input_value() == "dark"


def test_figures_open_in_full_size_on_a_phone(browser: Any, path: Path) -> None:
    with opened(browser, path, PHONE) as page:
        page.get_by_role("button", name="Full size").first.click()
        viewer = page.get_by_role("dialog")
        assert viewer.locator("img").bounding_box()["width"] > 1000
        page.keyboard.press("Escape")
        assert viewer.is_hidden()


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_nothing_is_wider_than_the_window(browser: Any, path: Path, size: tuple[int, int]) -> None:
    for script in (True, False):
        with opened(browser, path, size, java_script_enabled=script) as page:
            page.mouse.wheel(400, 0)
            page.screenshot()
            # What the page's own script cannot say, the browser does.
            session = page.context.new_cdp_session(page)
            layout = session.send("Page.getLayoutMetrics")
            assert layout["cssContentSize"]["width"] == size[0]


def test_readable_without_script(browser: Any, path: Path) -> None:
    with opened(browser, path, java_script_enabled=False) as page:
        assert page.locator("#board tbody tr:visible").count() == 8
        assert page.locator("#board td:visible", has_text="failed").count() == 1
        assert page.locator("h2#curves").is_hidden()
        assert page.locator("figure img:visible").count() >= 2
        assert page.locator("#board").get_by_text("lenet_fc").first.is_visible()
        assert page.locator("button:visible, select:visible, input:visible").count() == 0


def test_policy_stops_any_other_script(browser: Any, path: Path, tmp_path: Path) -> None:
    text = path.read_text("utf-8")
    injected = '<script>document.title = "taken"</script><img src="http://127.0.0.1:9/x">'
    other = tmp_path / "page.html"
    other.write_text(text.replace("<header>", f"<header>{injected}"), "utf-8")
    context = browser.new_context()
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.goto(other.as_uri())
    page.wait_for_selector("html[data-ready]", state="attached")
    assert page.title() == "Leaderboard: small"
    assert sum("Content Security Policy" in text for text in said) == 2
    context.close()


def test_printing_shows_all_and_no_controls(browser: Any, path: Path) -> None:
    with opened(browser, path, scheme="dark") as page:
        page.emulate_media(media="print")
        assert page.locator("form:visible, select:visible, nav:visible").count() == 0
        assert page.locator("#board tbody tr:visible").count() == 8
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert background == "rgb(255, 255, 255)"
