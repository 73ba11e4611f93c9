import itertools
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from pellucid.domain.certificate import Side
from pellucid.domain.decision import Disposition, Verdict
from pellucid.domain.policy import Mode
from pellucid.domain.reasons import Finding, Reason
from pellucid.monitoring import monitor
from pellucid.reports import (
    FailureLine,
    PicturePathInvalid,
    PseudonymInvalid,
    ScanImages,
    SpecimenLine,
    formats,
    promises,
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
def every_page(pages, answered, monitoring) -> list[Page]:
    return [*pages, *answered, monitoring]


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


def test_without_a_certificate_the_page_says_what_it_would_take(pages):
    for page in pages[:3]:
        assert "holds none. It would take" in page.text
        assert "certification split" in page.text
        assert "pellucid certify" in page.text
        assert "Against the certified thresholds" not in page.text
    assert "It holds no certificate, so nothing is answered without a person." in pages[-1].text


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
    assert "Pellucid answered 1 specimen under a certificate" in page.text


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


@pytest.fixture(scope="module")
def answered(certified) -> list[Page]:
    paths = [write_specimen_page(certified.folder, view) for view in certified.specimens]
    return [Page(path) for path in [*paths, write_index(certified.folder, certified.run)]]


NEGATIVE, POSITIVE, BETWEEN, FAILED, INDEX = range(5)


def test_an_answer_is_said_first_with_what_it_means_and_its_interval(certified, answered):
    for which, word in ((NEGATIVE, "Negative"), (POSITIVE, "Positive")):
        text = answered[which].text
        first = text.index(f"{word} — recorded silently.")
        posterior = certified.specimens[which].decision.posterior
        interval = text.index(f"90% interval {formats.interval(posterior.low, posterior.high)}")
        assert first < interval < text.index("The whole interval lies beyond the certified threshold")
        assert text.index("What this answer is worth") < text.index("The slide")


def test_an_answer_names_its_certificate_claim_confidence_bound_range_and_end(answered):
    text = answered[NEGATIVE].text
    for said in (
        "Of specimens that are answered negative, at least 90% are rightly so, with 95% confidence.",
        "Shown: at least 91.4%, from 131 such answers, 5 of them wrong.",
        "Of specimens with an EGFR mutation, at most 15% are answered negative, with 97.5% confidence.",
        "Shown: at most 13.2%, from 84 such specimens, 5 of them missed.",
        "Certificate for site north, policy “north 2026”, made on 2026-11-23, valid until 2027-05-22.",
        "It holds where 22.1% to 32.3% of specimens have an EGFR mutation.",
        "Research use only; in silent mode, shown to nobody who treats.",
        promises.NOT_THIS_ONE,
    ):
        assert said in text
    assert "answered positive, at least 90%" not in text[: text.index("The slide")]


def test_a_positive_answer_says_that_it_never_replaces_sequencing(answered):
    assert promises.SEQUENCING in answered[POSITIVE].text
    assert promises.SEQUENCING not in answered[NEGATIVE].text


def test_an_answer_without_a_certificate_in_the_records_is_called_a_defect(certified, tmp_path):
    for changes in ({"certificate": None}, {"certificate": replace(certified.specimens[0].certificate, claims=())}):
        page = Page(write_specimen_page(tmp_path, replace(certified.specimens[0], **changes)))
        assert "report this as a defect" in page.text.lower()
    assert "defect" not in Page(write_specimen_page(tmp_path, certified.specimens[0])).text


def test_an_undetermined_specimen_under_a_certificate_shows_reason_value_and_limit(answered):
    text = answered[BETWEEN].text
    assert "Undetermined — recorded silently." in text
    assert "Whatever the number suggests, it is not an answer." in text
    assert "The passes straddle the certified negative threshold of 0.231: 0.143 to 0.307 around 0.214" in text
    assert "What this answer is worth" not in text
    assert "The certificate below covers this specimen. Pellucid gives no answer all the same" in text


def test_the_interval_is_held_against_both_thresholds_in_words(certified, answered):
    for which, negative, positive in (
        (NEGATIVE, "kept", "missed"),
        (POSITIVE, "missed", "kept"),
        (BETWEEN, *["missed"] * 2),
    ):
        view = certified.specimens[which]
        upper, lower = promises.standings(view.decision.posterior, view.certificate, view.policy)
        assert (upper.beyond, lower.beyond) == (negative == "kept", positive == "kept")
        assert upper.sentence.endswith(f"a negative answer needs at most 0.231: {negative}.")
        assert lower.sentence.endswith(f"a positive answer needs at least 0.832: {positive}.")
        assert upper.sentence in answered[which].text
        assert lower.sentence in answered[which].text
        assert f"{upper.end_logit:.3f}" in answered[which].text


def test_a_threshold_that_is_switched_off_or_was_not_certified_is_said_to_be(certified, tmp_path):
    view = certified.specimens[POSITIVE]
    off = replace(view, policy=replace(view.policy, autonomous_positive=False))
    short = replace(view, certificate=replace(view.policy.certificates[1], positive=1.6))
    said = Page(write_specimen_page(tmp_path, off)).text
    assert "positive answers without a person are switched off" in said
    assert "positive at least 0.832, off" in said
    said = Page(write_specimen_page(tmp_path, short)).text
    assert "No negative threshold is certified. About 57 more specimens of this kind would do." in said


def test_the_plot_shows_thresholds_and_regions_only_under_a_certificate(answered, pages):
    assert answered[NEGATIVE].source.count('class="threshold"') == 2
    assert answered[NEGATIVE].source.count('class="region"') == 2
    assert "negative at most 0.231" in answered[NEGATIVE].text
    assert 'class="threshold"' not in pages[0].source


def test_tumour_and_what_is_kept_for_comparison_are_shown_with_their_limits(answered):
    text = answered[NEGATIVE].text
    assert "Tiles that show tumour 62% at least 5% ✓ kept" in text
    assert "For comparison; no decision rests on them." in text
    assert "-2.64, -2.29, -2.82" in text


def test_silent_mode_is_announced_on_every_page_under_it(answered, pages):
    for page in answered[:FAILED]:
        assert "Silent mode. What is shown here is for comparison with molecular results." in page.text
    assert "Silent mode. What is shown here" in answered[INDEX].text
    assert all("Silent mode" not in page.text for page in pages)


def test_the_index_counts_verdicts_and_dispositions_and_shows_the_policy(certified, answered):
    text = answered[INDEX].text
    assert "Pellucid answered 2 specimens under a certificate" in text
    for said in (
        "Negative 1 1 recorded silently",
        "Positive 1 1 recorded silently",
        "Undetermined 2 1 recorded silently 1 for a pathologist",
        "The policy in force: north 2026",
        "until 2027-05-22, 181 days left",
        "Certificate for site north",
        "Negative at most: 0.231 (logit -1.2) . Positive at least: 0.832 (logit 1.6)",
        "Certificate for site south",
        "Negative at most: none. Positive at least: none.",
        "Negative side: About 57 more specimens of this kind would do.",
    ):
        assert said in text
    assert f'title="{certified.run.policy_digest}"' in answered[INDEX].source


@pytest.mark.parametrize(
    ("on", "days", "expired"), [("2027-05-21", 2, False), ("2027-05-22", 1, False), ("2027-05-23", 0, True)]
)
def test_the_last_day_of_a_certificate_counts_and_the_next_is_an_alarm(certified, tmp_path, on, days, expired):
    term = promises.term_of(certified.run.policy, on)
    assert (term.days_left, term.expired) == (days, expired)
    page = Page(write_index(tmp_path, replace(certified.run, made_on=on, lines=(), failures=())))
    assert ('class="state state-alarm"' in page.source) is expired
    assert ("expired: the last day was 2027-05-22" in page.text) is expired


def test_specimens_of_another_policy_are_counted_beside_the_box(certified, tmp_path):
    lines = tuple(replace(line, policy="ee" * 32) for line in certified.run.lines[:2])
    page = Page(write_index(tmp_path, replace(certified.run, lines=(*lines, *certified.run.lines[2:]), failures=())))
    assert "2 specimens below were decided under another policy" in page.text


def test_verdicts_are_told_apart_by_words_and_signs_and_not_by_good_and_bad_colours(answered):
    for page in answered:
        chips = re.findall(r'class="chip verdict-chip verdict-chip-\w+"[^>]*>(.*?)</span> (\w+)</span>', page.source)
        assert all(("○" in sign, "●" in sign) == (word == "Negative", word == "Positive") for sign, word in chips)
    rules = re.findall(r"[^}]*verdict[^{}]*\{[^}]*\}", answered[INDEX].source)
    assert rules
    assert not any("--good" in rule or "--bad" in rule for rule in rules)


@pytest.mark.parametrize("mode", list(Mode))
def test_every_mode_and_side_has_its_words(mode):
    assert promises.mode_label(mode)
    assert promises.mode_meaning(mode)
    assert promises.side_of(Verdict.UNDETERMINED) is None
    assert {promises.side_of(Verdict.NEGATIVE), promises.side_of(Verdict.POSITIVE)} == set(Side)


@pytest.mark.parametrize(
    ("share", "low", "high"), [(0.9147, "91.4%", "91.5%"), (0.9, "90%", "90%"), (1.0, "100%", "100%")]
)
def test_a_bound_is_rounded_to_where_it_still_holds(share, low, high):
    assert (promises.bounded(share, up=False), promises.bounded(share, up=True)) == (low, high)


def test_monitoring_says_that_it_looked_for_answers_without_a_certificate(demo, report, tmp_path):
    page = Page(write_monitoring_page(tmp_path, report))
    assert report.autonomy.check.sentence in page.text
    assert "90 decisions looked through, 10 of them negative or positive: none without" in page.text
    assert "scanner Aperio ScanScope" in page.text
    broken = monitor([], [replace(demo.specimens[0].decision, verdict=Verdict.NEGATIVE)], policies={})
    page = Page(write_monitoring_page(tmp_path, broken))
    assert 'class="state state-alarm"' in page.source
    assert "1 answer: its policy is in no run's record" in page.text
