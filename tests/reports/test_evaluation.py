"""The evaluation page: complete, self-contained, safe, and true to its report; pictures from a run's folder."""

import base64
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from assessed import CERTIFICATE, POLICY, VERSIONS, assessment, population, specimen
from pellucid.core.digests import digest_bytes, digest_file
from pellucid.core.seeds import generator
from pellucid.core.serial import from_plain
from pellucid.domain.observation import Observation
from pellucid.domain.scan import ScanInfo
from pellucid.evaluation.measures import Resampling
from pellucid.evaluation.report import EvaluatedModel, EvaluationReport, make_report
from pellucid.evaluation.specimens import AssessedSpecimen
from pellucid.records import ScanResult
from pellucid.reports import PicturePathInvalid, evaluation_pictures, write_png
from pellucid.reports.evaluation import write_evaluation
from pellucid.reports.wording import RESEARCH_USE, SYNTHETIC

MODEL = EvaluatedModel(bundle="demo-egfr", bundle_digest="b4" * 32, synthetic=True)
MADE = "2026-11-23T12:00:00.000Z"
HOSTILE = '<script>alert("x")</script>"\'><img src=x onerror=alert(1)>'
WIDTH, HEIGHT, TILE = 4480, 3360, 448


def report(
    *specimens: AssessedSpecimen, policy=POLICY, model: EvaluatedModel = MODEL, n: int = 100
) -> EvaluationReport:
    return make_report(assessment(*specimens, policy=policy), model, resampling=Resampling(n=n), made_at=MADE)


def picture(seed: str, width: int = 600, height: int = 450) -> np.ndarray:
    """Something with texture, so that it compresses no better than a slide does."""
    rng = generator("evaluation picture", seed)
    y, x = np.mgrid[:height, :width]
    inside = ((y / height - 0.5) / 0.4) ** 2 + ((x / width - 0.5) / 0.42) ** 2 < 1
    shown = np.full((height, width, 3), 244, np.uint8)
    noise = rng.normal(0, 22, (height, width, 1))
    shown[inside] = np.clip(np.array([214, 150, 190]) + noise, 0, 255).astype(np.uint8)[inside]
    return shown


def with_pictures(one: AssessedSpecimen, folder: Path, *, path: str | None = None) -> AssessedSpecimen:
    """The specimen with a result whose thumbnail and attention lie below `folder`."""
    place = path or f"scans/{one.pseudonym}/k1"
    (folder / place).mkdir(parents=True, exist_ok=True)
    write_png(folder / place / "thumbnail.png", picture(one.pseudonym))
    coords = np.array([(x, y) for y in range(0, HEIGHT, TILE) for x in range(0, WIDTH, TILE)], np.int32)
    weights = generator("attention", one.pseudonym).gamma(0.6, 1.0, len(coords))
    attention = {
        "coords": coords,
        "attention_mean": (weights / weights.sum()).astype(np.float32),
        "attention_sd": np.zeros(len(coords), np.float32),
        "level0_px": np.array([TILE], np.int32),
    }
    save_file(attention, folder / place / "attention.safetensors")
    scan = one.evidence.scans[0].scan
    result = ScanResult(
        task_key=f"task {one.specimen}",
        specimen=one.specimen,
        scan=scan,
        run="R-1",
        at=MADE,
        logits=one.posterior.logits if one.posterior else (),
        posterior=one.posterior,
        quality=None,
        info=ScanInfo(
            width=WIDTH,
            height=HEIGHT,
            level_downsamples=(1.0,),
            vendor="pellucid",
            reader="fast",
            scale=None,
            claimed_mpp=None,
            objective_power=None,
            scanner="AT2",
            synthetic=True,
        ),
        findings=(),
        n_tiles=len(coords),
        n_unreadable=0,
        artefacts={
            f"{place}/{name}": digest_file(folder / place / name) for name in ("thumbnail.png", "attention.safetensors")
        },
        versions=VERSIONS,
        observation=_observation(scan),
    )
    return replace(one, results=(result,))


