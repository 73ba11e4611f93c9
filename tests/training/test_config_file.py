import pytest

from pellucid.training import TrainingConfig, TrainingConfigInvalid
from pellucid.training.config import Mode, Precision, deciding
from pellucid.training.config_file import load_config, template


def write(folder, text):
    path = folder / "run.toml"
    path.write_text(text)
    return path


def test_settings_are_read_and_others_keep_their_defaults(tmp_path):
    config = load_config(
        write(
            tmp_path,
            'mode = "end_to_end"\nseed = 3\n[end_to_end]\nencoder = "pellucid-small"\nweights = "w.pt"\nepochs = 2\n'
            'learning_rate = 1\nprecision = "float32"\nlast_blocks = 4\n[checkpoints]\nkeep_every = 10\n',
        )
    )
    assert (config.mode, config.seed) == (Mode.END_TO_END, 3)
    joint = config.end_to_end
    assert joint.weights == tmp_path / "w.pt"
    assert (joint.epochs, joint.learning_rate, joint.precision, joint.last_blocks) == (2, 1.0, Precision.FLOAT32, 4)
    assert config.checkpoints.keep_every == 10
    assert config.head == TrainingConfig().head


def test_every_mistake_is_reported_at_once_with_the_nearest_key(tmp_path):
    text = (
        'mode = "endtoend"\nsede = 3\nlevel = 2.0\n[end_to_end]\nepochs = "two"\nlearning_rat = 1e-5\n[head]\n'
        "epochs = 0\n[xyz]\na = 1\n"
    )
    with pytest.raises(TrainingConfigInvalid) as caught:
        load_config(write(tmp_path, text))
    message = caught.value.message
    for part in (
        "mode is 'endtoend', which is none of small, bags, end_to_end (did you mean end_to_end?)",
        "unknown key sede (did you mean seed?)",
        "level is 2.0",
        "end_to_end.epochs must be a whole number, not 'two'",
        "unknown key end_to_end.learning_rat (did you mean learning_rate?)",
        "head.epochs is 0",
        "unknown key xyz (known are mode,",
    ):
        assert part in message


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("mode = ", "is not a TOML file"),
        ("encoder = 3", "encoder must be a table"),
        ("[end_to_end]\nshare = 0", "share is 0"),
        ("[end_to_end]\naugment = 1", "end_to_end.augment must be true or false"),
        ("[checkpoints]\nleast_minutes = 40", "least_minutes is 40.0, more than most_minutes"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path, text, part):
    with pytest.raises(TrainingConfigInvalid) as caught:
        load_config(write(tmp_path, text))
    assert part in caught.value.message


def test_missing_file_is_an_error(tmp_path):
    with pytest.raises(TrainingConfigInvalid, match="can't be read"):
        load_config(tmp_path / "none.toml")


def test_template_names_every_setting_and_says_the_defaults(tmp_path):
    text = "\n".join(
        line.removeprefix("# ") if "=" in line else line for line in template().splitlines() if "left out" not in line
    )
    assert load_config(write(tmp_path, text)) == TrainingConfig()


def test_how_the_work_is_carried_out_does_not_decide_the_result(tmp_path):
    other = load_config(write(tmp_path, "workers = 7\n[end_to_end]\nreaders = 9\n[checkpoints]\nkeep_last = 9\n"))
    assert deciding(other) == deciding(TrainingConfig())
    assert deciding(load_config(write(tmp_path, "seed = 1"))) != deciding(TrainingConfig())
