"""The columns of the result tables, in their order, with types and descriptions."""

import pyarrow as pa

SCHEMA_VERSION = "1"
"""Raised when a column is renamed, removed or changes its meaning; new columns are added at the end."""
NOTICE = "Research use only. Not validated at any site; not for diagnosis or treatment."
SYNTHETIC_NOTICE = "Synthetic model: its numbers mean nothing for real tissue."

_TEXT, _REAL, _INT, _FLAG = pa.string(), pa.float64(), pa.int64(), pa.bool_()
_LIST = pa.list_(pa.string())
_TEXTS, _REALS = pa.map_(pa.string(), pa.string()), pa.map_(pa.string(), pa.float64())

_Column = tuple[str, pa.DataType, str]

_BELIEF: tuple[_Column, ...] = (
    ("probability", _REAL, "logistic of the mean calibrated logit; the number that pages show"),
    ("mean_probability", _REAL, "mean of the passes' probabilities"),
    ("low", _REAL, "lower end of the central interval of the passes' probabilities"),
    ("high", _REAL, "upper end of that interval"),
    ("level", _REAL, "share of passes in the interval, such as 0.9"),
    ("mean_logit", _REAL, "mean calibrated logit"),
    ("sd_logit", _REAL, "standard deviation of the calibrated logit over the passes (n - 1)"),
    ("entropy", _REAL, "entropy of the mean probability, nat"),
    ("mutual_information", _REAL, "between answer and pass, nat"),
    ("temperature", _REAL, "raw logits were divided by it"),
    ("n_passes", _INT, "Monte-Carlo passes"),
)
_INTERVAL: tuple[_Column, ...] = (
    ("low_logit", _REAL, "lower end of the interval as a calibrated logit; a positive answer is judged by it"),
    ("high_logit", _REAL, "upper end of the interval as a calibrated logit; a negative answer is judged by it"),
)
_LICENCE: tuple[_Column, ...] = (
    ("policy_mode", _TEXT, "silent (shown to nobody who treats), for_review or autonomous"),
    ("certificate", _TEXT, "stratum of the certificate that covers the specimen; null where none does"),
    ("negative_threshold", _REAL, "negative where high_logit + tolerance is at most this; null where not certified"),
    (
        "positive_threshold",
        _REAL,
        "positive where low_logit - tolerance is at least this; null where not certified or switched off",
    ),
    ("tolerance", _REAL, "calibrated logit by which other hardware could move an end of the interval"),
)
_ORIGIN: tuple[_Column, ...] = (
    ("run", _TEXT, "id of the run"),
    ("bundle", _TEXT, "name of the model bundle"),
    ("bundle_digest", _TEXT, "SHA-256 over the bundle's files"),
    ("model", _TEXT, "model digest"),
    ("policy", _TEXT, "policy digest"),
    ("software", _TEXT, "software digest"),
    ("software_version", _TEXT, "software version"),
    ("synthetic", _FLAG, "true where the model was trained on generated pictures: no meaning for real tissue"),
    ("research_use_only", _FLAG, "always true in this version"),
)
_SPECIMEN: tuple[_Column, ...] = (
    ("specimen", _TEXT, "pseudonym"),
    ("verdict", _TEXT, "negative, positive or undetermined"),
    ("disposition", _TEXT, "silent, for_review or reported"),
    ("reasons", _LIST, "every reason that applies; in CSV joined by ';'"),
    *_BELIEF,
    ("n_scans", _INT, "scans of the specimen, failed ones included"),
    ("n_scans_failed", _INT, "scans that could not be processed"),
    ("strata", _TEXTS, "site, specimen type, ...; in CSV name=value joined by ';'"),
    ("decided_at", _TEXT, "UTC"),
    ("decision_version", _INT, "1 for a specimen's first decision"),
    ("audit_sequence", _INT, "number of the audit event"),
    *_ORIGIN,
    *_INTERVAL,
    *_LICENCE,
)
_SCAN: tuple[_Column, ...] = (
    ("scan", _TEXT, "pseudonym"),
    ("specimen", _TEXT, "pseudonym"),
    ("scan_digest", _TEXT, "SHA-256 of the file"),
    ("width", _INT, "level-0 pixels"),
    ("height", _INT, "level-0 pixels"),
    ("mpp", _REAL, "um per level-0 pixel, as used"),
    ("mpp_source", _TEXT, "file or override"),
    ("objective_power", _REAL, "as the file states it"),
    ("scanner", _TEXT, "as the file states it"),
    ("vendor", _TEXT, "format"),
    ("reader", _TEXT, "which reader decoded the tiles"),
    ("n_tiles", _INT, "tiles on tissue"),
    ("n_unreadable", _INT, "of those, not decodable"),
    ("distance", _REAL, "Mahalanobis distance to the bundle's reference slides"),
    ("quality", _REALS, "quality measures by name; null where not measurable; in CSV name=value joined by ';'"),
    ("quality_missed", _LIST, "names of the measures that miss their limit; in CSV joined by ';'"),
    ("timings", _REALS, "seconds by stage; in CSV name=value joined by ';'"),
    ("error", _TEXT, "code of the failure, such as PEL-SLIDE-003"),
    ("error_sentence", _TEXT, "what is wrong"),
    ("error_remedy", _TEXT, "what to do"),
    *_BELIEF,
    *_ORIGIN,
    *_INTERVAL,
    ("tumour_share", _REAL, "share of readable tiles that the bundle's tumour head calls tumour; null without one"),
    ("deterministic_logit", _REAL, "calibrated logit without dropout, for comparison; no decision rests on it"),
    ("ensemble_mean_logit", _REAL, "mean calibrated logit of the bundle's ensemble, for comparison likewise"),
)


def specimen_schema(metadata: dict[str, str] | None = None) -> pa.Schema:
    """The schema of `results.parquet`, with a description on each column."""
    return _schema(_SPECIMEN, metadata)


def scan_schema(metadata: dict[str, str] | None = None) -> pa.Schema:
    """The schema of `scans.parquet`, with a description on each column."""
    return _schema(_SCAN, metadata)


def _schema(columns: tuple[_Column, ...], metadata: dict[str, str] | None) -> pa.Schema:
    fields = [pa.field(name, kind, metadata={"description": text}) for name, kind, text in columns]
    return pa.schema(fields, metadata=metadata)