def _observation(scan: str) -> Observation:
    return Observation(
        scan=scan,
        specimen="",
        run="R-1",
        at=MADE,
        purpose="evaluation",
        scanner="AT2",
        strata={},
        mpp=None,
        mpp_source=None,
        n_tiles=1,
        features={},
        embedding=(),
        distance=None,
        mean_logit=None,
        sd_logit=None,
        probability=None,
        mutual_information=None,
        reasons=(),
        error=None,
        timings={},
        model=VERSIONS.model,
        policy="",
        software="",
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("evaluation")


@pytest.fixture(scope="module")
def whole(folder) -> EvaluationReport:
    made = population(150)
    wrong = {case.pseudonym for case in report(*made, n=100).worst.cases[1:]}
    return report(*(with_pictures(one, folder) if one.pseudonym in wrong else one for one in made))


@pytest.fixture(scope="module")
def page(folder, whole) -> str:
    return write_evaluation(folder, whole).read_text()


def words(text: str) -> str:
    body = re.sub(r"<(style|script)>.*?</\1>", " ", text, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body))


def test_the_json_beside_the_page_is_the_report(folder, whole, page):
    assert from_plain(EvaluationReport, json.loads((folder / "evaluation.json").read_text())) == whole


def test_the_sections_come_in_the_order_that_a_reader_needs(page):
    order = [
        "notice research",
        'id="guarantee"',
        'id="evaluated"',
        'id="answers"',
        'id="agreement"',
        'id="ranking"',
        'id="calibration"',
        'id="confidence"',
        'id="histograms"',
        'id="escalated"',
        'id="groups"',
        'id="worst"',
    ]
    places = [page.index(mark) for mark in order]
    assert places == sorted(places)
    said = words(page)
    assert said.index("It rests on these assumptions") < said.index("Of the specimens answered")
    assert "What breaks it" in said
    assert RESEARCH_USE in said
    assert SYNTHETIC in said


def test_the_page_needs_nothing_from_elsewhere(page):
    assert not re.search(r'(src|href)="(?!data:image/|#|index\.html")', page)
    assert "url(" not in page
    assert "@import" not in page
    assert page.count("<script>") == 1


def test_its_links_and_ids_are_whole(page):
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(ids)
    for label in re.findall(r'aria-labelledby="([^"]+)"', page):
        assert set(label.split()) <= set(ids)


def test_the_numbers_on_the_page_are_those_of_the_report(whole, page):
    said = words(page)
    npv = whole.answers.npv
    assert f"{npv.k} of {npv.n}" in said
    for row in whole.answers.rows:
        assert f'{row.mutated}</td><td class="n">{row.wild_type}</td>' in page
    assert f"{whole.ranking.auroc.value:.3g}" in said
    assert f"negative ≤ {whole.histograms.thresholds[0].probability:.2f}" in said


def test_patients_and_names_of_the_table_stay_off_the_page(page):
    for one in population(150):
        assert one.patient not in page
        assert f">{one.specimen}<" not in page


def test_pictures_are_embedded_small_and_show_the_scan(whole, page):
    uris = re.findall(r'src="data:image/(jpeg|png);base64,([^"]+)"', page)
    shown = [case for case in whole.worst.cases if case.pictures]
    assert shown
    assert len(uris) == 3 * len(shown)
    for kind, data in uris:
        with Image.open(io.BytesIO(base64.b64decode(data))) as opened:
            assert max(opened.size) == evaluation_pictures.MAX_PX
            assert opened.mode == ("RGB" if kind == "jpeg" else "RGBA")
            assert opened.size == (420, 315)
    assert len(page) < 5_000_000


def test_an_overlay_is_as_bright_as_its_attention(folder, whole):
    case = next(case for case in whole.worst.cases if case.pictures)
    (scan,) = evaluation_pictures.embed_pictures(folder, [case])[case.pseudonym]
    with Image.open(io.BytesIO(base64.b64decode(scan.overlay.split(",")[1]))) as opened:
        pixels = np.asarray(opened)
    assert (pixels[..., 3] == 255).all()
    assert scan.n_tiles == 80
    assert scan.high >= 2.0


