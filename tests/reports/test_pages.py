import itertools
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from pellucid.domain.decision import Disposition, Verdict
from pellucid.domain.reasons import Finding, Reason
from pellucid.monitoring import monitor
from pellucid.reports import (
    CertificationNeed,
    FailureLine,
    PicturePathInvalid,
    PseudonymInvalid,
    ScanImages,
    SpecimenLine,
    write_index,
    write_monitoring_page,
    write_specimen_page,
)
from pellucid.reports.wording import RESEARCH_USE, SYNTHETIC, reason_advice, reason_label

VOID = {"meta", "img", "br", "input", "link", "hr"}
HOSTILE = '<script>alert("x")</script>"\'><img src=x onerror=alert(1)>'


class Page(HTMLParser):
    """A page as parsed: tags balance or it raises."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.path = path
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.source = path.read_text()
        self.feed(self.source)
        assert not self.open, f"left open: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] not in {"style", "script"}:
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture(scope="module")
def pages(demo) -> list[Page]:
    paths = [write_specimen_page(demo.folder, view) for view in demo.specimens]
    return [Page(path) for path in [*paths, write_index(demo.folder, demo.run)]]


@pytest.fixture(scope="module")
def monitoring(demo, report) -> Page:
    return Page(write_monitoring_page(demo.folder, report))


@pytest.fixture(scope="module")
def every_page(pages, monitoring) -> list[Page]:
    return [*pages, monitoring]


def test_pages_lie_where_their_links_point(demo, pages):
    names = [page.path.relative_to(demo.folder).as_posix() for page in pages]
    assert names == ["specimens/S-0412.html", "specimens/S-0413.html", "specimens/S-0414.html", "index.html"]


def test_ids_are_unique_and_anchors_and_labels_lead_somewhere(every_page):
    for page in every_page:
        ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
        assert [name for name, n in Counter(ids).items() if n > 1] == []
        for attribute in ("aria-labelledby", "for"):
            wanted = [name for _, attrs in page.tags for name in (attrs.get(attribute) or "").split()]
            assert set(wanted) <= set(ids)
        anchors = [a["href"][1:] for a in page.all("a") if (a["href"] or "").startswith("#")]
        assert set(anchors) <= set(ids)


def test_pages_have_one_main_heading_a_language_and_headings_in_order(every_page):
    for page in every_page:
        levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
        assert levels.count(1) == 1
        assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
        assert page.all("html")[0]["lang"] == "en"
        assert len(page.all("main")) == 1


def test_every_picture_is_there_and_has_an_alternative(every_page):
    for page in every_page:
        for image in page.all("img"):
            assert "alt" in image
            assert (page.path.parent / image["src"]).resolve().is_file()
    alternatives = [image["alt"] for image in every_page[0].all("img")]
    assert "Thumbnail of scan S-0412-1" in alternatives
    assert any("Attention" in text for text in alternatives)


def test_nothing_comes_from_elsewhere(every_page):
    for page in every_page:
        for tag, attrs in page.tags:
            for attribute in ("href", "src", "srcset", "action", "data", "poster", "formaction"):
                assert not re.match(r"(?:[a-z]+:)?//|[a-z]+:", attrs.get(attribute) or ""), (tag, attrs)
        assert not re.search(r"https?://|@import|url\(", page.source)
        assert page.all("link") == []


def test_a_page_opens_with_the_answer(pages):
    text = pages[0].text
    first = text.index("Undetermined — for a pathologist.")
    assert first < text.index("The model’s probability of an EGFR mutation is 0.")
    assert "over 50 passes)" in text.replace(" )", ")")
    assert "Pellucid does not decide this specimen alone because:" in text
    assert Reason.NO_CERTIFICATE.sentence in text


def test_every_reason_is_said_with_what_was_measured(demo, pages):
    text = pages[1].text
    for finding in demo.specimens[1].decision.findings:
        assert finding.reason.sentence in text
        assert finding.detail in text
        assert reason_label(finding.reason) in text
    assert "S-0413-1: Tissue in focus: 0.55 of tissue (limit: at least 0.8)" in text.replace(" :", ":")


def test_quality_results_are_words_not_only_colours(pages):
    text = pages[1].text
    assert text.count("✗ missed") == 3
    assert text.count("✓ kept") == 9


def test_a_failed_scan_says_code_sentence_and_remedy(demo, pages):
    failure = demo.run.failures[0].failure
    for page in pages[2:]:
        for part in (failure.code, failure.sentence, failure.remedy):
            assert part in page.text
    assert "there is no probability" in pages[2].text


def test_all_pages_say_research_use_and_synthetic_before_and_after(every_page):
    for page in every_page:
        assert page.text.count(RESEARCH_USE) == 2
        assert page.text.count(SYNTHETIC.removeprefix("Synthetic model. ")) == 2
        assert "synthetic model" in page.source[: page.source.index("</title>")]


def test_a_model_for_real_tissue_is_not_called_synthetic(demo, tmp_path):
    view = demo.specimens[0]
    page = Page(write_specimen_page(tmp_path, replace(view, run=replace(view.run, synthetic=False))))
    assert "ynthetic" not in page.text
    assert RESEARCH_USE in page.text


def test_the_page_says_what_a_certificate_would_need(pages):
    for page in pages:
        assert "certification split" in page.text
        assert "at least 59 specimens" in page.text
        assert "pellucid certify" in page.text


@pytest.mark.parametrize(("error", "confidence", "fewest"), [(0.05, 0.95, 59), (0.01, 0.95, 299), (0.02, 0.9, 114)])
def test_the_least_number_of_specimens_is_the_exact_binomial_one(error: float, confidence: float, fewest: int):
    need = CertificationNeed(max_error=error, confidence=confidence)
    assert need.fewest == fewest
    assert 1 - (1 - confidence) ** (1 / fewest) <= error < 1 - (1 - confidence) ** (1 / (fewest - 1))


def test_provenance_shows_every_digest_whole(demo, pages):
    view = demo.specimens[0]
    versions = view.decision.versions
    for value in (versions.model, versions.policy, versions.software, view.run.bundle_digest, view.scans[0].digest):
        assert f'title="{value}"' in pages[0].source
        assert value in pages[0].text.replace(" ", "")
    assert "openslide 4.0.1" in pages[0].text
    assert "audit event 1,184" in pages[0].text


def test_the_index_counts_and_links_everything(demo, pages):
    index = pages[-1]
    hrefs = [a["href"] for a in index.all("a")]
    assert all(f"specimens/{line.pseudonym}.html" in hrefs for line in demo.run.lines)
    assert {"monitoring.html", "results.parquet", "results.csv"} <= set(hrefs)
    assert "15 specimens, 16 scans: 14 specimens with a probability" in index.text
    assert "Pellucid decided none of them alone." in index.text
    for reason, count in (("No certificate", 15), ("Near a threshold", 4), ("Uncertain", 1)):
        assert f"{reason}: {count}" in index.text


def test_the_index_begins_with_the_highest_probability(pages):
    shown = re.findall(r'<span class="value">([\d.]+)</span>', pages[-1].source)
    assert shown == sorted(shown, reverse=True)
    assert pages[-1].source.rindex("no answer") > pages[-1].source.rindex('class="value"')


def test_hostile_text_stays_text(demo, tmp_path):
    view = demo.specimens[0]
    scan = replace(
        view.scans[0],
        info=replace(view.scans[0].info, scanner=HOSTILE, vendor=HOSTILE),
        timings={HOSTILE: 1.0},
        failure=replace(demo.run.failures[0].failure, sentence=HOSTILE, remedy=HOSTILE),
    )
    decision = replace(view.decision, findings=(Finding(reason=Reason.ARTEFACT, detail=HOSTILE, code=HOSTILE),))
    run = replace(view.run, bundle=HOSTILE, biomarker=HOSTILE, run=HOSTILE)
    hostile = replace(view, scans=(scan,), decision=decision, strata=((HOSTILE, HOSTILE),), run=run)
    index = replace(
        demo.run,
        run=run,
        model_card=HOSTILE,
        rates=((HOSTILE, HOSTILE),),
        failures=(FailureLine(scan=HOSTILE, specimen="S-1", failure=scan.failure),),
    )
    for page in (Page(write_specimen_page(tmp_path, hostile)), Page(write_index(tmp_path, index))):
        assert len(page.all("script")) == 1
        assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)
        assert 'alert("x")' in page.text


def test_file_names_in_messages_are_left_out(demo, tmp_path):
    failure = replace(demo.run.failures[0].failure, sentence="Can't open /data/Smith_John.svs.")
    view = demo.specimens[2]
    view = replace(view, scans=(replace(view.scans[0], failure=failure),))
    index = replace(demo.run, failures=(replace(demo.run.failures[0], failure=failure),))
    for page in (Page(write_specimen_page(tmp_path, view)), Page(write_index(tmp_path, index))):
        assert "Smith" not in page.source
        assert "Can't open [file]" in page.text


@pytest.mark.parametrize("name", ["../evil", "a/b", "", ".hidden", "a b", "x" * 65, "ä"])
def test_a_pseudonym_that_is_no_file_name_is_refused(demo, tmp_path, name):
    with pytest.raises(PseudonymInvalid, match="PEL-REPORT-001"):
        write_specimen_page(tmp_path, replace(demo.specimens[0], pseudonym=name))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["../secret.png", "/etc/x.png", "a\\b.png", "a/../../x.png"])
def test_a_picture_outside_the_run_is_refused(demo, tmp_path, path):
    view = demo.specimens[0]
    scan = replace(view.scans[0], images=ScanImages(thumbnail=path))
    with pytest.raises(PicturePathInvalid, match="PEL-REPORT-002"):
        write_specimen_page(tmp_path, replace(view, scans=(scan,)))


def test_the_same_view_gives_the_same_bytes(demo, tmp_path):
    first = write_specimen_page(tmp_path, demo.specimens[1]).read_bytes()
    assert write_specimen_page(tmp_path, demo.specimens[1]).read_bytes() == first


def test_an_empty_run_still_has_an_index(demo, tmp_path):
    page = Page(write_index(tmp_path, replace(demo.run, lines=(), failures=(), files=(), monitoring_page=None)))
    assert "0 specimens, 0 scans" in page.text
    assert "No specimen." in page.text


def test_a_decided_specimen_is_counted_and_said(demo, tmp_path):
    line = SpecimenLine(
        pseudonym="S-1",
        verdict=Verdict.NEGATIVE,
        disposition=Disposition.REPORTED,
        reasons=(),
        probability=0.02,
        low=0.01,
        high=0.03,
        n_scans=1,
    )
    page = Page(write_index(tmp_path, replace(demo.run, lines=(line,), failures=())))
    assert "Pellucid decided 1 specimen alone" in page.text


def test_every_reason_has_a_label_and_advice():
    assert all(reason_label(reason) and reason_advice(reason) for reason in Reason)


def test_monitoring_answers_its_four_questions_with_numbers(report, monitoring):
    text = monitoring.text
    assert report.drift.sentence in text
    assert report.drift.state.value == "alarm"
    assert "stain hue" in text
    assert "18 of 90" in text
    assert "8 of 90" in text
    assert "PEL-SLIDE-004" in text
    assert all(f"{count.name} {count.n}" in text for count in report.seen.scanners)
    assert all(window.label in text for window in report.confidence.windows)


def test_monitoring_of_nothing_says_so(tmp_path):
    page = Page(write_monitoring_page(tmp_path, monitor([], made_at="2026-11-23T10:19:41.800Z")))
    assert "Nothing has been observed yet." in page.text
    assert "No specimen has been decided" in page.text
    assert "ynthetic" not in page.text
    assert RESEARCH_USE in page.text


def test_a_failure_without_a_known_remedy_promises_none(demo, tmp_path):
    view = demo.specimens[2]
    failure = replace(demo.run.failures[0].failure, code="", remedy="")
    page = Page(write_specimen_page(tmp_path, replace(view, scans=(replace(view.scans[0], failure=failure),))))
    assert "What to do:" not in page.text
    assert failure.sentence in page.text


def test_a_silent_specimen_says_that_it_is_recorded_silently(demo, tmp_path):
    view = demo.specimens[0]
    decision = replace(view.decision, disposition=Disposition.SILENT)
    page = Page(write_specimen_page(tmp_path, replace(view, decision=decision)))
    assert "Undetermined — recorded silently." in page.text


def test_a_failed_scan_still_shows_what_was_seen_of_it(demo, tmp_path):
    view = demo.specimens[0]
    images = ScanImages(thumbnail=view.scans[0].images.thumbnail, tissue=view.scans[0].images.tissue)
    scan = replace(view.scans[0], posterior=None, images=images, failure=demo.run.failures[0].failure)
    decision = replace(view.decision, posterior=None)
    page = Page(write_specimen_page(tmp_path, replace(view, scans=(scan,), decision=decision)))
    assert "Thumbnail of scan S-0412-1" in {image["alt"] for image in page.all("img")}
    assert "Attention" not in page.text
    assert "Tissue in focus" in page.text