def test_altered_missing_and_too_many_pictures_are_left_out(tmp_path, monkeypatch):
    made = [with_pictures(specimen(f"wrong {nth}", 3.0 + nth, 0), tmp_path) for nth in range(3)]
    found = report(*made)
    first, second, third = found.worst.cases
    thumbnail = tmp_path / first.pictures[0].thumbnail
    thumbnail.write_bytes(thumbnail.read_bytes() + b"x")
    (tmp_path / second.pictures[0].attention).unlink()
    embedded = evaluation_pictures.embed_pictures(tmp_path, found.worst.cases)
    assert [len(embedded[case.pseudonym]) for case in (first, second, third)] == [0, 0, 1]
    text = write_evaluation(tmp_path, found).read_text()
    assert text.count("Its pictures are missing, altered, or beyond the size of this page.") == 2
    monkeypatch.setattr(evaluation_pictures, "MAX_BYTES", 10)
    assert not any(evaluation_pictures.embed_pictures(tmp_path, found.worst.cases).values())


def test_a_picture_outside_the_folder_is_refused(tmp_path):
    found = report(with_pictures(specimen("wrong", 3.0, 0), tmp_path / "run", path="../outside"))
    with pytest.raises(PicturePathInvalid):
        write_evaluation(tmp_path / "run", found)
    assert not (tmp_path / "run" / "evaluation.html").exists()


def test_the_page_stays_below_five_megabytes_whatever_the_slides(tmp_path):
    made = [with_pictures(specimen(f"wrong {nth}", 3.0 + nth, 0), tmp_path) for nth in range(10)]
    # a second scan of each, so that the most that a page can show is shown
    doubled = [replace(one, results=(*one.results, *one.results)) for one in made]
    path = write_evaluation(tmp_path, report(*doubled))
    assert path.stat().st_size < 5_000_000
    assert path.read_text().count("<img ") >= 3 * 10


def test_hostile_names_are_shown_as_text(tmp_path):
    strata = {"site": HOSTILE, "specimen_type": "biopsy"}
    certificate = replace(CERTIFICATE, seen={"site": (HOSTILE,)})
    policy = replace(POLICY, name=HOSTILE, certificates=(certificate,))
    made = [specimen("one", 3.0, 0, strata=strata, scanner=HOSTILE, policy=policy)]
    model = replace(MODEL, bundle=HOSTILE)
    text = write_evaluation(tmp_path, report(*made, policy=policy, model=model)).read_text()
    assert HOSTILE not in text
    assert "<img src=x" not in text
    assert text.count("<script") == 1


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ([], "No specimen was evaluated."),
        ([specimen("one", -3.0, 0)], "Every known outcome is wild type"),
        ([specimen("failed", None, 0), specimen("as well", None, 1)], "No specimen with an outcome has an answer"),
        ([specimen("unlabelled", -3.0, None)], "No specimen has a molecular outcome"),
    ],
    ids=["none", "one", "no answer", "no outcome"],
)
def test_a_page_is_made_of_whatever_there_is(tmp_path, made, said):
    text = words(write_evaluation(tmp_path, report(*made)).read_text())
    assert said in text
    assert "not computed:" in text
    assert not re.search(r"\b(nan|inf|None)\b", text)


def test_without_a_certificate_the_page_says_that_nothing_is_guaranteed(tmp_path):
    policy = replace(POLICY, certificates=(), model=None, gates=None, certified_on=None, expires_on=None)
    made = [specimen(f"w{nth}", -3.0 - nth / 10, nth % 2, policy=policy) for nth in range(12)]
    text = words(write_evaluation(tmp_path, report(*made, policy=policy)).read_text())
    assert "There is no guarantee" in text
    assert "It rests on these assumptions" not in text
    assert "No threshold is certified" in text


def test_a_real_model_carries_no_synthetic_notice(tmp_path):
    made = [specimen(f"w{nth}", -3.0, 0) for nth in range(3)]
    text = write_evaluation(tmp_path, report(*made, model=replace(MODEL, synthetic=False))).read_text()
    assert "notice synthetic" not in text
    assert "EGFR" not in words(text) or "demo-egfr" in text


def test_digests_of_pictures_are_those_recorded(whole, folder):
    for case in whole.worst.cases:
        for one in case.pictures:
            assert digest_file(folder / one.thumbnail) == one.thumbnail_digest
    assert digest_bytes(b"") not in {one.thumbnail_digest for case in whole.worst.cases for one in case.pictures}
